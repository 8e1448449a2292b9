//! Loading: everything that a partition of the offsets topic holds, replayed, what is not committed yet included. The
//! coordinator serves once the high watermark has passed all of it.
//!
//! A piece of the log is read and replayed in one job on the read pool, so that loading sixteen partitions holds up
//! neither the network's threads nor other reads for long.

use super::shard::Place;
use crate::partition::read_pool::PoolClosed;
use crate::partition::thread::Command;
use crate::partition::wait::Waiter;
use crate::service::read::read_failed;
use quipu_coordinator::{Coordinator, ReplayError};
use quipu_record::{BatchError, Offset, PlantedBug, iter_batches};
use quipu_replication::Leading;
use quipu_storage::{LogReader, ReadError, RealDisk};
use std::time::{Duration, Instant};
use thiserror::Error;

/// Bytes that are read and replayed at once.
const PIECE_BYTES: usize = 4 << 20;
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
        let read = reader
            .read(self.next, self.end, PIECE_BYTES)
            .map_err(Unread::Log)?;
        self.figures.bytes += read.bytes.len() as u64;
        for batch in iter_batches(read.bytes) {
            let at = self.next;
            let unread = |error| Unread::Content(LoadError::Batch { at, error });
            let batch = batch.map_err(unread)?;
            self.next = batch.next_offset();
            if batch.header().is_control() {
                continue;
            }
            let records = batch.records(DECODED_BYTES_MAX).map_err(unread)?;
            for record in &records {
                let record = record.map_err(unread)?;
                let at = record.offset;
                let key = record.key.unwrap_or_default();
                let replayed = self.coordinator.replay(key, record.value);
                replayed.map_err(|error| Unread::Content(LoadError::Replay { at, error }))?;
                self.figures.records += 1;
            }
        }
        // Only compaction leaves nothing to read below the end.
        self.next = match read.next > self.next {
            true => read.next,
            false if self.figures.bytes == 0 && read.next == self.next => self.end,
            false => self.next,
        };
        Ok(self)
    }
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
