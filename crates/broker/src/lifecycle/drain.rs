//! A clean end: leaderships go to others, streams end with a status, what was taken in is answered and flushed.

use super::boot::blocking;
use super::{ADDRESSES_FILE, Running};
use crate::admit::Phase;
use crate::data_plane::ShutDownError;
use quipu_metadata::BeginShutdown;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::time::{Instant, timeout};

/// Handing over waits for the controllers, who may be gone as well.
const HAND_OVER: Duration = Duration::from_secs(5);
/// Answers of finished requests reach their clients within this; what holds a connection open then is no request of ours
/// (a reflection stream) or a client that reads nothing.
const LAST_BYTES: Duration = Duration::from_secs(1);

/// Why a shutdown was not clean. Nothing acknowledged is lost; the next start recovers, and takes longer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StopError {
    /// The logs.
    #[error(transparent)]
    Logs(#[from] ShutDownError),
    /// Something unrecoverable happened before.
    #[error("{0}")]
    Fatal(Arc<str>),
}

/// Ends a running broker.
pub(crate) async fn drain(running: Running) -> Result<(), StopError> {
    if let Some(reason) = running.fatal.reason() {
        return Err(StopError::Fatal(reason));
    }
    let until = Instant::now() + running.drain_timeout;
    tracing::info!("shutting down");
    hand_over(&running).await;

    running.admission.enter(Phase::Draining);
    let Running {
        admission,
        mut serving,
        ..
    } = running;
    let finished = async {
        admission.idle().await;
        tokio::time::sleep(LAST_BYTES).await;
    };
    tokio::select! {
        _ = &mut serving.0 => {}
        () = finished => {}
        () = tokio::time::sleep_until(until) => {
            tracing::warn!("requests are cut off: they did not end within shutdown.drain.ms");
        }
    }
    running.cut.send_replace(true);

    running.following.end().await;
    let (data, epoch) = (running.data, running.epoch);
    let patience = until.saturating_duration_since(Instant::now()).max(LAST_BYTES);
    let stopped = blocking(move || data.shut_down(epoch, patience)).await;
    running.controller.shutdown().await;
    // Connections that were cut end at once; probes are answered until here.
    if !serving.0.is_finished() {
        let _ = timeout(LAST_BYTES, &mut serving.0).await;
    }
    drop(running.internal);
    running.tasks.end().await;
    if let Err(error) = std::fs::remove_file(running.data_dir.join(ADDRESSES_FILE)) {
        tracing::debug!(%error, "the file of addresses was gone");
    }
    stopped?;
    tracing::info!("stopped cleanly");
    Ok(())
}

/// Others take over what they can, so that clients are without a leader for no longer than a moment.
async fn hand_over(running: &Running) {
    let begin = BeginShutdown {
        id: running.addresses.broker_id,
        epoch: running.epoch,
    };
    match timeout(HAND_OVER, running.controller.propose(begin)).await {
        Ok(Ok(begun)) => {
            let outcome = begun.outcome;
            tracing::info!(
                moved = outcome.moved,
                kept = outcome.still_leads,
                "leaderships are handed over"
            );
        }
        Ok(Err(error)) => tracing::warn!(%error, "leaderships are not handed over"),
        Err(_) => tracing::warn!("leaderships are not handed over: the controllers do not answer"),
    }
}
