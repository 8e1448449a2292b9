//! The consumer's core against streams that break and leaders that move: each partition is given without a hole and
//! without a repetition, wherever seeks send it.

use super::*;
use quipu_record::PartitionId;
use std::collections::BTreeSet;
use std::time::Duration;

const BROKERS: u64 = 3;
const HISTORIES: u64 = 500;

/// A stream as its broker has it.
#[derive(Default)]
struct Served {
    broker: u32,
    /// By partition: where it reads on, and whether it is paused or stopped.
    cursors: BTreeMap<Key, (u64, bool)>,
    /// What the broker has not read yet.
    asked: VecDeque<Effect>,
    /// What the consumer has not read yet.
    sent: VecDeque<Sent>,
    /// Below zero: what the last frame exceeded it by.
    credit: i64,
}

enum Sent {
    Data { key: Key, from: u64, to: u64 },
    NotLeader { key: Key },
    Sought { key: Key, at: u64 },
    Opened { key: Key, at: u64 },
}

struct History {
    random: Jitter,
    now: Moment,
    core: Core,
    leaders: BTreeMap<Key, u32>,
    /// What must be given next.
    expected: BTreeMap<Key, u64>,
    streams: BTreeMap<StreamId, Served>,
    refreshing: bool,
    given: u64,
    calm: bool,
}

const WINDOW: i64 = 40;

impl History {
    fn new(seed: u64) -> Self {
        let mut random = Jitter::new(seed);
        let limits = BackoffLimits {
            min: Duration::from_millis(50),
            max: Duration::from_secs(1),
        };
        let mut core = Core::new(WINDOW.unsigned_abs(), None, limits, seed);
        let (mut leaders, mut expected) = (BTreeMap::new(), BTreeMap::new());
        for partition in 0..1 + u32::try_from(random.next() % 5).unwrap() {
            let key = Key {
                topic: "t".into(),
                partition: PartitionId::new(partition),
            };
            let leader = u32::try_from(random.next() % BROKERS).unwrap();
            core.add(
                key.clone(),
                TopicId::from_u128(1),
                route(leader, 0),
                Start::Offset(Offset::new(100)),
            );
            leaders.insert(key.clone(), leader);
            expected.insert(key, 100);
        }
        let streams = BTreeMap::new();
        let now = Moment::default();
        Self {
            random,
            now,
            core,
            leaders,
            expected,
            streams,
            refreshing: false,
            given: 0,
            calm: false,
        }
    }

    fn any_key(&mut self) -> Key {
        let place = usize::try_from(self.random.next() % self.leaders.len() as u64).unwrap();
        self.leaders.keys().nth(place).unwrap().clone()
    }

    fn step(&mut self) {
        match self.random.next() % 100 {
            0..40 => self.broker_acts(),
            40..75 => self.consumer_reads(),
            75..85 => {
                self.now = self.now.after(Duration::from_millis(1 + self.random.next() % 60));
            }
            85..90 => self.routes_come(),
            _ if self.calm => {}
            90..92 => {
                let key = self.any_key();
                let leader = u32::try_from(self.random.next() % BROKERS).unwrap();
                self.leaders.insert(key, leader);
            }
            92..94 => {
                if let Some(stream) = self.any_stream() {
                    self.streams.remove(&stream);
                    self.core.ended(self.now, stream);
                }
            }
            94..96 => {
                let (key, to) = (self.any_key(), self.random.next() % 1000);
                assert!(self.core.seek(&key, Start::Offset(Offset::new(to))));
                self.expected.insert(key, to);
            }
            96..99 => {
                let (key, paused) = (self.any_key(), self.random.next().is_multiple_of(2));
                assert!(self.core.pause(&key, paused));
            }
            _ => {
                let key = self.any_key();
                self.core.unreadable(&key);
            }
        }
        self.obey();
    }

    fn any_stream(&mut self) -> Option<StreamId> {
        let streams: Vec<_> = self.streams.keys().copied().collect();
        let place = self.random.next().checked_rem(streams.len() as u64)?;
        Some(streams[usize::try_from(place).unwrap()])
    }

    fn obey(&mut self) {
        self.core.plan(self.now);
        while let Some(effect) = self.core.next_effect() {
            match effect {
                Effect::Open {
                    stream,
                    broker,
                    ref partitions,
                } => {
                    for (key, ..) in partitions {
                        let read = self
                            .streams
                            .keys()
                            .filter(|id| self.core.counts(**id, key))
                            .count();
                        assert_eq!(read, 0, "{key:?} is on two streams");
                    }
                    let mut served = Served {
                        broker: broker.get(),
                        credit: WINDOW,
                        ..Served::default()
                    };
                    served.asked.push_back(effect);
                    self.streams.insert(stream, served);
                }
                Effect::Close { stream } => {
                    self.streams.remove(&stream);
                }
                Effect::Credit { stream, bytes } => {
                    if let Some(served) = self.streams.get_mut(&stream) {
                        served.credit += i64::try_from(bytes).unwrap();
                        assert!(served.credit <= WINDOW, "more credit than was used");
                    }
                }
                Effect::Seek { stream, .. } | Effect::Pause { stream, .. } => {
                    if let Some(served) = self.streams.get_mut(&stream) {
                        served.asked.push_back(effect);
                    }
                }
                Effect::Refresh => self.refreshing = true,
            }
        }
        let per_broker = |broker| {
            self.streams
                .values()
                .filter(|served| served.broker == broker)
                .count()
        };
        assert!((0..3).all(|broker| per_broker(broker) <= STREAMS_MAX));
    }

