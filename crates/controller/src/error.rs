//! What can go wrong with a controller.

use crate::ControllerId;
use quipu_metadata::Refusal;
use quipu_record::ErrorCode;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why a controller does not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting makes no sense.
    #[error("controller setting {setting}: {why}")]
    Config {
        /// Its name.
        setting: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The disk failed.
    #[error("{path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What is stored is damaged, or was written by a newer version.
    #[error("{path}, at byte {position}: {what}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in it.
        position: u64,
        /// What is wrong with it.
        what: String,
    },
    /// The Raft core did not start.
    #[error("the metadata group does not start: {0}")]
    Raft(String),
}

impl StartError {
    /// How a client would be told.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Config { .. } => ErrorCode::InvalidRequest,
            Self::Io { .. } => ErrorCode::StorageFailed,
            Self::Corrupt { .. } => ErrorCode::CorruptLog,
            Self::Raft(_) => ErrorCode::Internal,
        }
    }
}

/// Why the metadata cannot be asked or changed now, here.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// Another controller is the active one.
    #[error("this controller is not the active one{}", .leader.map_or_else(|| ", and none is known".to_owned(), |id| format!(": {id} is")))]
    NotActive {
        /// The active one, if it is known.
        leader: Option<ControllerId>,
        /// Where it is reached.
        address: Option<String>,
    },
    /// No majority of controllers answers.
    #[error("no majority of the controllers answers")]
    NoQuorum,
    /// The command is larger than the log takes.
    #[error("the request has {bytes} bytes, more than the {max} that the metadata log takes: split it")]
    TooLarge {
        /// How large it is.
        bytes: usize,
        /// How large it may be.
        max: usize,
    },
    /// Asked of a controller elsewhere, it was not answered; with `REQUEST_TIMED_OUT` it may have been done or not.
    #[error("{why}")]
    Unanswered {
        /// How a client is told.
        code: ErrorCode,
        /// What happened.
        why: String,
    },
    /// The controller is shutting down, or has failed. A command that was on its way may have been done or not.
    #[error("the controller has stopped")]
    Stopped,
}

impl Unavailable {
    /// How a client is told.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::NotActive { .. } | Self::NoQuorum => ErrorCode::NoQuorum,
            Self::TooLarge { .. } => ErrorCode::InvalidRequest,
            Self::Unanswered { code, .. } => *code,
            Self::Stopped => ErrorCode::ShuttingDown,
        }
    }
}

/// Why a command was not done.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ProposeError<E: Refusal> {
    /// It was decided, and refused.
    #[error(transparent)]
    Refused(E),
    /// It could not be decided now, or here.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl<E: Refusal> ProposeError<E> {
    /// How a client is told.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::Unavailable(unavailable) => unavailable.code(),
        }
    }
}

/// The controller failed for good: what it held in memory may not be on disk. The process must exit, and start again
/// from what is.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("the controller failed: {0}")]
pub struct Failure(pub String);
