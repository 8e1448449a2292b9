//! Random weeks of a cluster's sessions: brokers that fall silent, lose their streams, restart and go; controllers that
//! hand over and sleep; commands that fail, or take their time. An account of its own says who may be fenced and who must.
//!
//! - Who heartbeats in time over a stream that stands is never fenced.
//! - Who is silent for a session, or without a stream for a moment, is fenced by the next tick.
//! - A controller that slept fences nobody for it.
//! - Nothing is proposed a second time while it is under way; all fences of a tick are one command.
//! - Once everything is well again, every broker that runs is unfenced.
//!
//! `QUIPU_SEED=n` replays one history, `QUIPU_HISTORIES=n` runs more or fewer.

use quipu_metadata::*;
use quipu_record::{BrokerEpoch, BrokerId, MetadataVersion, Tick};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const BROKERS: u32 = 5;
const SESSION: Duration = Duration::from_secs(6);
const SUSPICION: Duration = Duration::from_secs(1);

#[test]
fn sessions_are_kept_as_promised() {
    if let Some(seed) = setting("QUIPU_SEED") {
        History::of(seed).run();
        return;
    }
    let (mut fences, mut unfences, mut failovers, mut naps) = (0, 0, 0, 0);
    for seed in 0..setting("QUIPU_HISTORIES").unwrap_or(150) {
        let history = std::panic::catch_unwind(|| {
            let mut history = History::of(seed);
            history.run();
            history.counts
        });
        let Ok(counts) = history else {
            panic!(
                "history {seed}\nreplay: QUIPU_SEED={seed} cargo test -p quipu-metadata --test liveness -- --nocapture"
            );
        };
        fences += counts.fences;
        unfences += counts.unfences;
        failovers += counts.failovers;
        naps += counts.naps;
    }
    println!("{fences} fences, {unfences} unfences, {failovers} failovers, {naps} naps of controllers");
    if setting("QUIPU_HISTORIES").is_none() {
        assert!(
            fences > 500 && unfences > 500 && failovers > 200 && naps > 100,
            "the histories are too tame"
        );
    }
}

#[allow(clippy::disallowed_methods, reason = "a test's own settings")]
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Chance from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.roll() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

/// A broker's process.
struct Process {
    runs: bool,
    epoch: BrokerEpoch,
    next_heartbeat: Tick,
    /// Nothing is sent before.
    silent_until: Tick,
    /// To which time of which controller's being the active one.
    stream: Option<u64>,
    reconnect_at: Tick,
    leaving: bool,
}

/// What this test knows of a broker under the present active controller.
#[derive(Clone, Copy)]
struct Account {
    epoch: BrokerEpoch,
    heard: Tick,
    /// It has a stream.
    open: bool,
    /// It should have one and has none: when it counts as lost.
    lost_at: Option<Tick>,
    ready: bool,
    may_go: bool,
}

struct InFlight {
    ticket: Ticket,
    command: Command,
    lands: Tick,
    fails: bool,
}

#[derive(Default)]
struct Counts {
    fences: usize,
    unfences: usize,
    failovers: usize,
    naps: usize,
}

struct History {
    dice: Dice,
    now: Tick,
    image: Image,
    liveness: Liveness,
    /// Half of the brokers have found the active controller.
    gathered: bool,
    /// Counts the times that a controller became the active one.
    reign: u64,
    /// No controller is active before.
    vacant_until: Option<Tick>,
    /// The controller's process does nothing before.
    asleep_until: Tick,
    last_tick: Tick,
    brokers: BTreeMap<u32, Process>,
    /// Connections from the active controller's process that broke before it was that.
    broke: BTreeMap<u32, (BrokerEpoch, Tick)>,
    accounts: BTreeMap<u32, Account>,
    in_flight: Vec<InFlight>,
    faults: bool,
    counts: Counts,
}

impl History {
    fn of(seed: u64) -> Self {
        let mut history = Self {
            dice: Dice(seed),
            now: Tick::from_nanos(1),
            image: Image::default(),
            liveness: Liveness::new(LivenessConfig::of_session(SESSION)),
            gathered: false,
            reign: 0,
            vacant_until: Some(Tick::from_nanos(1)),
            asleep_until: Tick::from_nanos(0),
            last_tick: Tick::from_nanos(1),
            brokers: BTreeMap::new(),
            broke: BTreeMap::new(),
            accounts: BTreeMap::new(),
            in_flight: Vec::new(),
            faults: true,
            counts: Counts::default(),
        };
        history.apply(&Command::InitCluster(InitCluster {
            cluster_id: ClusterId::from_u128(1),
            feature_level: FeatureLevel::SUPPORTED,
        }));
        for broker in 1..=BROKERS {
            history.start(broker);
        }
        history
    }

