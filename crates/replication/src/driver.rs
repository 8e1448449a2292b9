//! The hinge: one replica's rules paired with its log. Production drives it from threads and sockets, the simulation
//! from a seed.
//!
//! ```text
//!             Lead{epoch}                         Resign, Lead or Follow of a newer epoch
//!   idle ───────────────────▶ leader ──────────────────────────────────────▶ idle, leader, follower
//!    │                         │ Produce: judge each, append all with one write, queue the answers
//!    │                         │ Flushed: flushed ↑ ┐
//!    │                         │ FollowerFetch: judge, note how far it holds ├ ⇒ high watermark ↑ ⇒ answers leave
//!    │                         │ IsrAnswered, Lead: who is in sync ┘          ⇒ a change of the in-sync replicas
//!    │       Follow{epoch}
//!    └──────────────────────▶ follower: its position goes to the leader
//!                              │ Fetched: append as it is, or cut, or begin anew ⇒ position
//!                              │ Flushed: flushed ↑ ⇒ position
//! ```

mod clean;
mod cut;
mod follow;
mod followers;
mod house_keeping;
mod open;
mod produce;
#[cfg(test)]
mod tests;

pub use open::{DriverOpenError, Replayed};

use crate::answer::Token;
use crate::clock::{Now, Tick};
use crate::config::{Durability, PartitionConfig};
use crate::effects::Effects;
use crate::error::{DeleteRecordsError, ProduceError};
use crate::input::{Input, Leadership, Resign};
use crate::rules::follower::Follower;
use crate::rules::high_watermark::{HighWatermark, Progress};
use crate::rules::leader::{Leader, Mine};
use crate::rules::producers::Producers;
use crate::view::{Following, Leading, View};
use house_keeping::Snapshots;
use quipu_record::{BrokerId, LeaderEpoch, Offset, TopicPartition};
use quipu_storage::{Corruption, Disk, FlushDone, FlushJob, Log, LogReader};
use std::sync::Arc;

/// What a driver is opened with, besides its log.
#[derive(Clone, Debug)]
pub struct DriverOptions {
    /// The broker that this replica is on.
    pub me: BrokerId,
    /// The topic's settings.
    pub config: Arc<PartitionConfig>,
    /// The high watermark that an earlier life wrote down. Only a hint: a stale one, or zero, is safe.
    pub high_watermark_hint: Offset,
}

/// What this replica is to its partition.
#[derive(Debug)]
enum Role {
    /// It has been told nothing, or that it does not lead.
    Idle,
    /// It leads.
    Leader(Leader),
    /// It copies a leader.
    Follower(Follower),
}

/// One replica of one partition.
#[derive(Debug)]
pub struct Driver<D: Disk> {
    log: Log<D>,
    me: BrokerId,
    config: Arc<PartitionConfig>,
    role: Role,
    /// No leadership of this epoch or an older one is taken up (again): what was appended in it may have been lost.
    seen_epoch: Option<LeaderEpoch>,
    high_watermark: HighWatermark,
    producers: Producers,
    snapshots: Snapshots,
    /// Deletions whose log start is not durable yet.
    deleting: Vec<(Token, Offset)>,
    /// With `durability=replicated`: when what was appended is to be flushed, and how much that is.
    flush_due: Option<Tick>,
    unflushed_bytes: u64,
    /// The view last published.
    published: View,
    /// A cleaning of the log is under way.
    cleaning: bool,
    /// The disk failed: nothing is acknowledged any more.
    failed: bool,
    /// Bytes that were flushed are bad: what else was there is not known.
    damage: Option<Box<Corruption>>,
    /// Bad bytes kept it from learning of all producers: nothing can be told from a repetition, so nothing is taken, and
    /// nothing of it is stored.
    producers_incomplete: bool,
}

impl<D: Disk> Driver<D> {
    /// Which partition.
    #[must_use]
    pub fn partition(&self) -> TopicPartition {
        self.log.partition()
    }

    /// The log, to look at.
    #[must_use]
    pub fn log(&self) -> &Log<D> {
        &self.log
    }

    /// Gives the log back: to delete it, say. Whoever still waits is never answered: resign first.
    #[must_use]
    pub fn into_log(self) -> Log<D> {
        self.log
    }

    /// A reader for other threads. What it may serve is the view's to say.
    #[must_use]
    pub fn reader(&self) -> LogReader<D> {
        self.log.reader()
    }

