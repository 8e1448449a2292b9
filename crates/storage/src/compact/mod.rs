//! Compaction: of the records of one key only the latest stays. Offsets and order stay as they are.
//!
//! - `job`: what is cleaned, and how: passes of "note the latest of each key" and "copy without what is not it".
//! - `map`, `hash`: the latest of each key, in a fixed amount of memory.
//! - `write`, `swap`: a cleaned segment beside the others, and in their place.
//! - `state`: what a log remembers of it.
//!
//! What holds, whoever crashes when:
//! - Only complete segments are cleaned whose records, to the last, are committed (below the high watermark) and durable
//!   (a flush mark on disk speaks of a later segment): no record goes for the sake of one that may go itself.
//! - The last batch of a cleaned segment stays, without records if need be: where a segment ends is in its bytes. So does
//!   the last batch of each idempotent producer.
//! - A tombstone stays for `delete.retention.ms` after it was first cleaned (the batch carries that time), and for as long
//!   as any assigned replica may lack it; before it goes, the log notes durably how far tombstones may be missing.
//! - The owner of a log appends meanwhile. A cut of the log and a swap take turns.

mod hash;
mod job;
mod map;
mod state;
mod swap;
mod write;

use crate::files::is_full;
use crate::{Corruption, IoFailure};
use quipu_record::{ErrorCode, Offset, ProducerId, Timestamp};
use std::collections::HashSet;
use thiserror::Error;

pub use hash::HashSeed;
pub use job::CleanJob;
pub(crate) use state::CleanState;
pub(crate) use swap::{Intent, UNREADABLE, finish_interrupted};

/// What of a topic's configuration concerns compaction, under Kafka's names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CompactionConfig {
    /// `min.cleanable.dirty.ratio`, in millionths.
    pub min_cleanable_dirty_ratio: u64,
    /// `min.compaction.lag.ms`.
    pub min_compaction_lag_ms: u64,
    /// `delete.retention.ms`.
    pub delete_retention_ms: u64,
}

impl Default for CompactionConfig {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            min_cleanable_dirty_ratio: 500_000,
            min_compaction_lag_ms: 0,
            delete_retention_ms: 24 * 3600 * 1000,
        }
    }
}

/// What a cleaning goes by that a log does not know by itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CleanLimits {
    /// The broker's clock.
    pub now: Timestamp,
    /// Nothing is cleaned from here on.
    pub high_watermark: Offset,
    /// Every assigned replica has flushed what lies below: tombstones may go there.
    pub tombstone_floor: Offset,
    /// Where the last batches of idempotent producers begin that no crash takes back: they stay, without records if need
    /// be.
    pub last_batches: HashSet<Offset>,
    /// Producers of whom that batch is not known: all of theirs stay for now.
    pub unsure: HashSet<ProducerId>,
}

/// What a cleaning may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CleanBudget {
    /// Bytes of memory for the latest offsets of keys; more keys take more passes.
    pub map_bytes: usize,
    /// The key of the hash of keys.
    pub seed: HashSeed,
}

impl Default for CleanBudget {
    fn default() -> Self {
        Self {
            map_bytes: 32 << 20,
            seed: HashSeed::default(),
        }
    }
}

/// What a cleaning did, for metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CleanReport {
    /// Times that the keys were gone through.
    pub passes: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Segments that others took the place of.
    pub segments_before: u64,
    /// Those others.
    pub segments_after: u64,
    /// Bytes of the log that are no more.
    pub bytes_freed: u64,
    /// Tombstones that went for good.
    pub tombstones_purged: u64,
}

/// Whether a cleaning is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CleanStep {
    /// There is more to do.
    More,
    /// It is done, or has become pointless: the log was cut meanwhile.
    Done,
}

/// Why a cleaning ended early. The log is right all the same.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CleanError {
    /// It was told to.
    #[error("the cleaning was stopped")]
    Stopped,
    /// The disk has no room for what it writes before anything goes.
    #[error("the disk is full: {0}")]
    StorageFull(#[source] IoFailure),
    /// The log holds bad bytes.
    #[error("the log is damaged: {0}")]
    Damaged(#[source] Box<Corruption>),
    /// The disk could not be read.
    #[error("the disk failed while {0}")]
    Unreadable(#[source] IoFailure),
    /// A write or a sync failed. Final: the broker goes down.
    #[error("the disk failed while {0}")]
    Failed(#[source] IoFailure),
}

impl CleanError {
    /// A write before anything is replaced: without room there is nothing but that to be done.
    pub(crate) fn of_write(failure: IoFailure) -> Self {
        if is_full(&failure.source) {
            Self::StorageFull(failure)
        } else {
            Self::Failed(failure)
        }
    }

    /// The code that tells an operator.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Stopped => ErrorCode::ShuttingDown,
            Self::StorageFull(_) => ErrorCode::StorageFull,
            Self::Damaged(_) => ErrorCode::CorruptLog,
            Self::Unreadable(_) | Self::Failed(_) => ErrorCode::StorageFailed,
        }
    }
}
