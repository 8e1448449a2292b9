//! A broker as a handle: for the binary, and for tests in one process.

use crate::config::{Config, ThreadsConfig};
use crate::lifecycle::{self, Addresses, PageCache, Running, StartError, StopError};
use crate::logging::LogControl;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

/// Blocking work is rare (opening logs, metadata changes): few threads do it, and go away when they idle.
const BLOCKING_THREADS: usize = 16;
const BLOCKING_IDLE: Duration = Duration::from_secs(2);

/// A running broker. Dropped, it ends as by a crash: connections end, nothing is flushed, the next start recovers.
#[derive(Debug)]
pub struct Broker {
    running: Option<Running>,
}

impl Broker {
    /// Starts a broker within the current tokio runtime; on return it serves.
    ///
    /// # Errors
    /// [`StartError`] says what is wrong and what to do.
    pub async fn start(config: Config, logs: LogControl) -> Result<Self, StartError> {
        let running = Box::pin(lifecycle::boot(config, logs)).await?;
        Ok(Self {
            running: Some(running),
        })
    }

    /// Who it is, and where it listens.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        match &self.running {
            Some(running) => &running.addresses,
            None => unreachable!("taken only by shutdown, which takes the broker"),
        }
    }

    /// Waits until it cannot go on; for ever, if all goes well.
    pub async fn failed(&self) -> Arc<str> {
        match &self.running {
            Some(running) => {
                let reason = running.fatal.announced().await;
                PageCache::distrust(&running.data_dir);
                reason
            }
            None => std::future::pending().await,
        }
    }

    /// Ends it cleanly: takes no new work, answers what it took, flushes, marks the data directory as clean.
    ///
    /// # Errors
    /// [`StopError`]: it ended, but the next start has to recover.
    pub async fn shutdown(mut self) -> Result<(), StopError> {
        match self.running.take() {
            Some(running) => lifecycle::drain(running).await,
            None => Ok(()),
        }
    }
}

/// How a broker's process ended.
#[derive(Debug)]
pub enum Ended {
    /// As it should.
    Stopped,
    /// It never began.
    NotStarted(StartError),
    /// It was told to stop, and did so uncleanly.
    Unclean(StopError),
    /// It could not go on.
    Failed(Arc<str>),
    /// It was told a second time to stop, and did so at once.
    Forced,
}

/// A runtime for a broker: no more threads than needed.
///
/// # Errors
/// The system gives no threads.
pub fn runtime(threads: &ThreadsConfig) -> io::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if threads.network > 0 {
        builder.worker_threads(threads.network);
    }
    builder
        .thread_name("quipu-network")
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(BLOCKING_IDLE)
        .enable_all()
        .build()
}

/// Runs a broker until it is told to stop: by SIGTERM or SIGINT, or by `stop`. `ready` is called once it serves. A second
/// signal ends the wait at once, whatever is going on: the caller then exits the process without joining anything.
///
/// # Errors
/// Signals cannot be listened for.
pub async fn run(
    config: Config,
    logs: LogControl,
    ready: impl FnOnce(&Broker),
    stop: impl Future<Output = ()>,
) -> io::Result<Ended> {
    let mut signals = Signals::new()?;
    let broker = tokio::select! {
        broker = Broker::start(config, logs) => match broker {
            Ok(broker) => broker,
            Err(error) => return Ok(Ended::NotStarted(error)),
        },
        // Nothing was served, and what recovery does is safe to interrupt.
        () = signals.next() => return Ok(Ended::Forced),
    };
    ready(&broker);
    tokio::select! {
        reason = broker.failed() => return Ok(Ended::Failed(reason)),
        () = signals.next() => {}
        () = stop => {}
    }
    tokio::select! {
        stopped = broker.shutdown() => Ok(match stopped {
            Ok(()) => Ended::Stopped,
            Err(error) => Ended::Unclean(error),
        }),
        () = signals.next() => Ok(Ended::Forced),
    }
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests;
