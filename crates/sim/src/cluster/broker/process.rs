//! The running process: drivers, queues, flush rounds.

use super::Broker;
use super::follow::Following;
use super::lead::Leading;
use super::proposals::Proposals;
use crate::cluster::ghost::Ghost;
use crate::cluster::message::{Address, Answer, BrokerEvent, Message, PartitionIndex, Reply, RequestId};
use crate::cluster::shared::Shared;
use crate::invariants::{self, About, Asked};
use crate::report::{Deed, Fault};
use quipu_checker::{Kind, Op, Process as Who, Trim};
use quipu_metadata::{Image, Lifecycle, LifecycleStage, RegisterBroker};
use quipu_record::{BatchHeader, BrokerEpoch, LeaderEpoch};
use quipu_replication::{Append, Driver, Effects, FetchResult, Input, Tick, Token, Verdict};
use quipu_storage::test_util::FakeDisk;
use quipu_storage::{DataDir, FlushDone, FlushError, FlushJob, Flusher};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// A process of the broker.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) dir: DataDir<FakeDisk>,
    pub(super) flusher: Flusher<FakeDisk>,
    pub(super) replicas: BTreeMap<PartitionIndex, Replica>,
    pub(super) round: Option<Round>,
    /// Flush jobs for the next round.
    pub(super) jobs: Vec<FlushJob<FakeDisk>>,
    pub(super) drain_planned: bool,
    /// Produce requests under way.
    pub(super) asked: HashMap<Token, Asked>,
    /// Deletions under way.
    pub(super) deleting: HashMap<Token, (RequestId, usize)>,
    pub(super) next_token: u64,
    /// The metadata as it is in effect here.
    pub(super) image: Image,
    pub(super) lifecycle: Lifecycle,
    /// Metadata of its own registration is in effect.
    pub(super) told: bool,
    pub(super) registration: RegisterBroker,
    /// The registration, or the opening of a stream, that waits for its answer.
    pub(super) calling: Option<RequestId>,
    pub(super) beat: Option<Tick>,
    pub(super) following: Following,
    pub(super) leading: Leading,
    pub(super) proposals: Proposals,
    pub(super) replicate_planned: bool,
    pub(super) effects: Effects,
}

/// One partition's driver, and what a partition thread keeps beside it.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) driver: Driver<FakeDisk>,
    pub(super) queue: Vec<Append>,
    pub(super) dirty: bool,
    /// When its next tick is planned.
    pub(super) tick: Option<Tick>,
    /// `min.insync.replicas` as it was last told.
    pub(super) min_insync: u32,
    /// The lifetimes of followers that were heard, in this epoch.
    pub(super) heard: (Option<LeaderEpoch>, Vec<Option<BrokerEpoch>>),
}

/// A flush round under way.
#[derive(Debug)]
pub(super) enum Round {
    /// The syncs come at its end: what is written meanwhile may become durable with it, and must not count.
    SyncsLate(Vec<FlushJob<FakeDisk>>),
    /// The syncs came at its start: a crash before its end finds everything durable and nothing told.
    Synced(Result<Vec<FlushDone>, FlushError>),
}

impl Process {
    /// Takes what the dirty logs want to have flushed.
    fn take_jobs(&mut self) {
        let dirty = self.replicas.values_mut().filter(|replica| replica.dirty);
        self.jobs.extend(dirty.filter_map(|replica| {
            replica.dirty = false;
            replica.driver.take_flush()
        }));
    }

    pub(super) fn token(&mut self) -> Token {
        self.next_token += 1;
        Token(self.next_token)
    }

    pub(super) fn is_serving(&self) -> bool {
        self.lifecycle.stage() == LifecycleStage::Serving
    }

    pub(super) fn is_at_rest(&self) -> bool {
        self.is_serving()
            && self
                .replicas
                .values()
                .all(|replica| replica.driver.waiting() == 0 && replica.queue.is_empty())
    }
}

impl Broker {
    /// One step of one driver, with everything that follows from it.
    pub(super) fn step(&mut self, shared: &mut Shared, partition: PartitionIndex, input: Input) {
        let now = self.now(shared);
        let Some(process) = &mut self.process else { return };
        let Some(replica) = process.replicas.get_mut(&partition) else {
            return;
        };
        note_told(replica, &input, shared.plan.brokers.len());
        let about = About::of(&input);
        let diverged =
            matches!(&input, Input::Fetched(f) if matches!(f.result, FetchResult::Diverging { .. }));
        let reset = matches!(&input, Input::Fetched(f) if matches!(f.result, FetchResult::OutOfRange { .. }));
        let copied = copied(&input);
        let damaged = replica.driver.damage().is_some();
        let before = replica.driver.view();
        let mut effects = std::mem::take(&mut process.effects);
        effects.clear();
        replica.driver.step(now, input, &mut effects);
        let after = replica.driver.view();
        if about == About::Deletion && after.log_start > shared.ghosts[partition].may_start {
            told_of_deletion(shared, partition, after.log_start);
        }
        let still_damaged = replica.driver.damage().is_some();
        if damaged != still_damaged {
            note_damage(&mut shared.ghosts[partition], self.me, still_damaged);
        }
        if diverged && after.log_end < before.log_end {
            shared.deed(Deed::Truncation);
        }
        if reset && after.log_start != before.log_start {
            shared.deed(Deed::FullReset);
        }
        let step = invariants::Step {
            broker: self.me,
            partition,
            about,
            before,
            after,
            driver: &replica.driver,
            effects: &effects,
            copied: &copied,
            asked: &process.asked,
            min_insync: replica.min_insync,
            heard: &replica.heard.1,
        };
        invariants::after_step(shared, &step);
        note_heard(replica, about, &effects, &shared.plan);
        self.carry_out(shared, partition, &mut effects);
        if damaged && !still_damaged {
            self.report_damage(shared);
        }
        if let Some(process) = &mut self.process {
            process.effects = effects;
        }
    }

