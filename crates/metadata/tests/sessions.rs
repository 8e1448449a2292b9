//! What the active controller makes of signs of life, rule by rule. `tests/liveness.rs` has the histories.

mod cluster;

use cluster::{Cluster, at, ids, leader, registration, topic, wide_topic};
use quipu_metadata::*;
use quipu_record::{BrokerEpoch, BrokerId, LeaderEpoch, MetadataVersion, Offset, Tick};
use std::time::Duration;

const SESSION: Duration = Duration::from_secs(6);

/// A cluster and its active controller.
struct World {
    cluster: Cluster,
    liveness: Liveness,
    now: Tick,
}

impl World {
    /// Every broker has a stream and has sent a heartbeat.
    fn of(cluster: Cluster) -> Self {
        let mut world = Self {
            cluster,
            liveness: Liveness::new(LivenessConfig::default()),
            now: Tick::from_nanos(0),
        };
        world.liveness.became_active(&world.cluster.image, world.now);
        for broker in world.brokers() {
            world.open(broker);
            world.beat(broker);
        }
        world
    }

    fn brokers(&self) -> Vec<u32> {
        self.cluster.image.brokers().map(|b| b.id.get()).collect()
    }

    fn open(&mut self, broker: u32) {
        let BrokerFence { id, epoch } = self.cluster.lifetime(broker);
        self.liveness.stream_opened(id, epoch, self.now);
    }

    fn lose(&mut self, broker: u32) {
        let BrokerFence { id, epoch } = self.cluster.lifetime(broker);
        self.liveness.stream_lost(id, epoch, self.now);
    }

    fn heartbeat(&self, broker: u32) -> Heartbeat {
        let BrokerFence { id, epoch } = self.cluster.lifetime(broker);
        Heartbeat {
            id,
            epoch,
            metadata_version: self.cluster.image.version(),
            want_fence: false,
            want_shutdown: false,
            offline: Vec::new(),
        }
    }

    fn beat(&mut self, broker: u32) -> HeartbeatAnswer {
        let heartbeat = self.heartbeat(broker);
        self.say(&heartbeat)
    }

    fn say(&mut self, heartbeat: &Heartbeat) -> HeartbeatAnswer {
        let answer = self.liveness.heartbeat(heartbeat, &self.cluster.image, self.now);
        answer.expect("active")
    }

    fn leave(&mut self, broker: u32) -> HeartbeatAnswer {
        let heartbeat = Heartbeat {
            want_shutdown: true,
            ..self.heartbeat(broker)
        };
        self.say(&heartbeat)
    }

    fn tick(&mut self) -> Vec<Proposal> {
        self.liveness.tick(&self.cluster.image, self.now)
    }

    /// Lets time pass, with a heartbeat of each of these every 200 ms; what is proposed is done at once, and returned.
    fn pass(&mut self, time: Duration, beating: &[u32]) -> Vec<Command> {
        let end = self.now.after(time);
        let mut done = Vec::new();
        while self.now < end {
            self.now = self.now.after(Duration::from_millis(200));
            for broker in beating {
                self.beat(*broker);
            }
            done.extend(self.carry_out());
        }
        done
    }

    fn carry_out(&mut self) -> Vec<Command> {
        let proposals = self.tick();
        let done = proposals.iter().map(|p| p.command.clone()).collect();
        for proposal in proposals {
            self.decide(&proposal.command);
            let version = self.cluster.image.version();
            self.liveness.settled(proposal.ticket, Settled::At(version));
        }
        done
    }

    fn decide(&mut self, command: &Command) {
        let image = &mut self.cluster.image;
        image.advance_to(MetadataVersion::new(image.version().get() + 1));
        let (records, _) = image.decide(command);
        records
            .iter()
            .try_for_each(|record| image.replay(record))
            .expect("replays");
    }
}

fn fence(brokers: Vec<BrokerFence>) -> Command {
    Command::FenceBrokers(FenceBrokers { brokers })
}

