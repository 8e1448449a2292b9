//! The controllers as people see them: `quipu controller status`, and their joining and leaving.

use crate::controllers::{Controllers, Survey};
use quipu_controller::{ControllerId, Member};
use quipu_proto::{Failure, v1};
use quipu_record::ErrorCode;

/// The controllers, each by its own word.
pub(super) fn describe(survey: &Survey) -> v1::GetControllersResponse {
    let nodes = survey.nodes.iter().map(|node| v1::ControllerNode {
        controller_id: node.member.id.to_string(),
        address: node.member.address.clone(),
        voter: node.voter,
        active: survey.active == Some(node.member.id),
        reachable: node.status.is_some(),
        metadata_version: node.status.as_ref().map(|status| status.version.get()),
    });
    let active = survey.active();
    v1::GetControllersResponse {
        controllers: nodes.collect(),
        term: active.map_or(0, |status| status.term),
        metadata_version: active.map_or(0, |status| status.version.get()),
    }
}

/// Takes a controller in.
pub(super) async fn join(
    controllers: &Controllers,
    request: v1::JoinControllerRequest,
) -> Result<v1::JoinControllerResponse, Failure> {
    let replaces = match request.replaces.as_str() {
        "" => None,
        text => Some(id(text)?),
    };
    let voters = controllers.join(request.address, replaces).await?;
    Ok(v1::JoinControllerResponse {
        voters: voters.iter().map(voter).collect(),
    })
}

/// Lets a controller go.
pub(super) async fn leave(
    controllers: &Controllers,
    request: v1::LeaveControllerRequest,
) -> Result<v1::LeaveControllerResponse, Failure> {
    let voters = controllers.leave(id(&request.controller_id)?).await?;
    Ok(v1::LeaveControllerResponse {
        voters: voters.iter().map(voter).collect(),
    })
}

fn id(text: &str) -> Result<ControllerId, Failure> {
    ControllerId::parse(text).ok_or_else(|| {
        let told = "a controller's id has 16 hexadecimal digits, as quipu controller status shows it";
        Failure::new(ErrorCode::InvalidRequest, told)
    })
}

fn voter(member: &Member) -> v1::ControllerNode {
    v1::ControllerNode {
        controller_id: member.id.to_string(),
        address: member.address.clone(),
        voter: true,
        ..v1::ControllerNode::default()
    }
}
