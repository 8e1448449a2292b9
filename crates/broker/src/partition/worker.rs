//! What a partition thread does: its partitions' drivers, stepped. See `thread.rs` for the shape of a turn.

use super::cleaner::CleanQueue;
use super::clock::Clock;
use super::exchange::{Link, Outbox, Proposed};
use super::flusher::FlushQueue;
use super::replica::Replica;
use super::ring::Ring;
use super::thread::{Adopted, Command, Produce, ThreadHandle};
use crate::fatal::Fatal;
use crate::replication::Offline;
use quipu_record::{Offset, StoredBatch, TopicPartition};
use quipu_replication::{
    Append, DeleteRecords, DeleteRecordsError, Driver, Effects, FetchToken, Input, Now, ProduceError, Resign,
    Tick, Verdict,
};
use quipu_storage::{FlushDone, FlushJob, Log, RealDisk};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

mod clean;
mod drain;
mod replicate;
mod waiting;

use drain::Drain;
use waiting::Waiting;

/// So much of clients' work is written at once, at most about: it can go to the disk, and the answers out, while the rest is
/// written.
const AT_ONCE_BYTES: usize = 1 << 20;

/// What a thread needs from outside.
#[derive(Debug)]
pub(crate) struct WorkerParts {
    /// The clocks.
    pub(crate) clock: Clock,
    /// Where dirty logs go.
    pub(crate) flushes: Arc<FlushQueue>,
    /// Where the end is announced.
    pub(crate) fatal: Fatal,
    /// Bytes of recent batches that it may keep in memory.
    pub(crate) tail_bytes: usize,
    /// How often to do the house-keeping.
    pub(crate) housekeeping: Duration,
    /// Where changes of in-sync replicas are proposed.
    pub(crate) proposals: mpsc::UnboundedSender<Proposed>,
    /// The replicas that cannot serve.
    pub(crate) offline: Arc<Offline>,
    /// Where logs go that have enough to clean.
    pub(crate) cleanings: CleanQueue,
    /// How often logs are looked at for that.
    pub(crate) clean_backoff: Duration,
}

/// One partition thread's own state.
#[derive(Debug)]
pub(crate) struct Worker {
    handle: Arc<ThreadHandle>,
    parts: WorkerParts,
    owned: HashMap<TopicPartition, Box<Owned>>,
    waiting: Waiting,
    ring: Ring<Arc<Replica>>,
    /// Partitions with batches to append in this turn.
    touched: Vec<TopicPartition>,
    /// Logs to hand to the flusher at the end of this turn.
    flushes: Vec<FlushJob<RealDisk>>,
    /// Jobs handed to the flusher that it has not reported done.
    flushing: usize,
    deadlines: BinaryHeap<Reverse<(Tick, TopicPartition)>>,
    housekeeping_at: Option<Tick>,
    /// When to look for something to clean; `None`: nothing here is compacted.
    cleaning_at: Option<Tick>,
    effects: Effects,
    /// What this turn means for sessions with leaders.
    outbox: Outbox,
    /// What the last step said to followers.
    verdicts: Vec<(FetchToken, Verdict)>,
    /// Damaged replicas that are copied again, and how far they have to come.
    behind: HashMap<TopicPartition, Offset>,
    drain: Option<Drain>,
}

/// A replica and what its thread keeps with it.
#[derive(Debug)]
struct Owned {
    replica: Arc<Replica>,
    driver: Driver<RealDisk>,
    appends: Vec<Append>,
    /// The session with its leader, while it follows.
    link: Option<Link>,
    /// The deadline that stands for it in the heap, at most one.
    armed: Option<Tick>,
}