#[test]
fn a_lost_stream_is_a_suspicion_and_fences_after_a_second() {
    let mut world = World::of(Cluster::of(3));
    world.lose(2);
    assert_eq!(world.pass(Duration::from_millis(800), &[1, 3]), []);
    let two = world.cluster.lifetime(2);
    assert_eq!(
        world.pass(Duration::from_millis(400), &[1, 3]),
        [fence(vec![two])]
    );
    // It is back, and may lead again.
    world.open(2);
    assert!(world.beat(2).fenced);
    assert_eq!(world.liveness.deadline(), Some(world.now), "at once");
    let unfence = UnfenceBroker {
        id: two.id,
        epoch: two.epoch,
    };
    assert_eq!(world.carry_out(), [Command::UnfenceBroker(unfence)]);
    assert!(!world.beat(2).fenced);
}

#[test]
fn a_stream_that_comes_back_within_the_second_is_forgiven() {
    let mut world = World::of(Cluster::of(3));
    world.lose(2);
    assert_eq!(world.pass(Duration::from_millis(800), &[1, 3]), []);
    world.open(2);
    assert_eq!(world.pass(Duration::from_secs(3), &[1, 2, 3]), []);
    // A new one before the old one's end is noticed is as good.
    world.open(2);
    world.lose(2);
    assert_eq!(world.pass(Duration::from_secs(3), &[1, 2, 3]), []);
}

#[test]
fn all_who_are_due_are_fenced_by_one_command() {
    let mut world = World::of(Cluster::of(4));
    let done = world.pass(SESSION + Duration::from_millis(200), &[1]);
    let silent = [2, 3, 4].map(|b| world.cluster.lifetime(b));
    assert_eq!(done, [fence(silent.to_vec())]);
}

#[test]
fn a_controller_that_slept_blames_nobody() {
    let mut world = World::of(Cluster::of(3));
    world.now = world.now.after(Duration::from_secs(3600));
    assert_eq!(world.tick(), []);
    // But from there on a session is a session.
    assert_eq!(world.pass(SESSION - Duration::from_millis(200), &[1, 3]), []);
    let two = world.cluster.lifetime(2);
    assert_eq!(
        world.pass(Duration::from_millis(200), &[1, 3]),
        [fence(vec![two])]
    );
}

#[test]
fn a_controller_late_by_half_a_session_did_not_sleep_and_by_more_did() {
    let late = LivenessConfig::default().tick + SESSION / 2;
    for (late, slept) in [(late, false), (late + Duration::from_nanos(1), true)] {
        let mut world = World::of(Cluster::of(3));
        assert_eq!(world.pass(SESSION / 2, &[1, 3]), []);
        world.now = world.now.after(late);
        world.beat(1);
        world.beat(3);
        let two = fence(vec![world.cluster.lifetime(2)]);
        assert_eq!(world.carry_out(), if slept { vec![] } else { vec![two] });
    }
}

#[test]
fn a_new_active_controller_suspects_those_without_a_stream() {
    let mut world = World::of(Cluster::of(3));
    world.liveness.no_longer_active();
    assert_eq!(
        world
            .liveness
            .heartbeat(&world.heartbeat(1), &world.cluster.image, world.now),
        None
    );
    assert_eq!(world.liveness.deadline(), None);
    world.lose(3);
    world.now = world.now.after(Duration::from_secs(60));
    world.liveness.became_active(&world.cluster.image, world.now);
    assert_eq!(world.pass(Duration::from_millis(800), &[]), []);
    let three = world.cluster.lifetime(3);
    assert_eq!(world.pass(Duration::from_millis(200), &[]), [fence(vec![three])]);
    // The others have a stream, and so a full session.
    assert_eq!(world.pass(Duration::from_millis(4_800), &[]), []);
    let others = vec![world.cluster.lifetime(1), world.cluster.lifetime(2)];
    assert_eq!(world.pass(Duration::from_millis(200), &[]), [fence(others)]);
}

