//! Who leads after what, command by command; and what the bugs planted in it would do.

mod cluster;

use cluster::{Cluster, TOPIC, at, ids, leader, registration, topic, wide_topic};
use quipu_metadata::*;
use quipu_record::{BrokerEpoch, BrokerId, ErrorCode, PlantedBug, TopicId};

/// One partition on brokers 1, 2 and 3 in whatever order, of which one is in sync and the others, of which two were needed,
/// may be eligible: (leader, eligible, neither).
fn down_to_one(configs: &[(&str, &str)]) -> (Cluster, u32, u32, u32) {
    let mut cluster = Cluster::of(3);
    cluster.run(topic(configs)).expect("created");
    let replicas = ids(&cluster.partition(0).replicas);
    let (one, two, three) = (replicas[0], replicas[1], replicas[2]);
    // The third leaves while two are enough, the second when they are not.
    cluster.fence(&[three]);
    cluster.fence(&[two]);
    let p = cluster.partition(0);
    assert_eq!(
        (leader(p), ids(&p.isr), ids(&p.elr)),
        (Some(one), vec![one], vec![two])
    );
    (cluster, one, two, three)
}

#[test]
fn the_preferred_leader_is_elected_when_it_is_in_sync_and_only_then() {
    let mut cluster = Cluster::of(3);
    cluster.run(topic(&[])).expect("created");
    let preferred = ids(&cluster.partition(0).replicas)[0];
    cluster.fence(&[preferred]);
    cluster.unfence(preferred);
    let before = cluster.partition(0).clone();
    let refused = cluster.elect(LeaderElection::Preferred, &[0, 9]);
    let not_ready = ElectLeaderError::PreferredNotReady {
        at: at(0),
        preferred: BrokerId::new(preferred),
    };
    assert_eq!(
        refused,
        [Err(not_ready.clone()), Err(ElectLeaderError::Unknown(at(9)))]
    );
    assert_eq!(
        (not_ready.code(), cluster.partition(0)),
        (ErrorCode::LeaderNotAvailable, &before)
    );

    cluster.alter(0, &[1, 2, 3]).expect("it caught up");
    let answers = cluster.elect(LeaderElection::Preferred, &[0, 0]);
    assert_eq!(answers[1], Err(ElectLeaderError::Twice(at(0))));
    let p = cluster.partition(0);
    assert_eq!(answers[0].as_ref().map(|a| &a.state), Ok(p));
    assert_eq!(
        (leader(p), p.leader_epoch),
        (Some(preferred), before.leader_epoch.next())
    );
    assert!(!p.is_displaced());
    // Again: it leads already.
    let same = p.clone();
    assert_eq!(
        cluster.elect(LeaderElection::Preferred, &[0])[0]
            .as_ref()
            .map(|a| &a.state),
        Ok(&same)
    );

    let BrokerFence { id, epoch } = cluster.lifetime(preferred);
    cluster.run(BeginShutdown { id, epoch }).expect("begun");
    assert!(
        cluster.elect(LeaderElection::Preferred, &[0])[0].is_err(),
        "it is on its way out"
    );
}

#[test]
fn an_operator_may_elect_whoever_is_here_and_the_loss_is_on_record() {
    let (mut cluster, one, two, three) = down_to_one(&[]);
    cluster.fence(&[one]);
    cluster.unfence(three);
    assert_eq!(
        leader(cluster.partition(0)),
        None,
        "it lacks what the others may have"
    );
    assert_eq!(cluster.image.leaderless().count(), 1);
    let answers = cluster.elect(LeaderElection::CutWaitOver, &[0]);
    assert_eq!(answers, [Err(ElectLeaderError::Nobody(at(0)))]);

    cluster.elect(LeaderElection::Unclean, &[0])[0]
        .as_ref()
        .expect("elected");
    let p = cluster.partition(0);
    assert_eq!(
        (leader(p), ids(&p.isr), ids(&p.elr)),
        (Some(three), vec![three], vec![])
    );
    assert!(p.possible_loss());
    assert_eq!(
        p.last_known_elr().len(),
        2,
        "one and two, for the operator's eyes"
    );
    // Those who come back follow; what they have more is lost, and stays on record.
    cluster.unfence(one);
    cluster.unfence(two);
    cluster.alter(0, &[one, two, three]).expect("they caught up");
    assert!(cluster.partition(0).possible_loss());
    // With a leader there is nothing to elect.
    let before = cluster.partition(0).clone();
    cluster.elect(LeaderElection::Unclean, &[0])[0]
        .as_ref()
        .expect("led");
    assert_eq!(cluster.partition(0), &before);
}

#[test]
fn an_unclean_election_takes_an_eligible_replica_if_one_is_here() {
    let (mut cluster, one, two, three) = down_to_one(&[]);
    cluster.fence(&[one]);
    cluster.unfence(three);
    cluster.unfence(two);
    assert_eq!(leader(cluster.partition(0)), Some(two));
    assert!(!cluster.partition(0).possible_loss());
}

