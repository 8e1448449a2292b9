//! DeleteRecords: each partition's log start is moved up, by whoever leads the partition.

use super::describe;
use super::forward::{self, Target, may_forward};
use crate::admit::RequestContext;
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
    context: &RequestContext,
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
        if let Some(target) = elsewhere(data, context, topic, asked.partition)
            && !named.contains(&asked.partition)
        {
            named.insert(asked.partition);
            results.push(ask(data, context, &target, &request, *asked, patience).await);
            continue;
        }
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

/// The broker that leads a partition, if it is another one and may be asked.
fn elsewhere(data: &DataPlane, context: &RequestContext, topic: &Topic, partition: u32) -> Option<Target> {
    // The request says nothing of routing: it may go on.
    may_forward(context, 0).ok().filter(|may| *may)?;
    data.target(&topic.name, Some(&topic.id.to_string()), partition)
}

async fn ask(
    data: &DataPlane,
    context: &RequestContext,
    target: &Target,
    request: &v1::DeleteRecordsRequest,
    asked: v1::DeleteRecordsPartition,
    patience: Duration,
) -> v1::DeleteRecordsResult {
    let request = v1::DeleteRecordsRequest {
        name: request.name.clone(),
        topic_id: Some(target.topic.id_text.clone()),
        partitions: vec![asked],
        validate_only: request.validate_only,
    };
    let answer = forward::delete_records(&target.peer, request, patience).await;
    let mut result = answer.map_or_else(
        |failure| v1::DeleteRecordsResult {
            error: Some(failure.into()),
            ..v1::DeleteRecordsResult::default()
        },
        |mut results| results.pop().unwrap_or_default(),
    );
    result.partition = asked.partition;
    result.error = data.relayed_item(result.error, target, &context.listener);
    result
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
