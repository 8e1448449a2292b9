//! Internal topics made when there were few brokers come to lie on three.

mod cluster;

use cluster::{Cluster, TOPIC, at, ids, registration, topic};
use quipu_metadata::*;
use quipu_record::{BrokerId, ErrorCode, PartitionId, Tick, TopicPartition};
use std::collections::BTreeSet;
use std::time::Duration;

/// A broker that is fenced is waited for so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Its growth, without waiting for these.
fn without(gone: &[u32]) -> GrowTopic {
    GrowTopic {
        topic_id: TOPIC,
        gone: gone.iter().copied().map(BrokerId::new).collect(),
    }
}

/// Lets the active controller look once, and does what it proposes.
fn look(cluster: &mut Cluster, growth: &mut Growth, now: &mut Tick) -> Option<TopicGrown> {
    *now = now.after(Duration::from_secs(1));
    let command = growth.tick(&cluster.image, *now)?;
    *now = now.after(Duration::from_secs(1));
    assert_eq!(growth.tick(&cluster.image, *now), None, "one at a time");
    let grown = cluster.run(command).expect("there");
    growth.settled(Settled::At(cluster.image.version()));
    Some(grown)
}

fn grown(begun: usize, completed: usize) -> Option<TopicGrown> {
    Some(TopicGrown { begun, completed })
}

fn min_of_topic(cluster: &Cluster) -> u8 {
    let topic = cluster.image.offsets_topic().expect("there");
    topic.config.min_insync_replicas()
}

#[test]
fn one_replica_becomes_three_and_the_minimum_rises_at_the_end() {
    let mut cluster = Cluster::of(1);
    cluster.run(EnsureOffsetsTopic { topic_id: TOPIC }).expect("made");
    let (mut growth, mut now) = (Growth::new(Tick::default(), PATIENCE), Tick::default());
    assert_eq!(
        look(&mut cluster, &mut growth, &mut now),
        None,
        "nobody else is there"
    );
    cluster.boot(registration(2, 1));
    cluster.boot(registration(3, 1));
    assert_eq!(look(&mut cluster, &mut growth, &mut now), grown(16, 0));
    for p in 0..16 {
        let p = cluster.partition(p);
        assert_eq!(
            (ids(&p.isr), p.min_insync, p.replication_factor()),
            (vec![1], 1, 1)
        );
        assert_eq!((p.replicas.len(), p.adding().len()), (3, 2));
        assert_eq!(p.leader, Some(BrokerId::new(1)));
    }
    assert_eq!(
        look(&mut cluster, &mut growth, &mut now),
        None,
        "nobody has caught up"
    );
    for p in 0..16 {
        cluster
            .alter(p, &[1, 2])
            .expect("one may come in sync before the other");
    }
    assert_eq!(look(&mut cluster, &mut growth, &mut now), None);
    for p in 0..15 {
        cluster.alter(p, &[1, 2, 3]).expect("in sync");
    }
    assert_eq!(look(&mut cluster, &mut growth, &mut now), grown(0, 15));
    assert_eq!(min_of_topic(&cluster), 1, "it does not hold of every partition");
    cluster.alter(15, &[1, 2, 3]).expect("in sync");
    let epoch = cluster.partition(15).leader_epoch;
    assert_eq!(look(&mut cluster, &mut growth, &mut now), grown(0, 1));
    assert_eq!(cluster.partition(15).leader_epoch, epoch, "it is led as before");
    assert_eq!(min_of_topic(&cluster), 2);
    let mut first: Vec<_> = Vec::new();
    for p in 0..16 {
        let p = cluster.partition(p);
        assert_eq!((p.min_insync, p.replicas.len(), p.adding().len()), (2, 3, 0));
        first.extend(p.replicas.iter().next());
    }
    for broker in [1, 2, 3].map(BrokerId::new) {
        let should_lead = first.iter().filter(|id| **id == broker).count();
        assert!(
            (5..=6).contains(&should_lead),
            "leaders are to be spread: {first:?}"
        );
    }
    assert_eq!(
        look(&mut cluster, &mut growth, &mut now),
        None,
        "three are enough"
    );
    cluster.boot(registration(4, 1));
    assert_eq!(look(&mut cluster, &mut growth, &mut now), None);
}

