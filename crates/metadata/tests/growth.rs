//! Internal topics made when there were few brokers come to lie on three.

mod cluster;

use cluster::{Cluster, TOPIC, at, ids, registration, topic};
use quipu_metadata::*;
use quipu_record::{BrokerId, ErrorCode, PartitionId, Tick, TopicPartition};
use std::time::Duration;

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
    let (mut growth, mut now) = (Growth::new(Tick::default()), Tick::default());
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
    let grow = GrowTopic { topic_id: TOPIC };
    assert_eq!(cluster.run(grow).ok(), grown(16, 0));
    cluster.alter(0, &[1, 2, 3]).expect("in sync");
    // All of them count: whoever is in sync may lead, and commit alone as the one before could.
    cluster.fence(&[1, 3]);
    let p = cluster.partition(0);
    assert_eq!(
        (p.leader, ids(&p.isr), ids(&p.elr)),
        (Some(BrokerId::new(2)), vec![2], vec![])
    );
    assert_eq!(cluster.run(grow).ok(), grown(0, 0));
    cluster.unfence(3);
    cluster.alter(0, &[2, 3]).expect("in sync again");
    assert_eq!(cluster.run(grow).ok(), grown(0, 1));
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
    cluster.run(GrowTopic { topic_id: TOPIC }).expect("begun");
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
    cluster.run(GrowTopic { topic_id: TOPIC }).expect("begun");
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
        })
        .expect_err("not its business");
    assert_eq!(refused.code(), ErrorCode::InvalidRequest);
    assert_eq!(cluster.image.partition(other).expect("there").replicas.len(), 1);
    assert!(cluster.image.partition(at(0)).is_some());
}
