//! The data plane as the rest of the broker sees it: started on a data directory, told what the metadata says, drained.
//!
//! ```text
//!   start ─▶ open(image): every log of this broker, in parallel; the report goes into the registration
//!         ─▶ registered(epoch) ─▶ apply(delta)* ─▶ shut_down
//! ```
//! A replica leads only by metadata of this process's own registration: what an image says of an earlier life is not
//! acted on.

mod assign;
mod depart;
mod report;
mod stats;
mod vouch;

pub use assign::OpenPlaneError;
pub(crate) use assign::leader_record;
pub use report::{CutLog, DamagedLog, OpenSummary};
pub use stats::Stats;

use crate::fatal::Fatal;
use crate::metrics::Metrics;
use crate::partition::budget::ByteBudget;
use crate::partition::cleaner::{CleanerConfig, CleanerThread};
use crate::partition::clock::Clock;
use crate::partition::flusher::{FlushQueue, FlusherThread};
use crate::partition::read_pool::ReadPool;
use crate::partition::thread::{Command, Threads};
use crate::partition::topics::Topics;
use crate::partition::trash::TrashThread;
use crate::partition::worker::WorkerParts;
use crate::replication::{Offline, ProposeIsr, Replication, ReplicationConfig};
use crate::service::forward::Peers;
use crate::service::produce::ProducerIds;
use arc_swap::ArcSwap;
use quipu_metadata::Image;
use quipu_proto::Failure;
use quipu_record::{BrokerEpoch, BrokerId, ErrorCode, Offset, TopicPartition};
use quipu_replication::{DeleteBefore, View};
use quipu_storage::{Corruption, DataDir, DataDirError, FlushError, FlushMethod, Flusher, RealDisk};
use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

/// How the data plane is sized.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DataPlaneConfig {
    /// This broker.
    pub broker: BrokerId,
    /// Threads that own partitions; 0: one for each processor.
    pub partition_threads: usize,
    /// Threads that read what is not in memory.
    pub read_threads: usize,
    /// Bytes of produced batches that wait in the broker, over all clients.
    pub queue_bytes: usize,
    /// Bytes of recent batches kept in memory for consumers at the tail, over all partitions.
    pub tail_bytes: usize,
    /// Bytes of unanswered batches that one produce stream may have in the broker.
    pub stream_window_bytes: usize,
    /// The largest message that a client may send.
    pub message_bytes_max: usize,
    /// How logs are made durable.
    pub flush_method: FlushMethod,
    /// Appends of at least so many bytes, in topics with `durability=fsync`, go past the page cache while nobody reads
    /// files of the partition.
    pub direct_bytes: Option<u64>,
    /// How often retention is looked after, and unused memory given back.
    pub housekeeping: Duration,
    /// How often a stream without traffic gets a sign of life.
    pub heartbeat: Duration,
    /// How compaction goes about it.
    pub cleaner: CleanerConfig,
    /// How partitions are copied between brokers.
    pub replication: ReplicationConfig,
}

impl Default for DataPlaneConfig {
    fn default() -> Self {
        Self {
            broker: BrokerId::new(0),
            partition_threads: 0,
            read_threads: 4,
            queue_bytes: 64 << 20,
            tail_bytes: 32 << 20,
            stream_window_bytes: 8 << 20,
            message_bytes_max: 9 << 20,
            flush_method: FlushMethod::Auto,
            direct_bytes: Some(256 << 10),
            housekeeping: Duration::from_secs(60),
            heartbeat: Duration::from_secs(5),
            cleaner: CleanerConfig::default(),
            replication: ReplicationConfig::default(),
        }
    }
}

