//! What one log wants of a round, and what it gets back.

use crate::Disk;
use crate::log::UnsyncedFile;
use crate::marks::{Mark, SlotId};
use quipu_record::{Offset, TopicPartition};
use std::path::PathBuf;

/// What a log may believe once its job is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Claim {
    pub(crate) partition: TopicPartition,
    pub(crate) up_to: Offset,
    pub(crate) log_start: Offset,
    /// The log's, as the job was taken: after a truncation, or for another log, the claim is void.
    pub(crate) generation: u64,
}

/// What must be synced, oldest first, before one log is durable up to an offset. Holds the files open.
#[derive(Debug)]
pub struct FlushJob<D: Disk> {
    pub(super) claim: Claim,
    pub(super) files: Vec<UnsyncedFile<D>>,
    pub(super) dirs: Vec<PathBuf>,
    pub(super) slot: SlotId,
    pub(super) slot_generation: u64,
    pub(super) mark: Option<Mark>,
}

impl<D: Disk> FlushJob<D> {
    pub(crate) const fn new(
        claim: Claim,
        files: Vec<UnsyncedFile<D>>,
        dirs: Vec<PathBuf>,
        slot: SlotId,
        slot_generation: u64,
        mark: Option<Mark>,
    ) -> Self {
        Self {
            claim,
            files,
            dirs,
            slot,
            slot_generation,
            mark,
        }
    }

    /// Which partition's.
    #[must_use]
    pub const fn partition(&self) -> TopicPartition {
        self.claim.partition
    }

    /// What will be durable once the job is done.
    #[must_use]
    pub const fn up_to(&self) -> Offset {
        self.claim.up_to
    }
}

/// A job whose syncs all succeeded; goes back to its log by [`crate::Log::flush_done`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlushDone(Claim);

impl FlushDone {
    pub(super) const fn new(claim: Claim) -> Self {
        Self(claim)
    }

    pub(crate) const fn claim(&self) -> &Claim {
        &self.0
    }

    /// Which partition's.
    #[must_use]
    pub const fn partition(&self) -> TopicPartition {
        self.0.partition
    }

    /// What is durable now, unless the log was truncated meanwhile: [`crate::Log::flush_done`] knows.
    #[must_use]
    pub const fn up_to(&self) -> Offset {
        self.0.up_to
    }
}