#[test]
fn where_the_last_active_controller_fell_silent_brokers_have_time_to_notice() {
    let mut world = World::of(Cluster::of(4));
    (1..=4).for_each(|broker| world.lose(broker));
    world.liveness.no_longer_active();
    world.liveness.became_active(&world.cluster.image, world.now);
    // Nobody has come yet: they still wait for the other one's answers.
    assert_eq!(world.pass(Duration::from_secs(3), &[]), []);
    world.open(1);
    assert_eq!(world.pass(Duration::from_secs(2), &[1]), []);
    // Half of them have: who does not follow within a second is missed.
    world.open(2);
    assert_eq!(
        world.liveness.deadline().map(|at| at <= world.now),
        Some(true),
        "at once"
    );
    world.carry_out();
    assert_eq!(world.pass(Duration::from_millis(400), &[1, 2]), []);
    world.open(3);
    let four = world.cluster.lifetime(4);
    assert_eq!(
        world.pass(Duration::from_millis(600), &[1, 2, 3]),
        [fence(vec![four])]
    );

    // And if nobody ever comes, a session is a session.
    let mut world = World::of(Cluster::of(2));
    (1..=2).for_each(|broker| world.lose(broker));
    world.liveness.became_active(&world.cluster.image, world.now);
    assert_eq!(world.pass(SESSION - Duration::from_millis(200), &[]), []);
    let all = vec![world.cluster.lifetime(1), world.cluster.lifetime(2)];
    assert_eq!(world.pass(Duration::from_millis(200), &[]), [fence(all)]);
}

/// One of three brokers was the active controller's, and died: the next one is elected after this time, and the others find
/// it after that. How long that broker is not fenced for after they did.
fn spared(elected: Duration, found: Duration) -> Duration {
    let mut world = World::of(Cluster::of(3));
    (1..=3).for_each(|broker| world.lose(broker));
    world.liveness.no_longer_active();
    let BrokerFence { id, epoch } = world.cluster.lifetime(3);
    world.liveness.connection_broke(id, epoch, world.now);
    world.now = world.now.after(elected);
    world.liveness.became_active(&world.cluster.image, world.now);
    assert_eq!(world.carry_out(), []);
    world.now = world.now.after(found);
    world.open(1);
    world.open(2);
    let gathered = world.now;
    let mut done = world.carry_out();
    while done.is_empty() {
        // As soon as it is due, and not at the next look.
        world.now = world.now.max(world.liveness.deadline().expect("active"));
        world.beat(1);
        world.beat(2);
        done = world.carry_out();
    }
    assert_eq!(done, [fence(vec![BrokerFence { id, epoch }])]);
    world.now.since(gathered)
}

#[test]
fn whose_connection_broke_is_suspected_since_then_and_has_a_moment_to_come_back() {
    let ms = Duration::from_millis;
    assert_eq!(spared(ms(300), ms(100)), ms(600));
    assert_eq!(spared(ms(700), ms(50)), ms(250));
    assert_eq!(spared(ms(900), ms(100)), ms(250));
    assert_eq!(spared(ms(4_000), ms(1_900)), ms(250));
    // A session later it says nothing of now.
    assert_eq!(spared(ms(4_000), ms(2_000)), ms(1_000));
}

