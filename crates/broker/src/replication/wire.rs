//! Positions, verdicts and batches, from and to `replica.proto`. Whatever comes in is checked; who sends nonsense is told
//! which field.

use bytes::Bytes;
use quipu_proto::internal::partition_data::Result as WireResult;
use quipu_proto::{EncodedBatches, Failure, internal, scalars};
use quipu_record::{
    BatchError, ErrorCode, LeaderEpoch, Offset, PartitionId, StoredBatch, TopicId, TopicPartition,
    iter_batches,
};
use quipu_replication::{FetchResult, Fetched, Position, Verdict};

/// A partition from the wire.
pub(super) fn partition(topic_id: &Bytes, partition: u32) -> Result<TopicPartition, Failure> {
    let bytes = <[u8; 16]>::try_from(&topic_id[..]).map_err(|_| {
        let len = topic_id.len();
        Failure::new(
            ErrorCode::InvalidRequest,
            format!("topic_id has {len} bytes: it has 16"),
        )
    })?;
    Ok(TopicPartition {
        topic: TopicId::from_bytes(bytes),
        partition: PartitionId::new(partition),
    })
}

fn topic_id(at: TopicPartition) -> Bytes {
    Bytes::copy_from_slice(&at.topic.into_bytes())
}

/// A partition to the wire.
pub(super) fn partition_id(at: TopicPartition) -> internal::PartitionId {
    internal::PartitionId {
        topic_id: topic_id(at),
        partition: at.partition.get(),
    }
}

/// Where a follower says that it stands.
pub(super) fn position(wire: &internal::FollowerPosition) -> Result<(TopicPartition, Position), Failure> {
    let position = Position {
        leader_epoch: LeaderEpoch::new(wire.leader_epoch),
        fetch_offset: scalars::offset("fetch_offset", wire.fetch_offset)?,
        last_fetched_epoch: wire.last_fetched_epoch.map(LeaderEpoch::new),
        flushed: scalars::offset("flushed", wire.flushed)?,
        log_start: scalars::offset("log_start", wire.log_start)?,
    };
    Ok((partition(&wire.topic_id, wire.partition)?, position))
}

/// Where this broker stands.
pub(super) fn follower_position(at: TopicPartition, position: &Position) -> internal::FollowerPosition {
    internal::FollowerPosition {
        topic_id: topic_id(at),
        partition: at.partition.get(),
        leader_epoch: position.leader_epoch.get(),
        fetch_offset: position.fetch_offset.get(),
        last_fetched_epoch: position.last_fetched_epoch.map(LeaderEpoch::get),
        flushed: position.flushed.get(),
        log_start: position.log_start.get(),
    }
}

/// What goes with a verdict: batches, and what compaction may have taken from them.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// The batches.
    pub(super) batches: EncodedBatches,
    /// Tombstones below may be missing.
    pub(super) tombstone_floor: Offset,
    /// Offsets below may leave gaps. Looked up after the batches were read.
    pub(super) cleaned_to: Offset,
}

/// A verdict on a position, and the batches that go with it.
pub(super) fn partition_data(
    at: TopicPartition,
    position: &Position,
    verdict: Verdict,
    sent: Sent,
) -> internal::PartitionData {
    let result = match verdict {
        Verdict::Accepted {
            high_watermark,
            log_start,
            ..
        } => WireResult::Accepted(internal::Accepted {
            high_watermark: high_watermark.get(),
            log_start: log_start.get(),
            batches: Some(sent.batches),
            tombstone_floor: sent.tombstone_floor.get(),
            cleaned_to: sent.cleaned_to.get(),
        }),
        Verdict::Diverging { epoch, end_offset } => WireResult::Diverging(internal::Diverging {
            epoch: epoch.get(),
            end_offset: end_offset.get(),
        }),
        Verdict::OutOfRange { log_start } => WireResult::OutOfRange(internal::OutOfRange {
            log_start: log_start.get(),
        }),
        Verdict::Refused(code) => WireResult::Refused(internal::Refused {
            reason: code.name().to_owned(),
        }),
    };
    internal::PartitionData {
        topic_id: topic_id(at),
        partition: at.partition.get(),
        leader_epoch: position.leader_epoch.get(),
        fetch_offset: position.fetch_offset.get(),
        last_fetched_epoch: position.last_fetched_epoch.map(LeaderEpoch::get),
        result: Some(result),
    }
}

/// A leader's word about a partition, each batch in it checked. Copies nothing.
pub(super) fn fetched(wire: internal::PartitionData) -> Result<(TopicPartition, Fetched), Failure> {
    let at = partition(&wire.topic_id, wire.partition)?;
    let result = match wire.result {
        Some(WireResult::Accepted(accepted)) => FetchResult::Accepted {
            high_watermark: scalars::offset("high_watermark", accepted.high_watermark)?,
            log_start: scalars::offset("log_start", accepted.log_start)?,
            tombstone_floor: scalars::offset("tombstone_floor", accepted.tombstone_floor)?,
            cleaned_to: scalars::offset("cleaned_to", accepted.cleaned_to)?,
            batches: batches(accepted.batches).map_err(|error| bad_batch(at, &error))?,
        },
        Some(WireResult::Diverging(diverging)) => FetchResult::Diverging {
            epoch: LeaderEpoch::new(diverging.epoch),
            end_offset: scalars::offset("end_offset", diverging.end_offset)?,
        },
        Some(WireResult::OutOfRange(out)) => FetchResult::OutOfRange {
            log_start: scalars::offset("log_start", out.log_start)?,
        },
        Some(WireResult::Refused(refused)) => FetchResult::Refused(code(&refused.reason)),
        None => {
            return Err(Failure::new(
                ErrorCode::InvalidRequest,
                format!("partition {at}: an answer without a result"),
            ));
        }
    };
    let fetched = Fetched {
        leader_epoch: LeaderEpoch::new(wire.leader_epoch),
        fetch_offset: scalars::offset("fetch_offset", wire.fetch_offset)?,
        last_fetched_epoch: wire.last_fetched_epoch.map(LeaderEpoch::new),
        result,
    };
    Ok((at, fetched))
}

