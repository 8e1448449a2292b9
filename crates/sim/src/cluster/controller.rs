//! The controllers as one: an image, a log of what was decided, and the sessions of the one that is active. Commands are
//! decided in order, a while after they came; who is active dies now and then, and what it had under way is lost or
//! happens with nobody told.

use super::clock::Clock;
use super::message::{Address, BrokerIndex, ControllerEvent, Event, Message, RequestId};
use super::plan::{GONE_AFTER, SESSION};
use super::real::Real;
use super::shared::Shared;
use crate::invariants::{self, Decided};
use quipu_metadata::{
    ClusterId, Command, Delta, FeatureLevel, Growth, Heartbeat, Image, InitCluster, Liveness, LivenessConfig,
    Reply, Request as _, Settled, Ticket,
};
use quipu_record::{BrokerEpoch, BrokerId, MetadataVersion};
use quipu_replication::Tick;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Real controllers are let live so long at a time.
const STEP: Duration = Duration::from_millis(2);

/// A command on its way into the log.
#[derive(Debug)]
struct Queued {
    command: Command,
    /// Who is told, if anybody is.
    from: Option<(Address, RequestId)>,
    /// What the sessions call it, if they want it.
    ticket: Option<Ticket>,
}

/// All controllers.
#[derive(Debug)]
pub(crate) struct Controller {
    /// Real ones, if this world has them.
    real: Option<Real>,
    liveness: Liveness,
    growth: Growth,
    clock: Clock,
    /// Everything decided, from version 1 on.
    log: Vec<Arc<Delta>>,
    queue: VecDeque<Queued>,
    commit_planned: bool,
    tick_planned: Option<Tick>,
    /// The lifetime of which each broker has a stream open.
    streams: Vec<Option<(BrokerId, BrokerEpoch)>>,
    /// Who wants to hear of decisions.
    watching: Vec<bool>,
    /// Decisions are held back from these brokers for now.
    pub(crate) held_back: Vec<bool>,
    /// Nobody is told what was decided.
    pub(crate) silent: bool,
}

impl Controller {
    pub(crate) fn new(shared: &mut Shared) -> Self {
        let brokers = shared.plan.brokers.len();
        let mut controller = Self {
            real: shared.plan.real.then(|| Real::new(shared.plan.seed)),
            liveness: Liveness::new(LivenessConfig::of_session(SESSION)),
            growth: Growth::new(Tick::default(), GONE_AFTER),
            clock: Clock::default(),
            log: Vec::new(),
            queue: VecDeque::new(),
            commit_planned: false,
            tick_planned: None,
            streams: vec![None; brokers],
            watching: vec![false; brokers],
            held_back: vec![false; brokers],
            silent: false,
        };
        if controller.real.is_some() {
            controller.plan_step(shared);
            return controller;
        }
        let begin = InitCluster {
            cluster_id: ClusterId::from_u128(u128::from(shared.plan.seed) + 1),
            feature_level: FeatureLevel::SUPPORTED,
        };
        controller.enqueue(shared, begin.into_command(), None, None);
        controller.takes_over(shared);
        controller
    }

    fn enqueue(
        &mut self,
        shared: &mut Shared,
        command: Command,
        from: Option<(Address, RequestId)>,
        ticket: Option<Ticket>,
    ) {
        if let Some(real) = &mut self.real {
            return real.propose(command, from, ticket);
        }
        let queued = Queued {
            command,
            from,
            ticket,
        };
        self.queue.push_back(queued);
        self.plan_commit(shared);
    }

    fn plan_commit(&mut self, shared: &mut Shared) {
        if self.commit_planned || self.queue.is_empty() {
            return;
        }
        self.commit_planned = true;
        let longest = if shared.chance.one_in(8) { 60 } else { 6 };
        let wait = shared.chance.millis(longest);
        let event = Event::Controller(ControllerEvent::Commit);
        shared.schedule.after(wait, event);
    }

    fn plan_tick(&mut self, shared: &mut Shared) {
        let Some(deadline) = self.liveness.deadline() else {
            return;
        };
        let deadline = deadline.min(self.growth.deadline());
        let at = self.clock.when(deadline).max(shared.schedule.now());
        if self.tick_planned.is_none_or(|planned| at < planned) {
            self.tick_planned = Some(at);
            shared.schedule.at(at, Event::Controller(ControllerEvent::Tick));
        }
    }

    pub(crate) fn event(&mut self, shared: &mut Shared, what: ControllerEvent) {
        match what {
            ControllerEvent::Commit => self.commit(shared),
            ControllerEvent::Tick => self.tick(shared),
            ControllerEvent::StreamLost(broker) => {
                if let Some((id, epoch)) = self.streams[broker].take() {
                    let now = self.clock.now(shared.schedule.now()).mono;
                    self.liveness.stream_lost(id, epoch, now);
                    self.plan_tick(shared);
                }
            }
            ControllerEvent::TakesOver => self.takes_over(shared),
            ControllerEvent::Step => self.step(shared),
            ControllerEvent::ComesBack(place) => {
                if let Some(real) = &mut self.real {
                    real.come_back(place);
                }
            }
        }
    }