/// Why a shutdown was not clean. The next start recovers.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ShutDownError {
    /// Threads did not come to an end in time.
    #[error("a partition thread did not end in time; the next start recovers its logs")]
    TimedOut,
    /// A sync failed, now or before.
    #[error("{0}")]
    Flush(#[from] FlushError),
    /// A sync had failed before.
    #[error("a flush had failed; the next start recovers")]
    FlushedBadly,
    /// A file of the directory could not be written.
    #[error("{0}")]
    Directory(#[from] DataDirError),
}

/// The data plane. Share it in an `Arc`. Dropped without [`DataPlane::shut_down`], it ends as a crash would.
#[derive(Debug)]
pub struct DataPlane {
    pub(crate) config: DataPlaneConfig,
    pub(crate) clock: Clock,
    pub(crate) topics: Topics,
    pub(crate) budget: Arc<ByteBudget>,
    pub(crate) read_pool: ReadPool,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) metrics: Arc<Metrics>,
    fatal: Fatal,
    pub(crate) image: ArcSwap<Image>,
    pub(crate) threads: Threads,
    pub(crate) replication: Replication,
    pub(crate) peers: Peers,
    dir: DataDir<RealDisk>,
    assignment: Mutex<assign::Assignment>,
    running: Mutex<Option<Running>>,
}

/// What is joined at the end.
#[derive(Debug)]
struct Running {
    workers: Vec<JoinHandle<()>>,
    flusher: FlusherThread,
    cleaner: CleanerThread,
    trash: TrashThread,
}

