//! What any call can say; producing and consuming have their own.

use crate::config::ConfigError;
use quipu_proto::Failure;
use quipu_record::ErrorCode;
use thiserror::Error;

/// Why a client did not come to be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The configuration cannot work.
    #[error("the client's configuration: {0}")]
    Config(#[from] ConfigError),
    /// None of the addresses answered.
    #[error("no broker answered: {reasons}; are the addresses right, and is the cluster up?")]
    Unreachable {
        /// What each address said.
        reasons: String,
    },
    /// A broker answered, with a refusal.
    #[error("the cluster refused: {0}")]
    Refused(Failure),
}

impl ConnectError {
    /// The code that says it.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Config(_) => ErrorCode::InvalidRequest,
            Self::Unreachable { .. } => ErrorCode::NotReady,
            Self::Refused(failure) => failure.code,
        }
    }

    /// Whether the same may succeed later.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Config(_) => false,
            Self::Unreachable { .. } => true,
            Self::Refused(failure) => failure.retryable,
        }
    }
}

/// Why a call did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CallError {
    /// The cluster said no. Nothing was changed.
    #[error("{0}")]
    Rejected(Failure),
    /// Nobody could be asked before the time ran out. Nothing was changed.
    #[error("{operation}: no broker could be asked in time ({last})")]
    Unreachable {
        /// What was to be done.
        operation: &'static str,
        /// The last thing that went wrong.
        last: String,
    },
    /// It was asked for, and no answer came: it may have happened or not. Look before trying again.
    #[error("{operation}: sent, but no answer came ({last}): it may or may not have happened")]
    OutcomeUnknown {
        /// What was to be done.
        operation: &'static str,
        /// The last thing that went wrong.
        last: String,
    },
    /// The answer makes no sense: a bug in the broker, or a broker of another age.
    #[error("{operation}: the answer makes no sense: {problem}")]
    BadAnswer {
        /// What was to be done.
        operation: &'static str,
        /// What is wrong with the answer.
        problem: String,
    },
}

impl CallError {
    /// The code that says it.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Rejected(failure) => failure.code,
            Self::Unreachable { .. } => ErrorCode::NotReady,
            Self::OutcomeUnknown { .. } => ErrorCode::RequestTimedOut,
            Self::BadAnswer { .. } => ErrorCode::Internal,
        }
    }

    /// Whether the same call may succeed later without doing anything twice.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Rejected(failure) => failure.retryable,
            Self::Unreachable { .. } => true,
            Self::OutcomeUnknown { .. } | Self::BadAnswer { .. } => false,
        }
    }
}
