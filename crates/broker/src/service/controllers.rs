//! The controllers as people see them: `quipu controller status`, and their joining and leaving.

use quipu_controller::ControllerStatus;
use quipu_proto::{Failure, v1};
use quipu_record::ErrorCode;

/// The controllers, as one of them knows them.
pub(super) fn describe(status: &ControllerStatus) -> v1::GetControllersResponse {
    let node = |id: &quipu_controller::ControllerId| v1::ControllerNode {
        controller_id: id.to_string(),
        voter: true,
        active: status.leader == Some(*id),
        reachable: *id == status.id,
        metadata_version: status.applied.filter(|_| *id == status.id),
        ..v1::ControllerNode::default()
    };
    v1::GetControllersResponse {
        controllers: status.voters.iter().map(node).collect(),
        term: status.term,
        metadata_version: status.applied.unwrap_or_default(),
    }
}

/// A cluster of one takes nobody in, and nobody may leave it.
pub(super) fn alone() -> Failure {
    let told = "this broker alone is its cluster: controllers.voters is empty";
    Failure::new(ErrorCode::InvalidRequest, told)
}
