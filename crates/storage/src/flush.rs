//! Flush rounds: what makes `flushed` true.

use crate::data_dir::DataDir;
use crate::{Disk, FlushError, FlushMethod};
use quipu_record::{Offset, TopicPartition};
use std::marker::PhantomData;

/// What must be synced, oldest first, before one log is durable up to an offset. Holds the files open.
#[derive(Debug)]
pub struct FlushJob<D: Disk> {
    partition: TopicPartition,
    up_to: Offset,
    _disk: PhantomData<D>,
}

impl<D: Disk> FlushJob<D> {
    /// Which partition's.
    #[must_use]
    pub const fn partition(&self) -> TopicPartition {
        self.partition
    }

    /// What will be durable once the job is done.
    #[must_use]
    pub const fn up_to(&self) -> Offset {
        self.up_to
    }
}

/// A job whose syncs all succeeded; goes back to its log by [`crate::Log::flush_done`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlushDone {
    partition: TopicPartition,
    up_to: Offset,
}

impl FlushDone {
    /// Which partition's.
    #[must_use]
    pub const fn partition(&self) -> TopicPartition {
        self.partition
    }

    /// What is durable now, unless the log was truncated meanwhile: [`crate::Log::flush_done`] knows.
    #[must_use]
    pub const fn up_to(&self) -> Offset {
        self.up_to
    }
}

/// What a round did, for metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RoundReport {
    /// Files that needed a sync.
    pub files: usize,
    /// Directories that did.
    pub dirs: usize,
    /// Whether one `syncfs` did it.
    pub syncfs: bool,
    /// Flush marks written.
    pub marks: usize,
}

/// Runs flush rounds, one after another, on one thread.
#[derive(Debug)]
pub struct Flusher<D: Disk> {
    dir: DataDir<D>,
    method: FlushMethod,
}

impl<D: Disk> Flusher<D> {
    /// A flusher for the logs of this directory; there is one.
    #[must_use]
    pub fn new(dir: DataDir<D>, method: FlushMethod) -> Self {
        Self { dir, method }
    }

    /// Syncs all the jobs, and the marks that the round before completed. With no jobs it writes those marks alone.
    ///
    /// # Errors
    /// [`FlushError`]: final. No job of the round is done, and none after it may be.
    pub fn round(&mut self, jobs: Vec<FlushJob<D>>) -> Result<(Vec<FlushDone>, RoundReport), FlushError> {
        let _ = (&self.dir, self.method, jobs);
        todo!("API")
    }

    /// Whether a round without jobs would write marks: worth one when all is idle.
    #[must_use]
    pub fn has_marks(&self) -> bool {
        todo!("API")
    }
}
