//! Groups of controllers through seeded lives: messages late, lost and twice, partitions, kills, power cuts. What was
//! acknowledged is never lost, images of one version are one image, and no term has two leaders. Bugs that are planted
//! are caught.

use quipu_controller::test_util::{Crash, Envelope, Fate, Kind, Settings, SimCluster, Ticket};
use quipu_controller::{Bootstrap, ControllerConfig, ControllerId};
use quipu_metadata::{
    Command, DirectoryId, FeatureLevel, Image, Incarnation, Listener, RegisterBroker, RegisterBrokerError,
    Reply,
};
use quipu_record::{BrokerEpoch, BrokerId, PlantedBug};
use quipu_storage::test_util::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const PLACES: usize = 3;

/// How rough a history is.
#[derive(Clone, Copy, Debug)]
struct Weather {
    steps: usize,
    /// How long a step is at most, in milliseconds.
    step_ms: u64,
    /// How late messages are at most, in milliseconds, from time to time.
    late_ms: u64,
    /// One in so many steps cuts the network, and heals it.
    cut: u64,
    /// One in so many steps takes a controller down.
    crash: u64,
    /// One in so many steps brings one back.
    restart: u64,
    /// One in so many steps asks for something.
    ask: u64,
    /// One in so many controllers that have just given a vote loses its power for a moment; 0: none.
    flicker: u64,
}

const CHANGEABLE: Weather = Weather {
    steps: 350,
    step_ms: 60,
    late_ms: 40,
    cut: 20,
    crash: 25,
    restart: 6,
    ask: 2,
    flicker: 0,
};

/// Elections all the time, and lights that flicker while they last.
const STORM: Weather = Weather {
    steps: 1200,
    step_ms: 60,
    late_ms: 120,
    cut: 12,
    crash: 20,
    restart: 10,
    ask: 6,
    flicker: 3,
};

#[derive(Debug)]
struct Net {
    rng: Rng,
    late_ms: u64,
    lost: u16,
    /// Who is on the far side of a cut.
    far: BTreeSet<usize>,
    /// Who answered a candidate last.
    voter: Option<usize>,
}

impl Net {
    fn fate(&mut self, envelope: &Envelope) -> Fate {
        if envelope.kind == Kind::Vote && envelope.answer {
            self.voter = Some(envelope.from);
        }
        if self.far.contains(&envelope.from) != self.far.contains(&envelope.to) || self.rng.happens(self.lost)
        {
            return Fate::Lost;
        }
        let mut late = || Duration::from_micros(200 + self.rng.below(self.late_ms * 1000));
        let (first, second) = (late(), late());
        if self.rng.one_in(50) {
            Fate::Twice(first, second)
        } else {
            Fate::Arrives(first)
        }
    }
}

/// What is known to be true.
#[derive(Default)]
struct Ghost {
    acked: BTreeMap<BrokerId, BrokerEpoch>,
    images: BTreeMap<u64, Arc<Image>>,
    leaders: BTreeMap<u64, ControllerId>,
    waiting: Vec<(BrokerId, Ticket)>,
}

impl Ghost {
    fn look(&mut self, cluster: &SimCluster) {
        let acked = &mut self.acked;
        self.waiting.retain(|(id, ticket)| match ticket.outcome() {
            Some(Ok(committed)) => {
                match committed.outcome {
                    Reply::RegisterBroker(Ok(registered)) => drop(acked.insert(*id, registered.epoch)),
                    // The very first command gives the cluster its id: this one came before it.
                    Reply::RegisterBroker(Err(RegisterBrokerError::NoCluster)) => {}
                    reply => panic!("registering answered by {reply:?}"),
                }
                false
            }
            Some(Err(_)) => false,
            None => true,
        });
        for place in 0..cluster.places() {
            let Some(controller) = cluster.controller(place) else {
                continue;
            };
            let status = controller.status();
            assert_eq!(status.failure, None);
            if status.is_active() {
                let leader = *self.leaders.entry(status.term).or_insert(status.id);
                assert_eq!(leader, status.id, "two leaders in term {}", status.term);
            }
            let image = controller.image();
            let known = self
                .images
                .entry(image.version().get())
                .or_insert_with(|| Arc::clone(&image));
            assert_eq!(*known, image, "two images of version {}", image.version());
            for (id, epoch) in &self.acked {
                if image.version().get() >= epoch.get() {
                    let found = image.broker(*id).map(|broker| broker.epoch);
                    assert_eq!(found, Some(*epoch), "acknowledged and lost, at place {place}");
                }
            }
        }
    }
}

