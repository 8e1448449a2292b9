//! DeleteRecords: each partition's log start is moved up, by whoever leads the partition.

use super::describe;
use crate::data_plane::DataPlane;
use quipu_metadata::{Image, Topic};
use quipu_proto::{Failure, scalars, v1};
use quipu_record::{ErrorCode, Offset, PartitionId, TopicPartition};
use quipu_replication::DeleteBefore;
use std::collections::BTreeSet;
use std::time::Duration;

pub(super) async fn answer(
    image: &Image,
    data: &DataPlane,
    request: v1::DeleteRecordsRequest,
    patience: Duration,
) -> Result<v1::DeleteRecordsResponse, Failure> {
    let topic = describe::find(image, &request.name, request.topic_id.as_deref())?;
    if topic.internal {
        let told = format!(
            "topic {:?} is internal to the cluster: its records are not yours to delete",
            topic.name
        );
        return Err(Failure::new(ErrorCode::InternalTopic, told));
    }
    let mut named = BTreeSet::new();
    let mut results = Vec::with_capacity(request.partitions.len());
    for asked in &request.partitions {
        let twice = !named.insert(asked.partition);
        let deleted = match before(topic, asked, twice) {
            Ok((at, _)) if request.validate_only => {
                Ok(data.view(at).map_or(Offset::ZERO, |view| view.log_start))
            }
            Ok((at, before)) => data.delete_records(at, before, patience).await,
            Err(failure) => Err(failure),
        };
        results.push(v1::DeleteRecordsResult {
            partition: asked.partition,
            log_start: deleted.as_ref().map_or(0, |start| start.get()),
            error: deleted.err().map(Into::into),
        });
    }
    Ok(v1::DeleteRecordsResponse {
        topic_id: topic.id.to_string(),
        results,
    })
}

/// Where, and below which offset, checked as far as the metadata can.
fn before(
    topic: &Topic,
    asked: &v1::DeleteRecordsPartition,
    twice: bool,
) -> Result<(TopicPartition, DeleteBefore), Failure> {
    let partition = PartitionId::new(asked.partition);
    let (name, count) = (&topic.name, topic.partitions.len());
    if topic.partitions.get(partition).is_none() {
        let told = format!("topic {name:?} has no partition {partition}: it has {count}, counted from 0");
        return Err(Failure::new(ErrorCode::UnknownTopicOrPartition, told));
    }
    if twice {
        let told = format!("partition {partition} is named more than once");
        return Err(Failure::new(ErrorCode::InvalidRequest, told));
    }
    let at = TopicPartition {
        topic: topic.id,
        partition,
    };
    let before = match asked.before_offset {
        Some(offset) => DeleteBefore::Offset(scalars::offset("before_offset", offset)?),
        None => DeleteBefore::HighWatermark,
    };
    Ok((at, before))
}
