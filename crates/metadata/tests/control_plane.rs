//! Brokers' lives against the active controller's sessions, over a network that delays, drops and parts: what each side
//! promises, and that together they come to rest once the network does.
//!
//! - A broker serves only in a lifetime that the metadata has unfenced, and says that it would only once it knows itself.
//! - Nothing comes after the end of a life.
//! - Once the network heals, every broker that runs serves, and one that was asked to go has gone.
//!
//! `QUIPU_SEED=n` replays one history, `QUIPU_HISTORIES=n` runs more or fewer.

mod cluster;

use cluster::{Cluster, registration, wide_topic};
use quipu_metadata::*;
use quipu_record::{BrokerEpoch, BrokerId, MetadataVersion, Tick};
use std::collections::BTreeMap;
use std::time::Duration;

const BROKERS: u32 = 3;

#[test]
fn brokers_and_controllers_come_to_rest() {
    if let Some(seed) = setting("QUIPU_SEED") {
        World::of(seed).run();
        return;
    }
    let mut all = Counts::default();
    for seed in 0..setting("QUIPU_HISTORIES").unwrap_or(60) {
        let Ok(counts) = std::panic::catch_unwind(|| World::of(seed).run()) else {
            panic!(
                "history {seed}\nreplay: QUIPU_SEED={seed} cargo test -p quipu-metadata --test control_plane -- --nocapture"
            );
        };
        all.serves += counts.serves;
        all.fenced += counts.fenced;
        all.gone += counts.gone;
        all.stale += counts.stale;
    }
    println!("{all:?}");
    if setting("QUIPU_HISTORIES").is_none() {
        let enough = all.serves > 500 && all.fenced > 100 && all.gone > 50 && all.stale > 5;
        assert!(enough, "the histories are too tame: {all:?}");
    }
}

#[allow(clippy::disallowed_methods, reason = "a test's own settings")]
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[derive(Default, Clone, Copy, Debug)]
struct Counts {
    serves: usize,
    fenced: usize,
    gone: usize,
    stale: usize,
}

/// Chance from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

/// Something on its way.
enum Letter {
    Register(RegisterBroker),
    Registered(Result<BrokerEpoch, bool>),
    Open(BrokerEpoch),
    Opened,
    Lost,
    Heartbeat(Heartbeat),
    Answer(HeartbeatAnswer),
}

struct Node {
    life: Lifecycle,
    /// Counts its processes: letters to an earlier one are lost.
    process: u32,
    /// The image that is in effect there.
    image: Image,
    serves: bool,
    draining: bool,
    /// Over, and since when.
    over: Option<Tick>,
    /// Nothing reaches it or comes from it before.
    cut_off_until: Tick,
    /// As the active controller has it.
    stream: Option<BrokerEpoch>,
}

struct World {
    dice: Dice,
    now: Tick,
    cluster: Cluster,
    liveness: Liveness,
    vacant_until: Option<Tick>,
    nodes: BTreeMap<u32, Node>,
    /// When, to or from which process of which broker.
    letters: Vec<(Tick, u32, u32, Letter)>,
    proposals: Vec<(Tick, Proposal)>,
    faults: bool,
    counts: Counts,
}

impl World {
    fn of(seed: u64) -> Self {
        let mut cluster = Cluster::of(BROKERS);
        cluster
            .run(wide_topic(4, &[("min.insync.replicas", "1")]))
            .expect("created");
        let now = Tick::from_nanos(0);
        let mut liveness = Liveness::new(LivenessConfig::default());
        liveness.became_active(&cluster.image, now);
        let mut world = Self {
            dice: Dice(seed),
            now,
            cluster,
            liveness,
            vacant_until: None,
            nodes: BTreeMap::new(),
            letters: Vec::new(),
            proposals: Vec::new(),
            faults: true,
            counts: Counts::default(),
        };
        (1..=BROKERS).for_each(|broker| world.start(broker));
        world
    }

    fn start(&mut self, broker: u32) {
        let process = self.nodes.get(&broker).map_or(0, |n| n.process) + 1;
        let node = Node {
            life: Lifecycle::new(BrokerId::new(broker), LifecycleConfig::default(), self.now),
            process,
            image: Image::default(),
            serves: false,
            draining: false,
            over: None,
            cut_off_until: self.now,
            stream: None,
        };
        self.lose_stream(broker);
        self.nodes.insert(broker, node);
        self.tell(broker, LifecycleEvent::Ready);
    }