    /// Carries out effects in the order that is written on them. (The ring and the view are read from the driver.)
    fn carry_out(&mut self, shared: &mut Shared, partition: PartitionIndex, effects: &mut Effects) {
        let from = self.address();
        let Some(process) = &mut self.process else { return };
        if let Some(view) = effects.view {
            shared.note(format_args!(
                "b{} p{partition} log {}..{} flushed {} committed {} leads {:?} follows {:?}",
                self.me,
                view.log_start,
                view.log_end,
                view.flushed,
                view.high_watermark,
                view.leading.map(|leading| leading.epoch.get()),
                view.following.map(|following| following.epoch.get()),
            ));
            process.leading.news(partition);
        }
        answer_clients(shared, from, process, partition, effects);
        if let Some(what) = effects.fatal.take() {
            shared.note(format_args!("b{} p{partition} fatal: {what}", self.me));
            self.die(shared, Fault::Kill);
            return;
        }
        if let Some(damage) = effects.damaged.take() {
            shared.note(format_args!("b{} p{partition} is damaged: {damage}", self.me));
            self.report_damage(shared);
        }
        let Some(process) = &mut self.process else { return };
        process.leading.verdicts.append(&mut effects.fetches);
        if let Some(position) = effects.position {
            process.following.stands(partition, position);
        }
        let wants_out = effects.position.is_some() || effects.view.is_some();
        if let Some(proposal) = effects.isr_proposal.take() {
            self.propose_isr(shared, partition, proposal);
        }
        let Some(process) = &mut self.process else { return };
        if let Some(replica) = process.replicas.get_mut(&partition)
            && let Some(deadline) = effects.deadline
            && replica.tick.is_none_or(|planned| deadline < planned)
        {
            replica.tick = Some(deadline);
            self.plan_at(shared, deadline, BrokerEvent::Tick(partition));
        }
        if effects.flush {
            if let Some(replica) = self
                .process
                .as_mut()
                .and_then(|process| process.replicas.get_mut(&partition))
            {
                replica.dirty = true;
            }
            self.begin_round(shared);
        }
        if wants_out {
            self.plan_replicate(shared);
        }
    }

    pub(super) fn tick(&mut self, shared: &mut Shared, partition: PartitionIndex) {
        if let Some(process) = &mut self.process
            && let Some(replica) = process.replicas.get_mut(&partition)
        {
            replica.tick = None;
            self.step(shared, partition, Input::Tick);
        }
    }

    pub(super) fn drain(&mut self, shared: &mut Shared) {
        let Some(process) = &mut self.process else { return };
        process.drain_planned = false;
        let full: Vec<PartitionIndex> = (process.replicas.iter())
            .filter(|(_, replica)| !replica.queue.is_empty())
            .map(|(partition, _)| *partition)
            .collect();
        for partition in full {
            let Some(process) = &mut self.process else { return };
            if let Some(replica) = process.replicas.get_mut(&partition) {
                let appends = std::mem::take(&mut replica.queue);
                self.step(shared, partition, Input::Produce(appends));
            }
        }
    }

    pub(super) fn retain(&mut self, shared: &mut Shared) {
        let Some(process) = &self.process else { return };
        let all: Vec<PartitionIndex> = process.replicas.keys().copied().collect();
        for partition in all {
            self.step(shared, partition, Input::Retain);
        }
        let Some(process) = &self.process else { return };
        let all: Vec<_> = process
            .replicas
            .values()
            .map(|replica| (replica.driver.partition(), replica.driver.view().high_watermark))
            .collect();
        if let Err(error) = process.dir.write_high_watermarks(&all) {
            shared.note(format_args!("high watermarks are not saved: {error}"));
        }
        self.plan(shared, Duration::from_millis(500), BrokerEvent::Retain);
    }

