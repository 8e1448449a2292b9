//! A clean end: leaderships go to others, streams end with a status, what was taken in is answered and flushed.

use super::boot::blocking;
use super::{ADDRESSES_FILE, Running, RunningBroker};
use crate::admit::{Admission, Phase};
use crate::data_plane::ShutDownError;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::time::{Instant, timeout, timeout_at};

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

/// Ends a running process.
pub(crate) async fn drain(running: Running) -> Result<(), StopError> {
    if let Some(reason) = running.fatal.reason() {
        return Err(StopError::Fatal(reason));
    }
    let until = Instant::now() + running.drain_timeout;
    tracing::info!("shutting down");
    let stopped = match running.broker {
        Some(broker) => drain_broker(broker, &running.admission, until).await,
        None => {
            running.admission.enter(Phase::Draining);
            Ok(())
        }
    };
    if let Some(controller) = &running.controller {
        controller.shutdown().await;
    }
    running.internal.end().await;
    // Probes are answered until here.
    running.tasks.end().await;
    if let Err(error) = std::fs::remove_file(running.data_dir.join(ADDRESSES_FILE)) {
        tracing::debug!(%error, "the file of addresses was gone");
    }
    stopped?;
    tracing::info!("stopped cleanly");
    Ok(())
}

async fn drain_broker(
    broker: RunningBroker,
    admission: &Admission,
    until: Instant,
) -> Result<(), ShutDownError> {
    let RunningBroker {
        data,
        epoch,
        life,
        following,
        cut,
        mut serving,
    } = broker;
    // Others take over what they can, so that clients are without a leader for no longer than a moment.
    if timeout_at(until, life.drain()).await.is_err() {
        tracing::warn!("leaderships are not handed over: the controllers do not answer");
    }

    admission.enter(Phase::Draining);
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
    cut.send_replace(true);

    following.end().await;
    let patience = until.saturating_duration_since(Instant::now()).max(LAST_BYTES);
    let stopped = blocking(move || data.shut_down(epoch, patience)).await;
    // From here on it counts as gone.
    drop(life);
    // Connections that were cut end at once.
    if !serving.0.is_finished() {
        let _ = timeout(LAST_BYTES, &mut serving.0).await;
    }
    stopped
}
