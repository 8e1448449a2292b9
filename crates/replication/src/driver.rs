//! The hinge: one replica's rules paired with its log. Production drives it from threads and sockets, the simulation
//! from a seed.
//!
//! ```text
//!             Lead{epoch}                        Resign, Lead{newer epoch}
//!   idle ───────────────────▶ leader ──────────────────────────────────────▶ idle, or leader of the newer epoch
//!                              │ Produce: judge each, append all with one write, queue the answers
//!                              │ Flushed: flushed ↑ ⇒ high watermark ↑ ⇒ answers leave
//! ```
//! The role is an enum so that a follower can be one more of them.

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
use crate::fetch::Verdict;
use crate::input::{Input, Leadership, Resign};
use crate::rules::high_watermark::{HighWatermark, Progress};
use crate::rules::leader::Leader;
use crate::rules::producers::Producers;
use crate::view::{Leading, View};
use house_keeping::Snapshots;
use quipu_record::{BrokerId, ErrorCode, LeaderEpoch, Offset, TopicPartition};
use quipu_storage::{Disk, FlushDone, FlushJob, Log, LogReader};
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
    /// The disk failed: nothing is acknowledged any more.
    failed: bool,
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
            Role::Idle => None,
            Role::Leader(leader) => Some(Leading {
                epoch: leader.epoch(),
                start: leader.start(),
            }),
        };
        View {
            leading,
            following: None,
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

    /// How many batches wait for their answer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        match &self.role {
            Role::Idle => 0,
            Role::Leader(leader) => leader.waiting(),
        }
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
            // Following comes with the next change.
            Input::Follow(follow) => {
                let leader_epoch = follow.leader_epoch;
                self.resign(Resign { leader_epoch }, effects);
            }
            Input::FollowerFetch(fetch) => {
                let refused = Verdict::Refused(ErrorCode::NotLeader);
                effects.fetches.push((fetch.token, refused));
            }
            Input::FollowerHeard(_) | Input::Fetched(_) | Input::IsrAnswered(_) => {}
            Input::Produce(appends) => self.produce(now, appends, effects),
            Input::Flushed(done) => self.flushed(&done),
            Input::DiskFailed { what } => self.fail(what, effects),
            Input::DeleteRecords(request) => self.delete_records(now, request, effects),
            Input::Retain => self.retain(now, effects),
            Input::Config(settings) => {
                self.config = settings.partition;
                self.log.set_config(settings.log);
            }
            Input::Tick => self.tick(now, effects),
        }
        self.settle(effects);
    }

    fn lead(&mut self, now: Now, leadership: &Leadership, effects: &mut Effects) {
        if let Role::Leader(leader) = &mut self.role
            && leader.epoch() == leadership.leader_epoch
        {
            leader.adopt(leadership, &mut effects.answers);
            return;
        }
        if self
            .seen_epoch
            .is_some_and(|seen| leadership.leader_epoch <= seen)
        {
            return;
        }
        self.step_down(effects);
        self.seen_epoch = Some(leadership.leader_epoch);
        self.log.begin_epoch(leadership.leader_epoch);
        self.role = Role::Leader(Leader::begin(leadership, self.log.log_end()));
        // What recovery kept above the flush mark is not durable yet, and nothing is committed before it is.
        self.want_flush(now, true, effects);
    }

    fn resign(&mut self, resign: Resign, effects: &mut Effects) {
        if let Role::Leader(leader) = &self.role
            && leader.epoch() > resign.leader_epoch
        {
            return;
        }
        self.seen_epoch = self.seen_epoch.max(Some(resign.leader_epoch));
        self.step_down(effects);
    }

    /// Stops leading: whoever waits is told to ask elsewhere.
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

    /// The end of every step: moves the high watermark, releases what waited for it, publishes the view.
    fn settle(&mut self, effects: &mut Effects) {
        let mine = self.progress();
        if let Role::Leader(leader) = &mut self.role
            && !self.failed
        {
            if let Some(committed) = leader.committed(self.config.durability, self.me, mine) {
                self.high_watermark.combine(committed);
            }
            self.high_watermark.at_least_log_start(self.log.log_start());
            let held = mine.held(self.config.durability);
            leader.release(self.high_watermark.offset(), held, &mut effects.answers);
            self.answer_deletions(effects);
        }
        let view = self.view();
        if view != self.published {
            self.published = view;
            effects.view = Some(view);
        }
        effects.deadline = self.deadline();
    }

    fn deadline(&self) -> Option<Tick> {
        let waiting = match &self.role {
            Role::Idle => None,
            Role::Leader(leader) => leader.deadline(),
        };
        [waiting, self.flush_due].into_iter().flatten().min()
    }

    fn tick(&mut self, now: Now, effects: &mut Effects) {
        // What is true by now is answered as such, even if late.
        self.settle(effects);
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
