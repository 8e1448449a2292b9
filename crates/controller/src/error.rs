//! What can go wrong with a controller.

use crate::{ControllerId, TransportError};
use quipu_metadata::{ClusterId, Refusal};
use quipu_record::ErrorCode;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
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
    /// Another controller is the active one. A command was not done, and will not be.
    #[error(
        "this controller is not the active one{}",
        .leader.map_or_else(
            || ", and none is known".to_owned(),
            |id| format!(": {id} at {} is", .address.as_deref().unwrap_or("an unknown address")),
        )
    )]
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
    /// This controller was deposed while the command was on its way: it may have been done or not.
    #[error("this controller was deposed while the command was on its way: whether it was done is not known")]
    Unknown,
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
            Self::Unknown => ErrorCode::RequestTimedOut,
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

/// Why the controllers of the group are not changed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum MembershipError {
    /// It cannot be done now, or here.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// Nobody answers where the new one should be.
    #[error("the new controller: {0}")]
    Unreachable(TransportError),
    /// Another controller answers there.
    #[error("controller {found} answers at {address}, not {id}")]
    Elsewhere {
        /// Where.
        address: String,
        /// Who was meant.
        id: ControllerId,
        /// Who is there.
        found: ControllerId,
    },
    /// It is part of another cluster.
    #[error("the controller at {address} is part of cluster {cluster}")]
    OtherCluster {
        /// Where.
        address: String,
        /// Its cluster.
        cluster: ClusterId,
    },
    /// It is known already, at another address. Addresses do not change: they would have to on a majority at once.
    #[error("controller {id} is known at {address}: it can leave, and join with an empty directory")]
    Moved {
        /// Which.
        id: ControllerId,
        /// Where it is known.
        address: String,
    },
    /// It does not vote, so that it can neither leave nor be replaced.
    #[error("controller {id} is not a voter")]
    NotAVoter {
        /// Which.
        id: ControllerId,
    },
    /// Without it there is no group.
    #[error("controller {id} is the last voter")]
    LastVoter {
        /// Which.
        id: ControllerId,
    },
    /// The new one did not catch up in time.
    #[error("controller {id} did not catch up within {} s", .patience.as_secs())]
    TooSlow {
        /// Which.
        id: ControllerId,
        /// How long it had.
        patience: Duration,
    },
    /// Another change is on its way.
    #[error("another change of the controllers is on its way")]
    InProgress,
    /// The group changed meanwhile.
    #[error("the controllers have changed meanwhile: {0}")]
    Changed(String),
}

impl MembershipError {
    /// How a client is told.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Unavailable(unavailable) => unavailable.code(),
            Self::Unreachable(_) | Self::TooSlow { .. } | Self::InProgress | Self::Changed(_) => {
                ErrorCode::NotReady
            }
            Self::Elsewhere { .. }
            | Self::OtherCluster { .. }
            | Self::Moved { .. }
            | Self::NotAVoter { .. }
            | Self::LastVoter { .. } => ErrorCode::InvalidRequest,
        }
    }
}

/// Why a message of another controller is not taken.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum RpcError {
    /// It is for a controller of another cluster.
    #[error("this controller is of cluster {ours}, not {theirs}")]
    OtherCluster {
        /// The cluster of this controller.
        ours: ClusterId,
        /// The one that is meant.
        theirs: ClusterId,
    },
    /// It is for another controller.
    #[error("this is controller {ours}, not {theirs}")]
    OtherController {
        /// This one.
        ours: ControllerId,
        /// The one that is meant.
        theirs: ControllerId,
    },
    /// Its bytes are no message.
    #[error("the message makes no sense: {0}")]
    Malformed(String),
    /// The controller is shutting down, or has failed.
    #[error("the controller has stopped")]
    Stopped,
}
