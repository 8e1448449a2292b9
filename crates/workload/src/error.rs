//! What ends a workload before its time.

use quipu_checker::{HistoryError, Key};
use quipu_client::{CallError, ConfigError, ConnectError};
use thiserror::Error;

/// Why a workload, or the reading at the end, went no further. What a cluster under faults says is no such reason: that is
/// an operation's `fail` or `info`.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WorkloadError {
    /// The workload broke the rules of histories: a bug of its own.
    #[error("the workload records what is no history: {0}")]
    History(#[from] HistoryError),
    /// A client cannot be configured as the workload wants it.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The cluster could not be reached where it must be.
    #[error("{0}")]
    Connect(#[from] ConnectError),
    /// A call was refused, or not answered, where it must be.
    #[error("{0}")]
    Call(#[from] CallError),
    /// A partition was not read to its end in time.
    #[error("partition {key} was not read to its end within {seconds} s: {last}")]
    NotReadToTheEnd {
        /// Which.
        key: Key,
        /// The time there was.
        seconds: u64,
        /// What went wrong last.
        last: String,
    },
    /// Tasks did not end when they were asked to.
    #[error("{tasks} tasks did not end within {seconds} s of being asked to, and were aborted")]
    Stuck {
        /// How many.
        tasks: usize,
        /// The time there was.
        seconds: u64,
    },
    /// A task panicked.
    #[error("a task of a workload panicked: {0}")]
    Panicked(String),
}