#[test]
fn a_topic_may_allow_unclean_elections_and_by_default_does_not() {
    let allowed = [("unclean.leader.election.enable", "true")];
    for (configs, expected) in [(&allowed[..], true), (&[], false)] {
        let (mut cluster, one, _, three) = down_to_one(configs);
        cluster.fence(&[one]);
        cluster.unfence(three);
        let p = cluster.partition(0);
        assert_eq!(
            (leader(p) == Some(three), p.possible_loss()),
            (expected, expected)
        );
    }
    // And as soon as it is allowed later.
    let (mut cluster, one, _, three) = down_to_one(&[]);
    cluster.fence(&[one]);
    cluster.unfence(three);
    let change = ConfigChange {
        set: vec![("unclean.leader.election.enable".into(), "true".into())],
        unset: vec![],
    };
    let request = UpdateTopicConfig {
        topic_id: TOPIC,
        change,
        expected_version: None,
    };
    cluster.run(request).expect("changed");
    assert_eq!(leader(cluster.partition(0)), Some(three));
}

#[test]
fn bad_bytes_fence_that_replica_and_no_other() {
    let mut cluster = Cluster::of(3);
    cluster.run(wide_topic(2, &[])).expect("created");
    let leads = leader(cluster.partition(0)).expect("led");
    let BrokerFence { id, epoch } = cluster.lifetime(leads);
    let offline = |partitions| OfflineReplicas {
        id,
        epoch,
        partitions,
    };
    let done = cluster
        .run(offline(vec![at(0), at(0), at(7)]))
        .expect("registered");
    assert_eq!((done.changed, done.leaderless), (1, 0));
    let p = cluster.partition(0);
    assert!(!p.is_safe(id) && leader(p).is_some_and(|b| b != leads) && p.isr.len() == 2);
    assert!(cluster.partition(1).isr.contains(id) && !cluster.image.broker(id).expect("there").fenced);
    let again = cluster.run(offline(vec![at(0)])).expect("registered");
    assert_eq!(again.changed, 0, "there is nothing left to take");
    // It was copied anew.
    cluster.alter(0, &[1, 2, 3]).expect("it caught up");
    assert!(cluster.partition(0).isr.contains(id));

    let late = OfflineReplicas {
        epoch: BrokerEpoch::new(epoch.get() - 1),
        ..offline(vec![at(1)])
    };
    assert!(matches!(cluster.run(late), Err(BrokerError::StaleEpoch { .. })));
}

#[test]
fn the_last_good_replica_found_bad_leaves_nobody_and_the_only_copy_goes_on() {
    let (mut cluster, one, two, _) = down_to_one(&[]);
    let offline = |cluster: &Cluster, broker, at| {
        let BrokerFence { id, epoch } = cluster.lifetime(broker);
        OfflineReplicas {
            id,
            epoch,
            partitions: vec![at],
        }
    };
    let request = offline(&cluster, one, at(0));
    let done = cluster.run(request).expect("registered");
    assert_eq!((done.changed, done.leaderless), (1, 1));
    let p = cluster.partition(0);
    assert_eq!(
        (ids(&p.isr), ids(&p.elr)),
        (vec![], vec![two]),
        "lost is not eligible"
    );
    assert_eq!(p.last_known_elr(), [BrokerId::new(one)]);
    cluster.unfence(two);
    assert_eq!(leader(cluster.partition(0)), Some(two));

    let mut alone = Cluster::of(1);
    alone.run(topic(&[])).expect("created");
    let request = offline(&alone, 1, at(0));
    assert_eq!(alone.run(request).expect("registered").changed, 0);
    assert_eq!(
        leader(alone.partition(0)),
        Some(1),
        "what is good in it is all there is"
    );
}

/// KAFKA-18106 and KAFKA-18635: a broker that registers again without a clean shutdown, while its old session lasts, must
/// leave every partition's in-sync and eligible replicas in that very entry: the image of others must not go on trusting it.
#[test]
fn kafka_18106_an_unclean_registration_changes_every_partition_it_is_trusted_in() {
    let mut cluster = Cluster::of(4);
    cluster
        .run(wide_topic(40, &[("durability", "replicated")]))
        .expect("created");
    let other = CreateTopic {
        name: "alone".into(),
        topic_id: TopicId::from_u128(8),
        replication_factor: Some(1),
        ..wide_topic(8, &[("durability", "replicated")])
    };
    cluster.run(other).expect("created");
    // In some it is eligible only: two fence before it, and it after them.
    cluster.fence(&[1, 2]);
    cluster.fence(&[3]);
    cluster.unfence(3);
    let three = BrokerId::new(3);
    let trusted = |cluster: &Cluster| {
        let all = cluster.image.partitions();
        all.filter(|(_, _, p)| p.replicas.len() > 1 && p.is_safe(three))
            .count()
    };
    assert!(trusted(&cluster) > 5);
    let old = cluster.epoch(3);
    let epoch = cluster.run(registration(3, 2)).expect("registers").epoch;
    assert!(epoch > old && trusted(&cluster) == 0);
    assert_eq!(cluster.image.led_by(three), 0);
    assert!(cluster.image.partitions().all(|(_, _, p)| !p.isr.contains(three)));
    // A clean one is trusted as before, and fenced.
    let mut clean = Cluster::of(2);
    clean
        .run(wide_topic(4, &[("durability", "replicated")]))
        .expect("created");
    let again = RegisterBroker {
        clean_epoch: Some(clean.epoch(1)),
        ..registration(1, 2)
    };
    clean.run(again).expect("registers");
    assert!(
        clean
            .image
            .partitions()
            .all(|(_, _, p)| p.is_safe(BrokerId::new(1)) && !p.isr.contains(BrokerId::new(1)))
    );
}

