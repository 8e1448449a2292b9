//! The one thread that makes logs durable. A round syncs everything that was dirty as it began, while the next one
//! collects: the group commit sizes itself, without a timer. What a round does is `quipu_storage::Flusher`'s to decide.
//!
//! A failed sync is final: it is announced, no job of its round is reported done, and there is no further round.

use super::thread::{Command, Threads};
use crate::fatal::Fatal;
use crate::metrics::Metrics;
use quipu_storage::{FlushJob, FlushJobs, Flusher, RealDisk};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long nothing must happen before the marks of the last round are written by a round of their own.
const IDLE: Duration = Duration::from_secs(1);

/// The logs that wait for the next round.
#[derive(Debug, Default)]
pub(crate) struct FlushQueue {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    jobs: FlushJobs<RealDisk>,
    stopped: bool,
}

impl FlushQueue {
    /// Adds jobs to the next round, in the order in which they were taken; empties `jobs`. Says how many they were.
    pub(crate) fn submit(&self, jobs: &mut Vec<FlushJob<RealDisk>>) -> usize {
        let count = jobs.len();
        if count > 0 {
            self.lock().jobs.extend(jobs.drain(..));
            self.wake.notify_one();
        }
        count
    }

    /// Ends the thread once nothing waits.
    fn stop(&self) {
        self.lock().stopped = true;
        self.wake.notify_one();
    }

    /// What waits, as soon as something does; nothing after [`IDLE`] if `idle_matters`. `None`: stopped.
    fn next(&self, idle_matters: bool) -> Option<Vec<FlushJob<RealDisk>>> {
        let mut state = self.lock();
        loop {
            if !state.jobs.is_empty() {
                return Some(state.jobs.take());
            }
            if state.stopped {
                return None;
            }
            if idle_matters {
                let (again, timeout) = self
                    .wake
                    .wait_timeout(state, IDLE)
                    .unwrap_or_else(PoisonError::into_inner);
                state = again;
                if timeout.timed_out() && state.jobs.is_empty() && !state.stopped {
                    return Some(Vec::new());
                }
            } else {
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The flusher's thread.
#[derive(Debug)]
pub(crate) struct FlusherThread {
    queue: Arc<FlushQueue>,
    thread: JoinHandle<Option<Flusher<RealDisk>>>,
}

impl FlusherThread {
    /// Starts it; the jobs' ends are reported to the `threads` that own the logs.
    pub(crate) fn start(
        flusher: Flusher<RealDisk>,
        queue: Arc<FlushQueue>,
        threads: Threads,
        metrics: Arc<Metrics>,
        fatal: Fatal,
    ) -> io::Result<Self> {
        let thread = std::thread::Builder::new().name("flusher".to_owned()).spawn({
            let queue = Arc::clone(&queue);
            move || run(flusher, &queue, &threads, &metrics, &fatal)
        })?;
        Ok(Self { queue, thread })
    }

    /// Lets it finish what waits, and takes the flusher back for the last marks. `None`: a sync had failed.
    pub(crate) fn stop(self) -> Option<Flusher<RealDisk>> {
        self.queue.stop();
        self.thread.join().ok().flatten()
    }
}

fn run(
    mut flusher: Flusher<RealDisk>,
    queue: &FlushQueue,
    threads: &Threads,
    metrics: &Metrics,
    fatal: &Fatal,
) -> Option<Flusher<RealDisk>> {
    while let Some(jobs) = queue.next(flusher.has_marks()) {
        let began = Instant::now();
        match flusher.round(jobs) {
            Ok((done, report)) => {
                metrics.fsync_duration.observe(began.elapsed().as_secs_f64());
                tracing::trace!(?report, took = ?began.elapsed(), "flush round");
                threads.flushed(done);
            }
            Err(error) => {
                let what: Arc<str> = error.to_string().into();
                fatal.announce(&what);
                threads.tell_all(|| Command::DiskFailed(Arc::clone(&what)));
                return None;
            }
        }
    }
    Some(flusher)
}
