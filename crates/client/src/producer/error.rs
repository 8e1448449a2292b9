//! What can become of a record that was not delivered.

use crate::config::ConfigError;
use crate::error::CallError;
use quipu_proto::Failure;
use quipu_record::{ErrorCode, PartitionId};
use thiserror::Error;

/// Why a record was not taken (or why a producer did not come to be). It was not sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The producer's configuration cannot work.
    #[error("the producer's configuration: {0}")]
    Config(#[from] ConfigError),
    /// There is no such topic.
    #[error("there is no topic {topic:?}: create it first (topics are not created by sending to them)")]
    UnknownTopic {
        /// Its name.
        topic: String,
    },
    /// The topic has no such partition.
    #[error("topic {topic:?} has {partitions} partitions and none with index {partition}")]
    UnknownPartition {
        /// The topic's name.
        topic: String,
        /// The partition asked for.
        partition: PartitionId,
        /// How many there are.
        partitions: u32,
    },
    /// The record is larger than the topic takes.
    #[error(
        "the record takes {size} bytes, more than the {limit} that topic {topic:?} allows (max.message.bytes)"
    )]
    TooLarge {
        /// The topic's name.
        topic: String,
        /// Bytes at most of a batch with this record alone.
        size: usize,
        /// The topic's limit, or the buffer's if that is less.
        limit: usize,
    },
    /// Only from `try_send`: no room now.
    #[error("the producer's buffer is full: buffer_bytes wait or are in flight")]
    BufferFull,
    /// The producer was closed.
    #[error("the producer was closed")]
    Closed,
    /// The producer's identity was taken over by a newer one; make a new producer.
    #[error("the producer was fenced: {0}; make a new producer")]
    Fenced(Failure),
    /// Where to send, or an identity, could not be had.
    #[error("{0}")]
    Call(#[from] CallError),
}

impl SendError {
    /// The code that says it.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Config(_) | Self::Closed => ErrorCode::InvalidRequest,
            Self::UnknownTopic { .. } | Self::UnknownPartition { .. } => ErrorCode::UnknownTopicOrPartition,
            Self::TooLarge { .. } => ErrorCode::BatchTooLarge,
            Self::BufferFull => ErrorCode::Throttled,
            Self::Fenced(failure) => failure.code,
            Self::Call(error) => error.code(),
        }
    }

    /// Whether sending the same record may succeed later.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::BufferFull => true,
            Self::Call(error) => error.retryable(),
            _ => false,
        }
    }
}

/// Why a record that was taken is not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DeliveryError {
    /// The broker refused it: it is certainly not stored.
    #[error("the broker refused the batch: {0}")]
    Rejected(Failure),
    /// It grew too old before it could be sent: it is certainly not stored.
    #[error("not sent within the delivery timeout: {last}")]
    Expired {
        /// What stood in the way.
        last: String,
    },
    /// It was sent and what became of it cannot be known: it may be stored or not.
    #[error("sent, but whether it is stored is unknown: {last}")]
    OutcomeUnknown {
        /// What went wrong.
        last: String,
    },
    /// The producer ended before it was sent: it is certainly not stored.
    #[error("the producer ended before it was sent")]
    Closed,
}

impl DeliveryError {
    /// The code that says it.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Rejected(failure) => failure.code,
            Self::Expired { .. } => ErrorCode::LeaderNotAvailable,
            Self::OutcomeUnknown { .. } => ErrorCode::RequestTimedOut,
            Self::Closed => ErrorCode::ShuttingDown,
        }
    }

    /// Whether sending the same record again may succeed and cannot store it twice.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Rejected(failure) => failure.retryable,
            Self::Expired { .. } => true,
            Self::OutcomeUnknown { .. } | Self::Closed => false,
        }
    }

    /// Whether the record may be stored all the same.
    #[must_use]
    pub fn outcome_unknown(&self) -> bool {
        matches!(self, Self::OutcomeUnknown { .. })
    }
}

/// Not everything that was flushed is stored.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{failed} records were not stored and of {unknown} it is unknown; the first: {first}")]
pub struct FlushError {
    /// Records that are certainly not stored, since the last flush.
    pub failed: u64,
    /// Records that may be stored or not, since the last flush.
    pub unknown: u64,
    /// What happened to the first of them.
    pub first: DeliveryError,
}

impl FlushError {
    /// The code that says it.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.first.code()
    }

    /// Whether sending all of those records again cannot store any of them twice, and may succeed.
    #[must_use]
    pub fn retryable(&self) -> bool {
        self.unknown == 0 && self.first.retryable()
    }
}
