//! What each operation can say besides yes.

use quipu_record::{ErrorCode, LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use thiserror::Error;

/// Why a batch was not acknowledged.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ProduceError {
    /// This replica does not lead, or ceased to lead before the batch was committed.
    #[error("this broker does not lead the partition: ask for the leader and send it there")]
    NotLeader,
    /// Nothing was appended.
    #[error(
        "{in_sync} replicas in sync, and min.insync.replicas is {needed}: nothing was appended, send it again"
    )]
    NotEnoughReplicas {
        /// Replicas in sync now.
        in_sync: u32,
        /// `min.insync.replicas`.
        needed: u32,
    },
    /// Appended, and then too few were in sync to commit it.
    #[error(
        "appended, but only {in_sync} replicas stayed in sync of the {needed} of min.insync.replicas: send it again"
    )]
    NotEnoughReplicasAfterAppend {
        /// Replicas in sync now.
        in_sync: u32,
        /// `min.insync.replicas`.
        needed: u32,
    },
    /// The deadline passed. The batch may be in the log or come to be committed.
    #[error("not acknowledged in time; whether it was appended is unknown")]
    RequestTimedOut,
    /// Nothing was appended.
    #[error(
        "the disk of the broker's data directory is full: nothing was appended; free space, delete records or shorten retention"
    )]
    StorageFull,
    /// The disk failed under it; whether the batch survives is unknown.
    #[error("the disk failed and the broker is going down; whether it was appended is unknown")]
    StorageFailed,
    /// Larger than the topic takes.
    #[error("the batch is {size} bytes and max.message.bytes is {max}: send smaller batches")]
    BatchTooLarge {
        /// The batch's size.
        size: usize,
        /// `max.message.bytes`.
        max: usize,
    },
    /// A record's time is out of bounds.
    #[error(
        "a record's timestamp {timestamp} lies outside {earliest} to {latest}, which \
        message.timestamp.before.max.ms and message.timestamp.after.max.ms allow now"
    )]
    InvalidTimestamp {
        /// The record's.
        timestamp: Timestamp,
        /// The earliest allowed.
        earliest: Timestamp,
        /// The latest allowed.
        latest: Timestamp,
    },
    /// Compaction keeps the latest record of each key: one without could never go.
    #[error(
        "{keyless} of the batch's {count} records have no key, and the topic's cleanup.policy has compact: give every record a key"
    )]
    KeylessRecords {
        /// How many have none.
        keyless: u32,
        /// How many there are.
        count: u32,
    },
    /// A newer life of this producer wrote here.
    #[error(
        "producer {producer} has epoch {current} here and the batch carries {got}: a newer instance took over"
    )]
    InvalidProducerEpoch {
        /// The producer.
        producer: ProducerId,
        /// The epoch known here.
        current: ProducerEpoch,
        /// The batch's.
        got: ProducerEpoch,
    },
    /// Neither the next sequence nor a repetition.
    #[error("producer {producer} sent sequence {got} where {expected} comes next")]
    OutOfOrderSequence {
        /// The producer.
        producer: ProducerId,
        /// What would come next.
        expected: Sequence,
        /// What came.
        got: Sequence,
        /// An earlier batch of this producer is not resolved yet, so that the same batch may fit later.
        earlier_unresolved: bool,
    },
    /// Nothing is known of this producer here, and its sequence is not 0.
    #[error("producer {producer} is not known here and begins at sequence {got} instead of 0")]
    UnknownProducer {
        /// The producer.
        producer: ProducerId,
        /// What came.
        got: Sequence,
    },
    /// Older than the remembered batches: it is in the log, its offset is no longer known.
    #[error("sequence {got} of producer {producer} was appended before, at an offset no longer remembered")]
    DuplicateSequence {
        /// The producer.
        producer: ProducerId,
        /// What came.
        got: Sequence,
    },
    /// Nothing was appended.
    #[error("too many files of the broker wait for a flush: nothing was appended, send it again")]
    Throttled,
    /// Nothing was appended: the log holds bad bytes and takes no more until it was repaired.
    #[error("the partition's log is damaged and takes no appends: see `quipu cluster check`")]
    LogDamaged,
    /// More producers at once than a partition remembers.
    #[error(
        "this partition already remembers {limit} idempotent producers: reuse producers, or send without idempotence"
    )]
    TooManyProducers {
        /// How many it remembers.
        limit: usize,
    },
    /// The log refused for a reason that is a bug of ours.
    #[error("the log refused the append: {0}")]
    Internal(String),
}