#[test]
fn a_connection_that_broke_is_forgotten_with_the_next_stream_and_the_next_lifetime() {
    for forgotten_by in ["nothing", "a stream", "a lifetime"] {
        let mut world = World::of(Cluster::of(3));
        (1..=3).for_each(|broker| world.lose(broker));
        world.liveness.no_longer_active();
        let BrokerFence { id, epoch } = world.cluster.lifetime(3);
        world.liveness.connection_broke(id, epoch, world.now);
        match forgotten_by {
            "a stream" => {
                world.open(3);
                world.lose(3);
            }
            "a lifetime" => {
                world.cluster.run(registration(3, 2)).expect("registers");
                let epoch = world.cluster.lifetime(3).epoch;
                world.cluster.run(UnfenceBroker { id, epoch }).expect("unfenced");
            }
            _ => {}
        }
        world.now = world.now.after(Duration::from_secs(2));
        world.liveness.became_active(&world.cluster.image, world.now);
        (1..=2).for_each(|broker| world.open(broker));
        assert_eq!(world.carry_out(), []);
        let three = fence(vec![world.cluster.lifetime(3)]);
        let done = world.pass(Duration::from_millis(800), &[1, 2]);
        let known = forgotten_by == "nothing";
        assert_eq!(done, if known { vec![three] } else { vec![] }, "{forgotten_by}");
    }
}

#[test]
fn a_loss_is_looked_at_when_it_is_due() {
    let mut world = World::of(Cluster::of(3));
    let config = LivenessConfig::default();
    world.pass(config.tick * 2, &[1, 2, 3]);
    world.now = world.now.after(config.tick / 4);
    world.lose(2);
    let due = world.now.after(config.suspicion);
    while world.now < due {
        let next = world.liveness.deadline().expect("active");
        assert!(next > world.now && next <= due, "{next:?}, {due:?}");
        world.now = next;
        let two = fence(vec![world.cluster.lifetime(2)]);
        world.beat(1);
        world.beat(3);
        let proposed: Vec<Command> = world.tick().into_iter().map(|p| p.command).collect();
        assert_eq!(proposed, if next < due { vec![] } else { vec![two] });
    }
    // It is under way, and nothing else is due at once.
    assert_eq!(world.liveness.deadline(), Some(due.after(config.tick)));
}

#[test]
fn nothing_is_proposed_twice_and_what_failed_is_proposed_again() {
    let mut world = World::of(Cluster::of(3));
    world.lose(2);
    world.now = world.now.after(Duration::from_secs(1));
    let proposal = world.tick().remove(0);
    world.now = world.now.after(Duration::from_secs(1));
    for broker in [1, 3] {
        world.beat(broker);
    }
    assert_eq!(world.tick(), [], "under way");
    world.liveness.settled(proposal.ticket, Settled::Failed);
    let again = world.tick().remove(0);
    assert_eq!(again.command, proposal.command);
    // Done, in a version that the image which is looked at does not show yet.
    let next = MetadataVersion::new(world.cluster.image.version().get() + 1);
    world.liveness.settled(again.ticket, Settled::At(next));
    assert_eq!(world.tick(), []);
    world.decide(&again.command);
    assert_eq!(world.tick(), []);
    assert!(
        world
            .cluster
            .image
            .broker(BrokerId::new(2))
            .is_some_and(|b| b.fenced)
    );
}

#[test]
fn only_who_knows_of_its_own_registration_is_unfenced() {
    let mut world = World::of(Cluster::of(2));
    world.cluster.run(registration(2, 2)).expect("registers");
    world.open(2);
    let before = MetadataVersion::new(world.cluster.epoch(2).get() - 1);
    let behind = Heartbeat {
        metadata_version: before,
        ..world.heartbeat(2)
    };
    assert!(world.say(&behind).fenced);
    assert_eq!(world.tick(), []);
    let not_yet = Heartbeat {
        want_fence: true,
        ..world.heartbeat(2)
    };
    world.say(&not_yet);
    assert_eq!(world.tick(), []);
    world.beat(2);
    assert!(matches!(world.carry_out()[..], [Command::UnfenceBroker(_)]));
}

