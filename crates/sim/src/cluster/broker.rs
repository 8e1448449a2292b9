//! One broker: a disk that outlives it, and the process that runs on it while it runs. It does what a real broker does
//! around the drivers and decides nothing: queues, flush rounds, ticks, sessions, answers.

mod boot;
mod control;
mod follow;
mod lead;
mod process;
mod proposals;
mod requests;

use super::clock::Clock;
use super::message::{Address, BrokerEvent, BrokerIndex, ControllerEvent, Event, Message};
use super::shared::Shared;
use crate::report::Fault;
use process::Process;
use quipu_metadata::DirectoryId;
use quipu_record::BrokerId;
use quipu_replication::{Now, Tick};
use quipu_storage::test_util::{FakeDisk, Faults};
use std::time::Duration;

/// One broker of the world.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) me: BrokerIndex,
    pub(crate) id: BrokerId,
    disk: FakeDisk,
    directory: DirectoryId,
    clock: Clock,
    /// Counts its processes: an event of an earlier one is void.
    life: u64,
    process: Option<Process>,
    /// What the disk does wrong now.
    pub(crate) faults: Faults,
    /// Syncs take long.
    pub(crate) slow: bool,
    /// There is hardly room.
    pub(crate) full: bool,
    /// The machine lost its power since a process last began: what was not synced may be gone.
    lost_power: bool,
    /// It is not started again for now.
    held_down: bool,
    /// It stands still until then, and this has come meanwhile.
    paused: Option<Tick>,
    missed: Vec<Event>,
}

impl Broker {
    pub(crate) fn new(me: BrokerIndex, shared: &mut Shared) -> Self {
        let mut broker = Self {
            me,
            id: shared.plan.brokers[me],
            disk: FakeDisk::new(shared.chance.seed()),
            directory: DirectoryId::from_u128(0),
            clock: Clock::default(),
            life: 0,
            process: None,
            faults: Faults::default(),
            slow: false,
            full: false,
            lost_power: false,
            held_down: false,
            paused: None,
            missed: Vec::new(),
        };
        broker.format(shared);
        broker.plan(shared, Duration::ZERO, BrokerEvent::Boot);
        broker
    }

    /// Its directory is new.
    fn format(&mut self, shared: &mut Shared) {
        self.directory = DirectoryId::from_u128(u128::from(shared.chance.seed()));
    }

    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// What its clocks say.
    fn now(&self, shared: &Shared) -> Now {
        self.clock.now(shared.schedule.now())
    }

    fn address(&self) -> Address {
        Address::Broker(self.me)
    }

    /// Plans something for this life of the broker.
    fn plan(&self, shared: &mut Shared, wait: Duration, what: BrokerEvent) {
        let (broker, life) = (self.me, self.life);
        shared.schedule.after(wait, Event::Broker { broker, life, what });
    }

    /// Plans something for a moment of its own clock.
    fn plan_at(&self, shared: &mut Shared, at: Tick, what: BrokerEvent) {
        let (broker, life) = (self.me, self.life);
        let at = self.clock.when(at);
        shared.schedule.at(at, Event::Broker { broker, life, what });
    }

    /// Something comes about. While it stands still everything waits.
    pub(crate) fn happen(&mut self, shared: &mut Shared, event: Event) {
        if let Some(until) = self.paused {
            if shared.schedule.now() < until {
                self.missed.push(event);
                return;
            }
            self.paused = None;
            for missed in std::mem::take(&mut self.missed) {
                self.happen_now(shared, missed);
            }
        }
        self.happen_now(shared, event);
    }

    fn happen_now(&mut self, shared: &mut Shared, event: Event) {
        match event {
            Event::Broker { life, what, .. } if life == self.life => self.event(shared, what),
            Event::Deliver { from, message, .. } if self.process.is_some() => {
                self.deliver(shared, from, *message);
            }
            _ => {}
        }
    }

    fn event(&mut self, shared: &mut Shared, what: BrokerEvent) {
        match what {
            BrokerEvent::Boot => self.boot(shared),
            BrokerEvent::Resume => {}
            BrokerEvent::Drain => self.drain(shared),
            BrokerEvent::RoundEnds => self.round_ends(shared),
            BrokerEvent::Tick(partition) => self.tick(shared, partition),
            BrokerEvent::Retain => self.retain(shared),
            BrokerEvent::Beat => self.beat(shared),
            BrokerEvent::Watch => self.watch(shared),
            BrokerEvent::NoAnswer(what) => self.no_answer(shared, what),
            BrokerEvent::Replicate => self.replicate(shared),
            BrokerEvent::Propose => self.repeat_proposals(shared),
        }
    }

