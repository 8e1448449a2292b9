//! The beginning of a group: alone at once, with others once they agree (`bootstrap`).

use super::Group;
use crate::bootstrap::{self, Bootstrap, Step};
use crate::raft::{Node, Runtime, Types};
use crate::transport::{Member, PeerStatus, Transport};
use crate::{ControllerConfig, StartError};
use openraft::{ChangeMembers, Raft};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long a group of one may take to elect itself, which is a matter of two writes.
const ELECTION_PATIENCE: Duration = Duration::from_secs(30);

/// Begins, or goes on with what is on disk. On return a controller that is alone is active; one of many goes about it.
pub(super) async fn begin<R: Runtime, T: Transport>(
    raft: &Raft<Types<R>>,
    config: &ControllerConfig,
    transport: &Arc<T>,
    bootstrapping: watch::Sender<Bootstrap>,
    group: &Group,
) -> Result<(), StartError> {
    let failed = |error: &dyn std::fmt::Display| StartError::Raft(error.to_string());
    let begun = raft.is_initialized().await.map_err(|error| failed(&error))?;
    let alone = if begun {
        // None at all: it gave a vote, and never heard of the group that it was for.
        let voters = group.status().voters;
        voters.len() == 1 && voters[0].id == group.id
    } else {
        config.voters.iter().all(|address| *address == config.address)
    };
    if alone {
        lead(raft, config, begun).await?;
        bootstrapping.send_replace(Bootstrap::Joined);
        return cluster_known(group).await;
    }
    if begun {
        bootstrapping.send_replace(Bootstrap::Joined);
        return Ok(());
    }
    let me = Member {
        id: group.id,
        address: config.address.clone(),
    };
    let asking = Asking {
        raft: raft.clone(),
        transport: Arc::clone(transport),
        me,
        configured: config.voters.clone(),
        interval: config.election_timeout_min,
    };
    drop(R::spawn(asking.run(bootstrapping)));
    Ok(())
}

/// Makes the only voter the leader at once, instead of after an election timeout, and waits until everything that was
/// ever committed is in the image.
async fn lead<R: Runtime>(
    raft: &Raft<Types<R>>,
    config: &ControllerConfig,
    begun: bool,
) -> Result<(), StartError> {
    let failed = |error: &dyn std::fmt::Display| StartError::Raft(error.to_string());
    let id = raft.metrics().borrow().id;
    let node = Node {
        address: config.address.clone(),
    };
    if !begun {
        let group = BTreeMap::from([(id, node.clone())]);
        raft.initialize(group).await.map_err(|error| failed(&error))?;
    } else if raft.current_leader().await != Some(id) {
        raft.trigger().elect().await.map_err(|error| failed(&error))?;
    }
    let leading = raft.wait(Some(ELECTION_PATIENCE));
    leading
        .current_leader(id, "the only voter leads")
        .await
        .map_err(|error| failed(&error))?;
    raft.ensure_linearizable().await.map_err(|error| failed(&error))?;
    let known = {
        let metrics = raft.metrics();
        let metrics = metrics.borrow();
        metrics.membership_config.membership().get_node(&id).cloned()
    };
    if !node.address.is_empty() && known != Some(node.clone()) {
        // With one voter there is no majority that an address could split.
        let moved = ChangeMembers::SetNodes(BTreeMap::from([(id, node)]));
        let moved = raft.change_membership(moved, true).await;
        moved.map_err(|error| failed(&error))?;
    }
    Ok(())
}

/// Waits until the cluster has its id.
async fn cluster_known(group: &Group) -> Result<(), StartError> {
    let mut images = group.published.watch();
    tokio::select! {
        biased;
        failure = group.failing.wait() => Err(StartError::Raft(failure.0)),
        known = tokio::time::timeout(ELECTION_PATIENCE, images.wait_for(|image| image.cluster_id().is_some())) => match known {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(StartError::Raft("the metadata group has stopped".to_owned())),
            Err(_) => Err(StartError::Raft("the cluster got no id".to_owned())),
        },
    }
}

/// An empty controller that asks the others.
struct Asking<R: Runtime, T> {
    raft: Raft<Types<R>>,
    transport: Arc<T>,
    me: Member,
    configured: Vec<String>,
    interval: Duration,
}

impl<R: Runtime, T: Transport> Asking<R, T> {
    /// Asks until there is a group with this controller in it.
    async fn run(self, state: watch::Sender<Bootstrap>) {
        loop {
            match self.raft.is_initialized().await {
                Ok(false) => {}
                Ok(true) => {
                    state.send_replace(Bootstrap::Joined);
                    return;
                }
                // It has stopped.
                Err(_) => return,
            }
            let answers = self.ask().await;
            match bootstrap::decide(&self.me, &self.configured, &answers) {
                Step::Wait(now) => {
                    if state.send_if_modified(|before| std::mem::replace(before, now.clone()) != now) {
                        tell(&now);
                    }
                    R::sleep(self.interval).await;
                }
                Step::Found(members) => self.found(members).await,
            }
        }
    }

    /// Asks one after the other: there is no hurry, and the order is always the same.
    async fn ask(&self) -> Vec<(String, Option<PeerStatus>)> {
        let mut answers = Vec::new();
        for address in &self.configured {
            if *address == self.me.address {
                continue;
            }
            let status = self.transport.status(address, self.interval).await;
            if let Err(error) = &status {
                tracing::debug!(%error, "asked who is there");
            }
            answers.push((address.clone(), status.ok()));
        }
        answers
    }

    async fn found(&self, members: Vec<Member>) {
        tracing::info!(?members, "all controllers are empty: making the metadata group");
        let group: BTreeMap<u64, Node> = members
            .into_iter()
            .map(|member| {
                (
                    member.id.get(),
                    Node {
                        address: member.address,
                    },
                )
            })
            .collect();
        if let Err(error) = self.raft.initialize(group).await {
            // Another's messages may have come first: then there is a group.
            tracing::warn!(%error, "the metadata group was not made here");
        }
    }
}

fn tell(state: &Bootstrap) {
    match state {
        Bootstrap::Refused(error) => tracing::error!(%error, "no metadata group can be made"),
        Bootstrap::Missing { addresses } => {
            tracing::info!(
                ?addresses,
                "waiting for all controllers to answer before a metadata group is made"
            );
        }
        Bootstrap::First { address } => tracing::info!(%address, "waiting for it to make the metadata group"),
        Bootstrap::Unjoined { address, .. } => tracing::warn!(
            %address,
            "there is a metadata group, or is to be one, without this controller: it waits to be let in"
        ),
        Bootstrap::Starting | Bootstrap::Joined => {}
    }
}