impl DataPlane {
    /// Starts the threads on an opened data directory. Nothing is owned yet.
    ///
    /// # Errors
    /// A thread could not be started.
    pub fn start(
        config: DataPlaneConfig,
        dir: DataDir<RealDisk>,
        producer_ids: Arc<dyn crate::service::produce::ProducerIdSource>,
        metrics: Arc<Metrics>,
        fatal: Fatal,
    ) -> io::Result<Self> {
        let clock = Clock::start();
        let count = match config.partition_threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            given => given,
        };
        let threads = Threads::new(count, config.queue_bytes);
        let flushes = Arc::new(FlushQueue::default());
        let tail_bytes = config.tail_bytes / threads.len();
        let (proposals, proposed) = mpsc::unbounded_channel();
        let offline = Arc::new(Offline::default());
        let (cleanings, cleaner) = CleanerThread::start(config.cleaner, threads.clone(), &metrics)?;
        let workers = threads.start(|| WorkerParts {
            clock,
            flushes: Arc::clone(&flushes),
            fatal: fatal.clone(),
            tail_bytes,
            housekeeping: config.housekeeping,
            proposals: proposals.clone(),
            offline: Arc::clone(&offline),
            cleanings: cleanings.clone(),
            clean_backoff: config.cleaner.backoff,
        })?;
        let flusher = Flusher::new(dir.clone(), config.flush_method);
        let flusher = FlusherThread::start(
            flusher,
            flushes,
            threads.clone(),
            Arc::clone(&metrics),
            fatal.clone(),
        )?;
        Ok(Self {
            clock,
            topics: Topics::default(),
            budget: ByteBudget::new(config.queue_bytes, HELD_BACK_MAX),
            read_pool: ReadPool::start(config.read_threads)?,
            producer_ids: ProducerIds::new(producer_ids),
            metrics,
            fatal,
            image: ArcSwap::from_pointee(Image::default()),
            peers: Peers::default(),
            replication: Replication::new(&config, threads.clone(), proposed, offline),
            threads,
            assignment: Mutex::default(),
            running: Mutex::new(Some(Running {
                workers,
                flusher,
                cleaner,
                trash: TrashThread::start(dir.clone())?,
            })),
            dir,
            config,
        })
    }

    /// A reader came upon bad bytes. Returns whether another replica takes over, so that it is worth asking again.
    pub(crate) async fn found_damage(&self, at: TopicPartition, damage: Corruption) -> bool {
        let (answer, answered) = oneshot::channel();
        self.threads
            .owner(at)
            .command(Command::Damaged(at, damage, answer));
        answered.await.unwrap_or(false)
    }

    /// Deletes the records of a partition below an offset; answers with the log start once that is durable.
    ///
    /// # Errors
    /// The [`Failure`] to tell the client.
    pub async fn delete_records(
        &self,
        at: TopicPartition,
        before: DeleteBefore,
        patience: Duration,
    ) -> Result<Offset, Failure> {
        let (answer, answered) = oneshot::channel();
        self.threads
            .owner(at)
            .command(Command::DeleteRecords(at, before, answer));
        match tokio::time::timeout(patience, answered).await {
            Ok(Ok(result)) => result.map_err(|error| Failure::new(error.code(), error.to_string())),
            Ok(Err(_)) => Err(Failure::new(
                ErrorCode::ShuttingDown,
                "this broker is shutting down; ask again in a moment",
            )),
            Err(_) => Err(Failure::new(
                ErrorCode::RequestTimedOut,
                "the deletion was not durable in time; ask again, it does no harm",
            )),
        }
    }

    /// Has changes of in-sync replicas proposed, in the name of this broker's lifetime.
    pub fn propose_by(&self, epoch: BrokerEpoch, proposer: Arc<dyn ProposeIsr>) {
        self.replication.propose(epoch, proposer);
    }

    /// The replicas here that cannot serve, since bad bytes were found in them: the controllers must know.
    #[must_use]
    pub fn offline(&self) -> Vec<TopicPartition> {
        self.watch_offline().borrow().iter().copied().collect()
    }

    /// As [`DataPlane::offline`], now and whenever it changes.
    #[must_use]
    pub fn watch_offline(&self) -> watch::Receiver<Arc<BTreeSet<TopicPartition>>> {
        self.replication.offline.watch()
    }

    /// The positions of a replica on this broker.
    #[must_use]
    pub fn view(&self, at: TopicPartition) -> Option<View> {
        Some(self.topics.replica(at)?.view())
    }

    /// Takes no more work from clients, waits for what was taken (at most `patience`, then it fails), flushes
    /// everything, writes snapshots and the marker of a clean shutdown of broker `epoch`. Blocks.
    ///
    /// # Errors
    /// [`ShutDownError`]: it was not clean, and the next start recovers.
    pub fn shut_down(&self, epoch: BrokerEpoch, patience: Duration) -> Result<(), ShutDownError> {
        let Some(running) = self.take_running() else {
            return Ok(());
        };
        self.replication.stop();
        running.cleaner.ask_to_stop();
        let until = self.clock.tick(Instant::now() + patience);
        for thread in self.threads.iter() {
            thread.close();
        }
        let (report, reports) = crossbeam_channel::unbounded();
        self.threads.tell_all(|| Command::Drain(until, report.clone()));
        drop(report);
        for worker in running.workers {
            // A worker that panicked left its logs to the next start's recovery: its report is missing below.
            let _ = worker.join();
        }
        // Whoever had cleanings for it has ended.
        running.cleaner.stop();
        running.trash.stop();
        self.replication.end();
        let flusher = running.flusher.stop().ok_or(ShutDownError::FlushedBadly)?;
        let reports: Vec<_> = reports.try_iter().collect();
        if reports.len() < self.threads.len() {
            return Err(ShutDownError::TimedOut);
        }
        let high_watermarks: Vec<_> = reports.into_iter().flatten().collect();
        self.dir.write_high_watermarks(&high_watermarks)?;
        self.dir.shut_down(flusher, epoch)?;
        Ok(())
    }

    /// Ends at once, as a crash would: nothing is flushed, nobody is answered. Blocks.
    pub fn halt(&self) {
        if let Some(running) = self.take_running() {
            self.replication.stop();
            running.cleaner.ask_to_stop();
            self.replication.end();
            self.threads.tell_all(|| Command::Stop);
            for worker in running.workers {
                // A panic has said so itself.
                let _ = worker.join();
            }
            running.cleaner.stop();
            running.trash.stop();
            running.flusher.stop();
        }
    }

    fn take_running(&self) -> Option<Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for DataPlane {
    fn drop(&mut self) {
        self.halt();
    }
}

/// Requests that may be held back for want of memory; more are refused at once.
const HELD_BACK_MAX: usize = 4096;