fn batches(encoded: Option<EncodedBatches>) -> Result<Vec<StoredBatch>, BatchError> {
    match encoded {
        Some(encoded) => iter_batches(encoded.into_bytes()).collect(),
        None => Ok(Vec::new()),
    }
}

fn bad_batch(at: TopicPartition, error: &BatchError) -> Failure {
    Failure::new(
        ErrorCode::CorruptBatch,
        format!("partition {at}: the leader sent a bad batch: {error}"),
    )
}

fn code(name: &str) -> ErrorCode {
    let known = ErrorCode::ALL.iter().copied().find(|code| code.name() == name);
    known.unwrap_or(ErrorCode::Internal)
}

/// Bytes of batches in an answer.
pub(super) fn batch_bytes(answer: &internal::ReplicateResponse) -> usize {
    let bytes = |part: &internal::PartitionData| match &part.result {
        Some(WireResult::Accepted(accepted)) => accepted.batches.as_ref().map_or(0, EncodedBatches::len),
        _ => 0,
    };
    answer.partitions.iter().map(bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::test_batches::stored;
    use crate::service::read::Batches;

    fn at() -> TopicPartition {
        TopicPartition {
            topic: TopicId::from_u128(0x1234_5678),
            partition: PartitionId::new(3),
        }
    }

    fn standing() -> Position {
        Position {
            leader_epoch: LeaderEpoch::new(4),
            fetch_offset: Offset::new(5),
            last_fetched_epoch: Some(LeaderEpoch::new(3)),
            flushed: Offset::new(2),
            log_start: Offset::new(1),
        }
    }

    #[test]
    fn a_position_comes_back_as_it_went() {
        let empty = Position {
            last_fetched_epoch: None,
            ..standing()
        };
        for sent in [standing(), empty] {
            let wire = follower_position(at(), &sent);
            assert_eq!(position(&wire), Ok((at(), sent)));
        }
        let mut wire = follower_position(at(), &standing());
        wire.flushed = u64::MAX;
        assert_eq!(position(&wire).unwrap_err().code, ErrorCode::InvalidRequest);
        wire.topic_id = Bytes::from_static(b"short");
        assert!(position(&wire).is_err());
    }

    #[test]
    fn verdicts_arrive_as_what_they_are_with_the_position_they_judge() {
        let hw = Offset::new(6);
        let accepted = Verdict::Accepted {
            from: Offset::new(5),
            high_watermark: hw,
            log_start: Offset::ZERO,
            log_end: Offset::new(9),
        };
        let sent = vec![stored(5, 2, 100), stored(7, 2, 200)];
        let encoded = Batches::Tail(sent.clone()).encode(u64::MAX).batches;
        let sent_with = Sent {
            batches: encoded,
            tombstone_floor: Offset::new(3),
            cleaned_to: Offset::new(4),
        };
        let wire = partition_data(at(), &standing(), accepted, sent_with);
        let answer = internal::ReplicateResponse {
            partitions: vec![wire.clone()],
            ..internal::ReplicateResponse::default()
        };
        assert_eq!(batch_bytes(&answer), 300);
        let (to, came) = fetched(wire).expect("good");
        assert_eq!(to, at());
        let position = standing();
        assert_eq!(came.fetch_offset, position.fetch_offset);
        assert_eq!(came.last_fetched_epoch, position.last_fetched_epoch);
        assert_eq!(came.leader_epoch, position.leader_epoch);
        let expected = FetchResult::Accepted {
            high_watermark: hw,
            log_start: Offset::ZERO,
            tombstone_floor: Offset::new(3),
            cleaned_to: Offset::new(4),
            batches: sent,
        };
        assert_eq!(came.result, expected);
        let refused = Verdict::Refused(ErrorCode::FencedLeaderEpoch);
        let wire = partition_data(at(), &position, refused, Sent::default());
        let (_, came) = fetched(wire).expect("good");
        assert_eq!(came.result, FetchResult::Refused(ErrorCode::FencedLeaderEpoch));
    }

    #[test]
    fn a_batch_damaged_on_the_way_is_noticed() {
        let mut bytes = stored(5, 2, 100).to_bytes().to_vec();
        bytes[80] ^= 1;
        let accepted = Verdict::Accepted {
            from: Offset::new(5),
            high_watermark: Offset::ZERO,
            log_start: Offset::ZERO,
            log_end: Offset::new(7),
        };
        let wire = partition_data(
            at(),
            &standing(),
            accepted,
            Sent {
                batches: Bytes::from(bytes).into(),
                ..Sent::default()
            },
        );
        assert_eq!(fetched(wire).unwrap_err().code, ErrorCode::CorruptBatch);
    }
}