impl ProduceError {
    /// Its code on the wire.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NotLeader => ErrorCode::NotLeader,
            Self::NotEnoughReplicas { .. } => ErrorCode::NotEnoughReplicas,
            Self::NotEnoughReplicasAfterAppend { .. } => ErrorCode::NotEnoughReplicasAfterAppend,
            Self::RequestTimedOut => ErrorCode::RequestTimedOut,
            Self::StorageFull => ErrorCode::StorageFull,
            Self::StorageFailed => ErrorCode::StorageFailed,
            Self::BatchTooLarge { .. } => ErrorCode::BatchTooLarge,
            Self::InvalidTimestamp { .. } => ErrorCode::InvalidTimestamp,
            Self::KeylessRecords { .. } => ErrorCode::InvalidRequest,
            Self::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
            Self::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequence,
            Self::UnknownProducer { .. } => ErrorCode::UnknownProducer,
            Self::DuplicateSequence { .. } => ErrorCode::DuplicateSequence,
            Self::Throttled | Self::TooManyProducers { .. } => ErrorCode::Throttled,
            Self::LogDamaged => ErrorCode::CorruptLog,
            Self::Internal(_) => ErrorCode::Internal,
        }
    }

    /// Whether the same batch, with the same sequence, may succeed later.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::OutOfOrderSequence {
                earlier_unresolved, ..
            } => *earlier_unresolved,
            other => other.code().retryable(),
        }
    }

    /// Whether the answer tells of what is in the log, and so must not leave before that is as durable as an
    /// acknowledgement: were its cause lost in a crash, it would have been false.
    #[must_use]
    pub fn rests_on_log(&self) -> bool {
        matches!(
            self,
            Self::InvalidProducerEpoch { .. }
                | Self::OutOfOrderSequence { .. }
                | Self::DuplicateSequence { .. }
        )
    }

    /// Whether the batch may be in the log all the same: its outcome is unknown, not a failure.
    #[must_use]
    pub fn outcome_unknown(&self) -> bool {
        match self {
            // Answered both to what was never appended and to what waited for its commit.
            Self::NotLeader
            | Self::NotEnoughReplicasAfterAppend { .. }
            | Self::RequestTimedOut
            | Self::StorageFailed
            | Self::Internal(_)
            // It certainly is in the log.
            | Self::DuplicateSequence { .. } => true,
            Self::NotEnoughReplicas { .. }
            | Self::StorageFull
            | Self::BatchTooLarge { .. }
            | Self::InvalidTimestamp { .. }
            | Self::KeylessRecords { .. }
            | Self::InvalidProducerEpoch { .. }
            | Self::OutOfOrderSequence { .. }
            | Self::UnknownProducer { .. }
            | Self::Throttled
            | Self::LogDamaged
            | Self::TooManyProducers { .. } => false,
        }
    }
}

/// Why records were not deleted.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum DeleteRecordsError {
    /// This replica does not lead.
    #[error("this broker does not lead the partition: ask for the leader and send it there")]
    NotLeader,
    /// What is not committed cannot be deleted.
    #[error("cannot delete up to {before}: the high watermark is {high_watermark}")]
    OutOfRange {
        /// What was asked.
        before: Offset,
        /// The high watermark.
        high_watermark: Offset,
    },
    /// The disk is full.
    #[error("the disk of the broker's data directory is full: the new log start could not be stored")]
    StorageFull,
    /// The disk failed.
    #[error("the disk failed and the broker is going down")]
    StorageFailed,
}