    /// The positions now.
    #[must_use]
    pub fn view(&self) -> View {
        let leading = match &self.role {
            Role::Idle | Role::Follower(_) => None,
            Role::Leader(leader) => Some(Leading {
                epoch: leader.epoch(),
                start: leader.start(),
            }),
        };
        let following = match &self.role {
            Role::Idle | Role::Leader(_) => None,
            Role::Follower(follower) => Some(Following {
                leader: follower.leader(),
                epoch: follower.epoch(),
            }),
        };
        View {
            leading,
            following,
            log_start: self.log.log_start(),
            high_watermark: self.high_watermark.offset(),
            log_end: self.log.log_end(),
            flushed: self.log.flushed(),
        }
    }

    /// The producers it knows.
    #[must_use]
    pub fn producers(&self) -> &Producers {
        &self.producers
    }

    /// The bad bytes on account of which this replica takes nothing: it neither leads, unless there is no other replica,
    /// nor follows, until the metadata counts on it no more.
    #[must_use]
    pub fn damage(&self) -> Option<&Corruption> {
        self.damage.as_deref()
    }

    /// How many batches wait for their answer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        match &self.role {
            Role::Idle | Role::Follower(_) => 0,
            Role::Leader(leader) => leader.waiting(),
        }
    }

    /// As a leader: the replicas that must hold a record before it is committed.
    pub fn counted(&self) -> impl Iterator<Item = BrokerId> + '_ {
        let leader = match &self.role {
            Role::Leader(leader) => Some(leader),
            _ => None,
        };
        leader.into_iter().flat_map(Leader::counted)
    }

    /// What the next flush round is to sync for this log; `None`: nothing. Its end comes back as [`Input::Flushed`].
    pub fn take_flush(&mut self) -> Option<FlushJob<D>> {
        self.flush_due = None;
        self.unflushed_bytes = 0;
        self.log.take_flush()
    }

    /// One event. Adds to `effects`, whose own page says in which order they are carried out. Waits for nothing but the
    /// log's write.
    pub fn step(&mut self, now: Now, input: Input, effects: &mut Effects) {
        match input {
            Input::Lead(leadership) => self.lead(now, &leadership, effects),
            Input::Resign(resign) => self.resign(resign, effects),
            Input::Follow(follows) => self.follow(now, follows, effects),
            Input::FollowerFetch(fetch) => self.follower_fetch(now, &fetch, effects),
            Input::FollowerHeard(heard) => self.follower_heard(&heard),
            Input::Fetched(fetched) => self.fetched(now, fetched, effects),
            Input::IsrAnswered(answer) => self.isr_answered(now, answer, effects),
            Input::Produce(appends) => self.produce(now, appends, effects),
            Input::Flushed(done) => self.flushed(&done),
            Input::DiskFailed { what } => self.fail(what, effects),
            Input::Damaged(damage) => self.damaged(now, damage, effects),
            Input::DeleteRecords(request) => self.delete_records(now, request, effects),
            Input::Retain => self.retain(now, effects),
            Input::Cleaned(end) => self.cleaned(now, end, effects),
            Input::Config(settings) => {
                self.config = settings.partition;
                self.log.set_config(settings.log);
            }
            Input::Tick => self.tick(now, effects),
        }
        self.settle(now, effects);
    }

    fn lead(&mut self, now: Now, leadership: &Leadership, effects: &mut Effects) {
        let record = &leadership.record;
        if let Role::Leader(leader) = &mut self.role
            && leader.epoch() == record.leader_epoch
        {
            leader.adopt(leadership, &mut effects.answers);
            return;
        }
        let damaged = record.replicas.len() > 1 && self.tell_damage(effects);
        if self.seen_epoch.is_some_and(|seen| record.leader_epoch <= seen) {
            return;
        }
        self.step_down(effects);
        self.seen_epoch = Some(record.leader_epoch);
        if damaged {
            // Followers would cut their logs to fit. The only replica there is goes on to serve what is good of it.
            return;
        }
        self.log.begin_epoch(record.leader_epoch);
        self.role = Role::Leader(Leader::begin(now.mono, leadership, self.log.log_end()));
        // What recovery kept above the flush mark is not durable yet, and nothing is committed before it is.
        self.want_flush(now, true, effects);
    }

    fn resign(&mut self, resign: Resign, effects: &mut Effects) {
        let epoch = match &self.role {
            Role::Idle => None,
            Role::Leader(leader) => Some(leader.epoch()),
            Role::Follower(follower) => Some(follower.epoch()),
        };
        if epoch.is_some_and(|epoch| epoch > resign.leader_epoch) {
            return;
        }
        self.seen_epoch = self.seen_epoch.max(Some(resign.leader_epoch));
        self.step_down(effects);
    }

    /// Says so if the log is damaged.
    fn tell_damage(&self, effects: &mut Effects) -> bool {
        if let Some(damage) = &self.damage {
            effects.damaged = Some(Corruption::clone(damage));
        }
        self.damage.is_some()
    }

    /// Stops leading, or following: whoever waits is told to ask elsewhere.
    fn step_down(&mut self, effects: &mut Effects) {
        if let Role::Leader(mut leader) = std::mem::replace(&mut self.role, Role::Idle) {
            leader.fail(&ProduceError::NotLeader, &mut effects.answers);
        }
        let deleting = self.deleting.drain(..);
        effects
            .deleted
            .extend(deleting.map(|(token, _)| (token, Err(DeleteRecordsError::NotLeader))));
    }

    fn flushed(&mut self, done: &FlushDone) {
        if !self.failed {
            self.log.flush_done(done);
        }
    }

    /// The disk failed: nothing that waits can be promised, and nothing is promised from now on.
    fn fail(&mut self, what: String, effects: &mut Effects) {
        self.failed = true;
        if let Role::Leader(leader) = &mut self.role {
            leader.fail(&ProduceError::StorageFailed, &mut effects.answers);
        }
        let deleting = self.deleting.drain(..);
        effects
            .deleted
            .extend(deleting.map(|(token, _)| (token, Err(DeleteRecordsError::StorageFailed))));
        effects.fatal = Some(what);
    }

    /// How far this replica holds the log.
    fn progress(&self) -> Progress {
        Progress {
            log_end: self.log.log_end(),
            flushed: self.log.flushed(),
        }
    }

    /// What the leader's rules need to know of this replica.
    fn mine(&self) -> Mine {
        Mine {
            me: self.me,
            progress: self.progress(),
            durability: self.config.durability,
            lag_max: self.config.replica_lag_max,
        }
    }

    /// The end of every step: moves the high watermark, releases what waited for it, publishes the view, and says what
    /// is to be told to others.
    fn settle(&mut self, now: Now, effects: &mut Effects) {
        self.commit();
        self.raise_tombstone_floor();
        let mine = self.mine();
        if let Role::Leader(leader) = &mut self.role
            && !self.failed
        {
            let held = mine.progress.held(mine.durability);
            let high_watermark = self.high_watermark.offset();
            leader.release(high_watermark, held, &mut effects.answers);
            if let Some(proposal) = leader.propose(now.mono, high_watermark, &mine) {
                effects.isr_proposal = Some(proposal);
            }
            self.answer_deletions(effects);
        }
        self.tell_position(now, effects);
        let view = self.view();
        if view != self.published {
            self.published = view;
            effects.view = Some(view);
        }
        effects.deadline = self.deadline(now);
    }

    /// At the leader: moves the high watermark to where it may be.
    fn commit(&mut self) {
        let mine = self.mine();
        if let Role::Leader(leader) = &self.role
            && !self.failed
        {
            if let Some(committed) = leader.committed(&mine) {
                self.high_watermark.combine(committed);
            }
            self.high_watermark.at_least_log_start(self.log.log_start());
        }
    }

    fn deadline(&self, now: Now) -> Option<Tick> {
        let (waiting, look) = match &self.role {
            Role::Idle => (None, None),
            Role::Leader(leader) => (leader.deadline(), leader.next_look(now.mono, &self.mine())),
            Role::Follower(follower) => (follower.deadline(), None),
        };
        [waiting, look, self.flush_due].into_iter().flatten().min()
    }

    fn tick(&mut self, now: Now, effects: &mut Effects) {
        // What is true by now is answered as such, even if late.
        self.settle(now, effects);
        if let Role::Leader(leader) = &mut self.role {
            leader.expire(now.mono, &mut effects.answers);
        }
        self.want_flush(now, false, effects);
    }

    /// Asks for a flush: at once where an answer waits for it or `urgent` says so, else in its own time.
    fn want_flush(&mut self, now: Now, urgent: bool, effects: &mut Effects) {
        if !self.log.is_dirty() {
            self.flush_due = None;
            return;
        }
        let due = *self
            .flush_due
            .get_or_insert_with(|| now.mono.after(self.config.flush_interval));
        if urgent
            || self.config.durability == Durability::Fsync
            || due <= now.mono
            || self.unflushed_bytes >= self.config.flush_bytes
        {
            self.flush_due = None;
            effects.flush = true;
        }
    }
}
