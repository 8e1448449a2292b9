//! The controllers as people see them: `quipu controller status`, and their joining and leaving.

use quipu_controller::{ControllerStatus, Member};
use quipu_proto::{Failure, v1};
use quipu_record::ErrorCode;

/// The controllers, as one of them knows them.
pub(super) fn describe(status: &ControllerStatus) -> v1::GetControllersResponse {
    let active = status.leader.as_ref().map(|leader| leader.id);
    let node = |member: &Member, voter| v1::ControllerNode {
        controller_id: member.id.to_string(),
        address: member.address.clone(),
        voter,
        active: active == Some(member.id),
        reachable: member.id == status.id,
        metadata_version: status.applied.filter(|_| member.id == status.id),
    };
    let voters = status.voters.iter().map(|member| node(member, true));
    let learners = status.learners.iter().map(|member| node(member, false));
    v1::GetControllersResponse {
        controllers: voters.chain(learners).collect(),
        term: status.term,
        metadata_version: status.applied.unwrap_or_default(),
    }
}

/// A cluster of one takes nobody in, and nobody may leave it.
pub(super) fn alone() -> Failure {
    let told = "this broker alone is its cluster: controllers.voters is empty";
    Failure::new(ErrorCode::InvalidRequest, told)
}