fn register(id: BrokerId) -> Command {
    let listener = Listener {
        name: "c".into(),
        advertised: "127.0.0.1:4600".into(),
        protocol: "grpc".into(),
    };
    Command::RegisterBroker(RegisterBroker {
        id,
        incarnation: Incarnation::from_u128(u128::from(id.get()) + 1),
        cluster_id: None,
        directory: DirectoryId::from_u128(u128::from(id.get()) + 1),
        listeners: vec![listener],
        rack: None,
        version: "test".to_owned(),
        feature_level: FeatureLevel::SUPPORTED,
        clean_epoch: None,
        page_cache_kept: true,
        cut: Vec::new(),
        damaged: Vec::new(),
    })
}

struct History {
    cluster: SimCluster,
    net: Arc<Mutex<Net>>,
    ghost: Ghost,
    rng: Rng,
    next: u32,
}

impl History {
    fn new(seed: u64) -> Self {
        let net = Arc::new(Mutex::new(Net {
            rng: Rng::new(seed ^ 0x006e_6574),
            late_ms: 2,
            lost: 0,
            far: BTreeSet::new(),
            voter: None,
        }));
        let deciding = Arc::clone(&net);
        let cluster = SimCluster::new(Settings::new(seed), move |envelope| {
            deciding.lock().expect("one thread").fate(envelope)
        });
        Self {
            cluster,
            net,
            ghost: Ghost::default(),
            rng: Rng::new(seed),
            next: 1,
        }
    }

    fn run(&mut self, ms: u64) {
        self.cluster.run_for(Duration::from_millis(ms));
        self.ghost.look(&self.cluster);
    }

    fn ask(&mut self) {
        let anywhere = self.rng.index(PLACES);
        let place = self
            .cluster
            .active()
            .filter(|_| !self.rng.one_in(5))
            .unwrap_or(anywhere);
        let id = BrokerId::new(self.next);
        self.next += 1;
        let ticket = self.cluster.propose(place, register(id));
        self.ghost.waiting.push((id, ticket));
    }

    fn step(&mut self, weather: &Weather) {
        if self.rng.one_in(weather.ask) {
            self.ask();
        }
        let mut place = self.rng.index(PLACES);
        if self.rng.one_in(weather.crash) {
            if let Some(active) = self.cluster.active().filter(|_| self.rng.one_in(2)) {
                place = active;
            }
            let how = if self.rng.one_in(3) {
                Crash::Kill
            } else {
                Crash::PowerCut(self.rng.next_u64())
            };
            self.cluster.crash(place, how);
        }
        if self.rng.one_in(weather.restart) {
            self.cluster.start(place).expect("starts again");
        }
        let mut net = self.net.lock().expect("one thread");
        if self.rng.one_in(weather.cut) {
            net.far = if net.far.is_empty() {
                let one = self.cluster.active().filter(|_| self.rng.one_in(2));
                BTreeSet::from([one.unwrap_or_else(|| self.rng.index(PLACES))])
            } else {
                BTreeSet::new()
            };
        }
        if self.rng.one_in(30) {
            net.late_ms = [2, 10, weather.late_ms][self.rng.index(3)];
            net.lost = [0, 0, 3_000, 12_000][self.rng.index(4)];
        }
        drop(net);
        if weather.flicker > 0 && self.cluster.active().is_none() {
            let voter = self.net.lock().expect("one thread").voter.take();
            let voter = voter.filter(|voter| self.cluster.controller(*voter).is_some());
            if let Some(voter) = voter.filter(|_| self.rng.one_in(weather.flicker)) {
                self.cluster.crash(voter, Crash::PowerCut(self.rng.next_u64()));
                self.cluster.start(voter).expect("starts again");
            }
            let ms = 1 + self.rng.below(8);
            return self.run(ms);
        }
        let ms = 1 + self.rng.below(weather.step_ms);
        self.run(ms);
    }