#[test]
fn what_is_added_and_falls_behind_does_not_end_it_and_who_was_there_may_be_away() {
    let mut cluster = Cluster::of(1);
    cluster.run(EnsureOffsetsTopic { topic_id: TOPIC }).expect("made");
    cluster.boot(registration(2, 1));
    cluster.boot(registration(3, 1));
    let grow = || without(&[]);
    assert_eq!(cluster.run(grow()).ok(), grown(16, 0));
    cluster.alter(0, &[1, 2, 3]).expect("in sync");
    // All of them count: whoever is in sync may lead, and commit alone as the one before could.
    cluster.fence(&[1, 3]);
    let p = cluster.partition(0);
    assert_eq!(
        (p.leader, ids(&p.isr), ids(&p.elr)),
        (Some(BrokerId::new(2)), vec![2], vec![])
    );
    assert_eq!(cluster.run(grow()).ok(), grown(0, 0));
    cluster.unfence(3);
    cluster.alter(0, &[2, 3]).expect("in sync again");
    assert_eq!(cluster.run(grow()).ok(), grown(0, 1));
    let p = cluster.partition(0);
    assert_eq!((p.min_insync, ids(&p.isr), p.adding()), (2, vec![2, 3], &[][..]));
    // From here on the new minimum protects: who leaves stays eligible.
    cluster.fence(&[3]);
    let p = cluster.partition(0);
    assert_eq!((ids(&p.isr), ids(&p.elr)), (vec![2], vec![3]));
}

#[test]
fn an_unclean_election_takes_nobody_that_is_being_added() {
    let mut cluster = Cluster::of(1);
    cluster.run(EnsureOffsetsTopic { topic_id: TOPIC }).expect("made");
    cluster.boot(registration(2, 1));
    cluster.run(without(&[])).expect("begun");
    // Its only replica is lost with its disk.
    let lost = RegisterBroker {
        directory: DirectoryId::from_u128(99),
        ..registration(1, 2)
    };
    cluster.fence(&[1]);
    cluster.run(lost).expect("another disk");
    assert_eq!(cluster.partition(0).leader, None);
    cluster.elect(LeaderElection::Unclean, &[0]);
    assert_eq!(
        cluster.partition(0).leader,
        None,
        "broker 2 may have nothing of it"
    );
}

#[test]
fn racks_that_have_nothing_are_taken_first_and_other_topics_are_left_alone() {
    let mut cluster = Cluster::of(0);
    for (broker, rack) in [(1, "a"), (2, "a"), (3, "a"), (4, "b"), (5, "c")] {
        let rack = Some(rack.to_owned());
        cluster.boot(RegisterBroker {
            rack,
            ..registration(broker, 1)
        });
        if broker == 1 {
            cluster.run(EnsureOffsetsTopic { topic_id: TOPIC }).expect("made");
        }
    }
    cluster.run(without(&[])).expect("begun");
    for p in 0..16 {
        let mut adding = cluster.partition(p).adding().to_vec();
        adding.sort();
        assert_eq!(adding, [4, 5].map(BrokerId::new));
    }
    let other = TopicPartition {
        topic: quipu_record::TopicId::from_u128(8),
        partition: PartitionId::new(0),
    };
    cluster
        .run(CreateTopic {
            topic_id: other.topic,
            replication_factor: Some(1),
            ..topic(&[])
        })
        .expect("made");
    let refused = cluster
        .run(GrowTopic {
            topic_id: other.topic,
            gone: Vec::new(),
        })
        .expect_err("not its business");
    assert_eq!(refused.code(), ErrorCode::InvalidRequest);
    assert_eq!(cluster.image.partition(other).expect("there").replicas.len(), 1);
    assert!(cluster.image.partition(at(0)).is_some());
}

/// All that hold a replica of a partition, and those that are being added.
fn holders(cluster: &Cluster, partition: u32) -> (Vec<u32>, Vec<u32>) {
    let p = cluster.partition(partition);
    let sorted = |all: Vec<u32>| all.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    let adding = p.adding().iter().map(|id| id.get()).collect();
    (sorted(ids(&p.replicas)), sorted(adding))
}

#[test]
fn another_broker_takes_the_place_of_one_that_was_lost_before_it_came_in_sync() {
    let mut cluster = Cluster::of(1);
    cluster.run(EnsureOffsetsTopic { topic_id: TOPIC }).expect("made");
    cluster.boot(registration(2, 1));
    cluster.boot(registration(3, 1));
    let (mut growth, mut now) = (Growth::new(Tick::default(), PATIENCE), Tick::default());
    assert_eq!(look(&mut cluster, &mut growth, &mut now), grown(16, 0));
    for p in 0..16 {
        cluster.alter(p, &[1, 2]).expect("in sync");
    }
    cluster.fence(&[3]);
    cluster.boot(registration(4, 1));
    let lost_at = now;
    let first = loop {
        match look(&mut cluster, &mut growth, &mut now) {
            None => assert_eq!(holders(&cluster, 0), (vec![1, 2, 3], vec![2, 3])),
            step => break step,
        }
    };
    assert_eq!(first, grown(16, 0));
    let waited = now.since(lost_at);
    assert!(
        waited >= PATIENCE && waited < PATIENCE + Duration::from_secs(5),
        "{waited:?}"
    );
    for p in 0..16 {
        assert_eq!(holders(&cluster, p), (vec![1, 2, 4], vec![2, 4]));
        let p = cluster.partition(p);
        assert_eq!((ids(&p.isr), p.min_insync), (vec![1, 2], 1));
    }
    assert_eq!(
        look(&mut cluster, &mut growth, &mut now),
        None,
        "4 has yet to come"
    );
    cluster.unfence(3);
    for p in 0..16 {
        assert!(cluster.alter(p, &[1, 2, 3]).is_err(), "3 has no replica any more");
        cluster.alter(p, &[1, 2, 4]).expect("in sync");
    }
    assert_eq!(look(&mut cluster, &mut growth, &mut now), grown(0, 16));
    assert_eq!(
        (min_of_topic(&cluster), holders(&cluster, 7)),
        (2, (vec![1, 2, 4], vec![]))
    );
}