#[test]
fn an_earlier_lifetime_is_told_that_it_is_over_and_one_to_come_is_not() {
    let mut world = World::of(Cluster::of(2));
    let old = world.heartbeat(2);
    world.cluster.run(registration(2, 2)).expect("registers");
    assert!(world.say(&old).stale);
    let unknown = Heartbeat {
        id: BrokerId::new(9),
        ..old.clone()
    };
    assert!(world.say(&unknown).stale);
    let ahead = Heartbeat {
        epoch: BrokerEpoch::new(world.cluster.image.version().get() + 5),
        ..old
    };
    let answer = world.say(&ahead);
    assert!(answer.fenced && !answer.stale, "its registration will show");
}

#[test]
fn a_leaving_broker_goes_once_everybody_knows_that_it_leads_nothing() {
    let mut cluster = Cluster::of(3);
    cluster.run(wide_topic(6, &[])).expect("created");
    let mut world = World::of(cluster);
    assert!(!world.leave(1).should_shutdown);
    assert!(matches!(world.carry_out()[..], [Command::BeginShutdown(_)]));
    assert_eq!(world.cluster.image.led_by(BrokerId::new(1)), 0);
    assert!(!world.leave(1).should_shutdown, "2 and 3 have not heard of it");
    world.beat(2);
    assert!(!world.leave(1).should_shutdown, "3 has not");
    world.beat(3);
    assert!(world.leave(1).should_shutdown);
    // It is out of the way before it ends: nobody waits for it.
    assert_eq!(world.liveness.deadline(), Some(world.now));
    let one = world.cluster.lifetime(1);
    assert_eq!(world.carry_out(), [fence(vec![one])]);
}

#[test]
fn a_leaving_broker_waits_for_those_who_catch_up_but_not_for_ever() {
    let mut cluster = Cluster::of(2);
    cluster
        .run(topic(&[("min.insync.replicas", "1")]))
        .expect("created");
    let leads = leader(cluster.partition(0)).expect("led");
    let other = 3 - leads;
    cluster.alter(0, &[leads]).expect("shrinks");
    let mut world = World::of(cluster);
    world.leave(leads);
    world.carry_out();
    world.beat(other);
    assert!(!world.leave(leads).should_shutdown, "the other may catch up");
    for _ in 0..140 {
        world.now = world.now.after(Duration::from_millis(200));
        world.beat(other);
        assert!(!world.leave(leads).should_shutdown);
        assert_eq!(world.carry_out(), []);
    }
    // It catches up: in the same moment it leads.
    world.cluster.alter(0, &[leads, other]).expect("expands");
    assert_eq!(leader(world.cluster.partition(0)), Some(other));
    world.beat(other);
    assert!(world.leave(leads).should_shutdown);
}

#[test]
fn nobody_waits_for_what_no_other_could_lead_or_longer_than_half_a_minute() {
    let mut cluster = Cluster::of(3);
    let alone = CreateTopic {
        replication_factor: Some(1),
        ..wide_topic(3, &[])
    };
    cluster.run(alone).expect("created");
    let mut world = World::of(cluster);
    world.leave(1);
    world.carry_out();
    assert_eq!(world.cluster.image.led_by(BrokerId::new(1)), 1);
    world.beat(2);
    world.beat(3);
    assert!(world.leave(1).should_shutdown, "it has the only copy");

    // Somebody does not say that it knows: half a minute, and no more.
    let mut world = World::of(Cluster::of(2));
    let behind = world.heartbeat(2);
    for _ in 0..149 {
        assert!(!world.leave(1).should_shutdown);
        world.now = world.now.after(Duration::from_millis(200));
        world.say(&behind);
        world.carry_out();
    }
    world.now = world.now.after(Duration::from_millis(200));
    assert!(world.leave(1).should_shutdown);
}

#[test]
fn a_fenced_broker_may_go_at_once() {
    let mut cluster = Cluster::of(2);
    cluster.fence(&[2]);
    let mut world = World::of(cluster);
    assert!(world.leave(2).should_shutdown);
}

