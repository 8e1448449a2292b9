//! The core against a model of brokers and of a network that loses, delays and repeats.
//!
//! `QUIPU_SEED=<n> cargo test -p quipu-client producer::core` repeats one history.

use super::*;
use crate::backoff::BackoffLimits;
use quipu_record::{Offset, ProducerEpoch, ProducerId, ProducerStamp};
use std::collections::BTreeMap;

mod model;
use model::{Brokers, Request};

const BROKERS: u64 = 3;
const WINDOW: usize = 5;
const HISTORIES: u64 = 200;

/// One history: a core, the brokers, and what was seen.
struct History {
    random: Jitter,
    now: Moment,
    core: Core,
    lanes: Vec<LaneId>,
    brokers: Brokers,
    idempotent: bool,
    next_batch: u64,
    /// Enqueued and not sealed.
    unsealed: Vec<(LaneId, BatchId)>,
    /// By batch: its lane, and what was said of it.
    said: BTreeMap<BatchId, (LaneId, Option<Outcome>)>,
    unresolved: BTreeSet<BatchId>,
    /// By batch: the identity it was sent under.
    sent_under: BTreeMap<BatchId, Option<Identity>>,
    connecting: Vec<BrokerId>,
    refreshing: bool,
    identifying: bool,
    epoch: u16,
    open: BTreeSet<LaneId>,
    /// From then on nothing goes wrong any more.
    healed: bool,
    events: BTreeMap<&'static str, u64>,
}

fn identity(epoch: u16) -> Identity {
    Identity {
        id: ProducerId::new(7),
        epoch: ProducerEpoch::new(epoch),
    }
}

impl History {
    fn new(seed: u64) -> Self {
        let mut random = Jitter::new(seed);
        let idempotent = !random.next().is_multiple_of(4);
        let rules = Rules {
            window: if idempotent { WINDOW } else { 1 },
            answer_within: Duration::from_secs(40),
            backoff: BackoffLimits {
                min: Duration::from_millis(50),
                max: Duration::from_secs(1),
            },
        };
        let mut core = Core::new(rules, idempotent.then(|| identity(0)), seed);
        let lanes = 1 + random.next() % 3;
        let brokers = Brokers::new(lanes, idempotent);
        let lanes = (0..lanes)
            .map(|lane| core.add_lane(brokers.route(lane)))
            .collect();
        Self {
            random,
            now: Moment::default(),
            core,
            lanes,
            brokers,
            idempotent,
            next_batch: 0,
            unsealed: Vec::new(),
            said: BTreeMap::new(),
            unresolved: BTreeSet::new(),
            sent_under: BTreeMap::new(),
            connecting: Vec::new(),
            refreshing: false,
            identifying: false,
            epoch: 0,
            open: BTreeSet::new(),
            healed: false,
            events: BTreeMap::new(),
        }
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.random.next() % 100 < percent
    }

    fn pick(&mut self, from: usize) -> usize {
        usize::try_from(self.random.next() % from as u64).unwrap()
    }

    fn count(&mut self, event: &'static str) {
        *self.events.entry(event).or_default() += 1;
    }

    fn enqueue(&mut self, lane: LaneId) {
        let id = BatchId(self.next_batch);
        self.next_batch += 1;
        self.said.insert(id, (lane, None));
        self.unresolved.insert(id);
        self.open.remove(&lane);
        let sealed = self.chance(50);
        if !sealed {
            self.unsealed.push((lane, id));
        }
        let deadline = self.now.after(Duration::from_secs(120));
        let records = 1 + u32::try_from(self.random.next() % 2).unwrap();
        if self.chance(6) && !self.healed {
            self.brokers.bad.insert(id);
        }
        self.core.enqueue(
            self.now,
            lane,
            Closed {
                id,
                records,
                deadline,
                sealed,
            },
        );
        self.brokers.records.insert(id, records);
    }

    fn step(&mut self) {
        match self.random.next() % 100 {
            0..20 => {
                let lane = LaneId(self.pick(self.lanes.len()));
                self.enqueue(lane);
            }
            20..30 => {
                if !self.unsealed.is_empty() {
                    let place = self.pick(self.unsealed.len());
                    let (lane, batch) = self.unsealed.remove(place);
                    self.core.sealed(self.now, lane, batch);
                }
            }
            30..33 => {
                let lane = LaneId(self.pick(self.lanes.len()));
                self.open.insert(lane);
                let deadline = self.now.after(Duration::from_secs(120));
                self.core.due(self.now, lane, deadline);
            }
            33..55 => self.broker_reads(),
            55..75 => self.answer_arrives(),
            75..80 => self.connection_comes(),
            80..83 => self.routes_come(),
            83..85 => self.identity_comes(),
            85..95 => {
                let far = self.chance(3) && !self.healed;
                let millis = 1 + self.random.next() % if far { 60_000 } else { 40 };
                self.now = self.now.after(Duration::from_millis(millis));
                self.core.tick(self.now);
            }
            _ if self.healed => {}
            95 => self.link_breaks(),
            96 => {
                let lane = self.random.next() % self.lanes.len() as u64;
                let loses = self.chance(50);
                let leader = (!self.chance(20)).then(|| self.random.next() % BROKERS);
                self.brokers.elect(lane, leader, loses);
                self.count("election");
            }
            97 => {
                let lane = self.random.next() % self.lanes.len() as u64;
                let nothing_sent = self.core.lanes[usize::try_from(lane).unwrap()].flights.is_empty();
                if nothing_sent && self.brokers.forget_producers(lane) {
                    self.count("producers forgotten");
                }
            }
            _ => self.brokers.zombie(&mut self.random),
        }
        self.obey();
    }

