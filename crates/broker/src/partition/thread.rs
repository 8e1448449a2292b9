//! The threads that own partitions. Each has an inbox; a partition belongs to the thread that its id hashes to, for as
//! long as the broker runs. A log therefore has one writer, and no lock.
//!
//! One turn of the loop (`worker.rs`): take everything that waits; step each partition's driver once with all that is
//! for it, about a mebibyte at a time, which is one vectored write; publish the views; send the answers; hand the dirty
//! logs to the flusher.
//! Nothing to do is a blocked thread: the only timeouts are the earliest deadline that a driver asked for, and one
//! coarse stroke for house-keeping that all partitions of the thread share.

use super::budget::Charge;
use super::exchange::{FollowedData, FollowerPositions, Link, Verdicts};
use super::inbox::{ITEMS_KEPT, Inbox, Refused};
use super::replica::Replica;
use super::reply::Reply;
use super::worker::{Worker, WorkerParts};
use quipu_record::{Batch, Offset, RecordsSummary, TopicPartition};
use quipu_replication::{
    Acks, CleanEnd, DeleteBefore, DeleteRecordsError, Driver, Fetched, FollowerFetch, Followership,
    IsrAnswered, Leadership, Resign, Settings, Tick, View,
};
use quipu_storage::{Corruption, FlushDone, Log, RealDisk};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// One checked batch on its way to its partition.
#[derive(Debug)]
pub(crate) struct Produce {
    /// The batch.
    pub(crate) batch: Batch,
    /// What its records were found to be.
    pub(crate) summary: RecordsSummary,
    /// When to answer.
    pub(crate) acks: Acks,
    /// Past this the outcome is unknown.
    pub(crate) deadline: Tick,
    /// How to answer.
    pub(crate) reply: Reply,
}

/// What a partition thread can be told.
#[derive(Debug)]
pub(crate) enum Command {
    /// Append a client's batch.
    Produce(Produce),
    /// Delete records.
    DeleteRecords(
        TopicPartition,
        DeleteBefore,
        oneshot::Sender<Result<Offset, DeleteRecordsError>>,
    ),
    /// A flush round was done.
    Flushed(FlushDone),
    /// A flush round failed: nothing may be promised any more.
    DiskFailed(Arc<str>),
    /// Own this replica from now on.
    Adopt(Box<Adopted>),
    /// Lead, or lead with other in-sync replicas.
    Lead(TopicPartition, Leadership),
    /// Follow a leader, whose session is behind the link.
    Follow(TopicPartition, Followership, Link),
    /// Lead no more, and follow nobody.
    Resign(TopicPartition, Resign),
    /// What a leader answered to this broker, as its follower.
    Fetched(FollowedData),
    /// Where a follower of partitions led here stands in them.
    FollowerPositions(FollowerPositions),
    /// The controller's answer to a proposed change of in-sync replicas.
    IsrAnswered(TopicPartition, IsrAnswered),
    /// A reader found bad bytes. Answers whether this replica leads no more because of it.
    Damaged(TopicPartition, Corruption, oneshot::Sender<bool>),
    /// Until when is this replica certain to be the only leader? Answers with its view of then.
    Vouch(TopicPartition, oneshot::Sender<Option<(Tick, View)>>),
    /// A cleaning has ended.
    Cleaned(TopicPartition, CleanEnd),
    /// The topic's settings have changed.
    Config(TopicPartition, Settings),
    /// The topic was deleted: give back the log.
    Abandon(TopicPartition, crossbeam_channel::Sender<Log<RealDisk>>),
    /// Say so when everything before it was done.
    Barrier(crossbeam_channel::Sender<()>),
    /// End: resolve what waits, or fail it at the tick; flush; snapshot; report the high watermarks.
    Drain(Tick, crossbeam_channel::Sender<Vec<(TopicPartition, Offset)>>),
    /// End at once, as a crash would.
    Stop,
}

/// A replica to own.
#[derive(Debug)]
pub(crate) struct Adopted {
    /// Its shared side.
    pub(crate) replica: Arc<Replica>,
    /// Its own side.
    pub(crate) driver: Driver<RealDisk>,
}

/// The way to one partition thread.
#[derive(Debug)]
pub(crate) struct ThreadHandle {
    inbox: Mutex<Inbox<Command>>,
    wake: Condvar,
}