#[test]
fn a_heartbeat_that_calls_for_nothing_waits_for_the_next_tick() {
    let mut world = World::of(Cluster::of(2));
    assert_eq!(world.carry_out(), []);
    assert!(!world.beat(2).fenced);
    let next = world.now.after(LivenessConfig::default().tick);
    assert_eq!(world.liveness.deadline(), Some(next));
    let no_more = Heartbeat {
        want_fence: true,
        ..world.heartbeat(2)
    };
    world.say(&no_more);
    assert_eq!(world.liveness.deadline(), Some(world.now), "at once");
    let two = world.cluster.lifetime(2);
    assert_eq!(world.carry_out(), [fence(vec![two])]);
}

#[test]
fn replicas_reported_offline_are_fenced_alone_and_once() {
    let mut cluster = Cluster::of(3);
    cluster
        .run(wide_topic(2, &[("min.insync.replicas", "3")]))
        .expect("created");
    let mut world = World::of(cluster);
    let report = Heartbeat {
        offline: vec![at(0), at(99)],
        ..world.heartbeat(1)
    };
    world.say(&report);
    let done = world.carry_out();
    let BrokerFence { id, epoch } = world.cluster.lifetime(1);
    let command = OfflineReplicas {
        id,
        epoch,
        partitions: vec![at(0)],
    };
    assert_eq!(done, [Command::OfflineReplicas(command)]);
    assert!(!world.cluster.partition(0).is_safe(id) && world.cluster.partition(1).is_safe(id));
    world.say(&report);
    assert_eq!(
        world.carry_out(),
        [],
        "it is told for as long as it lasts, and done once"
    );
}

#[test]
fn cut_replicas_are_waited_for_one_session() {
    let mut cluster = Cluster::of(3);
    cluster.run(wide_topic(1, &[])).expect("created");
    // A power cut of all three: two are eligible, and both come back cut; the first comes back alone.
    cluster.fence(&[1, 2, 3]);
    let eligible = ids(&cluster.partition(0).elr);
    let back = RegisterBroker {
        cut: vec![CutPartition {
            at: at(0),
            last_epoch: Some(LeaderEpoch::FIRST),
            log_end: Offset::new(10),
        }],
        ..registration(eligible[0], 2)
    };
    cluster.boot(back);
    assert_eq!(leader(cluster.partition(0)), None, "the others may have more");
    let mut world = World::of(cluster);
    let first = eligible[0];
    (1..=3).filter(|b| *b != first).for_each(|b| world.lose(b));
    assert_eq!(world.pass(SESSION, &[first]), []);
    let command = ElectLeaders {
        partitions: vec![at(0)],
        kind: LeaderElection::CutWaitOver,
    };
    assert_eq!(
        world.pass(Duration::from_millis(200), &[first]),
        [Command::ElectLeaders(command)]
    );
    assert_eq!(leader(world.cluster.partition(0)), Some(first));
    assert!(!world.cluster.partition(0).possible_loss());
}

/// Not a measurement that fails: the figure is printed.
#[test]
fn a_hundred_brokers_and_thirty_thousand_partitions_are_watched_without_looking_at_each() {
    let mut cluster = Cluster::of(100);
    for n in 0..30u128 {
        let one = CreateTopic {
            name: format!("t{n}"),
            topic_id: quipu_record::TopicId::from_u128(100 + n),
            ..wide_topic(1_000, &[])
        };
        cluster.run(one).expect("created");
    }
    let mut world = World::of(cluster);
    let all = world.brokers();
    let started = clock();
    let mut done = Vec::new();
    for _ in 0..10 {
        done.extend(world.pass(Duration::from_secs(1), &all));
    }
    let took = started.elapsed();
    assert_eq!(done, []);
    println!("50 ticks and 5,000 heartbeats: {took:?}");
}

#[allow(
    clippy::disallowed_methods,
    reason = "a figure for people, nothing goes by it"
)]
fn clock() -> std::time::Instant {
    std::time::Instant::now()
}
