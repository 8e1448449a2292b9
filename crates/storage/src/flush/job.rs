//! What one log wants of a round, and what it gets back.

use crate::log::UnsyncedFile;
use crate::marks::{Mark, SlotId};
use crate::{Disk, DiskFile as _, Taken};
use quipu_record::{Offset, TopicPartition};
use std::collections::{BTreeMap, VecDeque};
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

/// A file to sync, and how much of what was taken to be written behind must be in it.
#[derive(Debug)]
pub(super) struct Part<D: Disk> {
    pub(super) file: UnsyncedFile<D>,
    pub(super) taken: Taken,
}

impl<D: Disk> Part<D> {
    pub(super) fn new(file: UnsyncedFile<D>) -> Self {
        let taken = match &file {
            UnsyncedFile::Open(file) => file.file().taken(),
            UnsyncedFile::Found(_) => Taken::default(),
        };
        Self { file, taken }
    }

    fn is_written(&self) -> bool {
        match &self.file {
            UnsyncedFile::Open(file) => file.file().has_written(self.taken),
            UnsyncedFile::Found(_) => true,
        }
    }
}

/// What must be synced, oldest first, before one log is durable up to an offset. Holds the files open.
#[derive(Debug)]
pub struct FlushJob<D: Disk> {
    pub(super) claim: Claim,
    pub(super) files: Vec<Part<D>>,
    pub(super) dirs: Vec<PathBuf>,
    pub(super) slot: SlotId,
    pub(super) slot_generation: u64,
    pub(super) mark: Option<Mark>,
    /// This one, and those that joined it.
    pub(super) jobs: usize,
}

impl<D: Disk> FlushJob<D> {
    pub(crate) fn new(
        claim: Claim,
        files: Vec<UnsyncedFile<D>>,
        dirs: Vec<PathBuf>,
        slot: SlotId,
        slot_generation: u64,
        mark: Option<Mark>,
    ) -> Self {
        Self {
            claim,
            files: files.into_iter().map(Part::new).collect(),
            dirs,
            slot,
            slot_generation,
            mark,
            jobs: 1,
        }
    }

    /// Takes in a job of the same log that was taken after this one: each file is synced once for both, and what that
    /// proves is what the later one claims.
    fn absorb(&mut self, later: Self) {
        for part in later.files {
            // The same file is mostly the last one.
            match self
                .files
                .iter_mut()
                .rev()
                .find(|known| known.file.is(&part.file))
            {
                Some(known) => known.taken = known.taken.max(part.taken),
                None => self.files.push(part),
            }
        }
        self.dirs.extend(later.dirs);
        self.claim = later.claim;
        self.slot = later.slot;
        self.slot_generation = later.slot_generation;
        self.mark = later.mark;
        self.jobs += later.jobs;
    }

    /// Whether its round need not wait for a write.
    fn is_written(&self) -> bool {
        self.files.iter().all(Part::is_written)
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

/// The jobs that wait for a round, each log's in the order in which they were taken. A round takes of a log what is written
/// by then, joined to one: several syncs of one file in one round would prove no more than one, and none should wait for a
/// write behind that came after what it is about.
#[derive(Debug)]
pub struct FlushJobs<D: Disk>(BTreeMap<TopicPartition, VecDeque<FlushJob<D>>>);

impl<D: Disk> Default for FlushJobs<D> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<D: Disk> FlushJobs<D> {
    /// Adds a job. Jobs of one log come in the order in which they were taken.
    pub fn add(&mut self, job: FlushJob<D>) {
        let waiting = self.0.entry(job.partition()).or_default();
        match waiting.back_mut() {
            // It waits for no write of its own.
            Some(last) if job.is_written() => last.absorb(job),
            _ => waiting.push_back(job),
        }
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes what is written, for a round: one job of a log. Where nothing is, each log's oldest, and the round waits for
    /// the writes.
    pub fn take(&mut self) -> Vec<FlushJob<D>> {
        let written = self.take_of_each(FlushJob::is_written);
        if written.is_empty() {
            return self.take_of_each(|_| true);
        }
        written
    }

    /// The oldest jobs that may be taken, joined with what is written behind them.
    fn take_of_each(&mut self, may_begin: impl Fn(&FlushJob<D>) -> bool) -> Vec<FlushJob<D>> {
        let mut taken = Vec::with_capacity(self.0.len());
        self.0.retain(|_, waiting| {
            if waiting.front().is_some_and(&may_begin)
                && let Some(mut job) = waiting.pop_front()
            {
                while waiting.front().is_some_and(FlushJob::is_written)
                    && let Some(next) = waiting.pop_front()
                {
                    job.absorb(next);
                }
                taken.push(job);
            }
            !waiting.is_empty()
        });
        taken
    }
}

impl<D: Disk> Extend<FlushJob<D>> for FlushJobs<D> {
    fn extend<I: IntoIterator<Item = FlushJob<D>>>(&mut self, jobs: I) {
        jobs.into_iter().for_each(|job| self.add(job));
    }
}

/// A job whose syncs all succeeded, with those that joined it; goes back to its log by [`crate::Log::flush_done`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlushDone {
    claim: Claim,
    jobs: usize,
}

impl FlushDone {
    pub(super) const fn new(claim: Claim, jobs: usize) -> Self {
        Self { claim, jobs }
    }

    /// How many jobs are done.
    #[must_use]
    pub const fn jobs(&self) -> usize {
        self.jobs
    }

    pub(crate) const fn claim(&self) -> &Claim {
        &self.claim
    }

    /// Which partition's.
    #[must_use]
    pub const fn partition(&self) -> TopicPartition {
        self.claim.partition
    }

    /// What is durable now, unless the log was truncated meanwhile: [`crate::Log::flush_done`] knows.
    #[must_use]
    pub const fn up_to(&self) -> Offset {
        self.claim.up_to
    }
}