    fn run(mut self) -> Counts {
        for _ in 0..2_500 {
            self.now = self.now.after(self.dice.millis(1, 40));
            self.fault();
            self.step();
        }
        self.faults = false;
        for node in self.nodes.values_mut() {
            node.cut_off_until = self.now;
        }
        for _ in 0..2_500 {
            self.now = self.now.after(Duration::from_millis(20));
            self.step();
        }
        for (broker, node) in &self.nodes {
            assert!(
                node.over.is_some() || (node.serves && !node.draining),
                "broker {broker}: {:?}",
                node.life
            );
            let fenced = self
                .cluster
                .image
                .broker(BrokerId::new(*broker))
                .expect("registered")
                .fenced;
            assert_eq!(fenced, node.over.is_some(), "broker {broker}");
        }
        self.counts
    }

    fn fault(&mut self) {
        let broker = 1 + u32::try_from(self.dice.below(BROKERS.into())).expect("few");
        match self.dice.below(300) {
            0 | 1 => {
                let until = self.now.after(self.dice.millis(200, 12_000));
                self.nodes.get_mut(&broker).expect("there").cut_off_until = until;
            }
            2 => self.start(broker),
            3 => {
                self.nodes.get_mut(&broker).expect("there").draining = true;
                self.tell(broker, LifecycleEvent::Drain);
            }
            4 | 5 if self.vacant_until.is_none() => {
                self.liveness.no_longer_active();
                self.vacant_until = Some(self.now.after(self.dice.millis(0, 3_000)));
                (1..=BROKERS).for_each(|b| self.lose_stream(b));
            }
            6..10 => self.lose_stream(broker),
            // A second process with the same directory: the first one was gone, and did not know it.
            10 if self.dice.below(4) == 0 => {
                let incarnation = 100_000 + u128::from(self.dice.below(1_000_000));
                let _ = self.cluster.run(registration(broker, incarnation));
            }
            _ => {}
        }
        let again = self.nodes.iter().find(|(_, n)| {
            n.over
                .is_some_and(|at| self.now.since(at) > Duration::from_secs(2))
        });
        if let Some(broker) = again.map(|(b, _)| *b) {
            self.start(broker);
        }
    }

    fn is_cut_off(&self, broker: u32) -> bool {
        self.nodes[&broker].cut_off_until > self.now
    }

    /// The stream is reset, and both sides see it sooner or later.
    fn lose_stream(&mut self, broker: u32) {
        let Some(node) = self.nodes.get_mut(&broker) else {
            return;
        };
        if let Some(epoch) = node.stream.take() {
            self.liveness.stream_lost(BrokerId::new(broker), epoch, self.now);
            self.send(broker, Letter::Lost);
        }
    }

    fn send(&mut self, broker: u32, letter: Letter) {
        let slow = self.faults && self.dice.below(20) == 0;
        let takes = if slow {
            self.dice.millis(1, 1_500)
        } else {
            self.dice.millis(1, 10)
        };
        let process = self.nodes[&broker].process;
        self.letters
            .push((self.now.after(takes), broker, process, letter));
    }

    fn step(&mut self) {
        if self.vacant_until.is_some_and(|until| until <= self.now) {
            self.vacant_until = None;
            self.proposals.clear();
            self.liveness.became_active(&self.cluster.image, self.now);
        }
        self.deliver();
        self.decide();
        if self.liveness.deadline().is_some_and(|at| at <= self.now) {
            for proposal in self.liveness.tick(&self.cluster.image, self.now) {
                let lands = self.now.after(self.dice.millis(1, 60));
                self.proposals.push((lands, proposal));
            }
        }
        for broker in 1..=BROKERS {
            if !self.is_cut_off(broker) && self.dice.below(2) == 0 {
                self.watch(broker);
            }
            if self.nodes[&broker]
                .life
                .deadline()
                .is_some_and(|at| at <= self.now)
            {
                self.tell(broker, LifecycleEvent::Tick);
            }
        }
    }

    /// A broker's stream of metadata catches up.
    fn watch(&mut self, broker: u32) {
        let node = self.nodes.get_mut(&broker).expect("there");
        if node.image.version() < self.cluster.image.version() {
            node.image = self.cluster.image.clone();
            let effects = node.life.applied(self.now, &self.cluster.image);
            self.carry_out(broker, effects);
        }
    }

    fn decide(&mut self) {
        let now = self.now;
        let (due, later) = std::mem::take(&mut self.proposals)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        self.proposals = later;
        let due: Vec<(Tick, Proposal)> = due;
        for (_, proposal) in due {
            if self.faults && self.dice.below(10) == 0 {
                self.liveness.settled(proposal.ticket, Settled::Failed);
                continue;
            }
            let image = &mut self.cluster.image;
            image.advance_to(MetadataVersion::new(image.version().get() + 1));
            let (records, _) = image.decide(&proposal.command);
            records
                .iter()
                .try_for_each(|record| image.replay(record))
                .expect("replays");
            let version = image.version();
            self.liveness.settled(proposal.ticket, Settled::At(version));
        }
    }

