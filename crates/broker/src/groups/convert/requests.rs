//! Requests.

use super::{at, millis, span};
use crate::data_plane::DataPlane;
use crate::service::route::not_too_many;
use quipu_coordinator::{
    Commit, CommitNumber, Committer, GroupId, Heartbeat, InstanceId, Leave, MemberEpoch, MemberId,
    OffsetCommit, OffsetsQuery, StreamId, StreamNumber, Subscription,
};
use quipu_proto::{Failure, scalars, v1};
use quipu_record::{LeaderEpoch, TopicPartition};
use std::time::Duration;

/// A client's names for itself are shown to people: so much of them is kept.
const SHOWN_MAX: usize = 256;

/// The name of a group.
pub(crate) fn group(name: &str) -> Result<GroupId, Failure> {
    GroupId::new(name).map_err(|error| super::failure_of(&error))
}

/// As a client counts its streams; 0: it does not.
pub(crate) fn stream_number(number: u64) -> Option<StreamNumber> {
    (number > 0).then(|| StreamNumber::new(number))
}

/// Who speaks for a member; 0: no stream.
fn stream(id: u64) -> Option<StreamId> {
    (id > 0).then(|| StreamId::new(id))
}

fn member(id: &str) -> Result<MemberId, Failure> {
    MemberId::new(id).map_err(|error| super::failure_of(&error))
}

/// The partition that a client names: the topic by name, by id, or by both, which must agree.
fn resolve(
    plane: &DataPlane,
    topic: &str,
    id: Option<&str>,
    partition: u32,
) -> Result<TopicPartition, Failure> {
    if topic.is_empty()
        && let Some(id) = id
    {
        // It may be gone: what was committed of it may be asked for all the same.
        return Ok(at(scalars::topic_id(id)?, partition));
    }
    Ok(at(plane.topic(topic, id)?.info.id, partition))
}

pub(crate) fn heartbeat_request_from_wire(request: v1::GroupHeartbeatRequest) -> Result<Heartbeat, Failure> {
    let refused = |error| super::failure_of(&error);
    let owned = request.owned.map(|owned| {
        not_too_many("owned.partitions", owned.partitions.len())?;
        let partitions = owned.partitions.iter();
        let partitions = partitions.map(|one| Ok(at(scalars::topic_id(&one.topic_id)?, one.partition)));
        partitions.collect::<Result<Vec<_>, Failure>>()
    });
    let subscription = request.subscription.map(|wanted| {
        not_too_many("subscription.topics", wanted.topics.len())?;
        Ok::<_, Failure>(Subscription {
            topics: wanted.topics.iter().map(|topic| topic.as_str().into()).collect(),
            pattern: wanted.topic_pattern.map(Into::into),
        })
    });
    let instance = request.instance_id.as_deref().map(InstanceId::new).transpose();
    Ok(Heartbeat {
        group: group(&request.group)?,
        member: member(&request.member_id)?,
        epoch: (request.member_epoch > 0).then(|| MemberEpoch::new(request.member_epoch)),
        instance: instance.map_err(refused)?,
        rack: request.rack.filter(|rack| !rack.is_empty()).map(Into::into),
        subscription: subscription.transpose()?,
        assignor: request.assignor.filter(|assignor| !assignor.is_empty()),
        owned: owned.transpose()?,
        session_timeout: span(request.session_timeout_ms),
        revocation_timeout: span(request.revocation_timeout_ms),
        client_id: shown(&request.client_id).into(),
        client_host: shown(&request.client_host).into(),
        stream: stream(request.stream_id),
        stream_number: stream_number(request.stream_number),
        max_wait: Duration::from_millis(request.max_wait_ms.into()),
    })
}

