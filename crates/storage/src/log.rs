//! One partition's log.

use crate::data_dir::DataDir;
use crate::{
    AppendError, Corruption, DeleteRecordsError, Disk, EpochCache, FlushDone, FlushJob, LogConfig, LogReader,
    RetainError, SnapshotError, TruncateError,
};
use bytes::Bytes;
use quipu_record::{LeaderEpoch, Offset, StoredBatch, Timestamp, TopicPartition};
use std::path::PathBuf;

/// What an append did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    /// The log end before it.
    pub base_offset: Offset,
    /// The log end after it.
    pub log_end: Offset,
    /// Bytes written.
    pub bytes: u64,
    /// Whether a segment was completed: a good time for a producer snapshot.
    pub rolled: bool,
}

/// What retention did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Retained {
    /// Segments removed.
    pub segments: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// A torn tail that recovery cut. Nothing above the mark was ever reported as flushed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cut {
    /// The log end now.
    pub log_end: Offset,
    /// Where the first bad batch began, and what was wrong with it.
    pub at: Corruption,
    /// Bytes removed.
    pub bytes: u64,
}

/// A file that was wrong and was made anew from others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Repair {
    /// The file.
    pub file: PathBuf,
    /// What was wrong with it.
    pub what: String,
}

/// What opening a log found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OpenReport {
    /// The torn tail, if there was one: the replica registers as cut.
    pub cut: Option<Cut>,
    /// Bad bytes below the mark. If there are any, the log serves its good ranges and takes no appends.
    pub corrupt: Vec<Corruption>,
    /// Derived files that were wrong.
    pub repaired: Vec<Repair>,
    /// Bytes that recovery read.
    pub scanned: u64,
}

/// One partition's log: one owner, synchronous. Opened by [`DataDir::open_log`].
#[derive(Debug)]
pub struct Log<D: Disk> {
    dir: DataDir<D>,
}

impl<D: Disk> Log<D> {
    /// Which partition's.
    #[must_use]
    pub fn partition(&self) -> TopicPartition {
        let _ = &self.dir;
        todo!("API")
    }

    /// The first offset that may be read.
    #[must_use]
    pub fn log_start(&self) -> Offset {
        todo!("API")
    }

    /// The log start that a crash cannot take back; reaches [`Log::log_start`] with the next flush.
    #[must_use]
    pub fn durable_log_start(&self) -> Offset {
        todo!("API")
    }

    /// The offset of the next record.
    #[must_use]
    pub fn log_end(&self) -> Offset {
        todo!("API")
    }

    /// Everything below is durable.
    #[must_use]
    pub fn flushed(&self) -> Offset {
        todo!("API")
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        todo!("API")
    }

    /// The epoch of the last batch; `None` while the log is empty.
    #[must_use]
    pub fn last_epoch(&self) -> Option<LeaderEpoch> {
        todo!("API")
    }

    /// The leader epochs of the log.
    #[must_use]
    pub fn epochs(&self) -> &EpochCache {
        todo!("API")
    }

    /// The bad bytes on account of which the log takes no appends.
    #[must_use]
    pub fn damage(&self) -> Option<&Corruption> {
        todo!("API")
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &LogConfig {
        todo!("API")
    }

    /// Changes the configuration, from the next operation on.
    pub fn set_config(&mut self, config: LogConfig) {
        let _ = config;
        todo!("API")
    }

    /// Notes that `epoch` begins at the log end: a leader's first act. Written with the first batch of the epoch; an
    /// epoch not newer than the newest is already there and changes nothing.
    pub fn begin_epoch(&mut self, epoch: LeaderEpoch) {
        let _ = epoch;
        todo!("API")
    }

    /// Appends batches that follow the log end, all or none, with one vectored write where no segment is rolled and
    /// `IOV_MAX` allows. A batch of a newer epoch begins that epoch. `now` is for `segment.ms`.
    ///
    /// # Errors
    /// [`AppendError`]; the log is then as it was, except that after [`AppendError::Failed`] it takes nothing more.
    pub fn append(&mut self, now: Timestamp, batches: &[StoredBatch]) -> Result<Appended, AppendError> {
        let _ = (now, batches);
        todo!("API")
    }

    /// Appends batches copied from a leader, whose offsets may leave gaps below `cleaned_to` (compaction).
    ///
    /// # Errors
    /// As [`Log::append`].
    pub fn append_copied(
        &mut self,
        now: Timestamp,
        batches: &[StoredBatch],
        cleaned_to: Offset,
    ) -> Result<Appended, AppendError> {
        let _ = (now, batches, cleaned_to);
        todo!("API")
    }

    /// Cuts the log so that it ends at `to` (rounded down to the begin of the batch that holds it), with its epochs and
    /// producer snapshots. Durable on return. At the log end it still drops epochs that have no records (KAFKA-10706).
    ///
    /// # Errors
    /// [`TruncateError`].
    pub fn truncate_to(&mut self, to: Offset) -> Result<(), TruncateError> {
        let _ = to;
        todo!("API")
    }

    /// Deletes everything and begins again, empty, at `start`. Durable on return.
    ///
    /// # Errors
    /// [`TruncateError`].
    pub fn restart_at(&mut self, start: Offset) -> Result<(), TruncateError> {
        let _ = start;
        todo!("API")
    }

    /// Removes whole segments by time, then by size, oldest first, none that reaches past `high_watermark`. The log
    /// start moves at once; files go after a flush made that durable.
    ///
    /// # Errors
    /// [`RetainError`].
    pub fn retain(&mut self, now: Timestamp, high_watermark: Offset) -> Result<Retained, RetainError> {
        let _ = (now, high_watermark);
        todo!("API")
    }

    /// Moves the log start up to `before`, at most to `high_watermark`; lower than it is already changes nothing.
    /// Durable once [`Log::durable_log_start`] says so.
    ///
    /// # Errors
    /// [`DeleteRecordsError`].
    pub fn delete_records(
        &mut self,
        before: Offset,
        high_watermark: Offset,
    ) -> Result<Offset, DeleteRecordsError> {
        let _ = (before, high_watermark);
        todo!("API")
    }

    /// Stores what the driver knows of producers at the log end, durable with the next flush. Older ones are removed
    /// in time; after open or truncation none is above the log end.
    ///
    /// # Errors
    /// [`SnapshotError`]. Without a snapshot there is more to replay, and nothing is lost.
    pub fn write_producer_snapshot(&mut self, state: &[u8]) -> Result<(), SnapshotError> {
        let _ = state;
        todo!("API")
    }

    /// The newest intact producer snapshot not above the log end, with its offset: replay the batches from there.
    ///
    /// # Errors
    /// [`SnapshotError`] if the disk fails; a damaged snapshot is passed over.
    pub fn producer_snapshot(&self) -> Result<Option<(Offset, Bytes)>, SnapshotError> {
        todo!("API")
    }

    /// Whether a flush would do anything.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        todo!("API")
    }

    /// What must be synced to make the log durable as it is now; `None` if it is. Several jobs of one log may be under
    /// way, if rounds run in the order in which the jobs were taken.
    pub fn take_flush(&mut self) -> Option<FlushJob<D>> {
        todo!("API")
    }

    /// Takes note of a job done, and returns [`Log::flushed`].
    pub fn flush_done(&mut self, done: &FlushDone) -> Offset {
        let _ = done;
        todo!("API")
    }

    /// A reader for other threads, cheap to clone.
    #[must_use]
    pub fn reader(&self) -> LogReader<D> {
        todo!("API")
    }
}