    fn run(&mut self) {
        for _ in 0..1500 {
            let wait = self.dice.millis(1, 60);
            self.now = self.now.after(wait);
            if self.faults {
                self.fault();
            }
            self.step();
        }
        self.faults = false;
        for process in self.brokers.values_mut() {
            process.silent_until = self.now;
        }
        for broker in 1..=BROKERS {
            if !self.brokers[&broker].runs || self.brokers[&broker].leaving {
                self.start(broker);
            }
        }
        for _ in 0..400 {
            self.now = self.now.after(Duration::from_millis(50));
            self.step();
        }
        for broker in self.image.brokers() {
            assert!(
                broker.is_active(),
                "{}: nothing is wrong with it any more",
                broker.id
            );
        }
        assert!(self.in_flight.is_empty(), "{:?}", self.in_flight.len());
    }

    fn apply(&mut self, command: &Command) -> (Reply, MetadataVersion) {
        let version = MetadataVersion::new(self.image.version().get() + 1);
        self.image.advance_to(version);
        let (records, reply) = self.image.decide(command);
        for record in &records {
            self.image.replay(record).expect("replays");
        }
        (reply, version)
    }

    /// A new process of a broker, which registers at once.
    fn start(&mut self, broker: u32) {
        self.lose_stream(broker);
        let command = RegisterBroker {
            id: BrokerId::new(broker),
            incarnation: Incarnation::from_u128(self.dice.roll().into()),
            cluster_id: None,
            directory: DirectoryId::from_u128(broker.into()),
            listeners: vec![Listener {
                name: "c".into(),
                advertised: "h:1".into(),
                protocol: "grpc".into(),
            }],
            rack: None,
            version: "test".into(),
            feature_level: FeatureLevel::SUPPORTED,
            clean_epoch: None,
            page_cache_kept: false,
            cut: Vec::new(),
            damaged: Vec::new(),
        };
        let (reply, _) = self.apply(&command.into_command());
        let Reply::RegisterBroker(Ok(registered)) = reply else {
            panic!("{reply:?}");
        };
        let process = Process {
            runs: true,
            epoch: registered.epoch,
            next_heartbeat: self.now,
            silent_until: self.now,
            stream: None,
            reconnect_at: self.now,
            leaving: false,
        };
        self.brokers.insert(broker, process);
    }

    fn fault(&mut self) {
        let broker = 1 + u32::try_from(self.dice.below(BROKERS.into())).expect("few");
        let (now, long) = (self.now, self.dice.millis(100, 9_000));
        match self.dice.below(400) {
            0..4 => self.brokers.get_mut(&broker).expect("there").silent_until = now.after(long),
            4..8 => {
                self.lose_stream(broker);
                let away = self.dice.millis(0, 2_500);
                self.brokers.get_mut(&broker).expect("there").reconnect_at = now.after(away);
            }
            8..10 => {
                self.lose_stream(broker);
                self.brokers.get_mut(&broker).expect("there").runs = false;
            }
            10..13 => self.start(broker),
            13 => self.brokers.get_mut(&broker).expect("there").leaving = true,
            14..16 if self.vacant_until.is_none() => {
                self.liveness.no_longer_active();
                self.accounts.clear();
                let vacant = self.dice.millis(0, 4_000);
                self.vacant_until = Some(now.after(vacant));
            }
            // It wakes up, and hears first of what came in the meantime, or not.
            16..18 => {
                self.asleep_until = now.after(long);
                self.counts.naps += usize::from(long > SESSION / 2);
            }
            _ => {}
        }
    }

    fn step(&mut self) {
        if self.now < self.asleep_until {
            return;
        }
        if self.vacant_until.is_some_and(|until| until <= self.now) {
            self.take_over();
        }
        let heartbeats_first = self.dice.one_in(2);
        if heartbeats_first {
            self.brokers_act();
        }
        self.land();
        if self.liveness.deadline().is_some_and(|at| at <= self.now) {
            self.tick();
        }
        if !heartbeats_first {
            self.brokers_act();
        }
    }