impl Worker {
    /// A thread's state, with nothing owned yet.
    pub(super) fn new(handle: Arc<ThreadHandle>, parts: WorkerParts) -> Self {
        Self {
            handle,
            ring: Ring::new(parts.tail_bytes),
            parts,
            owned: HashMap::new(),
            waiting: Waiting::default(),
            touched: Vec::new(),
            flushes: Vec::new(),
            flushing: 0,
            deadlines: BinaryHeap::new(),
            housekeeping_at: None,
            cleaning_at: None,
            effects: Effects::default(),
            outbox: Outbox::default(),
            verdicts: Vec::new(),
            behind: HashMap::new(),
            drain: None,
        }
    }

    /// The loop.
    pub(super) fn run(mut self) {
        let mut commands = Vec::new();
        loop {
            self.handle.drain_into(&mut commands, self.patience());
            let mut now = self.parts.clock.now();
            let mut bytes = 0;
            for command in commands.drain(..) {
                match &command {
                    Command::Stop => return,
                    Command::Produce(work) => bytes += work.batch.len(),
                    _ => {}
                }
                self.take(now, command);
                if bytes >= AT_ONCE_BYTES {
                    bytes = 0;
                    self.append_all(now);
                    self.hand_over();
                    now = self.parts.clock.now();
                    let urgent = self.handle.take_urgent();
                    urgent.into_iter().for_each(|command| self.take(now, command));
                }
            }
            self.append_all(now);
            self.tick(now);
            self.keep_house(now);
            self.look_for_cleaning(now);
            self.hand_over();
            if self.drained(now) {
                return;
            }
        }
    }

    /// To leaders and to the flusher, what was done for them.
    fn hand_over(&mut self) {
        self.outbox.send();
        self.flushing += self.parts.flushes.submit(&mut self.flushes);
    }

    fn patience(&self) -> Option<Duration> {
        let deadline = self.deadlines.peek().map(|Reverse((tick, _))| *tick);
        let drain = self.drain.as_ref().map(Drain::until);
        let first = [deadline, drain, self.housekeeping_at, self.cleaning_at]
            .into_iter()
            .flatten()
            .min()?;
        Some(self.parts.clock.until(first))
    }

    fn take(&mut self, now: Now, command: Command) {
        match command {
            Command::Produce(work) => self.produce(now, work),
            Command::Flushed(done) => self.flushed(now, done),
            Command::DeleteRecords(at, before, answer) => {
                let token = self.waiting.delete(answer);
                if !self.step(now, at, Input::DeleteRecords(DeleteRecords { token, before })) {
                    self.waiting.deleted(token, Err(DeleteRecordsError::NotLeader));
                }
            }
            Command::Adopt(adopted) => self.adopt(now, *adopted),
            Command::Lead(at, leadership) => {
                self.step(now, at, Input::Lead(leadership));
                self.linked(at);
            }
            Command::Follow(at, followership, link) => self.follow(now, at, followership, link),
            Command::Resign(at, resign) => self.resign(now, at, resign),
            Command::Fetched(data) => self.fetched(now, data),
            Command::FollowerPositions(positions) => self.follower_positions(now, positions),
            Command::IsrAnswered(at, answered) => {
                self.step(now, at, Input::IsrAnswered(answered));
            }
            Command::Damaged(at, damage, answer) => {
                self.step(now, at, Input::Damaged(damage));
                let owned = self.owned.get(&at);
                // The reader may be gone.
                let _ = answer.send(owned.is_some_and(|owned| owned.driver.view().leading.is_none()));
            }
            Command::Vouch(at, answer) => {
                // Who asked may have given up.
                let _ = answer.send(self.vouched(now, at));
            }
            Command::Cleaned(at, end) => self.cleaned(now, at, end),
            Command::Config(at, settings) => {
                self.step(now, at, Input::Config(settings));
                self.wind_cleaning(now, at);
            }
            Command::DiskFailed(what) => self.fail_all(now, &what),
            Command::Abandon(at, log) => self.abandon(now, at, &log),
            Command::Barrier(done) => {
                self.append_all(now);
                let _ = done.send(());
            }
            Command::Drain(until, report) => {
                self.drain = Some(Drain::new(until, report));
            }
            Command::Stop => {}
        }
    }

