//! Answers to what members and their hosts ask.

use super::{at, error_of, failure_of, millis, name_of};
use quipu_coordinator::{
    AssignedPartition, AssignmentEpoch, Committed, GroupError, HeartbeatAnswer, MemberEpoch,
};
use quipu_metadata::Image;
use quipu_proto::{Failure, scalars, v1};
use quipu_record::{LeaderEpoch, Timestamp, TopicPartition};
use std::time::Duration;

pub(crate) fn heartbeat_to_wire(image: &Image, answer: HeartbeatAnswer) -> v1::GroupHeartbeatResponse {
    let by_name = |assigned: Vec<AssignedPartition>| {
        let mut partitions: Vec<_> = assigned.iter().map(|one| assigned_to_wire(image, *one)).collect();
        partitions.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        partitions
    };
    v1::GroupHeartbeatResponse {
        member_epoch: answer.epoch.get(),
        heartbeat_interval_ms: millis(answer.heartbeat_interval),
        session_timeout_ms: millis(answer.session_timeout),
        assignment: answer.assignment.map(|assigned| v1::MemberAssignment {
            partitions: by_name(assigned),
            revoking: by_name(answer.revoking),
        }),
        revocation_left_ms: answer.revocation_left.map(millis),
        throttle_ms: 0,
    }
}

fn assigned_to_wire(image: &Image, one: AssignedPartition) -> v1::AssignedPartition {
    v1::AssignedPartition {
        topic: name_of(image, one.at.topic),
        topic_id: one.at.topic.to_string(),
        partition: one.at.partition.get(),
        assignment_epoch: one.epoch.get(),
    }
}

pub(crate) fn heartbeat_from_wire(answer: v1::GroupHeartbeatResponse) -> Result<HeartbeatAnswer, Failure> {
    let by_id = |partitions: Vec<v1::AssignedPartition>| {
        let partitions = partitions.iter().map(|one| {
            Ok(AssignedPartition {
                at: at(scalars::topic_id(&one.topic_id)?, one.partition),
                epoch: AssignmentEpoch::new(one.assignment_epoch),
            })
        });
        let mut partitions = partitions.collect::<Result<Vec<_>, Failure>>()?;
        partitions.sort();
        Ok::<_, Failure>(partitions)
    };
    let (assignment, revoking) = match answer.assignment {
        Some(told) => (Some(by_id(told.partitions)?), by_id(told.revoking)?),
        None => (None, Vec::new()),
    };
    let span = |millis: u32| Duration::from_millis(millis.into());
    Ok(HeartbeatAnswer {
        epoch: MemberEpoch::new(answer.member_epoch),
        heartbeat_interval: span(answer.heartbeat_interval_ms),
        session_timeout: span(answer.session_timeout_ms),
        assignment,
        revoking,
        revocation_left: answer.revocation_left_ms.map(span),
    })
}

/// In the order asked.
pub(crate) fn committed_to_wire(
    image: &Image,
    asked: impl Iterator<Item = TopicPartition>,
    results: Vec<Result<(), GroupError>>,
) -> Vec<v1::OffsetCommitResult> {
    let results = asked.zip(results);
    results
        .map(|(at, result)| v1::OffsetCommitResult {
            topic: name_of(image, at.topic),
            topic_id: at.topic.to_string(),
            partition: at.partition.get(),
            error: result.err().map(|error| failure_of(&error).into()),
        })
        .collect()
}

pub(crate) fn committed_from_wire(answer: v1::CommitOffsetsResponse) -> Vec<Result<(), GroupError>> {
    let results = answer.results.into_iter();
    results
        .map(|result| match result.error {
            Some(error) => Err(error_of(Failure::from(error))),
            None => Ok(()),
        })
        .collect()
}

pub(crate) fn offsets_to_wire(
    image: &Image,
    offsets: Vec<(TopicPartition, Option<Committed>)>,
) -> Vec<v1::CommittedOffset> {
    let offsets = offsets.into_iter();
    offsets
        .map(|(at, committed)| {
            let place = v1::CommittedOffset {
                topic: name_of(image, at.topic),
                topic_id: at.topic.to_string(),
                partition: at.partition.get(),
                ..v1::CommittedOffset::default()
            };
            match committed {
                None => place,
                Some(committed) => v1::CommittedOffset {
                    offset: Some(committed.offset.get()),
                    leader_epoch: committed.leader_epoch.map(LeaderEpoch::get),
                    metadata: committed.metadata.to_string(),
                    committed_at_ms: committed.at.get(),
                    ..place
                },
            }
        })
        .collect()
}

pub(crate) fn offsets_from_wire(
    answer: v1::GetOffsetsResponse,
) -> Result<Vec<(TopicPartition, Option<Committed>)>, Failure> {
    let offsets = answer.offsets.into_iter().map(|one| {
        if let Some(error) = one.error {
            return Err(Failure::from(error));
        }
        let place = at(scalars::topic_id(&one.topic_id)?, one.partition);
        let offset = one
            .offset
            .map(|offset| scalars::offset("offset", offset))
            .transpose()?;
        let committed = offset.map(|offset| Committed {
            offset,
            leader_epoch: one.leader_epoch.map(LeaderEpoch::new),
            metadata: one.metadata.into(),
            at: Timestamp::new(one.committed_at_ms),
        });
        Ok((place, committed))
    });
    offsets.collect()
}
