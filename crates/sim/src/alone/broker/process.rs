//! The running process: drivers, queues, flush rounds.

use super::Broker;
use crate::alone::invariants::{self, Asked};
use crate::alone::message::{Address, Answer, BrokerEvent, Message, PartitionIndex, Reply};
use crate::alone::shared::Shared;
use crate::report::Fault;
use quipu_checker::{Kind, Op, Process as Who, Trim};
use quipu_replication::{Append, Driver, Effects, Input, Tick, Token};
use quipu_storage::test_util::FakeDisk;
use quipu_storage::{DataDir, FlushDone, FlushError, FlushJob, Flusher};
use std::collections::HashMap;
use std::time::Duration;

/// A process of the broker.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) dir: DataDir<FakeDisk>,
    pub(super) flusher: Flusher<FakeDisk>,
    pub(super) replicas: Vec<Replica>,
    pub(super) round: Option<Round>,
    /// Flush jobs for the next round.
    pub(super) jobs: Vec<FlushJob<FakeDisk>>,
    pub(super) drain_planned: bool,
    /// Produce requests under way.
    pub(super) asked: HashMap<Token, Asked>,
    /// Deletions under way.
    pub(super) deleting: HashMap<Token, (crate::alone::message::RequestId, usize)>,
    pub(super) next_token: u64,
}

/// One partition's driver, and what a partition thread keeps beside it.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) driver: Driver<FakeDisk>,
    pub(super) queue: Vec<Append>,
    pub(super) dirty: bool,
    /// When its next tick is planned.
    pub(super) tick: Option<Tick>,
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
        let dirty = self.replicas.iter_mut().filter(|replica| replica.dirty);
        self.jobs.extend(dirty.filter_map(|replica| {
            replica.dirty = false;
            replica.driver.take_flush()
        }));
    }

    pub(super) fn token(&mut self) -> Token {
        self.next_token += 1;
        Token(self.next_token)
    }
}

impl Broker {
    /// One step of one driver, with everything that follows from it.
    pub(super) fn step(&mut self, shared: &mut Shared, partition: PartitionIndex, input: Input) {
        let Some(process) = &mut self.process else { return };
        let now = shared.now();
        let deletes = matches!(input, Input::Retain);
        let mut effects = Effects::default();
        let driver = &mut process.replicas[partition].driver;
        driver.step(now, input, &mut effects);
        let log_start = driver.view().log_start;
        if deletes && log_start > shared.ghosts[partition].may_start {
            let key = shared.plan.partitions[partition].key.clone();
            shared.counts.deleted += log_start.since(shared.ghosts[partition].may_start);
            shared.ghosts[partition].may_delete(log_start);
            let before = log_start;
            shared.tell(Who::Nemesis, Kind::Info, Op::Trim(Trim { key, before }));
        }
        let step = invariants::Step {
            plan: &shared.plan.partitions[partition],
            driver: &process.replicas[partition].driver,
            effects: &effects,
            asked: &process.asked,
        };
        shared.counts.checks += 1;
        if let Err(violation) = invariants::after_step(&mut shared.ghosts[partition], &step) {
            shared.violated(violation);
        }
        self.carry_out(shared, partition, &mut effects);
    }

    /// Carries out effects in the order that is written on them. (The ring and the view are read from the driver.)
    fn carry_out(&mut self, shared: &mut Shared, partition: PartitionIndex, effects: &mut Effects) {
        let (from, life) = (self.address(), self.life);
        let Some(process) = &mut self.process else { return };
        if let Some(view) = effects.view {
            shared.note(format_args!(
                "p{partition} log {}..{} committed to {}",
                view.log_start, view.log_end, view.high_watermark
            ));
        }
        for answer in effects.answers.drain(..) {
            let Some(asked) = process.asked.remove(&answer.token) else {
                continue;
            };
            if let Err(error) = &answer.result {
                *shared.counts.refusals.entry(error.code().name()).or_default() += 1;
            }
            shared.note(format_args!(
                "p{partition} answers {:?}: {:?}",
                asked.id, answer.result
            ));
            let reply = Reply {
                id: asked.id,
                partition,
                answer: Answer::Produced(answer.result),
            };
            shared.send(from, Address::Client(asked.client), &Message::Reply(reply));
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
            shared.send(from, Address::Client(client), &Message::Reply(reply));
        }
        if let Some(what) = effects.fatal.take() {
            shared.note(format_args!("p{partition} fatal: {what}"));
            self.die(shared, Fault::Kill);
            return;
        }
        let replica = &mut process.replicas[partition];
        if let Some(deadline) = effects.deadline
            && replica.tick.is_none_or(|planned| deadline < planned)
        {
            replica.tick = Some(deadline);
            let event = crate::alone::message::Event::Broker {
                broker: self.id,
                life,
                what: BrokerEvent::Tick(partition),
            };
            shared.schedule.at(deadline, event);
        }
        if effects.flush {
            replica.dirty = true;
            if shared.plan.takes_flushes_at_once {
                process.take_jobs();
            }
            self.begin_round(shared);
        }
    }

    pub(super) fn tick(&mut self, shared: &mut Shared, partition: PartitionIndex) {
        if let Some(process) = &mut self.process {
            process.replicas[partition].tick = None;
            self.step(shared, partition, Input::Tick);
        }
    }

    pub(super) fn drain(&mut self, shared: &mut Shared) {
        let Some(process) = &mut self.process else { return };
        process.drain_planned = false;
        for partition in 0..shared.plan.partitions.len() {
            let Some(process) = &mut self.process else { return };
            let appends = std::mem::take(&mut process.replicas[partition].queue);
            if !appends.is_empty() {
                shared.note(format_args!("p{partition} takes {} batches", appends.len()));
                self.step(shared, partition, Input::Produce(appends));
            }
        }
    }

    pub(super) fn retain(&mut self, shared: &mut Shared) {
        for partition in 0..shared.plan.partitions.len() {
            self.step(shared, partition, Input::Retain);
        }
        let Some(process) = &self.process else { return };
        let all: Vec<_> = process
            .replicas
            .iter()
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
        shared.note(format_args!("a round of {} begins", jobs.len()));
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
                    let place = shared
                        .plan
                        .partitions
                        .iter()
                        .position(|plan| plan.partition == done.partition());
                    if let Some(partition) = place {
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
        shared.note(format_args!("a round failed: {error}"));
        for partition in 0..shared.plan.partitions.len() {
            let what = error.to_string();
            self.step(shared, partition, Input::DiskFailed { what });
        }
    }
}