    /// Does what the core says.
    fn obey(&mut self) {
        while let Some(effect) = self.core.next_effect() {
            match effect {
                Effect::Send {
                    broker,
                    request,
                    batch,
                    lane,
                    stamp,
                    again,
                } => {
                    let before = self.sent_under.insert(
                        batch,
                        stamp.map(|s| Identity {
                            id: s.id,
                            epoch: s.epoch,
                        }),
                    );
                    assert_eq!(before.is_some(), again, "{batch:?}");
                    let under = self.sent_under[&batch];
                    assert!(
                        before.is_none_or(|before| before == under),
                        "{batch:?} under two identities"
                    );
                    assert!(
                        self.said[&batch].1.is_none(),
                        "{batch:?} sent after it was resolved"
                    );
                    self.count(if again { "sent again" } else { "sent" });
                    self.brokers.send(
                        broker,
                        Request {
                            request,
                            batch,
                            lane,
                            stamp,
                        },
                    );
                }
                Effect::Resolve { batch, lane, outcome } => {
                    let said = self.said.get_mut(&batch).unwrap();
                    assert_eq!(said.0, lane);
                    assert!(self.unresolved.remove(&batch), "{batch:?} resolved twice");
                    let event = match &outcome {
                        Outcome::Acked(acked) if acked.duplicate => "acked as duplicate",
                        Outcome::Acked(_) => "acked",
                        Outcome::Rejected(_) => "rejected",
                        Outcome::Expired { .. } => "expired",
                        Outcome::Unknown { .. } => "unknown",
                        Outcome::Closed => "closed",
                    };
                    said.1 = Some(outcome);
                    self.count(event);
                }
                Effect::Close { lane } => {
                    if self.open.remove(&lane) {
                        self.enqueue(lane);
                    }
                }
                Effect::Connect { broker } => self.connecting.push(broker),
                Effect::Disconnect { broker } => {
                    self.count("answer overdue");
                    self.brokers.break_link(broker, &mut self.random);
                }
                Effect::Refresh => self.refreshing = true,
                Effect::Identify { previous } => {
                    assert_eq!(previous, identity(self.epoch));
                    self.identifying = true;
                }
            }
        }
        let window = if self.idempotent { WINDOW } else { 1 };
        assert!(self.core.lanes.iter().all(|lane| lane.flights.len() <= window));
        let unresolved = self
            .said
            .iter()
            .find(|(_, (_, said))| said.is_none())
            .map(|(id, _)| *id);
        assert_eq!(self.core.oldest_unresolved(), unresolved);
    }

    fn broker_reads(&mut self) {
        let broker = BrokerId::new(u32::try_from(self.random.next() % BROKERS).unwrap());
        let trouble = if self.healed { 0 } else { 20 };
        self.brokers.read(broker, &mut self.random, trouble);
    }

    fn answer_arrives(&mut self) {
        let broker = BrokerId::new(u32::try_from(self.random.next() % BROKERS).unwrap());
        if let Some((request, answer)) = self.brokers.next_answer(broker) {
            if self.chance(5) {
                self.core.throttled(self.now, broker, Duration::from_millis(200));
            }
            self.core.answered(self.now, request, answer);
        }
    }

    fn connection_comes(&mut self) {
        let Some(broker) = self.connecting.pop() else {
            return;
        };
        if self.chance(20) && !self.healed {
            self.core.link_down(self.now, broker, "connection refused");
        } else {
            self.core.link_up(self.now, broker);
        }
    }

    fn link_breaks(&mut self) {
        let broker = BrokerId::new(u32::try_from(self.random.next() % BROKERS).unwrap());
        if self.core.links.is_up(broker) {
            self.count("link lost");
            self.brokers.break_link(broker, &mut self.random);
            self.core.link_down(self.now, broker, "connection reset");
        }
    }

    fn routes_come(&mut self) {
        if !std::mem::take(&mut self.refreshing) {
            return;
        }
        if !self.chance(10) || self.healed {
            for (lane, id) in (0..).zip(self.lanes.clone()) {
                self.core.routed(self.now, id, self.brokers.route(lane));
            }
        }
        self.core.refreshed(self.now);
    }

