//! Why a group consumer goes no further, and why something was not committed.

use crate::consumer::{ConsumeError, Key};
use crate::error::CallError;
use quipu_proto::Failure;
use quipu_record::{ErrorCode, PartitionId};
use std::sync::Arc;
use thiserror::Error;

/// Why a group consumer gives no batch.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GroupError {
    /// One partition is not read on, until a seek or a resume; the others are.
    #[error("{0}")]
    Partition(#[from] ConsumeError),
    /// The group does not take this member, or no longer: nothing comes any more.
    #[error("the group does not take this member: {0}")]
    Refused(Failure),
}

impl GroupError {
    /// The code that says it.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Partition(error) => error.code(),
            Self::Refused(failure) => failure.code,
        }
    }

    /// Whether the same may succeed later.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Partition(error) => error.retryable(),
            Self::Refused(failure) => failure.retryable,
        }
    }
}

/// Why offsets were not committed: none of them, if one was not.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The partition is not this member's, or no longer: whoever has it begins at what was committed before.
    #[error("partition {partition} of topic {topic:?} is not assigned to this member")]
    NotAssigned {
        /// The topic's name.
        topic: Arc<str>,
        /// The partition.
        partition: PartitionId,
    },
    /// The group's coordinator refused.
    #[error("partition {partition} of topic {topic:?}: {failure}")]
    Refused {
        /// The topic's name.
        topic: Arc<str>,
        /// The partition.
        partition: PartitionId,
        /// What it said.
        failure: Failure,
    },
    /// No answer came in time: it may be committed or not. Committing the same again does no harm.
    #[error("no word in time whether it is committed: {last}")]
    OutcomeUnknown {
        /// The last thing that went wrong.
        last: String,
    },
    /// The group does not take this member any more.
    #[error("the group does not take this member: {0}")]
    Ended(Failure),
}

impl CommitError {
    pub(super) fn not_assigned(key: &Key) -> Self {
        Self::NotAssigned {
            topic: key.topic.clone(),
            partition: key.partition,
        }
    }

    pub(super) fn refused(key: Key, failure: Failure) -> Self {
        Self::Refused {
            topic: key.topic,
            partition: key.partition,
            failure,
        }
    }

    /// The code that says it.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NotAssigned { .. } => ErrorCode::StaleAssignment,
            Self::Refused { failure, .. } | Self::Ended(failure) => failure.code,
            Self::OutcomeUnknown { .. } => ErrorCode::RequestTimedOut,
        }
    }

    /// Whether the same commit may succeed later.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::NotAssigned { .. } => false,
            Self::Refused { failure, .. } | Self::Ended(failure) => failure.retryable,
            Self::OutcomeUnknown { .. } => true,
        }
    }
}

/// Why a member did not end as it should. It has ended all the same.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CloseError {
    /// The last commit failed: some records will be processed again.
    #[error("the last commit: {0}")]
    Commit(#[from] CommitError),
    /// The group was not told: it waits for the member until the session times out.
    #[error("{0}")]
    Leave(#[from] CallError),
}

impl CloseError {
    /// The code that says it.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Commit(error) => error.code(),
            Self::Leave(error) => error.code(),
        }
    }

    /// Whether it might have gone well at another time.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Commit(error) => error.retryable(),
            Self::Leave(error) => error.retryable(),
        }
    }
}