    pub(crate) fn deliver(&mut self, shared: &mut Shared, from: Address, message: Message) {
        if !self.liveness.is_active() {
            return;
        }
        match (message, from) {
            (Message::Propose { id, command }, _) => {
                self.enqueue(shared, command, Some((from, id)), None);
            }
            (Message::OpenStream(id, epoch), Address::Broker(broker)) => {
                self.open_stream(shared, broker, (id, epoch));
            }
            (Message::Heartbeat(heartbeat), Address::Broker(broker)) => {
                self.heartbeat(shared, broker, &heartbeat);
            }
            (Message::Watch { from }, Address::Broker(broker)) => {
                self.watching[broker] = true;
                self.tell_after(shared, broker, from);
            }
            _ => {}
        }
    }

    fn open_stream(&mut self, shared: &mut Shared, broker: BrokerIndex, stream: (BrokerId, BrokerEpoch)) {
        // A late one of an earlier process opens nothing: its connection is gone.
        if shared.standings[broker].running != Some(stream.1) {
            return;
        }
        let now = self.clock.now(shared.schedule.now()).mono;
        self.liveness.stream_opened(stream.0, stream.1, now);
        if let Some((id, epoch)) = self.streams[broker].replace(stream) {
            self.liveness.stream_lost(id, epoch, now);
        }
        let opened = Message::StreamOpened(stream.1);
        shared.send(Address::Controller, Address::Broker(broker), opened);
        self.plan_tick(shared);
    }

    fn heartbeat(&mut self, shared: &mut Shared, broker: BrokerIndex, heartbeat: &Heartbeat) {
        let now = self.clock.now(shared.schedule.now()).mono;
        if self.streams[broker] != Some((heartbeat.id, heartbeat.epoch)) {
            // What was connected is not any more.
            shared.send(Address::Controller, Address::Broker(broker), Message::StreamReset);
            return;
        }
        let answer = match self.image() {
            Some(image) => self.liveness.heartbeat(heartbeat, &image, now),
            None => self.liveness.heartbeat(heartbeat, &shared.truth, now),
        };
        if let Some(answer) = answer {
            let answer = Message::HeartbeatAnswer(heartbeat.epoch, answer);
            shared.send(Address::Controller, Address::Broker(broker), answer);
        }
        self.plan_tick(shared);
    }

    fn tick(&mut self, shared: &mut Shared) {
        self.tick_planned = None;
        let now = self.clock.now(shared.schedule.now()).mono;
        let proposals = match self.image() {
            Some(image) => self.liveness.tick(&image, now),
            None => self.liveness.tick(&shared.truth, now),
        };
        for proposal in proposals {
            self.enqueue(shared, proposal.command, None, Some(proposal.ticket));
        }
        if self.liveness.is_active() {
            self.grow(shared, now);
        }
        self.plan_tick(shared);
    }

    /// Lets internal topics grow. What becomes of a proposal is not waited for: it may come twice, and late.
    fn grow(&mut self, shared: &mut Shared, now: Tick) {
        let grows = match self.image() {
            Some(image) => self.growth.tick(&image, now),
            None => self.growth.tick(&shared.truth, now),
        };
        if let Some(grow) = grows {
            self.enqueue(shared, grow.into_command(), None, None);
            self.growth.settled(Settled::Failed);
        }
    }

    /// One entry of the log: a command, or several that came at once.
    fn commit(&mut self, shared: &mut Shared) {
        self.commit_planned = false;
        let most = if shared.chance.one_in(3) { 4 } else { 1 };
        let count = most.min(self.queue.len());
        let entry: Vec<Queued> = self.queue.drain(..count).collect();
        let version = MetadataVersion::new(shared.truth.version().get() + 1);
        shared.truth.advance_to(version);
        let mut records = Vec::new();
        let mut replies = Vec::new();
        for queued in entry {
            let (decided, reply) = shared.truth.decide(&queued.command);
            shared.note(format_args!(
                "v{} {}: {} records",
                version.get(),
                queued.command.name(),
                decided.len()
            ));
            let what = Decided {
                command: &queued.command,
                reply: &reply,
                records: &decided,
            };
            invariants::decided(shared, &what);
            for record in &decided {
                if let Err(error) = shared.truth.replay(record) {
                    shared.violated(crate::report::Violation {
                        invariant: "I15 metadata",
                        what: error.to_string(),
                    });
                }
            }
            invariants::committed(shared, Some(what.command), what.records);
            records.extend(decided);
            if let Some(ticket) = queued.ticket {
                self.liveness.settled(ticket, Settled::At(version));
            }
            replies.extend(queued.from.map(|(to, id)| (to, id, reply)));
        }
        let delta = Arc::new(Delta { version, records });
        self.publish(shared, &delta);
        self.answer(shared, replies);
        self.plan_commit(shared);
        self.plan_tick(shared);
    }

