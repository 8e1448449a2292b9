//! The one thread that compacts logs, one after another, at a rate and with a memory that the configuration sets. It comes
//! after all other threads, but gets its turn when they keep every core busy: a table that nobody compacts only grows. What
//! it reads and writes is its own, and owner and readers of a log go on meanwhile.

use super::thread::{Command, Threads};
use crate::metrics::Metrics;
use prometheus_client::metrics::counter::Counter;
use quipu_record::TopicPartition;
use quipu_replication::CleanEnd;
use quipu_storage::{CleanBudget, CleanError, CleanJob, CleanReport, HashSeed, RealDisk};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A third of what another thread gets where they compete; at 19 it would be next to nothing.
const NICE: i32 = 5;

/// How compaction goes about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CleanerConfig {
    /// Bytes read and written in a second, at most.
    pub bytes_per_second: u64,
    /// Bytes of memory for the latest offsets of keys.
    pub memory_bytes: usize,
    /// How often logs are looked at for something to clean.
    pub backoff: Duration,
}

impl Default for CleanerConfig {
    fn default() -> Self {
        Self {
            bytes_per_second: 32 << 20,
            memory_bytes: 32 << 20,
            backoff: Duration::from_secs(15),
        }
    }
}

/// Where cleanings go.
pub(crate) type CleanQueue = crossbeam_channel::Sender<CleanJob<RealDisk>>;

/// The thread that cleans.
#[derive(Debug)]
pub(crate) struct CleanerThread {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// What it has done.
#[derive(Debug, Default)]
struct Counters {
    runs: Counter,
    read: Counter,
    written: Counter,
    freed: Counter,
    purged: Counter,
}

impl CleanerThread {
    /// Starts it; ends of cleanings are reported to the `threads` that own the logs.
    pub(crate) fn start(
        config: CleanerConfig,
        threads: Threads,
        metrics: &Metrics,
    ) -> io::Result<(CleanQueue, Self)> {
        let (queue, jobs) = crossbeam_channel::unbounded::<CleanJob<RealDisk>>();
        let stop = Arc::new(AtomicBool::new(false));
        let counters = Counters::register(metrics);
        let thread = std::thread::Builder::new().name("cleaner".to_owned()).spawn({
            let stop = Arc::clone(&stop);
            move || {
                // Without it, it is only less polite.
                let _ = rustix::process::setpriority_process(None, NICE);
                let mut budget = CleanBudget {
                    map_bytes: config.memory_bytes,
                    seed: seed(),
                };
                while let Ok(job) = jobs.recv() {
                    if stop.load(Ordering::Acquire) {
                        return;
                    }
                    budget.seed = seed();
                    clean(job, &budget, &config, &stop, &threads, &counters);
                }
            }
        })?;
        Ok((queue, Self { stop, thread }))
    }

    /// Stops it, in the middle if need be. Every queue was dropped, or it would wait for more.
    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::Release);
        let _ = self.thread.join();
    }

    /// Lets what it is about end soon.
    pub(crate) fn ask_to_stop(&self) {
        self.stop.store(true, Ordering::Release);
    }
}

impl Counters {
    fn register(metrics: &Metrics) -> Self {
        let counters = Self::default();
        let all = [
            ("compaction_runs", "Cleanings of a partition", &counters.runs),
            (
                "compaction_bytes_read",
                "Bytes read by compaction",
                &counters.read,
            ),
            (
                "compaction_bytes_written",
                "Bytes written by compaction",
                &counters.written,
            ),
            (
                "compaction_bytes_freed",
                "Bytes of logs that compaction took away",
                &counters.freed,
            ),
            (
                "compaction_tombstones_purged",
                "Tombstones that went for good",
                &counters.purged,
            ),
        ];
        for (name, help, counter) in all {
            metrics.add(name, help, counter.clone());
        }
        counters
    }

    fn add(&self, report: &CleanReport) {
        self.runs.inc();
        self.read.inc_by(report.bytes_read);
        self.written.inc_by(report.bytes_written);
        self.freed.inc_by(report.bytes_freed);
        self.purged.inc_by(report.tombstones_purged);
    }
}

fn clean(
    mut job: CleanJob<RealDisk>,
    budget: &CleanBudget,
    config: &CleanerConfig,
    stop: &AtomicBool,
    threads: &Threads,
    counters: &Counters,
) {
    let at = job.partition();
    let mut rate = Rate::new(config.bytes_per_second, Instant::now());
    let done = job.run(budget, &mut |bytes| {
        let pause = rate.spend(bytes, Instant::now());
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
        !stop.load(Ordering::Acquire)
    });
    counters.add(&job.report());
    let report = job.report();
    tracing::debug!(partition = %at, ?report, "compacted");
    threads.owner(at).command(Command::Cleaned(at, end(at, done)));
}

fn end(at: TopicPartition, done: Result<CleanReport, CleanError>) -> CleanEnd {
    match done {
        Ok(_) | Err(CleanError::Stopped) => CleanEnd::Done,
        Err(CleanError::Damaged(damage)) => CleanEnd::Damaged(*damage),
        Err(CleanError::Failed(failure)) => CleanEnd::Failed {
            what: failure.to_string(),
        },
        Err(error) => {
            tracing::warn!(partition = %at, %error, "a cleaning ended early; it is tried again");
            CleanEnd::Done
        }
    }
}

fn seed() -> HashSeed {
    // The standard library's own source of numbers that nobody can guess.
    let word = || RandomState::new().build_hasher().finish();
    HashSeed::new(word(), word())
}

/// Keeps to so many bytes a second, a tenth of a second at a time.
#[derive(Debug)]
struct Rate {
    per_second: u64,
    since: Instant,
    spent: u64,
}

impl Rate {
    const fn new(per_second: u64, now: Instant) -> Self {
        Self {
            per_second,
            since: now,
            spent: 0,
        }
    }

    /// How long to wait after these bytes.
    fn spend(&mut self, bytes: u64, now: Instant) -> Duration {
        self.spent += bytes;
        let due = Duration::from_secs_f64(self.spent as f64 / self.per_second.max(1) as f64);
        let ahead = due.saturating_sub(now.duration_since(self.since));
        if ahead < Duration::from_millis(100) {
            if now.duration_since(self.since) > due + Duration::from_secs(1) {
                // What was not used is not saved up.
                (self.since, self.spent) = (now, 0);
            }
            return Duration::ZERO;
        }
        ahead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_to_and_not_saved_up() {
        let begin = Instant::now();
        let mut rate = Rate::new(1000, begin);
        assert_eq!(rate.spend(99, begin), Duration::ZERO);
        assert_eq!(rate.spend(901, begin), Duration::from_secs(1));
        let later = begin + Duration::from_secs(1);
        assert_eq!(rate.spend(500, later), Duration::from_millis(500));
        let much_later = begin + Duration::from_secs(60);
        assert_eq!(rate.spend(10, much_later), Duration::ZERO);
        assert_eq!(rate.spend(2000, much_later), Duration::from_secs(2));
    }
}
