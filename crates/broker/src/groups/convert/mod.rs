//! Between the wire and what coordinators speak: requests and answers, each in both directions, since a broker is server to
//! its clients and client to the coordinator.

mod answers;
mod describe;
mod requests;

pub(crate) use answers::{
    committed_from_wire, committed_to_wire, heartbeat_from_wire, heartbeat_to_wire, offsets_from_wire,
    offsets_to_wire,
};
pub(crate) use describe::{described, state_to_wire};
pub(crate) use requests::{
    commit_from_wire, commit_to_wire, group, heartbeat_request_from_wire, heartbeat_request_to_wire,
    leave_from_wire, leave_to_wire, query_from_wire, query_to_wire, stream_number,
};

use quipu_coordinator::{GroupError, Request};
use quipu_metadata::Image;
use quipu_proto::Failure;
use quipu_record::{PartitionId, TopicId, TopicPartition};
use std::time::Duration;

/// As a client is told.
pub(crate) fn failure_of(error: &GroupError) -> Failure {
    Failure::new(error.code(), error.to_string())
}

/// As a coordinator elsewhere said.
pub(crate) fn error_of(failure: Failure) -> GroupError {
    GroupError::host(failure.code, failure.message)
}

/// The name of a topic; empty if it is gone.
pub(crate) fn name_of(image: &Image, topic: TopicId) -> String {
    image
        .topic(topic)
        .map(|topic| topic.name.to_string())
        .unwrap_or_default()
}

/// What a request takes in memory, roughly.
pub(super) fn held_bytes(request: &Request) -> usize {
    const ITEM: usize = 64;
    match request {
        Request::Heartbeat(heartbeat) => {
            let topics = heartbeat.subscription.iter().flat_map(|wanted| &wanted.topics);
            let topics: usize = topics.map(|topic| topic.len() + ITEM).sum();
            topics + heartbeat.owned.as_ref().map_or(0, Vec::len) * ITEM + 1024
        }
        Request::Commit(commit) => {
            let offsets = commit.offsets.iter();
            offsets.map(|offset| offset.metadata.len() + ITEM).sum()
        }
        Request::Offsets(query) => query.partitions.as_ref().map_or(0, Vec::len) * ITEM,
        Request::Reset(reset) => reset.offsets.len() * ITEM,
        _ => 0,
    }
}

fn at(topic: TopicId, partition: u32) -> TopicPartition {
    TopicPartition {
        topic,
        partition: PartitionId::new(partition),
    }
}

fn millis(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}

/// Zero means that nothing was said.
fn span(millis: u32) -> Option<Duration> {
    (millis > 0).then(|| Duration::from_millis(millis.into()))
}

#[cfg(test)]
mod tests;
