//! Flush rounds: what makes `flushed` true.
//!
//! *flushed(p) reaches X only after every file that holds bytes below X, and every directory that names such a file, was
//! synced without error, oldest first.* A round takes the jobs of all logs that want it; each job has the files of one log,
//! oldest first, and its directories. A few are synced one by one, in parallel; many by one `syncfs`. What was taken to be
//! written behind its caller is written before its sync. With them goes the file of flush marks, into which the round has
//! written what the round before completed: so a mark is never ahead of what it speaks of. No lock is held meanwhile, and
//! logs go on appending: that is for the next round.

mod helpers;
mod job;
mod sync;
#[cfg(test)]
mod tests;

use crate::data_dir::DataDir;
use crate::marks::{Mark, SlotId};
use crate::{Disk, FlushError, FlushMethod, IoFailure};
use helpers::Helpers;
use std::io;

pub(crate) use job::Claim;
pub use job::{FlushDone, FlushJob, FlushJobs};

/// More files than this are synced by one `syncfs`: measured on ext4, 16 files take 3.8 ms one by one, 0.8 ms so.
const FILES_MAX: usize = 8;

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
    helpers: Helpers<D>,
    failed: Option<String>,
}

/// A mark that a job's syncs make true.
type Completed = (SlotId, u64, Option<Mark>);

impl<D: Disk> Flusher<D> {
    /// A flusher for the logs of this directory; there is one.
    #[must_use]
    pub const fn new(dir: DataDir<D>, method: FlushMethod) -> Self {
        Self {
            dir,
            method,
            helpers: Helpers::new(),
            failed: None,
        }
    }

    /// Syncs all the jobs, and the marks that the round before completed. With no jobs it writes those marks alone.
    ///
    /// # Errors
    /// [`FlushError`]: final. No job of the round is done, and none after it will be.
    pub fn round(&mut self, jobs: Vec<FlushJob<D>>) -> Result<(Vec<FlushDone>, RoundReport), FlushError> {
        if let Some(what) = &self.failed {
            return Err(FlushError(IoFailure {
                doing: "flushing",
                file: self.dir.root().to_owned(),
                source: io::Error::other(format!("{what} (in an earlier round: nothing is flushed since)")),
            }));
        }
        self.run(jobs).map_err(|failure| {
            self.failed = Some(failure.to_string());
            FlushError(failure)
        })
    }

    fn run(&mut self, jobs: Vec<FlushJob<D>>) -> Result<(Vec<FlushDone>, RoundReport), IoFailure> {
        let marks = self.dir.marks();
        let written = marks.write_dirty()?;
        let mut report = RoundReport {
            marks: written.len(),
            ..RoundReport::default()
        };
        let mut done = Vec::with_capacity(jobs.len());
        let mut completed: Vec<Completed> = Vec::with_capacity(jobs.len());
        let mut chains = Vec::with_capacity(jobs.len());
        let mut dirs = Vec::new();
        for job in jobs {
            let (files, mut names) = (job.files, job.dirs);
            report.files += files.len();
            if !files.is_empty() {
                chains.push(files);
            }
            dirs.append(&mut names);
            completed.push((job.slot, job.slot_generation, job.mark));
            done.push(FlushDone::new(job.claim, job.jobs));
        }
        dirs.sort_unstable();
        dirs.dedup();
        report.dirs = dirs.len();
        report.syncfs = self.by_syncfs(&report);
        if report.syncfs {
            sync::whole_filesystem(&self.dir)?;
            // Nothing that was written is closed before this.
            drop(chains);
        } else {
            sync::one_by_one(&mut self.helpers, &self.dir, chains, dirs, !written.is_empty())?;
        }
        marks.confirm(&written);
        for (slot, generation, mark) in completed {
            if let Some(mark) = mark {
                marks.complete(slot, generation, mark);
            }
        }
        Ok((done, report))
    }

    const fn by_syncfs(&self, report: &RoundReport) -> bool {
        match self.method {
            FlushMethod::Fdatasync => false,
            FlushMethod::Syncfs => true,
            FlushMethod::Auto => report.files + report.dirs > FILES_MAX,
        }
    }

    /// Whether a round without jobs would write marks: worth one when all is idle.
    #[must_use]
    pub fn has_marks(&self) -> bool {
        self.dir.marks().is_dirty()
    }
}