    /// Another controller becomes the active one; some brokers have found it already.
    fn take_over(&mut self) {
        self.vacant_until = None;
        self.reign += 1;
        self.counts.failovers += 1;
        self.in_flight.clear();
        self.liveness = Liveness::new(LivenessConfig::of_session(SESSION));
        let now = self.now;
        let mut found = BTreeSet::new();
        self.broke.clear();
        for (id, process) in &mut self.brokers {
            process.stream = None;
            if self.dice.one_in(3) {
                let at = Tick::from_nanos(now.nanos().saturating_sub(self.dice.below(8_000_000_000)));
                self.liveness
                    .connection_broke(BrokerId::new(*id), process.epoch, at);
                self.broke.insert(*id, (process.epoch, at));
            }
            let early = self.dice.one_in(2) && process.runs && process.reconnect_at <= now;
            if early {
                process.stream = Some(self.reign);
                self.liveness
                    .stream_opened(BrokerId::new(*id), process.epoch, now);
                self.broke.remove(id);
                found.insert(*id);
            } else {
                process.reconnect_at = process.reconnect_at.max(now.after(self.dice.millis(0, 700)));
            }
        }
        self.liveness.became_active(&self.image, now);
        self.last_tick = now;
        for broker in self.image.brokers() {
            let id = broker.id.get();
            let open = found.contains(&id) && self.brokers[&id].epoch == broker.epoch;
            self.accounts.insert(id, new_account(broker.epoch, open, now));
        }
        self.gathered = false;
        self.gather();
    }

    /// Once half of the unfenced brokers have a stream, the others are missed.
    fn gather(&mut self) {
        let unfenced: Vec<u32> = self
            .image
            .brokers()
            .filter(|b| !b.fenced)
            .map(|b| b.id.get())
            .collect();
        let here = unfenced.iter().filter(|id| self.accounts[id].open).count();
        self.gathered |= here > 0 && here * 2 >= unfenced.len();
        if self.gathered {
            let (now, broke) = (self.now, &self.broke);
            for (id, account) in self.accounts.iter_mut().filter(|(_, a)| !a.open) {
                let broke = broke.get(id).filter(|(epoch, _)| *epoch == account.epoch);
                let lately = broke.filter(|(_, at)| now.since(*at) < SESSION);
                account.lost_at.get_or_insert(match lately {
                    Some((_, at)) => at.after(SUSPICION).max(now.after(SUSPICION / 4)),
                    None => now.after(SUSPICION),
                });
            }
        }
    }

    fn lose_stream(&mut self, broker: u32) {
        let Some(process) = self.brokers.get_mut(&broker) else {
            return;
        };
        if process.stream.take() != Some(self.reign) {
            return;
        }
        self.liveness
            .stream_lost(BrokerId::new(broker), process.epoch, self.now);
        if let Some(account) = self
            .accounts
            .get_mut(&broker)
            .filter(|a| a.epoch == process.epoch)
        {
            (account.open, account.lost_at) = (false, Some(self.now.after(SUSPICION)));
        }
    }

    fn brokers_act(&mut self) {
        if !self.liveness.is_active() {
            return;
        }
        for id in 1..=BROKERS {
            let (now, reign) = (self.now, self.reign);
            let process = self.brokers.get_mut(&id).expect("there");
            if !process.runs || process.silent_until > now {
                continue;
            }
            if process.stream != Some(reign) {
                if process.reconnect_at > now {
                    continue;
                }
                process.stream = Some(reign);
                process.next_heartbeat = now;
                self.liveness.stream_opened(BrokerId::new(id), process.epoch, now);
                self.broke.remove(&id);
                if let Some(account) = self.accounts.get_mut(&id).filter(|a| a.epoch == process.epoch) {
                    (account.heard, account.open, account.lost_at, account.may_go) = (now, true, None, false);
                }
            }
            if process.next_heartbeat <= now {
                self.heartbeat(id);
            }
        }
    }

    fn heartbeat(&mut self, id: u32) {
        let now = self.now;
        let process = self.brokers.get_mut(&id).expect("there");
        process.next_heartbeat = now.after(Duration::from_secs(1));
        let lags = self.faults && self.dice.one_in(8);
        let behind = MetadataVersion::new(self.image.version().get().saturating_sub(self.dice.below(9)));
        let heartbeat = Heartbeat {
            id: BrokerId::new(id),
            epoch: process.epoch,
            metadata_version: if lags { behind } else { self.image.version() },
            want_fence: self.faults && self.dice.one_in(40),
            want_shutdown: process.leaving,
            offline: Vec::new(),
        };
        let answer = self
            .liveness
            .heartbeat(&heartbeat, &self.image, now)
            .expect("active");
        let registered = self.image.broker(BrokerId::new(id)).expect("registered");
        assert_eq!(answer.stale, registered.epoch != process.epoch);
        assert!(!answer.should_shutdown || process.leaving);
        if answer.stale {
            process.runs = false;
            return;
        }
        assert_eq!(answer.fenced, registered.fenced);
        let account = self
            .accounts
            .entry(id)
            .or_insert(new_account(process.epoch, true, now));
        if account.epoch != process.epoch {
            *account = new_account(process.epoch, true, now);
        }
        account.heard = now;
        account.ready = !heartbeat.want_fence
            && !heartbeat.want_shutdown
            && heartbeat.metadata_version.get() >= process.epoch.get();
        account.may_go |= answer.should_shutdown || heartbeat.want_fence;
        if !heartbeat.want_fence && !answer.should_shutdown {
            account.may_go = false;
        }
        if answer.should_shutdown {
            process.runs = false;
            self.lose_stream(id);
        }
    }