impl DeleteRecordsError {
    /// Its code on the wire.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NotLeader => ErrorCode::NotLeader,
            Self::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            Self::StorageFull => ErrorCode::StorageFull,
            Self::StorageFailed => ErrorCode::StorageFailed,
        }
    }
}

/// Why a place in the log cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// This replica does not lead.
    #[error("this broker does not lead the partition: ask for the leader and read there")]
    NotLeader,
    /// The reader knows an older leader epoch.
    #[error("the request knows leader epoch {got}, and the partition is at {current}: refresh the metadata")]
    FencedLeaderEpoch {
        /// The request's.
        got: LeaderEpoch,
        /// The leader's.
        current: LeaderEpoch,
    },
    /// The reader knows a newer leader epoch than this broker.
    #[error("the request knows leader epoch {got}, and this broker is still at {current}: try again")]
    UnknownLeaderEpoch {
        /// The request's.
        got: LeaderEpoch,
        /// The leader's.
        current: LeaderEpoch,
    },
    /// Deleted, or never there.
    #[error("offset {offset} is not between the log start {log_start} and the log end {log_end}")]
    OutOfRange {
        /// What was asked.
        offset: Offset,
        /// Everything below was deleted.
        log_start: Offset,
        /// Where the next record goes.
        log_end: Offset,
    },
    /// A new leader does not yet know how far the log is committed.
    #[error("the leader is new and does not yet know how far the log is committed: try again")]
    NotAvailable,
}

impl ReadError {
    /// Its code on the wire.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NotLeader => ErrorCode::NotLeader,
            Self::FencedLeaderEpoch { .. } => ErrorCode::FencedLeaderEpoch,
            Self::UnknownLeaderEpoch { .. } => ErrorCode::UnknownLeaderEpoch,
            Self::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            Self::NotAvailable => ErrorCode::OffsetNotAvailable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(earlier_unresolved: bool) -> ProduceError {
        ProduceError::OutOfOrderSequence {
            producer: ProducerId::new(1),
            expected: Sequence::new(2),
            got: Sequence::new(5),
            earlier_unresolved,
        }
    }

    fn fenced() -> ProduceError {
        ProduceError::InvalidProducerEpoch {
            producer: ProducerId::new(1),
            current: ProducerEpoch::new(2),
            got: ProducerEpoch::FIRST,
        }
    }

    fn repeated() -> ProduceError {
        ProduceError::DuplicateSequence {
            producer: ProducerId::new(1),
            got: Sequence::FIRST,
        }
    }

    #[test]
    fn a_gap_is_worth_another_try_only_while_what_it_misses_may_come() {
        assert!(gap(true).retryable() && !gap(false).retryable());
        assert!(ProduceError::NotLeader.retryable() && ProduceError::Throttled.retryable());
        assert!(!fenced().retryable() && !ProduceError::LogDamaged.retryable());
    }

    #[test]
    fn what_tells_of_the_log_waits_for_the_log() {
        assert!(gap(true).rests_on_log() && fenced().rests_on_log() && repeated().rests_on_log());
        // A producer that is not known is no statement about what is there.
        let unknown = ProduceError::UnknownProducer {
            producer: ProducerId::new(1),
            got: Sequence::new(5),
        };
        assert!(!unknown.rests_on_log() && !ProduceError::StorageFull.rests_on_log());
    }

    #[test]
    fn an_outcome_is_unknown_wherever_the_batch_may_be_in_the_log() {
        for unknown in [
            ProduceError::NotLeader,
            ProduceError::NotEnoughReplicasAfterAppend {
                in_sync: 1,
                needed: 2,
            },
            ProduceError::RequestTimedOut,
            ProduceError::StorageFailed,
            repeated(),
        ] {
            assert!(unknown.outcome_unknown(), "{unknown:?}");
        }
        for refused in [
            ProduceError::NotEnoughReplicas {
                in_sync: 1,
                needed: 2,
            },
            ProduceError::StorageFull,
            ProduceError::Throttled,
            gap(true),
            fenced(),
        ] {
            assert!(!refused.outcome_unknown(), "{refused:?}");
        }
    }
}
