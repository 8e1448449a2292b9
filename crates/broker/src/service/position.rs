//! From a position in a request (the earliest, the latest, a time, an offset) to an offset.

use super::read::{read_failed, shutting_down};
use crate::data_plane::DataPlane;
use crate::partition::read_pool::PoolClosed;
use crate::partition::replica::Replica;
use crate::partition::wait::Waiter;
use quipu_proto::v1::start_position::Position;
use quipu_proto::{Failure, scalars, v1};
use quipu_record::{ErrorCode, LeaderEpoch, Offset, Timestamp};
use quipu_replication::{ReadError, View};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A position found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Found {
    /// The offset.
    pub(crate) offset: Offset,
    /// The timestamp of the record there, if it was found by time.
    pub(crate) timestamp: Option<Timestamp>,
    /// The leader epoch it was found in.
    pub(crate) leader_epoch: LeaderEpoch,
}

/// Finds a position. A new leader that does not know yet how far the log is committed gets at most `patience` to learn it.
pub(crate) async fn find(
    plane: &DataPlane,
    replica: &Arc<Replica>,
    position: Option<&v1::StartPosition>,
    listener: &str,
    patience: Duration,
) -> Result<Found, Failure> {
    let refused = |error| plane.read_refused(&error, replica, listener);
    let position = match position {
        None => Position::Earliest(v1::Earliest {}),
        Some(start) => start.position.ok_or_else(|| {
            Failure::new(
                ErrorCode::InvalidRequest,
                "a position is missing: give offset, earliest, latest or timestamp_ms",
            )
        })?,
    };
    match position {
        Position::Earliest(_) => {
            let view = replica.view();
            let offset = view.earliest(None).map_err(refused)?;
            Ok(found(offset, &view))
        }
        Position::Latest(_) => {
            let view = latest(plane, replica, listener, patience).await?;
            Ok(found(view.high_watermark, &view))
        }
        Position::Offset(offset) => {
            let offset = scalars::offset("offset", offset)?;
            let view = replica.view();
            view.read_limit(offset, None).map_err(refused)?;
            Ok(found(offset, &view))
        }
        Position::TimestampMs(time) => {
            let view = committed(replica, patience).await.map_err(refused)?;
            let (reader, limit) = (replica.reader.clone(), view.high_watermark);
            let search = move || reader.offset_for_time(Timestamp::new(time), limit);
            match plane.read_pool.run(search).await {
                Ok(Ok(Some(timed))) => Ok(Found {
                    offset: timed.offset,
                    timestamp: Some(timed.timestamp),
                    leader_epoch: found(limit, &view).leader_epoch,
                }),
                Ok(Ok(None)) => Ok(found(limit, &view)),
                Ok(Err(error)) => Err(read_failed(plane, replica, &error).await),
                Err(PoolClosed) => Err(shutting_down()),
            }
        }
    }
}

fn found(offset: Offset, view: &View) -> Found {
    Found {
        offset,
        timestamp: None,
        leader_epoch: view.leading.map(|leading| leading.epoch).unwrap_or_default(),
    }
}

/// A view whose high watermark is no lower than any was, of this leader or another, as this began.
async fn latest(
    plane: &DataPlane,
    replica: &Replica,
    listener: &str,
    patience: Duration,
) -> Result<View, Failure> {
    let (since, until) = (plane.tick(), Instant::now() + patience);
    let left = || until.saturating_duration_since(Instant::now());
    loop {
        let refused = |error| plane.read_refused(&error, replica, listener);
        committed(replica, left()).await.map_err(refused)?;
        let view = match plane.vouched(replica.at, since, left()).await {
            Err(failure) if failure.code == ErrorCode::NotLeader => {
                return Err(refused(ReadError::NotLeader));
            }
            other => other?,
        };
        match view.latest(None) {
            Ok(_) => return Ok(view),
            // Another leadership began in between.
            Err(ReadError::NotAvailable) => {}
            Err(error) => return Err(refused(error)),
        }
    }
}

/// A view whose high watermark is no lower than any that a reader was ever told.
async fn committed(replica: &Replica, patience: Duration) -> Result<View, ReadError> {
    let wait = async {
        let mut waiter = Waiter::default();
        loop {
            let view = replica.view();
            match view.latest(None) {
                Ok(_) => return Ok(view),
                Err(ReadError::NotAvailable) => {
                    replica.wait(&mut waiter, 0, view.high_watermark, &view);
                    waiter.fired().await;
                }
                Err(error) => return Err(error),
            }
        }
    };
    match tokio::time::timeout(patience, wait).await {
        Ok(result) => result,
        Err(_) => Err(ReadError::NotAvailable),
    }
}