    fn deliver(&mut self) {
        let now = self.now;
        let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.letters)
            .into_iter()
            .partition(|(at, ..)| *at <= now);
        self.letters = later;
        for (at, broker, process, letter) in due {
            if self.nodes[&broker].process != process {
                continue;
            }
            if self.is_cut_off(broker) {
                // TCP keeps it, for as long as the stream lasts.
                self.letters
                    .push((at.max(self.nodes[&broker].cut_off_until), broker, process, letter));
                continue;
            }
            self.receive(broker, letter);
        }
    }

    fn receive(&mut self, broker: u32, letter: Letter) {
        let id = BrokerId::new(broker);
        match letter {
            Letter::Register(request) => {
                let reply = if self.liveness.is_active() {
                    let answer = self.cluster.run(request);
                    answer.map(|r| r.epoch).map_err(|e| e.code().retryable())
                } else {
                    Err(true)
                };
                // Done, and nobody hears of it.
                let lost = self.faults && self.dice.below(10) == 0;
                self.send(broker, Letter::Registered(if lost { Err(true) } else { reply }));
            }
            Letter::Open(_) if !self.liveness.is_active() => self.send(broker, Letter::Lost),
            Letter::Open(epoch) => {
                if let Some(before) = self.nodes.get_mut(&broker).expect("there").stream.replace(epoch) {
                    self.liveness.stream_lost(id, before, self.now);
                }
                self.liveness.stream_opened(id, epoch, self.now);
                self.send(broker, Letter::Opened);
            }
            Letter::Heartbeat(heartbeat) => {
                if self.nodes[&broker].stream.is_none() {
                    return;
                }
                let answer = self.liveness.heartbeat(&heartbeat, &self.cluster.image, self.now);
                match answer {
                    Some(answer) => self.send(broker, Letter::Answer(answer)),
                    None => self.lose_stream(broker),
                }
            }
            Letter::Registered(Ok(epoch)) => self.tell(broker, LifecycleEvent::Registered(epoch)),
            Letter::Registered(Err(true)) => self.tell(broker, LifecycleEvent::RegisterFailed),
            Letter::Registered(Err(false)) => self.tell(broker, LifecycleEvent::RegisterRefused),
            Letter::Opened => self.tell(broker, LifecycleEvent::StreamOpened),
            Letter::Lost => self.tell(broker, LifecycleEvent::StreamLost),
            Letter::Answer(answer) => self.tell(broker, LifecycleEvent::Answered(answer)),
        }
    }

    fn tell(&mut self, broker: u32, event: LifecycleEvent) {
        let now = self.now;
        let effects = self.nodes.get_mut(&broker).expect("there").life.step(now, event);
        self.carry_out(broker, effects);
    }

    fn carry_out(&mut self, broker: u32, effects: Vec<LifecycleEffect>) {
        for effect in effects {
            let node = self.nodes.get_mut(&broker).expect("there");
            assert!(node.over.is_none(), "after the end: {effect:?}");
            match effect {
                LifecycleEffect::Register => {
                    let incarnation = u128::from(node.process) + 1;
                    self.send(broker, Letter::Register(registration(broker, incarnation)));
                }
                LifecycleEffect::OpenStream => {
                    let epoch = node.life.epoch().expect("registered");
                    self.send(broker, Letter::Open(epoch));
                }
                LifecycleEffect::Heartbeat(heartbeat) => {
                    let knows = node.image.version().get() >= heartbeat.epoch.get();
                    assert!(heartbeat.want_fence || knows || heartbeat.want_shutdown);
                    self.send(broker, Letter::Heartbeat(heartbeat));
                }
                LifecycleEffect::Serve => {
                    let registered = node.image.broker(BrokerId::new(broker)).expect("registered");
                    assert!(!registered.fenced && Some(registered.epoch) == node.life.epoch());
                    node.serves = true;
                    self.counts.serves += 1;
                }
                LifecycleEffect::Fenced => {
                    node.serves = false;
                    self.counts.fenced += 1;
                }
                LifecycleEffect::Go | LifecycleEffect::End(_) => {
                    node.over = Some(self.now);
                    node.serves = false;
                    self.counts.gone += usize::from(effect == LifecycleEffect::Go);
                    self.counts.stale += usize::from(effect == LifecycleEffect::End(Ending::Stale));
                    self.lose_stream(broker);
                }
            }
        }
    }
}