    /// Proposals whose time has come are decided, or fail.
    fn land(&mut self) {
        let now = self.now;
        let (landed, waiting) = std::mem::take(&mut self.in_flight)
            .into_iter()
            .partition::<Vec<_>, _>(|f| f.lands <= now);
        self.in_flight = waiting;
        for flight in landed {
            if flight.fails {
                self.liveness.settled(flight.ticket, Settled::Failed);
                // It may have been decided all the same.
                if self.dice.one_in(2) {
                    self.apply(&flight.command);
                }
            } else {
                let (_, version) = self.apply(&flight.command);
                self.liveness.settled(flight.ticket, Settled::At(version));
            }
        }
    }

    fn tick(&mut self) {
        let now = self.now;
        let late = now.since(self.last_tick) > SESSION / 2 + Duration::from_millis(200);
        self.last_tick = now;
        for broker in self.image.brokers() {
            let id = broker.id.get();
            if self.accounts.get(&id).map(|a| a.epoch) != Some(broker.epoch) {
                let process = &self.brokers[&id];
                let open = process.stream == Some(self.reign) && process.epoch == broker.epoch;
                self.accounts.insert(id, new_account(broker.epoch, open, now));
            }
        }
        self.gather();
        if late {
            for account in self.accounts.values_mut() {
                account.heard = now;
                account.lost_at = account.lost_at.map(|_| now.after(SUSPICION));
            }
        }
        let proposals = self.liveness.tick(&self.image, now);
        let mut fenced = BTreeSet::new();
        let mut fence_commands = 0;
        for Proposal { ticket, command } in proposals {
            for flight in &self.in_flight {
                assert!(
                    !overlap(&flight.command, &command),
                    "twice under way: {command:?}"
                );
            }
            match &command {
                Command::FenceBrokers(command) => {
                    fence_commands += 1;
                    for fence in &command.brokers {
                        self.counts.fences += 1;
                        self.check_fence(fence);
                        assert!(fenced.insert(fence.id.get()), "named twice");
                    }
                }
                Command::UnfenceBroker(command) => {
                    self.counts.unfences += 1;
                    let account = self.accounts[&command.id.get()];
                    assert!(account.ready && !self.is_gone(command.id.get()), "{command:?}");
                }
                Command::BeginShutdown(command) => {
                    assert!(self.brokers[&command.id.get()].leaving);
                }
                other => panic!("nothing called for {other:?}"),
            }
            let flight = InFlight {
                ticket,
                command,
                lands: now.after(self.dice.millis(0, 400)),
                fails: self.faults && self.dice.one_in(4),
            };
            self.in_flight.push(flight);
        }
        assert!(fence_commands <= 1, "all fences of a tick are one command");
        self.check_nobody_is_forgotten();
    }

    fn is_gone(&self, id: u32) -> bool {
        let account = self.accounts[&id];
        account.lost_at.is_some_and(|at| at <= self.now) || self.now.since(account.heard) >= SESSION
    }

    fn check_fence(&self, fence: &BrokerFence) {
        let account = self.accounts[&fence.id.get()];
        assert_eq!(account.epoch, fence.epoch);
        assert!(
            self.is_gone(fence.id.get()) || account.may_go,
            "{}: heard {:?} ago, lost at {:?}, now {:?}",
            fence.id,
            self.now.since(account.heard),
            account.lost_at,
            self.now
        );
    }

    fn check_nobody_is_forgotten(&self) {
        for broker in self.image.brokers().filter(|b| !b.fenced) {
            let under_way = |f: &InFlight| matches!(&f.command, Command::FenceBrokers(c) if c.brokers.iter().any(|b| b.id == broker.id && b.epoch == broker.epoch));
            assert!(
                !self.is_gone(broker.id.get()) || self.in_flight.iter().any(under_way),
                "{} is gone, and nobody fences it",
                broker.id
            );
        }
    }
}

fn new_account(epoch: BrokerEpoch, open: bool, now: Tick) -> Account {
    Account {
        epoch,
        heard: now,
        open,
        lost_at: None,
        ready: false,
        may_go: false,
    }
}

/// Whether both ask for the same of the same broker.
fn overlap(a: &Command, b: &Command) -> bool {
    match (a, b) {
        (Command::FenceBrokers(a), Command::FenceBrokers(b)) => {
            a.brokers.iter().any(|fence| b.brokers.contains(fence))
        }
        _ => a == b,
    }
}
