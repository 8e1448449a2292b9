//! Why a partition is not read on.

use crate::error::CallError;
use quipu_proto::Failure;
use quipu_record::{BatchError, ErrorCode, Offset, PartitionId};
use std::sync::Arc;
use thiserror::Error;

/// Why a partition is not read on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConsumeError {
    /// The consumer does not read that partition.
    #[error("partition {partition} of topic {topic:?} is not read by this consumer")]
    NotAssigned {
        /// The topic's name.
        topic: Arc<str>,
        /// The partition.
        partition: PartitionId,
    },
    /// There is nothing to wait for: no partition was added, or all are paused or have failed.
    #[error("the consumer reads nothing: add a topic, or resume a partition")]
    NoPartitions,
    /// The broker refuses to read on: the offset is out of range, the topic is gone, stored bytes are bad.
    #[error("partition {partition} of topic {topic:?}: {failure}")]
    Rejected {
        /// The topic's name.
        topic: Arc<str>,
        /// The partition.
        partition: PartitionId,
        /// What the broker said.
        failure: Failure,
    },
    /// A batch arrived damaged, or decompresses to more than allowed.
    #[error("partition {partition} of topic {topic:?}, at offset {offset}: {error}")]
    BadBatch {
        /// The topic's name.
        topic: Arc<str>,
        /// The partition.
        partition: PartitionId,
        /// Where the consumer stands.
        offset: Offset,
        /// What is wrong.
        error: BatchError,
    },
    /// The cluster could not be asked.
    #[error("{0}")]
    Call(#[from] CallError),
}

impl ConsumeError {
    /// The code that says it.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NotAssigned { .. } | Self::NoPartitions => ErrorCode::InvalidRequest,
            Self::Rejected { failure, .. } => failure.code,
            Self::BadBatch { error, .. } => error.code(),
            Self::Call(error) => error.code(),
        }
    }

    /// Whether reading on from the same place may succeed later.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::NotAssigned { .. } | Self::NoPartitions | Self::BadBatch { .. } => false,
            Self::Rejected { failure, .. } => failure.retryable,
            Self::Call(error) => error.retryable(),
        }
    }
}
