//! A data directory: its lock, its marks, its logs, and how it was left.

mod begin;
mod delete;
mod hints;
mod replace_file;
#[cfg(test)]
mod tests;

use crate::files::{Files, failed};
use crate::marks::Marks;
use crate::{DataDirError, Disk, FlushError, Flusher, Log, LogConfig, OpenError, OpenReport, Repair, paths};
use quipu_record::{BrokerEpoch, Timestamp, TopicPartition};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

pub use replace_file::ReplaceFile;

/// Budgets of a data directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DataDirOptions {
    /// Segment files that are kept open for want of anything better to do with the descriptors.
    pub open_files: usize,
    /// Files that may be open in all, those that wait for a flush included; an append beyond is refused for now.
    pub open_files_max: usize,
}

impl Default for DataDirOptions {
    fn default() -> Self {
        Self {
            open_files: 2048,
            open_files_max: 3072,
        }
    }
}

/// What opening a data directory found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Boot {
    /// The epoch of the broker that shut down cleanly here; `None` after a crash and in a new directory.
    pub clean_shutdown: Option<BrokerEpoch>,
    /// The partitions that have anything here.
    pub logs: Vec<TopicPartition>,
    /// Files of the directory itself that were wrong.
    pub repaired: Vec<Repair>,
}

/// A data directory, locked for this process. Cheap to clone.
#[derive(Debug)]
pub struct DataDir<D: Disk>(Arc<Inner<D>>);

#[derive(Debug)]
struct Inner<D: Disk> {
    root: PathBuf,
    files: Files<D>,
    marks: Marks<D>,
    clean: bool,
    /// Files and directories to be removed when there is time.
    trash: Mutex<Vec<delete::Trash>>,
    /// Makes names of what is renamed away, unlike any there are.
    next_name: AtomicU64,
    _lock: D::Lock,
}

impl<D: Disk> Drop for Inner<D> {
    /// Nothing is written any more once somebody else has the lock.
    fn drop(&mut self) {
        self.files.disk().settle();
    }
}

impl<D: Disk> Clone for DataDir<D> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<D: Disk> DataDir<D> {
    /// Opens (or begins) the data directory at `root`, whose parent exists: takes the lock, reads and removes the marker
    /// of a clean shutdown (durably, before anything can be appended), reads the marks, finishes deletions.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn open(disk: D, root: PathBuf, options: DataDirOptions) -> Result<(Self, Boot), DataDirError> {
        begin::open(disk, root, options)
    }

    /// Its path.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.0.root
    }

    /// The disk it is on.
    #[must_use]
    pub fn disk(&self) -> &D {
        self.0.files.disk()
    }

    /// How many files are open.
    #[must_use]
    pub fn open_files(&self) -> usize {
        self.0.files.open_now()
    }

    pub(crate) fn files(&self) -> &Files<D> {
        &self.0.files
    }

    pub(crate) fn marks(&self) -> &Marks<D> {
        &self.0.marks
    }

    pub(crate) fn was_clean(&self) -> bool {
        self.0.clean
    }

    /// Opens a partition's log; recovers it if the last flush mark is not its end. A partition without files is an
    /// empty log.
    ///
    /// # Errors
    /// [`OpenError`]; damage is in the report.
    pub fn open_log(
        &self,
        partition: TopicPartition,
        config: LogConfig,
        now: Timestamp,
    ) -> Result<(Log<D>, OpenReport), OpenError> {
        crate::log::open(self, partition, config, now)
    }

    /// Writes the last marks and the marker of a clean shutdown. Every log must be flushed before; what is appended
    /// after is as after a crash.
    ///
    /// # Errors
    /// [`FlushError`].
    pub fn shut_down(&self, mut flusher: Flusher<D>, epoch: BrokerEpoch) -> Result<(), FlushError> {
        while flusher.has_marks() {
            flusher.round(Vec::new())?;
        }
        let path = self.root().join(paths::CLEAN_SHUTDOWN);
        let written = ReplaceFile::write(self.disk(), &path, &epoch.get().to_be_bytes());
        written.map_err(|error| match error {
            DataDirError::Io(failure) => FlushError(failure),
            other => FlushError(failed("writing", &path)(std::io::Error::other(other.to_string()))),
        })
    }
}