impl ThreadHandle {
    fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            inbox: Mutex::new(Inbox::new(limit)),
            wake: Condvar::new(),
        })
    }

    /// Hands over a client's batch, or says why not and gives back what it was charged for.
    pub(crate) fn produce(&self, work: Produce) -> Result<(), (Refused, Option<Charge>)> {
        let bytes = work.batch.len();
        match self.lock().offer(Command::Produce(work), bytes) {
            Ok(was_empty) => {
                self.rouse(was_empty);
                Ok(())
            }
            Err((Command::Produce(work), why)) => Err((why, work.reply.charge)),
            // What is refused is what was offered.
            Err((_, why)) => Err((why, None)),
        }
    }

    /// Gives a command of the broker's own.
    pub(crate) fn command(&self, command: Command) {
        let was_empty = self.lock().command(command);
        self.rouse(was_empty);
    }

    /// Takes no more clients' work.
    pub(crate) fn close(&self) {
        self.lock().close();
    }

    /// Moves all that waits into `out`, waiting for something at most `patience`.
    pub(super) fn drain_into(&self, out: &mut Vec<Command>, patience: Option<Duration>) {
        out.shrink_to(ITEMS_KEPT);
        let inbox = self.lock();
        let mut inbox = match patience {
            None => self
                .wake
                .wait_while(inbox, |inbox| inbox.is_empty())
                .unwrap_or_else(PoisonError::into_inner),
            Some(patience) => {
                self.wake
                    .wait_timeout_while(inbox, patience, |inbox| inbox.is_empty())
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        };
        inbox.drain_into(out);
    }

    /// Takes what overtakes the rest.
    pub(super) fn take_urgent(&self) -> Vec<Command> {
        self.lock().take_urgent()
    }

    fn rouse(&self, was_empty: bool) {
        if was_empty {
            self.wake.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inbox<Command>> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of thousands of commands so many are given to their threads before the next are made: few are in memory at a time.
const COMMANDS_AT_ONCE: usize = 256;

/// All partition threads. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Threads {
    handles: Arc<[Arc<ThreadHandle>]>,
}

impl Threads {
    /// Inboxes for `count` threads that are yet to be started, `limit` bytes of clients' work in each.
    pub(crate) fn new(count: usize, limit: usize) -> Self {
        Self {
            handles: (0..count.max(1)).map(|_| ThreadHandle::new(limit)).collect(),
        }
    }

    /// Starts them; `parts` makes what each needs.
    pub(crate) fn start(&self, parts: impl Fn() -> WorkerParts) -> io::Result<Vec<JoinHandle<()>>> {
        let start = |(n, handle): (usize, &Arc<ThreadHandle>)| {
            let worker = Worker::new(Arc::clone(handle), parts());
            std::thread::Builder::new()
                .name(format!("partition-{n}"))
                .spawn(move || worker.run())
        };
        self.handles.iter().enumerate().map(start).collect()
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.handles.len()
    }

    /// Each of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<ThreadHandle>> {
        self.handles.iter()
    }

    /// The one that owns a partition.
    pub(crate) fn owner(&self, at: TopicPartition) -> &Arc<ThreadHandle> {
        &self.handles[self.index(at)]
    }

    /// Tells the owners what a round made durable.
    pub(crate) fn flushed(&self, done: Vec<FlushDone>) {
        let commands = done.into_iter();
        let commands = commands.map(|done| (done.partition(), Command::Flushed(done)));
        self.give_all(commands, Inbox::urgent);
    }

    /// Gives each command to the owner of its partition.
    pub(crate) fn command_all(&self, commands: impl Iterator<Item = (TopicPartition, Command)>) {
        let mut commands = commands.peekable();
        while commands.peek().is_some() {
            self.give_all(commands.by_ref().take(COMMANDS_AT_ONCE), Inbox::command);
        }
    }

    /// Takes each inbox's lock once.
    fn give_all(
        &self,
        commands: impl Iterator<Item = (TopicPartition, Command)>,
        give: impl Fn(&mut Inbox<Command>, Command) -> bool,
    ) {
        let mut by_thread: Vec<Vec<Command>> = self.handles.iter().map(|_| Vec::new()).collect();
        for (at, command) in commands {
            by_thread[self.index(at)].push(command);
        }
        for (handle, commands) in self.handles.iter().zip(by_thread) {
            if commands.is_empty() {
                continue;
            }
            let mut inbox = handle.lock();
            let mut was_empty = false;
            for command in commands {
                was_empty |= give(&mut inbox, command);
            }
            drop(inbox);
            handle.rouse(was_empty);
        }
    }

    /// Gives a leader's answer to the owners of its partitions; says to how many.
    pub(crate) fn followed_data(
        &self,
        link: &Link,
        number: u64,
        parts: impl Iterator<Item = (TopicPartition, Fetched)>,
    ) -> usize {
        self.split(parts, |parts| {
            Command::Fetched(FollowedData {
                link: link.clone(),
                number,
                parts,
            })
        })
    }

    /// Gives a follower's positions to the owners of the partitions; each answers once.
    pub(crate) fn follower_positions(
        &self,
        parts: Vec<(TopicPartition, FollowerFetch)>,
        answer: mpsc::UnboundedSender<Verdicts>,
    ) {
        self.split(parts.into_iter(), |parts| {
            let answer = answer.clone();
            Command::FollowerPositions(FollowerPositions { parts, answer })
        });
    }

    fn split<T>(
        &self,
        parts: impl Iterator<Item = (TopicPartition, T)>,
        command: impl Fn(Vec<(TopicPartition, T)>) -> Command,
    ) -> usize {
        let mut by_thread: Vec<Vec<(TopicPartition, T)>> = self.handles.iter().map(|_| Vec::new()).collect();
        for (at, part) in parts {
            by_thread[self.index(at)].push((at, part));
        }
        let mut told = 0;
        for (handle, parts) in self.handles.iter().zip(by_thread) {
            if !parts.is_empty() {
                handle.command(command(parts));
                told += 1;
            }
        }
        told
    }

    /// Gives the same command to each thread.
    pub(crate) fn tell_all(&self, command: impl Fn() -> Command) {
        for handle in self.handles.iter() {
            handle.command(command());
        }
    }

    fn index(&self, at: TopicPartition) -> usize {
        let mut hasher = DefaultHasher::new();
        at.hash(&mut hasher);
        let hash = usize::try_from(hasher.finish() & 0x7fff_ffff).unwrap_or(0);
        hash % self.handles.len()
    }
}
