//! The controllers looked at one by one, and their joining and leaving, which the active one does.

use super::Controllers;
use super::propose::Client;
use quipu_controller::grpc::{member, peer_status};
use quipu_controller::{ControllerId, Member, MembershipError, PeerStatus};
use quipu_metadata::ClusterId;
use quipu_proto::Failure;
use quipu_proto::internal as wire;
use quipu_record::ErrorCode;
use std::collections::BTreeMap;
use tokio::task::JoinSet;
use tonic::Status;

/// What the controllers say of themselves.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Survey {
    /// By address.
    pub(crate) nodes: Vec<Node>,
    /// The active one; `None`: there is none, or nobody knows.
    pub(crate) active: Option<ControllerId>,
}

/// One controller.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Node {
    /// Who and where.
    pub(crate) member: Member,
    /// Whether it votes.
    pub(crate) voter: bool,
    /// What it says of itself; `None`: it does not answer.
    pub(crate) status: Option<PeerStatus>,
}

impl Survey {
    /// What the active one says of itself.
    pub(crate) fn active(&self) -> Option<&PeerStatus> {
        let active = self.active?;
        let node = self.nodes.iter().find(|node| node.member.id == active)?;
        node.status.as_ref()
    }
}

impl Controllers {
    /// Asks all controllers at once how they are.
    pub(crate) async fn survey(&self) -> Survey {
        let mut said: BTreeMap<String, PeerStatus> = BTreeMap::new();
        if let Some(local) = self.local() {
            said.insert(self.inner.own.clone(), local.peer_status());
        }
        let mut asked = JoinSet::new();
        for address in self.others() {
            let controllers = self.clone();
            asked.spawn(async move {
                let status = controllers.status_of(&address).await?;
                Some((address, peer_status(status).ok()?))
            });
        }
        while let Some(answered) = asked.join_next().await {
            said.extend(answered.ok().flatten());
        }
        // Who leads in the newest term knows best who belongs to the group.
        let leads = |status: &PeerStatus| {
            status
                .leader
                .as_ref()
                .is_some_and(|leader| leader.id == status.id)
        };
        let newest = said
            .values()
            .max_by_key(|status| (status.term, leads(status), status.version));
        let Some(newest) = newest else {
            return Survey::default();
        };
        let active = said
            .values()
            .filter(|status| leads(status) && status.term == newest.term)
            .map(|status| status.id)
            .next();
        let all = newest.voters.iter().map(|member| (member, true));
        let all = all.chain(newest.learners.iter().map(|member| (member, false)));
        let mut nodes: Vec<_> = all
            .map(|(member, voter)| {
                let status = said.values().find(|status| status.id == member.id);
                Node {
                    member: member.clone(),
                    voter,
                    status: status.cloned(),
                }
            })
            .collect();
        nodes.sort_by(|a, b| a.member.address.cmp(&b.member.address));
        Survey { nodes, active }
    }

    /// The clusters that the other controllers answer for, each with its address; those that answer.
    pub(crate) async fn survey_configured(&self) -> Vec<(String, ClusterId)> {
        let mut asked = JoinSet::new();
        for address in self.others() {
            let controllers = self.clone();
            asked.spawn(async move {
                let status = controllers.status_of(&address).await?;
                Some((address, ClusterId::parse(&status.cluster_id?)?))
            });
        }
        let answered = asked.join_all().await;
        answered.into_iter().flatten().collect()
    }

    /// Makes the running, empty controller at `address` a voter, in place of `replaces` if that is named.
    ///
    /// # Errors
    /// What to tell whoever asked.
    pub(crate) async fn join(
        &self,
        address: String,
        replaces: Option<ControllerId>,
    ) -> Result<Vec<Member>, Failure> {
        let Some(status) = self.status_of(&address).await else {
            let told = format!(
                "no controller answers at {address}: start a process there with the role controller, an empty data.dir, and \
                 this address as its internal one"
            );
            return Err(Failure::new(ErrorCode::InvalidRequest, told));
        };
        let id = ControllerId::new(status.controller_id);
        if let Some(local) = self.local().filter(|_| self.is_active_here()) {
            return local
                .join(id, address, replaces)
                .await
                .map_err(|error| failure(&error));
        }
        let request = wire::JoinControllerRequest {
            controller_id: id.get(),
            address,
            replaces: replaces.map(ControllerId::get),
        };
        let (at, mut client) = self.active_client().await?;
        let voters = client.join_controller(request).await;
        self.voters(&at, voters.map(|response| response.into_inner().voters))
    }

    /// Takes a controller out of the group.
    ///
    /// # Errors
    /// What to tell whoever asked.
    pub(crate) async fn leave(&self, id: ControllerId) -> Result<Vec<Member>, Failure> {
        if let Some(local) = self.local().filter(|_| self.is_active_here()) {
            return local.leave(id).await.map_err(|error| failure(&error));
        }
        let request = wire::LeaveControllerRequest {
            controller_id: id.get(),
        };
        let (at, mut client) = self.active_client().await?;
        let voters = client.leave_controller(request).await;
        self.voters(&at, voters.map(|response| response.into_inner().voters))
    }

    async fn active_client(&self) -> Result<(String, Client), Failure> {
        let Some(address) = self.whereabouts().await else {
            let told =
                "no controller is active now; try again in a moment, and look with quipu cluster check";
            return Err(Failure::new(ErrorCode::NoQuorum, told));
        };
        match self.client(&address).await {
            Ok(client) => Ok((address, client)),
            Err(why) => Err(Failure::new(ErrorCode::NoQuorum, why)),
        }
    }

    fn voters(
        &self,
        at: &str,
        answered: Result<Vec<wire::ControllerAddress>, Status>,
    ) -> Result<Vec<Member>, Failure> {
        match answered {
            Ok(voters) => Ok(voters.into_iter().map(member).collect()),
            Err(status) => Err(self.failed(at, &status)),
        }
    }
}

fn failure(error: &MembershipError) -> Failure {
    Failure::new(error.code(), error.to_string())
}