    /// Faults end: one leads, everybody catches up, and something can be committed.
    fn calm(&mut self) {
        {
            let mut net = self.net.lock().expect("one thread");
            (net.late_ms, net.lost) = (2, 0);
            net.far.clear();
        }
        for place in 0..PLACES {
            self.cluster.start(place).expect("starts again");
        }
        let limit = Duration::from_secs(20);
        assert!(
            self.cluster
                .run_until(limit, |cluster| cluster.active().is_some()),
            "nobody leads: {:#?}",
            self.states()
        );
        // Those that have not yet heard of the new term do not count.
        self.run(2_000);
        let before = self.ghost.acked.len();
        self.ask_active();
        for _ in 0..400 {
            self.run(5);
            if self.ghost.acked.len() > before && self.level() {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    fn states(&self) -> Vec<String> {
        let controllers = (0..PLACES).filter_map(|place| self.cluster.controller(place));
        controllers
            .map(|controller| format!("{:?} {:?}", controller.status(), *controller.bootstrap().borrow()))
            .collect()
    }

    fn ask_active(&mut self) {
        let place = self.cluster.active().expect("one leads");
        let id = BrokerId::new(self.next);
        self.next += 1;
        let ticket = self.cluster.propose(place, register(id));
        self.ghost.waiting.push((id, ticket));
    }

    fn level(&self) -> bool {
        let version = |place| self.cluster.image(place).map(|image| image.version());
        (1..PLACES).all(|place| version(place) == version(0))
    }
}

/// Lives one history: commands acknowledged, terms with a leader, and the history itself as a number.
fn live(seed: u64, weather: &Weather) -> (usize, usize, u32) {
    let mut history = History::new(seed);
    for place in 0..PLACES {
        history.cluster.start(place).expect("starts");
    }
    for _ in 0..weather.steps {
        history.step(weather);
    }
    history.calm();
    let trace = history.cluster.trace();
    let number = trace.iter().fold(0, |crc, event| {
        crc32c::crc32c_append(crc, format!("{event:?}").as_bytes())
    });
    (history.ghost.acked.len(), history.ghost.leaders.len(), number)
}

/// The seeds to live: one of the environment's, or so many.
fn seeds(count: u64) -> std::ops::Range<u64> {
    let one = std::env::var("QUIPU_CONTROLLER_SEED")
        .ok()
        .and_then(|seed| seed.parse::<u64>().ok());
    one.map_or(0..count, |seed| seed..seed + 1)
}

fn live_all(count: u64, weather: &Weather) -> (usize, usize) {
    let (mut acked, mut terms) = (0, 0);
    for seed in seeds(count) {
        match catch_unwind(AssertUnwindSafe(|| live(seed, weather))) {
            Ok((a, t, _)) => {
                acked += a;
                terms += t;
            }
            Err(_) => panic!(
                "seed {seed}: QUIPU_CONTROLLER_SEED={seed} cargo test -p quipu-controller --test histories"
            ),
        }
    }
    (acked, terms)
}

#[test]
fn nothing_acknowledged_is_lost_in_changeable_weather() {
    let (acked, terms) = live_all(12, &CHANGEABLE);
    println!("{acked} acknowledged, {terms} terms");
    assert!(
        seeds(12).count() == 1 || (acked > 300 && terms > 50),
        "too tame: {acked} acknowledged, {terms} terms"
    );
}

#[test]
fn no_term_has_two_leaders_in_a_storm() {
    let (acked, terms) = live_all(12, &STORM);
    println!("{acked} acknowledged, {terms} terms");
    assert!(
        seeds(12).count() == 1 || terms > 15,
        "too tame: {acked} acknowledged, {terms} terms"
    );
}

/// The seed of so many with which this bug shows.
fn caught(bug: PlantedBug, count: u64, weather: &Weather) -> Option<u64> {
    (0..count).find(|seed| bug.plant(|| catch_unwind(|| live(*seed, weather)).is_err()))
}

#[test]
fn a_controller_whose_disk_was_lost_comes_back_as_another() {
    let mut history = History::new(3);
    for place in 0..PLACES {
        history.cluster.start(place).expect("starts");
    }
    history.calm();
    for _ in 0..60 {
        history.ask_active();
        history.run(40);
    }
    let dead = history.cluster.controller(2).expect("it runs").id();
    history.cluster.crash(2, Crash::DiskLost);
    history.run(1_500);
    history.cluster.start(2).expect("starts");
    history.run(500);
    let fresh = history.cluster.controller(2).expect("it runs");
    assert_ne!(fresh.id(), dead, "a lost disk never comes back under the same id");
    assert!(matches!(*fresh.bootstrap().borrow(), Bootstrap::Unjoined { .. }));
    assert_eq!(fresh.image().cluster_id(), None);
    let voters = history.cluster.join(2, Some(dead)).expect("joins");
    let voters: Vec<_> = voters.into_iter().map(|member| member.id).collect();
    assert!(voters.contains(&fresh.id()) && !voters.contains(&dead) && voters.len() == 3);
    history.calm();
    // It is one of them: with another down there is still a majority.
    let other = (history.cluster.active().expect("one leads") + 1) % PLACES;
    history
        .cluster
        .crash(if other == 2 { 0 } else { other }, Crash::PowerCut(1));
    history.run(2_000);
    let acked = history.ghost.acked.len();
    history.ask_active();
    history.run(500);
    assert_eq!(history.ghost.acked.len(), acked + 1);
}

#[test]
fn one_that_is_cut_off_no_longer_calls_itself_active() {
    let mut history = History::new(4);
    for place in 0..PLACES {
        history.cluster.start(place).expect("starts");
    }
    history.calm();
    let old = history.cluster.active().expect("one leads");
    let activity = |history: &History| history.cluster.activity(old).expect("it runs");
    let term = activity(&history).term;
    history.net.lock().expect("one thread").far = BTreeSet::from([old]);
    history.run(500);
    assert!(!activity(&history).is_active());
    let limit = Duration::from_secs(5);
    assert!(
        history
            .cluster
            .run_until(limit, |cluster| cluster.active().is_some())
    );
    assert_ne!(history.cluster.active(), Some(old));
    assert_eq!(activity(&history).term, term, "nobody told it");
    history.calm();
    assert!(activity(&history).term > term);
}

#[test]
fn with_the_usual_timeouts_a_lost_active_controller_is_replaced_in_a_second() {
    let usual = ControllerConfig::new(PathBuf::new());
    let mut took = Vec::new();
    for seed in 0..30 {
        let mut settings = Settings::new(seed);
        settings.config.heartbeat_interval = usual.heartbeat_interval;
        settings.config.election_timeout_min = usual.election_timeout_min;
        settings.config.election_timeout_max = usual.election_timeout_max;
        let mut cluster = SimCluster::new(settings, |_| Fate::Arrives(Duration::from_millis(1)));
        for place in 0..PLACES {
            cluster.start(place).expect("starts");
        }
        let limit = Duration::from_secs(20);
        assert!(cluster.run_until(limit, |cluster| cluster.active().is_some()));
        cluster.run_for(Duration::from_secs(3));
        let active = cluster.active().expect("it stays");
        cluster.crash(active, Crash::Kill);
        let lost = cluster.now();
        assert!(cluster.run_until(limit, |cluster| cluster.active().is_some()));
        took.push(cluster.now() - lost);
    }
    took.sort();
    println!("median {:?}, worst {:?}", took[15], took[29]);
    assert!(
        took[15] <= Duration::from_secs(1) && took[29] <= Duration::from_millis(1300),
        "{took:?}"
    );
}

#[test]
fn one_seed_is_one_history() {
    let number = live(5, &CHANGEABLE);
    assert_eq!(live(5, &CHANGEABLE), number);
    assert_ne!(live(6, &CHANGEABLE).2, number.2);
    println!("history {number:?}");
    // And in another process, where every address and every hash is another.
    let Ok(me) = std::env::current_exe() else { return };
    if std::env::var_os("QUIPU_CONTROLLER_CHILD").is_some() {
        return;
    }
    let mut child = std::process::Command::new(me);
    child.args(["--exact", "one_seed_is_one_history", "--nocapture"]);
    let child = child.env("QUIPU_CONTROLLER_CHILD", "1").output().expect("runs");
    let told = String::from_utf8_lossy(&child.stdout).into_owned();
    assert!(
        told.contains(&format!("history {number:?}")),
        "{number:?} here, and there {told}"
    );
}

#[test]
fn a_vote_that_was_not_flushed_is_caught() {
    let seed = caught(PlantedBug::VoteNotFlushed, 60, &STORM);
    assert!(seed.is_some());
}

#[test]
fn a_snapshot_without_the_membership_is_caught() {
    let seed = caught(PlantedBug::SnapshotWithoutMembership, 20, &CHANGEABLE);
    assert!(seed.is_some());
}