    fn produce(&mut self, now: Now, work: Produce) {
        let at = work.reply.replica.at;
        if let Some(chain) = work.reply.chain.clone() {
            // What became of the one before it must be known first.
            self.append(now, at);
            if chain.is_broken() {
                work.reply.send(now.mono, Err(ProduceError::NotLeader));
                return;
            }
        }
        let Some(owned) = self.owned.get_mut(&at) else {
            work.reply.send(now.mono, Err(ProduceError::NotLeader));
            return;
        };
        if owned.appends.is_empty() {
            self.touched.push(at);
        }
        owned.appends.push(Append {
            token: self.waiting.append(now.mono, work.reply),
            batch: work.batch,
            summary: work.summary,
            acks: work.acks,
            deadline: work.deadline,
        });
    }

    fn adopt(&mut self, now: Now, adopted: Adopted) {
        if holds_records(&adopted.driver) {
            self.wind(now);
        }
        let at = adopted.replica.at;
        adopted.replica.publish(adopted.driver.view());
        let owned = Owned {
            replica: adopted.replica,
            driver: adopted.driver,
            appends: Vec::new(),
            link: None,
            armed: None,
        };
        self.owned.insert(at, Box::new(owned));
        self.wind_cleaning(now, at);
    }

    /// Whoever waits hears that the disk failed.
    fn fail_all(&mut self, now: Now, what: &str) {
        let waiting = self.owned.iter().filter(|(_, owned)| owned.driver.waiting() > 0);
        for at in waiting.map(|(at, _)| *at).collect::<Vec<_>>() {
            let what = what.to_owned();
            self.step(now, at, Input::DiskFailed { what });
        }
    }

    fn abandon(&mut self, now: Now, at: TopicPartition, log: &crossbeam_channel::Sender<Log<RealDisk>>) {
        self.unlink(at);
        let Some(owned) = self.owned.get(&at) else {
            return;
        };
        if let Some(leading) = owned.driver.view().leading {
            let leader_epoch = leading.epoch;
            self.step(now, at, Input::Resign(Resign { leader_epoch }));
        }
        if let Some(owned) = self.owned.remove(&at) {
            owned.replica.tail.clear();
            let _ = log.send(owned.driver.into_log());
        }
    }

    /// A round is over: what it made durable is told.
    fn flushed(&mut self, now: Now, done: FlushDone) {
        self.flushing -= done.jobs();
        let at = done.partition();
        self.step(now, at, Input::Flushed(done));
        self.caught_up(at);
    }

    /// Appends what this turn brought, one step for each partition.
    fn append_all(&mut self, now: Now) {
        let mut touched = std::mem::take(&mut self.touched);
        for at in touched.drain(..) {
            self.append(now, at);
        }
        self.touched = touched;
    }

    fn append(&mut self, now: Now, at: TopicPartition) {
        if let Some(owned) = self.owned.get_mut(&at)
            && !owned.appends.is_empty()
        {
            let appends = std::mem::take(&mut owned.appends);
            owned.driver.step(now, Input::Produce(appends), &mut self.effects);
            self.carry_out(now, at);
        }
    }

    /// Steps one driver, after what was to be appended before; false if it is not owned here.
    fn step(&mut self, now: Now, at: TopicPartition, input: Input) -> bool {
        self.append(now, at);
        let Some(owned) = self.owned.get_mut(&at) else {
            return false;
        };
        owned.driver.step(now, input, &mut self.effects);
        self.carry_out(now, at);
        true
    }