    /// Tells the brokers that listen.
    fn publish(&mut self, shared: &mut Shared, delta: &Arc<Delta>) {
        self.log.push(Arc::clone(delta));
        for broker in 0..self.watching.len() {
            if self.watching[broker] && !self.held_back[broker] {
                let deltas = Message::Deltas(vec![Arc::clone(delta)]);
                shared.send(Address::Controller, Address::Broker(broker), deltas);
            }
        }
    }

    fn answer(&self, shared: &mut Shared, replies: Vec<(Address, RequestId, Reply)>) {
        for (to, id, reply) in replies {
            if !self.silent || !shared.chance.one_in(2) {
                shared.send(Address::Controller, to, Message::Decided { id, reply });
            }
        }
    }

    /// The image by which real controllers judge who is alive.
    fn image(&self) -> Option<Arc<Image>> {
        self.real.as_ref()?.image()
    }

    fn plan_step(&self, shared: &mut Shared) {
        let event = Event::Controller(ControllerEvent::Step);
        shared.schedule.after(STEP, event);
    }

    /// Real controllers live on for a moment.
    fn step(&mut self, shared: &mut Shared) {
        let Some(real) = &mut self.real else { return };
        let news = real.step(shared, STEP);
        for delta in &news.deltas {
            if let Err(error) = shared.truth.apply(delta) {
                shared.violated(crate::report::Violation {
                    invariant: invariants::METADATA,
                    what: error.to_string(),
                });
            }
            invariants::committed(shared, None, &delta.records);
            self.publish(shared, delta);
        }
        for (ticket, how) in news.settled {
            self.liveness.settled(ticket, how);
        }
        self.answer(shared, news.replies);
        if news.changed {
            self.forget_brokers(shared);
            self.liveness.no_longer_active();
            if self.image().is_some() {
                self.takes_over(shared);
            }
        }
        self.plan_tick(shared);
        self.plan_step(shared);
    }

    /// Sends a broker what was decided after a version.
    fn tell_after(&mut self, shared: &mut Shared, broker: BrokerIndex, from: MetadataVersion) {
        if self.held_back[broker] {
            return;
        }
        let to = Address::Broker(broker);
        let known = usize::try_from(from.get()).unwrap_or(usize::MAX);
        if known == 0 && !self.log.is_empty() {
            let image = Message::Snapshot(Box::new(shared.truth.clone()));
            shared.send(Address::Controller, to, image);
        } else if known < self.log.len() {
            let deltas = Message::Deltas(self.log[known..].to_vec());
            shared.send(Address::Controller, to, deltas);
        }
    }

    /// The active controller is gone. Of what it had under way, some happens all the same.
    pub(crate) fn fail_over(&mut self, shared: &mut Shared) {
        if !self.liveness.is_active() {
            return;
        }
        if let Some(real) = &mut self.real {
            if let Some(place) = real.fail(&mut shared.chance) {
                let gap = shared
                    .chance
                    .between(Duration::from_millis(200), Duration::from_millis(1500));
                let event = Event::Controller(ControllerEvent::ComesBack(place));
                shared.schedule.after(gap, event);
            }
            return;
        }
        self.liveness.no_longer_active();
        self.queue.retain(|_| shared.chance.one_in(2));
        for queued in &mut self.queue {
            queued.from = None;
            queued.ticket = None;
        }
        self.forget_brokers(shared);
        let gap = shared
            .chance
            .between(Duration::from_millis(50), Duration::from_millis(1500));
        let event = Event::Controller(ControllerEvent::TakesOver);
        shared.schedule.after(gap, event);
    }

    /// Connections go with the one that they were made to.
    fn forget_brokers(&mut self, shared: &mut Shared) {
        self.watching.fill(false);
        for broker in 0..self.streams.len() {
            if self.streams[broker].take().is_some() {
                let to = Address::Broker(broker);
                shared.send(Address::Controller, to, Message::StreamReset);
            }
        }
    }

    fn takes_over(&mut self, shared: &mut Shared) {
        self.clock = Clock {
            begun: shared.chance.below(1_000_000_000) as u64,
            ..Clock::default()
        };
        self.liveness = Liveness::new(LivenessConfig::of_session(SESSION));
        let now = self.clock.now(shared.schedule.now()).mono;
        match self.image() {
            Some(image) => self.liveness.became_active(&image, now),
            None => self.liveness.became_active(&shared.truth, now),
        }
        self.growth = Growth::new(now, GONE_AFTER);
        self.tick_planned = None;
        self.plan_commit(shared);
        self.plan_tick(shared);
    }

    /// Nothing waits to be decided.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.liveness.is_active() && self.real.as_ref().is_none_or(Real::is_idle)
    }
}
