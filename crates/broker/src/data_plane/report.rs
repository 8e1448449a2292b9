//! What opening the logs found, for the broker's registration and for people.

use quipu_record::{LeaderEpoch, Offset, TopicPartition};
use quipu_storage::{Corruption, Cut};

/// What opening the logs found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OpenSummary {
    /// Logs that were opened.
    pub logs: usize,
    /// Logs whose torn tail was cut.
    pub cut: Vec<CutLog>,
    /// Logs with bad bytes below their flush mark: they serve their good ranges and take no appends.
    pub damaged: Vec<DamagedLog>,
    /// Bytes that recovery read.
    pub scanned: u64,
}

/// A log whose torn tail was cut, and how far it goes now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CutLog {
    /// Which partition's.
    pub at: TopicPartition,
    /// The leader epoch of its last batch; `None`: it is empty.
    pub last_epoch: Option<LeaderEpoch>,
    /// Its log end.
    pub log_end: Offset,
    /// What was cut.
    pub cut: Cut,
}

/// A log with bad bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DamagedLog {
    /// Which partition's.
    pub at: TopicPartition,
    /// Where they are.
    pub corrupt: Vec<Corruption>,
}
