//! Loading: everything that a partition of the offsets topic holds, replayed, what is not committed yet included. The
//! coordinator serves once the high watermark has passed all of it.
//!
//! A piece of the log is read and replayed in one job on the read pool, so that loading sixteen partitions holds up
//! neither the network's threads nor other reads for long. Of the records of a piece that have the same key only the last is
//! decoded and replayed, as if the piece had been compacted: most of what is not compacted yet are commits of the same few
//! partitions, over and over.

use super::shard::Place;
use crate::partition::read_pool::PoolClosed;
use crate::partition::thread::Command;
use crate::partition::wait::Waiter;
use crate::service::read::read_failed;
use bytes::Bytes;
use quipu_coordinator::{Coordinator, ReplayError};
use quipu_record::{BatchError, Offset, PlantedBug, RecordView, iter_batches};
use quipu_replication::Leading;
use quipu_storage::{LogReader, ReadError, RealDisk};
use std::collections::HashSet;
use std::time::{Duration, Instant};
use thiserror::Error;

/// Bytes that are read and replayed at once.
const PIECE_BYTES: usize = 8 << 20;
/// A batch that decodes to more than this is none of ours.
const DECODED_BYTES_MAX: usize = 256 << 20;

/// Why a coordinator was not loaded.
#[derive(Debug, Error)]
pub(super) enum LoadError {
    /// This broker leads the partition no more, or in another epoch.
    #[error("the partition has another leader")]
    Lost,
    /// The broker is going down.
    #[error("the broker is shutting down")]
    Closed,
    /// The log cannot be read.
    #[error("{0}")]
    Read(String),
    /// What was read is no batch.
    #[error("at offset {at}: {error}")]
    Batch {
        /// Where.
        at: Offset,
        /// Why.
        error: BatchError,
    },
    /// A record is none of a group, or of a version that is not known here.
    #[error("at offset {at}: {error}")]
    Replay {
        /// Where.
        at: Offset,
        /// Why.
        error: ReplayError,
    },
}

/// What a load took.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct LoadFigures {
    /// Bytes of log replayed.
    pub(crate) bytes: u64,
    /// Records in them.
    pub(crate) records: u64,
    /// Of these, replayed: the last of each key in each piece.
    pub(crate) applied: u64,
    /// From the beginning of leadership until everything was replayed.
    pub(crate) replayed: Duration,
    /// And until all of it was committed.
    pub(crate) took: Duration,
}

struct Loading {
    coordinator: Coordinator,
    next: Offset,
    end: Offset,
    figures: LoadFigures,
}

/// Loads the coordinator of a partition that this broker has come to lead.
pub(super) async fn load(place: &Place, leading: Leading) -> Result<(Coordinator, LoadFigures), LoadError> {
    let began = Instant::now();
    // What an earlier leadership still had on its way to the log has arrived, or never will.
    settle(place).await?;
    let view = place.replica.view();
    if view.leading != Some(leading) {
        return Err(LoadError::Lost);
    }
    let mut loading = Loading {
        coordinator: Coordinator::new(place.config.clone()),
        next: view.log_start,
        end: view.log_end,
        figures: LoadFigures::default(),
    };
    if !PlantedBug::ServeBeforeLoaded.planted() {
        while loading.next < loading.end {
            loading = piece(place, loading).await?;
            if place.replica.view().leading != Some(leading) {
                return Err(LoadError::Lost);
            }
        }
        loading.figures.replayed = began.elapsed();
        committed(place, leading, loading.end).await?;
    }
    loading.figures.took = began.elapsed();
    Ok((loading.coordinator, loading.figures))
}

/// Waits until the partition's thread has done all that it was told before.
async fn settle(place: &Place) -> Result<(), LoadError> {
    let (done, all_done) = crossbeam_channel::bounded(1);
    place.replica.thread.command(Command::Barrier(done));
    // Without an answer the thread has ended.
    let settled = place.plane.read_pool.run(move || all_done.recv().is_ok()).await;
    match settled {
        Ok(true) => Ok(()),
        Ok(false) | Err(PoolClosed) => Err(LoadError::Closed),
    }
}

async fn piece(place: &Place, loading: Loading) -> Result<Loading, LoadError> {
    let reader = place.replica.reader.clone();
    match place.plane.read_pool.run(move || loading.piece(&reader)).await {
        Ok(Ok(loading)) => Ok(loading),
        Ok(Err(Unread::Log(error))) => {
            let failure = read_failed(&place.plane, &place.replica, &error).await;
            Err(LoadError::Read(failure.message))
        }
        Ok(Err(Unread::Content(error))) => Err(error),
        Err(PoolClosed) => Err(LoadError::Closed),
    }
}