    fn broker_acts(&mut self) {
        let Some(id) = self.any_stream() else { return };
        let Some(served) = self.streams.get_mut(&id) else {
            return;
        };
        if self.random.next().is_multiple_of(2)
            && let Some(asked) = served.asked.pop_front()
        {
            match asked {
                Effect::Open { partitions, .. } => {
                    for (key, _, start) in partitions {
                        let Start::Offset(at) = start else {
                            panic!("only offsets here")
                        };
                        served.cursors.insert(key.clone(), (at.get(), false));
                        served.sent.push_back(Sent::Opened { key, at: at.get() });
                    }
                }
                Effect::Seek { key, to, .. } => {
                    let Start::Offset(at) = to else {
                        panic!("only offsets here")
                    };
                    if let Some((cursor, _)) = served.cursors.get_mut(&key) {
                        *cursor = at.get();
                    }
                    served.sent.push_back(Sent::Sought { key, at: at.get() });
                }
                Effect::Pause { key, paused, .. } => {
                    if let Some((_, stopped)) = served.cursors.get_mut(&key) {
                        *stopped = paused;
                    }
                }
                _ => {}
            }
            return;
        }
        let mut lost = Vec::new();
        for (key, (cursor, stopped)) in &mut served.cursors {
            if *stopped {
                continue;
            }
            if self.leaders[key] != served.broker {
                lost.push(key.clone());
                continue;
            }
            if served.credit > 0 {
                // A batch may begin below the cursor.
                let from = *cursor - (*cursor % 4);
                let to = from + 4 * (1 + self.random.next() % 2);
                served.credit -= i64::try_from(to - from).unwrap();
                served.sent.push_back(Sent::Data {
                    key: key.clone(),
                    from,
                    to,
                });
                *cursor = to;
            }
        }
        for key in lost {
            served.cursors.remove(&key);
            served.sent.push_back(Sent::NotLeader { key });
        }
    }

    fn consumer_reads(&mut self) {
        let Some(id) = self.any_stream() else { return };
        let Some(sent) = self
            .streams
            .get_mut(&id)
            .and_then(|served| served.sent.pop_front())
        else {
            return;
        };
        match sent {
            Sent::Opened { key, at } => self.core.placed(id, &key, Offset::new(at), false),
            Sent::Sought { key, at } => self.core.placed(id, &key, Offset::new(at), true),
            Sent::NotLeader { key } => {
                let failure = Failure::new(ErrorCode::NotLeader, "moved");
                assert_eq!(self.core.refused(self.now, id, &key, failure), None);
            }
            Sent::Data { key, from, to } => {
                if self.core.counts(id, &key) {
                    let Start::Offset(at) = self.core.get(&key).unwrap().place else {
                        panic!("no place")
                    };
                    assert_eq!(at.get(), self.expected[&key], "{key:?}");
                    assert!(from <= at.get(), "{key:?}: a hole from {at} to {from}");
                    if to > at.get() {
                        self.core.advance(&key, Offset::new(to));
                        self.expected.insert(key, to);
                        self.given += 1;
                    }
                }
                self.core.owe(id, usize::try_from(to - from).unwrap());
            }
        }
    }

    fn routes_come(&mut self) {
        if std::mem::take(&mut self.refreshing) {
            for (key, leader) in &self.leaders {
                // The epoch does not matter to the core.
                self.core
                    .routed(self.now, key, TopicId::from_u128(1), route(*leader, 0));
            }
            self.core.refreshed(self.now);
        }
    }
}

fn route(leader: u32, epoch: u32) -> Route {
    Route {
        leader: Some(BrokerId::new(leader)),
        epoch: quipu_record::LeaderEpoch::new(epoch),
    }
}

fn run(seed: u64) -> u64 {
    let mut history = History::new(seed);
    for _ in 0..500 + history.random.next() % 3000 {
        history.step();
    }
    // With nothing going wrong any more every partition is read again.
    history.calm = true;
    let mut waiting: BTreeSet<Key> = history.leaders.keys().cloned().collect();
    for key in waiting.clone() {
        history.core.pause(&key, false);
    }
    let before = history.expected.clone();
    for _ in 0..100_000 {
        history.step();
        waiting.retain(|key| history.expected[key] < before[key] + 20);
        if waiting.is_empty() {
            return history.given;
        }
    }
    panic!("no longer read: {waiting:?} of {:#?}", history.core);
}

#[test]
fn every_partition_is_given_without_hole_or_repetition() {
    if let Some(seed) = std::env::var("QUIPU_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        println!("{} batches", run(seed));
        return;
    }
    let mut given = 0;
    for seed in 0..HISTORIES {
        let ran = std::panic::catch_unwind(|| run(seed));
        given += ran.unwrap_or_else(|_| {
            panic!("repeat with QUIPU_SEED={seed} cargo test -p quipu-client consumer::core")
        });
    }
    assert!(given > HISTORIES * 100, "hardly anything was given: {given}");
}
