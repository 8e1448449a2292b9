//! The controllers as an admin sees them: who votes on the cluster's metadata, and how that is changed.

use super::Admin;
use crate::error::CallError;
use crate::routing::timed;
use quipu_proto::v1;
use quipu_proto::v1::cluster_service_client::ClusterServiceClient;
use quipu_record::MetadataVersion;

/// The controllers, as the active one sees them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ControllersDescription {
    /// By address.
    pub controllers: Vec<ControllerDescription>,
    /// Raft's term: it grows with each election.
    pub term: u64,
    /// The version of the metadata that the active controller holds.
    pub metadata_version: MetadataVersion,
}

/// A controller.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ControllerDescription {
    /// Its id: 16 hexadecimal digits, made as its data directory was.
    pub id: String,
    /// host:port of its internal listener; empty if this process alone is a cluster.
    pub address: String,
    /// Whether it votes; it only follows otherwise.
    pub voter: bool,
    /// It is the active one.
    pub active: bool,
    /// Whether it answers now.
    pub reachable: bool,
    /// The version of the metadata that it holds, if it answers.
    pub metadata_version: Option<MetadataVersion>,
}

impl Admin {
    /// Describes the controllers.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn controllers(&self) -> Result<ControllersDescription, CallError> {
        let operation = self.repeatable("describe the controllers");
        let answer = self.cluster.call(operation, |connection, left| async move {
            let request = timed(v1::GetControllersRequest {}, left);
            ClusterServiceClient::new(connection)
                .get_controllers(request)
                .await
        });
        let answer = answer.await?;
        Ok(ControllersDescription {
            controllers: controllers(answer.controllers),
            term: answer.term,
            metadata_version: MetadataVersion::new(answer.metadata_version),
        })
    }

    /// Makes the controller at `address` (host:port of its internal listener) a voter, in place of the dead voter
    /// `replaces` if one is named. It must run, and must not be part of a cluster yet. Returns the voters from now on.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn join_controller(
        &self,
        address: &str,
        replaces: Option<&str>,
    ) -> Result<Vec<ControllerDescription>, CallError> {
        let request = v1::JoinControllerRequest {
            address: address.to_owned(),
            replaces: replaces.unwrap_or_default().to_owned(),
        };
        let operation = self.change("take a controller in", false);
        let answer = self.cluster.call(operation, |connection, left| {
            let request = timed(request.clone(), left);
            async move {
                ClusterServiceClient::new(connection)
                    .join_controller(request)
                    .await
            }
        });
        Ok(controllers(answer.await?.voters))
    }

    /// Takes the controller with this id out of the group of voters. Returns the voters from now on.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn leave_controller(&self, id: &str) -> Result<Vec<ControllerDescription>, CallError> {
        let request = v1::LeaveControllerRequest {
            controller_id: id.to_owned(),
        };
        let operation = self.change("let a controller go", false);
        let answer = self.cluster.call(operation, |connection, left| {
            let request = timed(request.clone(), left);
            async move {
                ClusterServiceClient::new(connection)
                    .leave_controller(request)
                    .await
            }
        });
        Ok(controllers(answer.await?.voters))
    }
}

fn controllers(nodes: Vec<v1::ControllerNode>) -> Vec<ControllerDescription> {
    let each = nodes.into_iter().map(|node| ControllerDescription {
        id: node.controller_id,
        address: node.address,
        voter: node.voter,
        active: node.active,
        reachable: node.reachable,
        metadata_version: node.metadata_version.map(MetadataVersion::new),
    });
    each.collect()
}