fn shown(text: &str) -> &str {
    let end = (0..=SHOWN_MAX.min(text.len())).rev();
    let end = end.into_iter().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

pub(crate) fn heartbeat_request_to_wire(heartbeat: Heartbeat) -> v1::GroupHeartbeatRequest {
    let owned = heartbeat.owned.map(|owned| v1::OwnedPartitions {
        partitions: owned
            .into_iter()
            .map(|at| v1::OwnedPartition {
                topic_id: at.topic.to_string(),
                partition: at.partition.get(),
            })
            .collect(),
    });
    let subscription = heartbeat.subscription.map(|wanted| v1::Subscription {
        topics: wanted.topics.iter().map(ToString::to_string).collect(),
        topic_pattern: wanted.pattern.map(|pattern| pattern.to_string()),
    });
    v1::GroupHeartbeatRequest {
        group: heartbeat.group.to_string(),
        member_id: heartbeat.member.to_string(),
        member_epoch: heartbeat.epoch.map_or(0, MemberEpoch::get),
        instance_id: heartbeat.instance.map(|instance| instance.to_string()),
        rack: heartbeat.rack.map(|rack| rack.to_string()),
        subscription,
        assignor: heartbeat.assignor,
        owned,
        session_timeout_ms: heartbeat.session_timeout.map_or(0, millis),
        revocation_timeout_ms: heartbeat.revocation_timeout.map_or(0, millis),
        client_id: heartbeat.client_id.to_string(),
        client_host: heartbeat.client_host.to_string(),
        stream_id: heartbeat.stream.map_or(0, StreamId::get),
        max_wait_ms: millis(heartbeat.max_wait),
        routing: v1::Routing::LeaderOnly.into(),
        stream_number: heartbeat.stream_number.map_or(0, StreamNumber::get),
    }
}

pub(crate) fn leave_from_wire(request: &v1::LeaveGroupRequest) -> Result<Leave, Failure> {
    Ok(Leave {
        group: group(&request.group)?,
        member: member(&request.member_id)?,
        stream: (request.stream_id > 0).then(|| StreamId::new(request.stream_id)),
        stream_number: stream_number(request.stream_number),
        will_return: request.will_return,
    })
}

pub(crate) fn leave_to_wire(leave: &Leave) -> v1::LeaveGroupRequest {
    v1::LeaveGroupRequest {
        group: leave.group.to_string(),
        member_id: leave.member.to_string(),
        stream_id: leave.stream.map_or(0, StreamId::get),
        will_return: leave.will_return,
        routing: v1::Routing::LeaderOnly.into(),
        stream_number: leave.stream_number.map_or(0, StreamNumber::get),
    }
}

/// The commit, and where its offsets are: each found, or why it is not. If one is not, nothing is to be committed.
pub(crate) fn commit_from_wire(
    plane: &DataPlane,
    request: &v1::CommitOffsetsRequest,
) -> Result<(Commit, Vec<Result<TopicPartition, Failure>>), Failure> {
    not_too_many("offsets", request.offsets.len())?;
    let committer = request.member_id.as_deref().map(|id| {
        Ok::<_, Failure>(Committer {
            member: member(id)?,
            epoch: MemberEpoch::new(request.member_epoch),
            stream: stream(request.stream_id),
            stream_number: stream_number(request.stream_number),
            number: (request.commit_number > 0).then(|| CommitNumber::new(request.commit_number)),
        })
    });
    let mut found = Vec::with_capacity(request.offsets.len());
    let mut offsets = Vec::with_capacity(request.offsets.len());
    for asked in &request.offsets {
        let at = resolve(plane, &asked.topic, asked.topic_id.as_deref(), asked.partition);
        let offset = scalars::offset("offsets.offset", asked.offset);
        found.push(at.and_then(|at| {
            offsets.push(OffsetCommit {
                at,
                offset: offset?,
                leader_epoch: asked.leader_epoch.map(LeaderEpoch::new),
                metadata: asked.metadata.as_str().into(),
            });
            Ok(at)
        }));
    }
    let commit = Commit {
        group: group(&request.group)?,
        by: committer.transpose()?,
        offsets,
    };
    Ok((commit, found))
}

/// By ids alone: the names are settled. For the coordinator of this epoch and no other.
pub(crate) fn commit_to_wire(commit: Commit, coordinator: LeaderEpoch) -> v1::CommitOffsetsRequest {
    let offsets = commit.offsets.into_iter().map(|offset| v1::OffsetCommit {
        topic: String::new(),
        topic_id: Some(offset.at.topic.to_string()),
        partition: offset.at.partition.get(),
        offset: offset.offset.get(),
        leader_epoch: offset.leader_epoch.map(LeaderEpoch::get),
        metadata: offset.metadata.to_string(),
    });
    let by = commit.by.as_ref();
    v1::CommitOffsetsRequest {
        group: commit.group.to_string(),
        member_epoch: by.map_or(0, |by| by.epoch.get()),
        member_id: by.map(|by| by.member.to_string()),
        offsets: offsets.collect(),
        routing: v1::Routing::LeaderOnly.into(),
        stream_id: by.and_then(|by| by.stream).map_or(0, StreamId::get),
        stream_number: by.and_then(|by| by.stream_number).map_or(0, StreamNumber::get),
        commit_number: by.and_then(|by| by.number).map_or(0, CommitNumber::get),
        coordinator_epoch: Some(coordinator.get()),
    }
}

/// The query, and where its partitions are: each found, or why it is not.
pub(crate) fn query_from_wire(
    plane: &DataPlane,
    request: &v1::GetOffsetsRequest,
) -> Result<(OffsetsQuery, Vec<Result<TopicPartition, Failure>>), Failure> {
    not_too_many("partitions", request.partitions.len())?;
    let asked = request.partitions.iter();
    let found: Vec<_> = asked
        .map(|asked| resolve(plane, &asked.topic, asked.topic_id.as_deref(), asked.partition))
        .collect();
    let partitions = found.iter().filter_map(|found| found.as_ref().ok().copied());
    let query = OffsetsQuery {
        group: group(&request.group)?,
        partitions: (!request.partitions.is_empty()).then(|| partitions.collect()),
    };
    Ok((query, found))
}

/// By ids alone. To ask for no partition means on the wire to ask for all: that needs no coordinator, and gets none.
pub(crate) fn query_to_wire(query: &OffsetsQuery) -> v1::GetOffsetsRequest {
    let partitions = query.partitions.iter().flatten().map(|at| v1::OffsetWanted {
        topic: String::new(),
        topic_id: Some(at.topic.to_string()),
        partition: at.partition.get(),
    });
    v1::GetOffsetsRequest {
        group: query.group.to_string(),
        partitions: partitions.collect(),
        routing: v1::Routing::LeaderOnly.into(),
    }
}
