//! A data directory: its lock, its marks, its logs, and how it was left.

use crate::{DataDirError, Disk, FlushError, Flusher, Log, LogConfig, OpenError, OpenReport, Repair};
use bytes::Bytes;
use quipu_record::{BrokerEpoch, Offset, Timestamp, TopicPartition};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

/// Budgets of a data directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DataDirOptions {
    /// Segment files that are kept open for want of anything better to do with the descriptors.
    pub open_files: usize,
    /// Segment files that may be open in all, those that wait for a flush included; an append beyond waits.
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
pub struct DataDir<D: Disk> {
    _disk: PhantomData<D>,
}

impl<D: Disk> Clone for DataDir<D> {
    fn clone(&self) -> Self {
        Self { _disk: PhantomData }
    }
}

impl<D: Disk> DataDir<D> {
    /// Opens (or begins) the data directory at `root`, which exists: takes the lock, reads and removes the marker of a
    /// clean shutdown (durably, before anything can be appended), reads the marks, finishes deletions.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn open(disk: D, root: PathBuf, options: DataDirOptions) -> Result<(Self, Boot), DataDirError> {
        let _ = (disk, root, options);
        todo!("API")
    }

    /// Its path.
    #[must_use]
    pub fn root(&self) -> &Path {
        todo!("API")
    }

    /// The disk it is on.
    #[must_use]
    pub fn disk(&self) -> &D {
        todo!("API")
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
        let _ = (partition, config, now);
        todo!("API")
    }

    /// Deletes a log and everything of it. A crash in the middle is harmless: the deletion is finished at the next start,
    /// or the log is there whole.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn delete_log(&self, log: Log<D>) -> Result<(), DataDirError> {
        let _ = log;
        todo!("API")
    }

    /// Deletes what a partition has here, though no log is open (a topic that is gone, say).
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn delete_partition(&self, partition: TopicPartition) -> Result<(), DataDirError> {
        let _ = partition;
        todo!("API")
    }

    /// Renames a damaged log's directory to `.corrupt` and forgets it, so that the partition can be copied again.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn set_aside(&self, log: Log<D>) -> Result<PathBuf, DataDirError> {
        let _ = log;
        todo!("API")
    }

    /// Writes the last marks and the marker of a clean shutdown. Every log must be flushed and closed (dropped) before.
    ///
    /// # Errors
    /// [`FlushError`].
    pub fn shut_down(&self, flusher: Flusher<D>, epoch: BrokerEpoch) -> Result<(), FlushError> {
        let _ = (flusher, epoch);
        todo!("API")
    }

    /// Saves high watermarks, as hints for the next start.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn write_high_watermarks(&self, all: &[(TopicPartition, Offset)]) -> Result<(), DataDirError> {
        let _ = all;
        todo!("API")
    }

    /// The saved high watermarks; empty if there are none, or they are damaged.
    ///
    /// # Errors
    /// [`DataDirError`] if the disk fails.
    pub fn read_high_watermarks(&self) -> Result<Vec<(TopicPartition, Offset)>, DataDirError> {
        todo!("API")
    }
}

/// Small files that are replaced as a whole: checksummed, written beside, synced, renamed, the directory synced.
#[derive(Clone, Copy, Debug)]
pub struct ReplaceFile;

impl ReplaceFile {
    /// Replaces `path` by one that holds `contents`. Durable on return.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn write<D: Disk>(disk: &D, path: &Path, contents: &[u8]) -> Result<(), DataDirError> {
        let _ = (disk, path, contents);
        todo!("API")
    }

    /// Reads what [`ReplaceFile::write`] wrote; `None` if there is no such file.
    ///
    /// # Errors
    /// [`DataDirError::Corrupt`] if the checksum does not match.
    pub fn read<D: Disk>(disk: &D, path: &Path) -> Result<Option<Bytes>, DataDirError> {
        let _ = (disk, path);
        todo!("API")
    }
}
