//! Who is in the group: one change at a time, and never by itself. A controller that ends does not leave: whoever leaves
//! by a signal takes the group's tolerance with it, unseen.

use super::elsewhere;
use crate::controller::ControllerId;
use crate::publish::Published;
use crate::raft::{Node, Runtime, Types};
use crate::transport::{Member, Transport, TransportError};
use crate::{ControllerConfig, MembershipError, Unavailable};
use openraft::error::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::{ChangeMembers, Membership, Raft};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// A change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// One more voter, perhaps in another's place.
    Join {
        member: Member,
        replaces: Option<ControllerId>,
    },
    /// One less.
    Leave(ControllerId),
}

/// Changes them.
pub(super) struct Members<R: Runtime, T> {
    raft: Raft<Types<R>>,
    transport: Arc<T>,
    published: Published,
    /// openraft takes a change at any time, whatever it was decided upon: one at a time makes that the present.
    one: Arc<Mutex<()>>,
    ttl: Duration,
    patience: Duration,
}

impl<R: Runtime, T> Clone for Members<R, T> {
    fn clone(&self) -> Self {
        Self {
            raft: self.raft.clone(),
            transport: Arc::clone(&self.transport),
            published: self.published.clone(),
            one: Arc::clone(&self.one),
            ..*self
        }
    }
}

type Result<T> = std::result::Result<T, MembershipError>;

impl<R: Runtime, T: Transport> Members<R, T> {
    pub(super) fn new(
        raft: Raft<Types<R>>,
        transport: Arc<T>,
        config: &ControllerConfig,
        published: Published,
    ) -> Self {
        Self {
            raft,
            transport,
            published,
            one: Arc::default(),
            ttl: config.election_timeout_max,
            patience: config.join_patience,
        }
    }

    /// Makes a change; the voters from then on.
    pub(super) async fn change(&self, change: Change) -> Result<Vec<Member>> {
        let _one = self.one.lock().await;
        // So that a controller which is not active says so before anything else.
        self.confirm().await?;
        match change {
            Change::Join { member, replaces } => self.join(member, replaces).await?,
            Change::Leave(id) => self.leave(id).await?,
        }
        Ok(self.voters())
    }

    async fn confirm(&self) -> Result<()> {
        Ok(super::propose::read_index(&self.raft).await.map(drop)?)
    }

    fn membership(&self) -> Membership<u64, Node> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        metrics.membership_config.membership().clone()
    }

    fn voters(&self) -> Vec<Member> {
        let membership = self.membership();
        let voters = membership.voter_ids().map(|id| Member {
            id: ControllerId::new(id),
            address: membership
                .get_node(&id)
                .map(|node| node.address.clone())
                .unwrap_or_default(),
        });
        voters.collect()
    }

    async fn join(&self, member: Member, replaces: Option<ControllerId>) -> Result<()> {
        let membership = self.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let known = membership.get_node(&member.id.get());
        if let Some(known) = known.filter(|known| known.address != member.address) {
            return Err(MembershipError::Moved {
                id: member.id,
                address: known.address.clone(),
            });
        }
        if let Some(dead) = replaces.filter(|dead| !voters.contains(&dead.get())) {
            // Asked again after it was done.
            if voters.contains(&member.id.get()) {
                return Ok(());
            }
            return Err(MembershipError::NotAVoter { id: dead });
        }
        if !voters.contains(&member.id.get()) {
            self.catch_up(&member).await?;
        }
        let mut after = voters;
        after.insert(member.id.get());
        if let Some(dead) = replaces {
            after.remove(&dead.get());
        }
        self.write(ChangeMembers::ReplaceAllVoters(after)).await
    }

    /// Makes it a learner, and waits until it has what the group has.
    async fn catch_up(&self, member: &Member) -> Result<()> {
        self.meet(member).await?;
        let node = Node {
            address: member.address.clone(),
        };
        let learning = self.raft.add_learner(member.id.get(), node, true);
        match R::timeout(self.patience, learning).await {
            Ok(learnt) => learnt.map(drop).map_err(refused),
            Err(_) => {
                let again = BTreeSet::from([member.id.get()]);
                if let Err(error) = self.write(ChangeMembers::RemoveNodes(again)).await {
                    tracing::warn!(%error, id = %member.id, "a controller that did not catch up is still a learner");
                }
                Err(MembershipError::TooSlow {
                    id: member.id,
                    patience: self.patience,
                })
            }
        }
    }

    /// Whoever answers there must be the one that is meant, and of this cluster or none.
    async fn meet(&self, member: &Member) -> Result<()> {
        let status = self.transport.status(&member.address, self.ttl).await?;
        if status.id != member.id {
            return Err(MembershipError::Elsewhere {
                address: member.address.clone(),
                id: member.id,
                found: status.id,
            });
        }
        let ours = self.published.image().cluster_id();
        if let Some(cluster) = status.cluster.filter(|theirs| Some(*theirs) != ours) {
            return Err(MembershipError::OtherCluster {
                address: member.address.clone(),
                cluster,
            });
        }
        Ok(())
    }

    async fn leave(&self, id: ControllerId) -> Result<()> {
        let membership = self.membership();
        let leaver = BTreeSet::from([id.get()]);
        let mut voters: BTreeSet<u64> = membership.voter_ids().collect();
        if voters.remove(&id.get()) {
            if voters.is_empty() {
                return Err(MembershipError::LastVoter { id });
            }
            self.write(ChangeMembers::RemoveVoters(leaver)).await
        } else if membership.get_node(&id.get()).is_some() {
            self.write(ChangeMembers::RemoveNodes(leaver)).await
        } else {
            Err(MembershipError::NotAVoter { id })
        }
    }

    async fn write(&self, change: ChangeMembers<u64, Node>) -> Result<()> {
        let written = self.raft.change_membership(change, false).await;
        written.map(drop).map_err(refused)
    }
}

fn refused(error: RaftError<u64, ClientWriteError<u64, Node>>) -> MembershipError {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(to)) => elsewhere(to).into(),
        RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => match error {
            ChangeMembershipError::InProgress(_) => MembershipError::InProgress,
            ChangeMembershipError::EmptyMembership(_) | ChangeMembershipError::LearnerNotFound(_) => {
                MembershipError::Changed(error.to_string())
            }
        },
        RaftError::Fatal(_) => Unavailable::Stopped.into(),
    }
}

impl From<TransportError> for MembershipError {
    fn from(error: TransportError) -> Self {
        Self::Unreachable(error)
    }
}