#[test]
fn the_index_finds_what_a_walk_finds() {
    let mut cluster = Cluster::of(5);
    for n in 0..9u128 {
        let one = CreateTopic {
            name: format!("t{n}"),
            topic_id: TopicId::from_u128(100 + n),
            ..wide_topic(7, &[])
        };
        cluster.run(one).expect("created");
    }
    cluster.fence(&[2, 4]);
    cluster.unfence(4);
    cluster
        .run(DeleteTopic {
            topic_id: TopicId::from_u128(104),
        })
        .expect("deleted");
    let image = &cluster.image;
    for broker in (1..=6).map(BrokerId::new) {
        let led = image
            .partitions()
            .filter(|(_, _, p)| p.leader == Some(broker))
            .count();
        assert_eq!(image.led_by(broker), led);
        let holds = |(_, _, p): &(_, _, &Partition)| p.replicas.contains(broker);
        let held = image.partitions().filter(holds).map(|(t, i, _)| (t.id, i));
        let near = image.partitions_near(&[broker]);
        assert!(near.filter(holds).map(|(t, i, _)| (t.id, i)).eq(held));
    }
    assert_eq!(image.partitions_near(&[BrokerId::new(6)]).count(), 0);
    let displaced = image.partitions().filter(|(_, _, p)| p.is_displaced()).count();
    assert_eq!(
        (image.displaced().count(), image.leaderless().count()),
        (displaced, 0)
    );
    assert!(displaced > 10);
}

/// Broker 1 was the last in sync, lost what was in its memory, and comes back first.
#[test]
fn with_elr_ignored_the_last_in_sync_replica_leads_whatever_it_lost() {
    let leads = || {
        let (mut cluster, one, two, _) = {
            let replicated = [("durability", "replicated")];
            let mut cluster = Cluster::of(3);
            cluster.run(topic(&replicated)).expect("created");
            let replicas = ids(&cluster.partition(0).replicas);
            cluster.fence(&[replicas[2]]);
            cluster.fence(&[replicas[1]]);
            (cluster, replicas[0], replicas[1], replicas[2])
        };
        cluster.boot(registration(one, 2));
        let first = leader(cluster.partition(0)).is_some();
        cluster.unfence(two);
        (first, leader(cluster.partition(0)) == Some(two))
    };
    assert_eq!(leads(), (false, true), "it waits for the one that has everything");
    assert_eq!(PlantedBug::ElrIgnored.plant(leads), (true, false));
}

#[test]
fn with_the_elr_emptied_by_a_config_change_a_healthy_partition_is_stranded() {
    let led = || {
        let (mut cluster, one, _, _) = down_to_one(&[]);
        cluster.fence(&[one]);
        cluster.set_min_insync(1);
        cluster.unfence(one);
        leader(cluster.partition(0)).is_some()
    };
    assert!(led());
    assert!(!PlantedBug::ElrEmptiedByConfigChange.plant(led));
}

/// KIP-903, KAFKA-14617: the leader's request was under way while the follower restarted with an empty disk.
#[test]
fn with_the_broker_epoch_unchecked_a_replica_that_restarted_empty_is_in_sync() {
    let in_sync = || {
        let mut cluster = Cluster::of(3);
        cluster.run(topic(&[])).expect("created");
        let follower = ids(&cluster.partition(0).replicas)[2];
        cluster.fence(&[follower]);
        let members = [1, 2, 3].map(|b| IsrMember {
            id: BrokerId::new(b),
            epoch: cluster.epoch(b),
        });
        cluster.boot(RegisterBroker {
            directory: DirectoryId::from_u128(99),
            ..registration(follower, 2)
        });
        cluster.alter_to(0, members.to_vec())
    };
    let refused = in_sync().expect_err("it restarted");
    assert!(matches!(
        refused,
        AlterPartitionError::IneligibleReplica {
            why: Ineligible::Restarted,
            ..
        }
    ));
    assert!(refused.to_string().contains("must catch up again"), "{refused}");
    assert!(PlantedBug::BrokerEpochUnchecked.plant(in_sync).is_ok());
}
