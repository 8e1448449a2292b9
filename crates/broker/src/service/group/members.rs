//! What members, and brokers that host their streams, ask for.

use super::{Asking, PATIENCE, unexpected};
use crate::admit::RequestContext;
use crate::groups::{Groups, convert};
use quipu_coordinator::{GroupError, Request, Response};
use quipu_proto::{Failure, v1};
use quipu_record::{ErrorCode, TopicPartition};
use std::time::Duration;

/// What a heartbeat that waits gets on top of its wait.
const BEYOND_WAIT: Duration = Duration::from_secs(10);

pub(super) async fn heartbeat(
    groups: &Groups,
    context: &RequestContext,
    request: v1::GroupHeartbeatRequest,
) -> Result<v1::GroupHeartbeatResponse, Failure> {
    let wait = Duration::from_millis(request.max_wait_ms.into());
    let patience = (wait + BEYOND_WAIT).max(PATIENCE);
    let asking = Asking::within(groups, context, request.routing, patience)?;
    let heartbeat = convert::heartbeat_request_from_wire(request)?;
    let group = heartbeat.group.clone();
    let asked = asking.ask(&group, Request::Heartbeat(heartbeat));
    // One that waits would hold up the end of this broker.
    let answer = tokio::select! {
        answer = asked => answer?,
        () = context.drained() => {
            let told = "this broker is shutting down: ask again in a moment";
            return Err(Failure::new(ErrorCode::ShuttingDown, told));
        }
    };
    match answer {
        Response::Heartbeat(answer) => Ok(convert::heartbeat_to_wire(&asking.image(), answer)),
        _ => Err(unexpected()),
    }
}

pub(super) async fn leave(
    groups: &Groups,
    context: &RequestContext,
    request: v1::LeaveGroupRequest,
) -> Result<v1::LeaveGroupResponse, Failure> {
    let asking = Asking::new(groups, context, request.routing)?;
    let leave = convert::leave_from_wire(&request)?;
    let group = leave.group.clone();
    match asking.ask(&group, Request::Leave(leave)).await? {
        Response::Left => Ok(v1::LeaveGroupResponse::default()),
        _ => Err(unexpected()),
    }
}

pub(super) async fn commit(
    groups: &Groups,
    context: &RequestContext,
    request: v1::CommitOffsetsRequest,
) -> Result<v1::CommitOffsetsResponse, Failure> {
    let asking = Asking::new(groups, context, request.routing)?.of_epoch(request.coordinator_epoch);
    let (commit, found) = convert::commit_from_wire(groups.plane(), &request)?;
    if let Some(first) = found.iter().find_map(|found| found.as_ref().err()) {
        let code = first.code;
        let results = request.offsets.iter().zip(&found);
        let results = results.map(|(asked, found)| refused(asked, found.as_ref(), code));
        return Ok(v1::CommitOffsetsResponse {
            results: results.collect(),
            throttle_ms: 0,
        });
    }
    let places: Vec<TopicPartition> = commit.offsets.iter().map(|offset| offset.at).collect();
    let group = commit.group.clone();
    match asking.ask(&group, Request::Commit(commit)).await? {
        Response::Committed(results) if results.len() == places.len() => Ok(v1::CommitOffsetsResponse {
            results: convert::committed_to_wire(&asking.image(), places.into_iter(), results),
            throttle_ms: 0,
        }),
        _ => Err(unexpected()),
    }
}

/// An offset of a commit of which one has no partition.
fn refused(
    asked: &v1::OffsetCommit,
    found: Result<&TopicPartition, &Failure>,
    code: ErrorCode,
) -> v1::OffsetCommitResult {
    let error = match found {
        Ok(_) => convert::failure_of(&GroupError::WithOthers(code)),
        Err(failure) => failure.clone(),
    };
    v1::OffsetCommitResult {
        topic: super::super::route::shown(&asked.topic).to_owned(),
        topic_id: found.map(|at| at.topic.to_string()).unwrap_or_default(),
        partition: asked.partition,
        error: Some(error.into()),
    }
}

pub(super) async fn get(
    groups: &Groups,
    context: &RequestContext,
    request: v1::GetOffsetsRequest,
) -> Result<v1::GetOffsetsResponse, Failure> {
    let asking = Asking::new(groups, context, request.routing)?;
    let (query, found) = convert::query_from_wire(groups.plane(), &request)?;
    let group = query.group.clone();
    let all = query.partitions.is_none();
    let Response::Offsets(offsets) = asking.ask(&group, Request::Offsets(query)).await? else {
        return Err(unexpected());
    };
    let image = asking.image();
    let mut offsets = convert::offsets_to_wire(&image, offsets);
    if all {
        offsets
            .sort_by(|a, b| (&a.topic, &a.topic_id, a.partition).cmp(&(&b.topic, &b.topic_id, b.partition)));
        return Ok(v1::GetOffsetsResponse {
            offsets,
            throttle_ms: 0,
        });
    }
    let mut offsets = offsets.into_iter();
    let answers = request.partitions.iter().zip(found);
    let answers = answers.map(|(asked, found)| match found {
        Ok(_) => offsets.next().ok_or_else(unexpected),
        Err(failure) => Ok(v1::CommittedOffset {
            topic: super::super::route::shown(&asked.topic).to_owned(),
            partition: asked.partition,
            error: Some(failure.into()),
            ..v1::CommittedOffset::default()
        }),
    });
    Ok(v1::GetOffsetsResponse {
        offsets: answers.collect::<Result<_, Failure>>()?,
        throttle_ms: 0,
    })
}
