//! What one log wants of a round, and what it gets back.

use crate::log::UnsyncedFile;
use crate::marks::{Mark, SlotId};
use crate::{Disk, DiskFile as _, Taken};
use quipu_record::{Offset, TopicPartition};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
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

/// The jobs that wait for a round, one of a log: what is taken while a round runs joins what waits, and several syncs of
/// one file in one round would prove no more than one.
#[derive(Debug)]
pub struct FlushJobs<D: Disk>(BTreeMap<TopicPartition, FlushJob<D>>);

impl<D: Disk> Default for FlushJobs<D> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<D: Disk> FlushJobs<D> {
    /// Adds a job. Jobs of one log come in the order in which they were taken.
    pub fn add(&mut self, job: FlushJob<D>) {
        match self.0.entry(job.partition()) {
            Entry::Occupied(mut waiting) => waiting.get_mut().absorb(job),
            Entry::Vacant(room) => drop(room.insert(job)),
        }
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes all of them, for a round.
    pub fn take(&mut self) -> Vec<FlushJob<D>> {
        std::mem::take(&mut self.0).into_values().collect()
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