    fn deliver(&mut self, shared: &mut Shared, from: Address, message: Message) {
        match (message, from) {
            (Message::Request(request), _) => self.request(shared, request),
            (Message::Replicate(request), Address::Broker(follower)) => {
                self.fetched_by(shared, follower, request);
            }
            (Message::Replicated(response), Address::Broker(leader)) => {
                self.answered_by(shared, leader, response);
            }
            (Message::Decided { id, reply }, _) => self.decided(shared, id, reply),
            (Message::StreamOpened(epoch), _) => self.stream_opened(shared, epoch),
            (Message::StreamReset, _) => self.stream_reset(shared),
            (Message::HeartbeatAnswer(epoch, answer), _) => self.heartbeat_answered(shared, epoch, answer),
            (Message::Snapshot(image), _) => self.snapshot(shared, *image),
            (Message::Deltas(deltas), _) => self.deltas(shared, &deltas),
            _ => {}
        }
    }

    /// Hands the disk its faults.
    pub(crate) fn apply_faults(&self) {
        self.disk.set_faults(self.faults);
        self.disk.set_room(self.full.then_some(2_000));
    }

    /// The process is gone, one way or another; another one starts in a while.
    pub(crate) fn die(&mut self, shared: &mut Shared, how: Fault) {
        let power = matches!(how, Fault::PowerCut | Fault::PowerCutOfAll);
        if power {
            self.lost_power = true;
            self.disk.crash(shared.chance.seed());
        } else {
            self.disk.kill();
        }
        // After that it can write nothing any more.
        self.process = None;
        self.life += 1;
        self.paused = None;
        self.missed.clear();
        shared.standings[self.me].running = None;
        for partition in 0..shared.plan.partitions.len() {
            let fsync = shared.plan.is_fsync(partition);
            let ghost = &mut shared.ghosts[partition];
            let holds = ghost
                .truth
                .as_ref()
                .is_some_and(|truth| truth.replicas.contains(self.id));
            let mirror = &mut ghost.replicas[self.me];
            mirror.open = false;
            mirror.leading = None;
            if power && !fsync {
                mirror.lossy |= holds;
                ghost.destroyed += 1;
            }
        }
        shared.note(format_args!("broker {} is down: {how:?}", self.id));
        self.reset_connections(shared);
        if !self.held_down {
            let longest = if shared.chance.one_in(4) { 2500 } else { 300 };
            let wait = shared.chance.millis(longest);
            self.plan(shared, wait, BrokerEvent::Boot);
        }
    }

    /// A process that is gone resets its connections, where the network lets that through.
    fn reset_connections(&self, shared: &mut Shared) {
        if !shared.network.is_cut(self.address(), Address::Controller) {
            let event = Event::Controller(ControllerEvent::StreamLost(self.me));
            let wait = shared.chance.millis(3);
            shared.schedule.after(wait, event);
        }
    }

    /// The disk is taken away, and an empty one put in its place.
    pub(crate) fn wipe(&mut self, shared: &mut Shared) {
        self.held_down = true;
        self.die(shared, Fault::Kill);
        self.held_down = false;
        self.disk = FakeDisk::new(shared.chance.seed());
        self.format(shared);
        for ghost in &mut shared.ghosts {
            let holds = ghost
                .truth
                .as_ref()
                .is_some_and(|truth| truth.replicas.contains(self.id));
            ghost.replicas[self.me].clear();
            ghost.destroyed += 1;
            if !holds {
                continue;
            }
            let mirror = &mut ghost.replicas[self.me];
            mirror.lossy = true;
            mirror.repairing = true;
        }
        let wait = shared.chance.millis(1000);
        self.plan(shared, wait, BrokerEvent::Boot);
    }

    /// Stands still for a while; everything that comes waits.
    pub(crate) fn pause(&mut self, shared: &mut Shared, lasts: Duration) {
        let until = shared.schedule.now().after(lasts);
        self.paused = Some(self.paused.unwrap_or_default().max(until));
        self.plan(shared, lasts, BrokerEvent::Resume);
    }

    /// The wall clock jumps.
    pub(crate) fn jump(&mut self, hours: i64) {
        self.clock.jump = hours * 3_600_000;
    }

    /// A bit of a log flips, below what was flushed. Says whether there was one.
    pub(crate) fn flip_bit(&mut self, shared: &mut Shared, partition: usize) -> bool {
        let plan = shared.plan.partitions[partition].partition;
        let ghost = &shared.ghosts[partition];
        // What is not committed the others need not have: there would be nothing to mend it from.
        let mark = ghost.replicas[self.me].marked.min(ghost.true_high_watermark);
        boot::flip_bit(&self.disk, shared, plan, mark)
    }

    /// It runs and serves.
    pub(crate) fn is_serving(&self) -> bool {
        self.paused.is_none() && self.process.as_ref().is_some_and(Process::is_serving)
    }

    /// It runs, it serves, nobody waits for it.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.paused.is_none() && self.process.as_ref().is_some_and(Process::is_at_rest)
    }
}