#[test]
fn where_nobody_can_take_the_place_it_ends_with_those_that_are_here_and_goes_on_later() {
    let mut cluster = Cluster::of(1);
    cluster.run(EnsureOffsetsTopic { topic_id: TOPIC }).expect("made");
    cluster.boot(registration(2, 1));
    cluster.boot(registration(3, 1));
    cluster.run(without(&[])).expect("begun");
    for p in 0..15 {
        cluster.alter(p, &[1, 2]).expect("in sync");
    }
    cluster.fence(&[3]);
    assert_eq!(cluster.run(without(&[3])).ok(), grown(16, 0));
    assert_eq!(holders(&cluster, 0), (vec![1, 2], vec![2]));
    assert_eq!(cluster.run(without(&[3])).ok(), grown(0, 15));
    assert_eq!(min_of_topic(&cluster), 1, "it does not hold of the last one");
    // The second one goes too: the last partition is as it was made.
    cluster.fence(&[2]);
    assert_eq!(cluster.run(without(&[2, 3])).ok(), grown(1, 0));
    let p = cluster.partition(15);
    assert_eq!((p.replicas.len(), p.adding(), p.min_insync), (1, &[][..], 1));
    // Those that have grown wait for 2: it is theirs for good.
    let p = cluster.partition(0);
    assert_eq!((ids(&p.isr), ids(&p.elr), p.min_insync), (vec![1], vec![2], 2));
    cluster.unfence(2);
    cluster.unfence(3);
    assert_eq!(cluster.run(without(&[])).ok(), grown(16, 0));
    for p in 0..16 {
        assert_eq!(holders(&cluster, p).0, [1, 2, 3]);
        cluster.alter(p, &[1, 2, 3]).expect("in sync");
    }
    assert_eq!(cluster.run(without(&[])).ok(), grown(0, 16));
    assert_eq!(min_of_topic(&cluster), 2);
}

#[test]
fn nobody_loses_a_replica_that_is_here_or_that_may_be_elected() {
    let mut cluster = Cluster::of(2);
    cluster.run(EnsureOffsetsTopic { topic_id: TOPIC }).expect("made");
    cluster.boot(registration(3, 1));
    cluster.run(without(&[])).expect("begun");
    let before = cluster.partition(0).clone();
    assert_eq!(
        (before.min_insync, holders(&cluster, 0)),
        (2, (vec![1, 2, 3], vec![3]))
    );
    // Those that were there, whoever says that they are gone; and one that is back.
    cluster.fence(&[2]);
    assert_eq!(cluster.run(without(&[1, 2, 3])).ok(), grown(0, 0));
    cluster.unfence(2);
    cluster.alter(0, &[1, 2, 3]).expect("in sync");
    // At the end only 3 has all that was committed: it is waited for.
    cluster.fence(&[1, 2]);
    cluster.fence(&[3]);
    let p = cluster.partition(0).clone();
    assert!(
        p.elr.contains(BrokerId::new(3)) || p.isr.contains(BrokerId::new(3)),
        "{p:?}"
    );
    cluster.boot(registration(4, 1));
    // Elsewhere 3 has nothing that counts, but while nobody leads nobody has all that was committed at hand.
    assert_eq!(cluster.run(without(&[3])).ok(), grown(0, 0));
    cluster.unfence(1);
    assert_eq!(cluster.partition(0).leader, Some(BrokerId::new(1)));
    assert_eq!(cluster.run(without(&[3])).ok(), grown(15, 0));
    assert!(cluster.partition(0).replicas.contains(BrokerId::new(3)));
}

#[test]
fn a_broker_that_is_back_before_long_is_waited_for_anew() {
    let mut cluster = Cluster::of(1);
    cluster.run(EnsureOffsetsTopic { topic_id: TOPIC }).expect("made");
    cluster.boot(registration(2, 1));
    let (mut growth, mut now) = (Growth::new(Tick::default(), PATIENCE), Tick::default());
    assert_eq!(look(&mut cluster, &mut growth, &mut now), grown(16, 0));
    for life in 2..6 {
        cluster.fence(&[2]);
        for _ in 0..50 {
            assert_eq!(look(&mut cluster, &mut growth, &mut now), None);
        }
        match life % 2 {
            0 => cluster.unfence(2),
            _ => drop(cluster.run(registration(2, life)).expect("registers")),
        }
        assert_eq!(look(&mut cluster, &mut growth, &mut now), None);
    }
    assert_eq!(holders(&cluster, 0), (vec![1, 2], vec![2]));
}