    /// Does what a step asks, in the order that [`Effects`] states.
    fn carry_out(&mut self, now: Now, at: TopicPartition) {
        let effects = &mut self.effects;
        if let Some(reason) = effects.fatal.take() {
            self.parts.fatal.announce(reason);
        }
        if effects.damaged.take().is_some() {
            self.parts.offline.add(at);
        }
        if let Some(owned) = self.owned.get_mut(&at) {
            let replica = &owned.replica;
            if !effects.appended.is_empty() {
                if owned.link.is_none() {
                    count(replica, &effects.appended);
                    self.ring.push(Arc::clone(replica), &mut effects.appended);
                }
                if self.housekeeping_at.is_none() {
                    self.housekeeping_at = Some(now.mono.after(self.parts.housekeeping));
                }
                if self.cleaning_at.is_none() && owned.driver.is_compacted() {
                    self.cleaning_at = Some(now.mono.after(self.parts.clean_backoff));
                }
            }
            if let Some(view) = effects.view {
                if view.leading.is_none() {
                    // Nobody reads here, and what is in memory may be cut from the log.
                    replica.tail.clear();
                }
                replica.publish(view);
            }
            for answer in effects.answers.drain(..) {
                self.waiting.appended(answer.token, answer.result);
            }
            for (token, result) in effects.deleted.drain(..) {
                self.waiting.deleted(token, result);
            }
            if effects.flush {
                self.flushes.extend(owned.driver.take_flush());
            }
            if let (Some(position), Some(link)) = (effects.position.take(), &owned.link) {
                self.outbox.position(link, at, Some(position));
            }
            self.verdicts.append(&mut effects.fetches);
            if let Some(proposal) = effects.isr_proposal.take() {
                // The broker is going down: its leadership ends with it.
                let _ = self.parts.proposals.send((at, proposal));
            }
            if let Some(deadline) = effects.deadline
                && owned.armed.is_none_or(|armed| deadline < armed)
            {
                owned.armed = Some(deadline);
                self.deadlines.push(Reverse((deadline, at)));
            }
        }
        effects.clear();
    }

    /// Ticks the drivers whose deadline has come.
    fn tick(&mut self, now: Now) {
        while let Some(Reverse((tick, at))) = self.deadlines.peek().copied()
            && tick <= now.mono
        {
            self.deadlines.pop();
            let due = self.owned.get_mut(&at).filter(|owned| owned.armed == Some(tick));
            if let Some(owned) = due {
                owned.armed = None;
                self.hear_followers(now, at);
                self.step(now, at, Input::Tick);
            }
        }
    }

    /// Retention, expiry, memory: for all partitions with anything in them, every now and then. While there are none
    /// there is no clock either.
    fn keep_house(&mut self, now: Now) {
        if self.housekeeping_at.is_none_or(|at| now.mono < at) {
            return;
        }
        self.ring.age();
        let used = self
            .owned
            .iter()
            .filter(|(_, owned)| holds_records(&owned.driver));
        let used: Vec<_> = used.map(|(at, _)| *at).collect();
        let idle = used.is_empty() && self.ring.is_empty();
        for at in used {
            self.step(now, at, Input::Retain);
        }
        self.housekeeping_at = (!idle).then(|| now.mono.after(self.parts.housekeeping));
    }

    /// Starts the clock of the house-keeping, if it stands still.
    fn wind(&mut self, now: Now) {
        if self.housekeeping_at.is_none() {
            self.housekeeping_at = Some(now.mono.after(self.parts.housekeeping));
        }
    }
}

fn holds_records(driver: &Driver<RealDisk>) -> bool {
    let view = driver.view();
    view.log_end > view.log_start
}

/// Counts what was appended, by topic.
fn count(replica: &Replica, appended: &[StoredBatch]) {
    let metrics = &replica.topic.metrics;
    let bytes: usize = appended.iter().map(StoredBatch::len).sum();
    let records: u64 = appended
        .iter()
        .map(|batch| u64::from(batch.header().records_count()))
        .sum();
    metrics.bytes_in.inc_by(bytes as u64);
    metrics.records_in.inc_by(records);
}
