//! DeleteRecords: each partition's log start is moved up, by whoever leads the partition.

use super::describe;
use quipu_metadata::{Image, Topic};
use quipu_proto::{Failure, v1};
use quipu_record::{ErrorCode, Offset, PartitionId, TopicPartition};

/// What can delete records: the data path.
#[tonic::async_trait]
pub trait DeleteRecords: Send + Sync + 'static {
    /// Deletes the records below `before` (all up to the high watermark, if absent) and answers the log start.
    async fn delete_records(&self, at: TopicPartition, before: Option<Offset>) -> Result<Offset, Failure>;
}

pub(super) async fn answer(
    image: &Image,
    logs: &dyn DeleteRecords,
    request: v1::DeleteRecordsRequest,
) -> Result<v1::DeleteRecordsResponse, Failure> {
    let topic = describe::find(image, &request.name, request.topic_id.as_deref())?;
    if topic.internal {
        let told = format!(
            "topic {:?} is internal to the cluster: its records are not yours to delete",
            topic.name
        );
        return Err(Failure::new(ErrorCode::InternalTopic, told));
    }
    let mut results = Vec::with_capacity(request.partitions.len());
    for (at, asked) in request.partitions.iter().enumerate() {
        let twice = request.partitions[..at]
            .iter()
            .any(|other| other.partition == asked.partition);
        let deleted = match before(topic, asked, twice) {
            Ok(_) if request.validate_only => Ok(Offset::ZERO),
            Ok(before) => {
                let partition = PartitionId::new(asked.partition);
                let at = TopicPartition {
                    topic: topic.id,
                    partition,
                };
                logs.delete_records(at, before).await
            }
            Err(failure) => Err(failure),
        };
        let log_start = deleted.as_ref().map_or(0, |start| start.get());
        results.push(v1::DeleteRecordsResult {
            partition: asked.partition,
            log_start,
            error: deleted.err().map(Into::into),
        });
    }
    Ok(v1::DeleteRecordsResponse {
        topic_id: topic.id.to_string(),
        results,
    })
}

/// The offset asked for, checked as far as the metadata can.
fn before(topic: &Topic, asked: &v1::DeleteRecordsPartition, twice: bool) -> Result<Option<Offset>, Failure> {
    let partition = PartitionId::new(asked.partition);
    if topic.partitions.get(partition).is_none() {
        let (name, count) = (&topic.name, topic.partitions.len());
        let told = format!(
            "topic {name:?} has partitions 0 to {}, not {partition}",
            count.saturating_sub(1)
        );
        return Err(Failure::new(ErrorCode::UnknownTopicOrPartition, told));
    }
    if twice {
        let told = format!("partition {partition} is named more than once");
        return Err(Failure::new(ErrorCode::InvalidRequest, told));
    }
    match asked.before_offset {
        Some(offset) if offset > Offset::MAX.get() => {
            let told = format!("before_offset {offset} is no offset: they end at {}", Offset::MAX);
            Err(Failure::new(ErrorCode::InvalidRequest, told))
        }
        offset => Ok(offset.map(Offset::new)),
    }
}