enum Unread {
    Log(ReadError),
    Content(LoadError),
}

impl Loading {
    fn piece(mut self, reader: &LogReader<RealDisk>) -> Result<Self, Unread> {
        // Compaction and retention move the log start on; what was there is said again further up, or of no meaning.
        self.next = self.next.max(reader.log_start());
        if self.next >= self.end {
            return Ok(self);
        }
        let read = reader.read(self.next, self.end, PIECE_BYTES);
        let read = read.map_err(Unread::Log)?;
        let nothing = read.bytes.is_empty();
        self.figures.bytes += read.bytes.len() as u64;
        self.replay(read.bytes).map_err(Unread::Content)?;
        // Only compaction leaves nothing to read below the end.
        self.next = match nothing && read.next <= self.next {
            true => self.end,
            false => self.next.max(read.next),
        };
        Ok(self)
    }

    fn replay(&mut self, bytes: Bytes) -> Result<(), LoadError> {
        let mut batches = Vec::new();
        for batch in iter_batches(bytes) {
            let at = self.next;
            let batch = batch.map_err(|error| LoadError::Batch { at, error })?;
            self.next = batch.next_offset();
            if !batch.header().is_control() {
                let records = batch.records(DECODED_BYTES_MAX);
                batches.push(records.map_err(|error| LoadError::Batch { at, error })?);
            }
        }
        let mut records = Vec::new();
        for batch in &batches {
            let at = batch.header().base_offset();
            for record in batch {
                records.push(record.map_err(|error| LoadError::Batch { at, error })?);
            }
        }
        self.figures.records += records.len() as u64;
        let last = last_of_each_key(&records);
        self.figures.applied += last.len() as u64;
        for record in last {
            let key = record.key.unwrap_or_default();
            let replayed = self.coordinator.replay(key, record.value);
            let at = record.offset;
            replayed.map_err(|error| LoadError::Replay { at, error })?;
        }
        Ok(())
    }
}

/// The last record of each key, in the order of the log.
fn last_of_each_key<'r, 'b>(records: &'r [RecordView<'b>]) -> Vec<&'r RecordView<'b>> {
    let mut seen = HashSet::new();
    let backwards = records.iter().rev();
    let mut last: Vec<_> = backwards.filter(|record| seen.insert(record.key)).collect();
    last.reverse();
    last
}

/// Waits until everything below `end` is committed.
async fn committed(place: &Place, leading: Leading, end: Offset) -> Result<(), LoadError> {
    let mut waiter = Waiter::default();
    loop {
        let view = place.replica.view();
        if view.leading != Some(leading) {
            return Err(LoadError::Lost);
        }
        if view.high_watermark >= end {
            return Ok(());
        }
        let above = Offset::new(end.get() - 1);
        place.replica.wait(&mut waiter, 0, above, &view);
        waiter.fired().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quipu_record::{Batch, BatchBuilder, Codec, LeaderEpoch, Records, Timestamp};

    fn records(all: &[(&str, Option<&str>)]) -> Records {
        let mut builder = BatchBuilder::new(Codec::None, 1024);
        for (key, value) in all {
            let (key, value) = (key.as_bytes(), value.map(str::as_bytes));
            let pushed = builder.push(Timestamp::new(1), Some(key), value, &[]);
            pushed.expect("it fits");
        }
        let batch = Batch::check(builder.finish(None).expect("a batch"), 1 << 20).expect("a batch");
        let stored = batch.stamp(Offset::new(7), LeaderEpoch::new(1));
        stored.records(1 << 20).expect("records")
    }

    #[test]
    fn of_records_with_one_key_the_last_is_replayed_in_its_place() {
        let records = records(&[
            ("a", Some("1")),
            ("b", Some("2")),
            ("a", None),
            ("c", Some("3")),
            ("b", Some("4")),
        ]);
        let records: Vec<_> = records.iter().map(|record| record.expect("a record")).collect();
        let last = last_of_each_key(&records);
        let offsets: Vec<_> = last.iter().map(|record| record.offset.get()).collect();
        assert_eq!(offsets, [9, 10, 11]);
        assert_eq!(last[0].value, None, "a tombstone is a last word too");
    }
}
