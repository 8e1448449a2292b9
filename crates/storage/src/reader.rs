//! Reads a log from other threads while its owner appends.

use crate::{Disk, ReadError};
use bytes::Bytes;
use quipu_record::{BatchHeader, LeaderEpoch, Offset, Timestamp};
use std::marker::PhantomData;

/// What a read gave: whole batches one after another, each verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BatchesRead {
    /// The batches as they are stored. The first one holds the offset asked for; it may begin before it.
    pub bytes: Bytes,
    /// The offset after the last batch: where to read on.
    pub next: Offset,
}

/// A record found by its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimedOffset {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// The epoch of its batch.
    pub leader_epoch: LeaderEpoch,
}

/// A view of one log: `Send`, `Sync`, cheap to clone. Every batch is verified on every read: checksum, place, epoch.
#[derive(Debug)]
pub struct LogReader<D: Disk> {
    _disk: PhantomData<D>,
}

impl<D: Disk> Clone for LogReader<D> {
    fn clone(&self) -> Self {
        Self { _disk: PhantomData }
    }
}

impl<D: Disk> LogReader<D> {
    /// The first offset that may be read.
    #[must_use]
    pub fn log_start(&self) -> Offset {
        todo!("API")
    }

    /// The offset of the next record.
    #[must_use]
    pub fn log_end(&self) -> Offset {
        todo!("API")
    }

    /// Reads batches from the one that holds `from` on, wholly below `limit` (a high watermark, say), about `max_bytes`
    /// of them: at least one if there is one, then no more than fit. Empty at `limit`.
    ///
    /// # Errors
    /// [`ReadError`]; bad bytes end a read before them, and are an error once they come first.
    pub fn read(&self, from: Offset, limit: Offset, max_bytes: usize) -> Result<BatchesRead, ReadError> {
        let _ = (from, limit, max_bytes);
        todo!("API")
    }

    /// The first record below `limit` whose timestamp is not earlier than `time`; `None` if all are.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn offset_for_time(&self, time: Timestamp, limit: Offset) -> Result<Option<TimedOffset>, ReadError> {
        let _ = (time, limit);
        todo!("API")
    }

    /// Calls `each` with the header of every batch from the one that holds `from` up to the log end (verified as in a
    /// read): how producer state is replayed.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn for_each_header(&self, from: Offset, each: impl FnMut(&BatchHeader)) -> Result<(), ReadError> {
        let _ = (from, each);
        todo!("API")
    }
}