    fn identity_comes(&mut self) {
        if std::mem::take(&mut self.identifying) {
            if self.chance(20) && !self.healed {
                let why = Failure::new(ErrorCode::NoQuorum, "no quorum");
                self.core.not_identified(self.now, &why);
            } else {
                self.epoch += 1;
                self.core.identified(self.now, identity(self.epoch));
                self.count("new identity");
            }
        }
    }

    /// With nothing going wrong any more everything is resolved, and sending works again.
    fn heal(&mut self) {
        self.healed = true;
        self.brokers.heal();
        self.settle();
        let mut last = Vec::new();
        // Who cannot repeat itself may lose the first few to a leader that has moved.
        for _ in 0..if self.idempotent { 1 } else { 8 } {
            last.clear();
            for lane in self.lanes.clone() {
                last.push(BatchId(self.next_batch));
                self.enqueue(lane);
            }
            self.settle();
        }
        for batch in last {
            let said = &self.said[&batch].1;
            assert!(
                matches!(said, Some(Outcome::Acked(_))),
                "{batch:?} after healing: {said:?}"
            );
        }
    }

    fn settle(&mut self) {
        for _ in 0..200_000 {
            if self.core.oldest_unresolved().is_none() && self.open.is_empty() {
                return;
            }
            self.settling_step();
        }
        panic!("still unresolved: {:#?}", self.core);
    }

    fn settling_step(&mut self) {
        match self.random.next() % 8 {
            0 => {
                if let Some((lane, batch)) = self.unsealed.pop() {
                    self.core.sealed(self.now, lane, batch);
                }
            }
            1 => self.broker_reads(),
            2 => self.answer_arrives(),
            3 => self.connection_comes(),
            4 => self.routes_come(),
            5 => self.identity_comes(),
            _ => {
                self.now = self.now.after(Duration::from_millis(10));
                self.core.tick(self.now);
            }
        }
        self.obey();
    }

    /// What was said is true, and what is stored is in order.
    fn check(&mut self) {
        while self.brokers.has_zombies() {
            self.brokers.zombie(&mut self.random);
        }
        for (lane, id) in (0..).zip(self.lanes.clone()) {
            let log = self.brokers.log(lane);
            let acked = |batch: &BatchId| matches!(self.said[batch].1, Some(Outcome::Acked(_)));
            let mut ordered: Vec<BatchId> = log.iter().map(|entry| entry.batch).collect();
            if !self.idempotent {
                ordered.retain(acked);
            }
            assert!(
                ordered.is_sorted_by(|a, b| a < b),
                "lane {lane} is stored as {ordered:?}"
            );
            let bases: BTreeMap<_, _> = log.iter().map(|entry| (entry.batch, entry.base)).collect();
            for (batch, (_, said)) in self.said.iter().filter(|(_, (at, _))| *at == id) {
                let stored = bases.get(batch).copied();
                match said.as_ref().unwrap() {
                    Outcome::Acked(acked) => {
                        let stored =
                            stored.unwrap_or_else(|| panic!("{batch:?} was acked and is not stored"));
                        assert!(acked.base_offset.is_none_or(|said| said == Offset::new(stored)));
                    }
                    Outcome::Rejected(_) | Outcome::Expired { .. } | Outcome::Closed => {
                        assert_eq!(stored, None, "{batch:?} was said not to be stored: {said:?}");
                    }
                    Outcome::Unknown { .. } => {}
                }
            }
        }
    }
}

fn run(seed: u64) -> BTreeMap<&'static str, u64> {
    let mut history = History::new(seed);
    let steps = 200 + history.random.next() % 2000;
    for _ in 0..steps {
        history.step();
    }
    history.heal();
    history.check();
    history.events
}

#[test]
fn what_is_said_is_true_whatever_goes_wrong() {
    if let Some(seed) = std::env::var("QUIPU_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        println!("{:?}", run(seed));
        return;
    }
    let mut events: BTreeMap<&'static str, u64> = BTreeMap::new();
    for seed in 0..HISTORIES {
        let ran = std::panic::catch_unwind(|| run(seed));
        let ran = ran.unwrap_or_else(|_| {
            panic!("repeat with QUIPU_SEED={seed} cargo test -p quipu-client producer::core")
        });
        for (event, count) in ran {
            *events.entry(event).or_default() += count;
        }
    }
    println!("{events:#?}");
    for needed in [
        "sent again",
        "acked",
        "acked as duplicate",
        "rejected",
        "expired",
        "unknown",
        "election",
        "link lost",
        "answer overdue",
        "new identity",
        "producers forgotten",
    ] {
        assert!(
            events.get(needed).is_some_and(|count| *count >= 20),
            "{needed} is hardly tried: {events:?}"
        );
    }
}
