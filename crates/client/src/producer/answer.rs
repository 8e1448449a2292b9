//! The wire's answers and requests, and the core's words for them.

use super::accumulator::TopicState;
use super::core::Acked;
use super::delivery::Durability;
use bytes::Bytes;
use quipu_proto::{Failure, scalars, v1};
use quipu_record::{
    BatchError, BatchHeader, ErrorCode, HEADER_LEN, LeaderEpoch, PartitionId, ProducerStamp, Timestamp,
};

/// What a broker says of a batch.
pub(super) fn read(result: Option<v1::BatchResult>) -> Result<Acked, Failure> {
    let result =
        result.ok_or_else(|| Failure::new(ErrorCode::Internal, "the broker's answer says nothing"))?;
    let durability = Durability::from_wire(result.durability());
    if let Some(error) = result.error {
        return Err(error.into());
    }
    Ok(Acked {
        base_offset: result
            .base_offset
            .map(|offset| scalars::offset("base_offset", offset))
            .transpose()?,
        leader_epoch: LeaderEpoch::new(result.leader_epoch),
        durability,
        duplicate: result.duplicate,
        append_time: result.log_append_time_ms.map(Timestamp::new),
    })
}

/// Where a batch goes, without the batch.
pub(super) fn address(topic: &TopicState, partition: PartitionId) -> v1::Batch {
    v1::Batch {
        topic: topic.name.to_string(),
        topic_id: Some(topic.id.to_string()),
        partition: Some(partition.get()),
        payload: None,
        identity: None,
    }
}

/// The same batch with another stamp.
pub(super) fn restamp(bytes: &Bytes, stamp: Option<ProducerStamp>) -> Result<Bytes, BatchError> {
    let body = bytes.slice(HEADER_LEN.min(bytes.len())..);
    let header = BatchHeader::parse(bytes)?.with_producer(stamp, &body);
    Ok([header.as_bytes().as_slice(), &body].concat().into())
}

/// Whether a refusal says that the topic is not what it was.
pub(super) const fn topic_is_gone(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId
    )
}
