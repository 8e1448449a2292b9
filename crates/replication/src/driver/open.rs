//! A driver begins: its high watermark from a hint, its producers from the newest snapshot and the batches after it.

use super::house_keeping::Snapshots;
use super::{Driver, DriverOptions, Role};
use crate::rules::high_watermark::HighWatermark;
use crate::rules::producers::snapshot::SnapshotError;
use crate::rules::producers::{Producers, snapshot};
use crate::view::View;
use quipu_record::{ErrorCode, Offset, Timestamp};
use quipu_storage::{Corruption, Disk, Log, ReadError};
use thiserror::Error;

/// Why a driver did not open.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DriverOpenError {
    /// The producers' snapshot could not be read.
    #[error("cannot read the producers' snapshot: {0}")]
    Snapshot(#[source] quipu_storage::SnapshotError),
    /// The log could not be read.
    #[error("cannot replay the log's producers: {0}")]
    Replay(#[source] ReadError),
}

impl DriverOpenError {
    /// The code that tells a client.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        ErrorCode::StorageFailed
    }
}

/// How the producers' state was rebuilt, for the log of the broker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replayed {
    /// Batches were replayed from here on.
    pub from: Offset,
    /// So many.
    pub batches: u64,
    /// The snapshot that storage had, if it was not one.
    pub bad_snapshot: Option<SnapshotError>,
    /// Bad bytes ended it early: what follows them is not in the producers' state.
    pub ended_at: Option<Box<Corruption>>,
}

impl<D: Disk> Driver<D> {
    /// Takes over a log that was just opened. `wall` counts as the last sign of life of producers found in the log.
    ///
    /// # Errors
    /// [`DriverOpenError`]: the disk fails. Damage in the log is not an error: such a log takes no appends anyway.
    pub fn open(
        log: Log<D>,
        options: DriverOptions,
        wall: Timestamp,
    ) -> Result<(Self, Replayed), DriverOpenError> {
        let (producers, snapshots, replayed) = rebuild_producers(&log, wall)?;
        let (log_start, log_end) = (log.log_start(), log.log_end());
        let high_watermark = HighWatermark::from_hint(options.high_watermark_hint, log_start, log_end);
        let flushed = log.flushed();
        let damage = log.damage().cloned().map(Box::new);
        let driver = Self {
            seen_epoch: log.epochs().latest().map(|entry| entry.epoch),
            log,
            me: options.me,
            config: options.config,
            role: Role::Idle,
            high_watermark,
            producers,
            snapshots,
            deleting: Vec::new(),
            flush_due: None,
            unflushed_bytes: 0,
            published: View {
                leading: None,
                following: None,
                log_start,
                high_watermark: high_watermark.offset(),
                log_end,
                flushed,
            },
            cleaning: false,
            failed: false,
            damage,
            producers_incomplete: replayed.ended_at.is_some(),
        };
        Ok((driver, replayed))
    }
}

/// The producers' state at the log end: the newest snapshot, then every batch header from there on.
pub(super) fn rebuild_producers<D: Disk>(
    log: &Log<D>,
    wall: Timestamp,
) -> Result<(Producers, Snapshots, Replayed), DriverOpenError> {
    let stored = log.producer_snapshot().map_err(DriverOpenError::Snapshot)?;
    let mut replayed = Replayed {
        from: log.log_start(),
        batches: 0,
        bad_snapshot: None,
        ended_at: None,
    };
    let mut producers = Producers::default();
    let mut snapshots = Snapshots::default();
    if let Some((at, bytes)) = stored {
        match snapshot::decode(&bytes, at) {
            Ok(decoded) => {
                producers = decoded;
                snapshots = Snapshots::stored(at, bytes.len());
                replayed.from = at.max(log.log_start());
            }
            Err(error) => replayed.bad_snapshot = Some(error),
        }
    }
    if replayed.from >= log.log_end() {
        return Ok((producers, snapshots, replayed));
    }
    let from = replayed.from;
    let walked = log.reader().for_each_header(from, |header| {
        // The first may begin below the log start; no snapshot is of a place within a batch.
        producers.replay(header, wall);
        snapshots.appended(header.size());
        replayed.batches += 1;
    });
    match walked {
        Ok(()) => Ok((producers, snapshots, replayed)),
        Err(ReadError::Corrupt(damage)) => {
            replayed.ended_at = Some(damage);
            Ok((producers, snapshots, replayed))
        }
        Err(error) => Err(DriverOpenError::Replay(error)),
    }
}