    /// Begins a flush round with every dirty log, unless one is under way: the next one takes what comes meanwhile.
    fn begin_round(&mut self, shared: &mut Shared) {
        let Some(process) = &mut self.process else { return };
        if process.round.is_some() {
            return;
        }
        process.take_jobs();
        let jobs = std::mem::take(&mut process.jobs);
        if jobs.is_empty() {
            return;
        }
        process.round = Some(if shared.chance.one_in(2) {
            Round::SyncsLate(jobs)
        } else {
            Round::Synced(process.flusher.round(jobs).map(|(done, _)| done))
        });
        let longest = if self.slow { 300 } else { 8 };
        let takes = shared
            .chance
            .between(Duration::from_micros(100), Duration::from_millis(longest));
        self.plan(shared, takes, BrokerEvent::RoundEnds);
    }

    pub(super) fn round_ends(&mut self, shared: &mut Shared) {
        let Some(process) = &mut self.process else { return };
        let synced = match process.round.take() {
            Some(Round::SyncsLate(jobs)) => process.flusher.round(jobs).map(|(done, _)| done),
            Some(Round::Synced(result)) => result,
            None => return,
        };
        match synced {
            Ok(all) => {
                shared.counts.rounds += 1;
                for done in all {
                    if let Some(partition) = shared.plan.place(done.partition()) {
                        self.step(shared, partition, Input::Flushed(done));
                    }
                }
                self.begin_round(shared);
            }
            Err(error) => self.disk_failed(shared, &error),
        }
    }

    /// A failed sync is final: everybody who waits is told, then the process exits.
    fn disk_failed(&mut self, shared: &mut Shared, error: &FlushError) {
        shared.note(format_args!("b{} a round failed: {error}", self.me));
        // What the disk had not written may be gone from its cache too.
        self.lost_power = true;
        for partition in 0..shared.plan.partitions.len() {
            let what = error.to_string();
            self.step(shared, partition, Input::DiskFailed { what });
        }
    }
}

/// Sends what clients waited for.
fn answer_clients(
    shared: &mut Shared,
    from: Address,
    process: &mut Process,
    partition: PartitionIndex,
    effects: &mut Effects,
) {
    for answer in effects.answers.drain(..) {
        let Some(asked) = process.asked.remove(&answer.token) else {
            continue;
        };
        if let Err(error) = &answer.result {
            *shared.counts.refusals.entry(error.code().name()).or_default() += 1;
        }
        let reply = Reply {
            id: asked.id,
            partition,
            answer: Answer::Produced(answer.result),
        };
        shared.send(from, Address::Client(asked.client), Message::Reply(reply));
    }
    for (token, result) in effects.deleted.drain(..) {
        let Some((id, client)) = process.deleting.remove(&token) else {
            continue;
        };
        let answer = Answer::Deleted(result);
        let reply = Reply {
            id,
            partition,
            answer,
        };
        shared.send(from, Address::Client(client), Message::Reply(reply));
    }
}

/// A replica was found damaged, or its log was set aside and is copied anew.
fn note_damage(ghost: &mut Ghost, broker: usize, damaged: bool) {
    let mirror = &mut ghost.replicas[broker];
    mirror.repairing = true;
    if damaged {
        ghost.destroyed += 1;
    } else {
        mirror.flipped = false;
        mirror.lossy = true;
    }
}

/// The batches that a leader sent.
fn copied(input: &Input) -> Vec<BatchHeader> {
    match input {
        Input::Fetched(fetched) => match &fetched.result {
            FetchResult::Accepted { batches, .. } => batches.iter().map(|batch| *batch.header()).collect(),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// Takes note of what a replica is told.
fn note_told(replica: &mut Replica, input: &Input, brokers: usize) {
    let record = match input {
        Input::Lead(leadership) => &leadership.record,
        Input::IsrAnswered(answered) => match &answered.result {
            quipu_replication::IsrResult::Done(record) => record,
            _ => return,
        },
        _ => return,
    };
    replica.min_insync = record.min_insync;
    let epoch = Some(record.leader_epoch);
    if replica.heard.0 != epoch {
        replica.heard = (epoch, vec![None; brokers]);
    }
}

/// Takes note of the lifetimes that were heard.
fn note_heard(replica: &mut Replica, about: About, effects: &Effects, plan: &crate::cluster::plan::Plan) {
    if let About::Fetch(fetch) = about
        && effects
            .fetches
            .iter()
            .any(|(token, verdict)| *token == fetch.token && matches!(verdict, Verdict::Accepted { .. }))
        && let Some(heard) = plan
            .broker(fetch.broker)
            .and_then(|index| replica.heard.1.get_mut(index))
    {
        *heard = (*heard).max(Some(fetch.broker_epoch));
    }
}

/// Retention took records away.
fn told_of_deletion(shared: &mut Shared, partition: PartitionIndex, before: quipu_record::Offset) {
    let key = shared.plan.partitions[partition].key.clone();
    shared.counts.deleted += before.since(shared.ghosts[partition].may_start);
    shared.ghosts[partition].may_delete(before);
    shared.tell(Who::Nemesis, Kind::Info, Op::Trim(Trim { key, before }));
}
