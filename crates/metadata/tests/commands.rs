//! What each command answers, with its words: a person reads them.

mod cluster;

use cluster::{Cluster, TOPIC, at, ids, leader, registration, topic};
use quipu_metadata::*;
use quipu_record::{
    BrokerEpoch, BrokerId, ErrorCode, LeaderEpoch, Offset, PartitionId, ProducerId, TopicId, TopicPartition,
};
use std::sync::Arc;

#[test]
fn a_topic_gets_the_defaults_resolved_and_a_leader_at_once() {
    let mut cluster = Cluster::of(3);
    let created = cluster.run(topic(&[])).expect("created");
    assert_eq!((created.replication_factor, created.partitions), (3, 1));
    let p = cluster.partition(0);
    assert_eq!((p.replicas.len(), p.isr.len(), p.min_insync), (3, 3, 2));
    assert_eq!(p.leader, p.replicas.iter().next());
    assert_eq!(p.leader_epoch, LeaderEpoch::FIRST);

    let mut one = Cluster::of(1);
    assert_eq!(one.run(topic(&[])).expect("created").replication_factor, 1);
    assert_eq!(one.partition(0).min_insync, 1);
}

#[test]
fn every_mistake_of_a_new_topic_is_named_at_once() {
    let mut cluster = Cluster::of(2);
    let request = CreateTopic {
        name: "no spaces".into(),
        partitions: 0,
        replication_factor: Some(3),
        ..topic(&[("retenton.ms", "1"), ("min.insync.replicas", "9")])
    };
    let refused = cluster.run(request).expect_err("four mistakes and more");
    assert_eq!(
        refused.to_string(),
        "the topic's name has a ' ' at position 2: use only a-z, A-Z, 0-9, '.', '_' and '-'; 0 partitions: it must be \
         between 1 and 10000; replication factor 3, and there are 2 brokers: it must be between 1 and 2; unknown config \
         \"retenton.ms\"; the nearest known is \"retention.ms\"; config min.insync.replicas=9 is above the replication \
         factor 3"
    );
    assert_eq!(refused.code(), ErrorCode::InvalidTopic);
    let one = cluster
        .run(topic(&[("cleanup.policy", "squeeze")]))
        .expect_err("no such policy");
    assert_eq!(one.code(), ErrorCode::InvalidConfig);
    assert!(one.to_string().contains("delete or compact"), "{one}");
}

#[test]
fn names_are_unique_and_the_clusters_own_are_reserved() {
    let mut cluster = Cluster::of(1);
    cluster.run(topic(&[])).expect("created");
    let again = CreateTopic {
        topic_id: TopicId::from_u128(8),
        ..topic(&[])
    };
    let refused = cluster.run(again.clone()).expect_err("taken");
    assert_eq!(
        refused,
        CreateTopicError::Exists {
            name: "flights".into(),
            topic_id: TOPIC
        }
    );
    assert_eq!(refused.code(), ErrorCode::TopicAlreadyExists);
    let counts = |cluster: &Cluster| (cluster.image.topic_count(), cluster.image.partition_count());
    assert_eq!(counts(&cluster), (1, 1));
    cluster.run(DeleteTopic { topic_id: TOPIC }).expect("deleted");
    assert_eq!(counts(&cluster), (0, 0));
    cluster.run(again).expect("the name is free");
    let unknown = cluster
        .run(DeleteTopic { topic_id: TOPIC })
        .expect_err("that one is gone");
    assert_eq!(unknown.code(), ErrorCode::UnknownTopicId);

    let hidden = CreateTopic {
        name: "__offsets".into(),
        topic_id: TopicId::from_u128(9),
        ..topic(&[])
    };
    assert!(
        cluster
            .run(hidden.clone())
            .expect_err("reserved")
            .to_string()
            .contains("the cluster's own")
    );
    cluster
        .run(CreateTopic {
            internal: true,
            ..hidden
        })
        .expect("the cluster itself may");
    let kept = cluster
        .run(DeleteTopic {
            topic_id: TopicId::from_u128(9),
        })
        .expect_err("needed");
    assert_eq!(kept.code(), ErrorCode::InternalTopic);
}

#[test]
fn the_offsets_topic_is_made_once_and_is_the_clusters_own() {
    let mut cluster = Cluster::of(2);
    let mut ensure = |id| {
        cluster.run(EnsureOffsetsTopic {
            topic_id: TopicId::from_u128(id),
        })
    };
    let made = ensure(8).expect("made");
    assert_eq!(
        (made.partitions, made.replication_factor),
        (OFFSETS_PARTITIONS, 2)
    );
    assert_eq!(ensure(9), Ok(made), "there is only one");
    let topic = Arc::clone(cluster.image.offsets_topic().expect("there"));
    assert_eq!((topic.id, topic.internal), (made.topic_id, true));
    assert_eq!(topic.config.durability(), Durability::Fsync);
    assert_eq!(topic.config.segment_bytes(), 16 << 20);
    assert_eq!(topic.config.min_insync_replicas(), 2);
    for (_, p) in topic.partitions.iter() {
        assert_eq!((p.replicas.len(), p.isr.len(), p.min_insync), (2, 2, 2));
    }
    let altered = cluster.run(UpdateTopicConfig {
        topic_id: topic.id,
        change: ConfigChange {
            set: vec![("retention.ms".into(), "1".into())],
            unset: vec![],
        },
        expected_version: None,
    });
    assert_eq!(altered.expect_err("fixed").code(), ErrorCode::InternalTopic);
    let more = cluster.run(CreatePartitions {
        topic_id: topic.id,
        total: 32,
    });
    assert_eq!(more.expect_err("fixed").code(), ErrorCode::InternalTopic);

    let mut nobody = Cluster::of(1);
    nobody.fence(&[1]);
    let refused = nobody.run(EnsureOffsetsTopic { topic_id: TOPIC });
    assert_eq!(refused.expect_err("nobody is ready").code(), ErrorCode::NotReady);
}

#[test]
fn configs_change_only_from_the_version_that_was_read() {
    let mut cluster = Cluster::of(1);
    cluster.run(topic(&[])).expect("created");
    let version = cluster.image.topic(TOPIC).expect("there").config_version;
    let change = |key: &str, value: &str| ConfigChange {
        set: vec![(key.into(), value.into())],
        unset: vec![],
    };
    let update = |change, expected_version| UpdateTopicConfig {
        topic_id: TOPIC,
        change,
        expected_version,
    };
    let first = cluster
        .run(update(change("retention.ms", "-1"), Some(version)))
        .expect("as read");
    assert!(first.config_version > version);
    let late = cluster
        .run(update(change("retention.ms", "5"), Some(version)))
        .expect_err("somebody was first");
    assert_eq!(late.code(), ErrorCode::VersionMismatch);
    let same = cluster
        .run(update(change("retention.ms", "-1"), None))
        .expect("nothing to do");
    assert_eq!(same.config_version, first.config_version);
    let fixed = cluster
        .run(update(change("durability", "replicated"), None))
        .expect_err("fixed");
    assert_eq!(fixed.code(), ErrorCode::InvalidConfig);
}

#[test]
fn a_change_of_min_insync_reaches_every_partition_with_its_epoch() {
    let mut cluster = Cluster::of(3);
    cluster
        .run(CreateTopic {
            partitions: 40,
            ..topic(&[])
        })
        .expect("created");
    let change = ConfigChange {
        set: vec![("min.insync.replicas".into(), "3".into())],
        unset: vec![],
    };
    cluster
        .run(UpdateTopicConfig {
            topic_id: TOPIC,
            change,
            expected_version: None,
        })
        .expect("changed");
    let topic = cluster.image.topic(TOPIC).expect("there");
    assert!(
        topic
            .partitions
            .iter()
            .all(|(_, p)| p.min_insync == 3 && p.partition_epoch.get() == 1)
    );
}

#[test]
fn partitions_are_added_and_never_taken_away() {
    let mut cluster = Cluster::of(1);
    cluster.run(topic(&[])).expect("created");
    assert_eq!(
        cluster
            .run(CreatePartitions {
                topic_id: TOPIC,
                total: 3
            })
            .expect("more")
            .total,
        3
    );
    assert_eq!(cluster.image.partition_count(), 3);
    let refused = cluster
        .run(CreatePartitions {
            topic_id: TOPIC,
            total: 2,
        })
        .expect_err("fewer");
    assert_eq!(
        refused.to_string(),
        "topic \"flights\" has 3 partitions, and 2 are asked for: their number can only grow"
    );
}

#[test]
fn producer_ids_are_handed_out_once() {
    let mut cluster = Cluster::of(2);
    let alloc = |cluster: &Cluster, b| AllocProducerIds {
        id: BrokerId::new(b),
        epoch: cluster.epoch(b),
    };
    let request = alloc(&cluster, 1);
    assert_eq!(cluster.run(request).expect("a block").first, ProducerId::new(0));
    let request = alloc(&cluster, 2);
    assert_eq!(
        cluster.run(request).expect("a block").first,
        ProducerId::new(1000)
    );
    let old = AllocProducerIds {
        id: BrokerId::new(1),
        epoch: BrokerEpoch::new(0),
    };
    assert!(matches!(cluster.run(old), Err(BrokerError::StaleEpoch { .. })));
}

#[test]
fn a_cluster_has_one_id_for_ever() {
    let mut cluster = Cluster::of(0);
    let other = InitCluster {
        cluster_id: ClusterId::from_u128(2),
        feature_level: FeatureLevel::V1,
    };
    assert_eq!(
        cluster.run(other).expect("it has one").cluster_id,
        ClusterId::from_u128(1)
    );
    let foreign = RegisterBroker {
        cluster_id: Some(ClusterId::from_u128(2)),
        ..registration(1, 1)
    };
    let refused = cluster.run(foreign).expect_err("another cluster's");
    assert!(
        refused
            .to_string()
            .contains("belongs to cluster 00000000-0000-0000-0000-000000000002"),
        "{refused}"
    );
}

#[test]
fn one_entry_cannot_begin_two_lifetimes_of_a_broker() {
    let mut cluster = Cluster::of(0);
    cluster.run(registration(1, 1)).expect("registers");
    let refused = cluster
        .run_in_same_entry(registration(1, 2))
        .expect_err("the epoch would be the same");
    assert_eq!(refused, RegisterBrokerError::AtOnce { id: BrokerId::new(1) });
    assert!(refused.code().retryable());
}

#[test]
fn a_single_broker_leads_again_after_every_kind_of_restart() {
    let mut cluster = Cluster::of(1);
    cluster
        .run(topic(&[("durability", "replicated")]))
        .expect("created");
    let other = CreateTopic {
        name: "f".into(),
        topic_id: TopicId::from_u128(8),
        ..topic(&[])
    };
    cluster.run(other).expect("created");
    for (incarnation, clean, with_cut) in [(2, true, false), (3, false, false), (4, false, true)] {
        let clean_epoch = clean.then(|| cluster.epoch(1));
        let cut = CutPartition {
            at: at(0),
            last_epoch: Some(LeaderEpoch::FIRST),
            log_end: Offset::new(3),
        };
        let cut = if with_cut { vec![cut] } else { vec![] };
        let epoch_before = cluster.partition(0).leader_epoch;
        let registered = cluster.run(RegisterBroker {
            clean_epoch,
            cut,
            ..registration(1, incarnation)
        });
        assert_eq!(leader(cluster.partition(0)), None, "a new process is fenced");
        let epoch = registered.expect("registers").epoch;
        cluster
            .run(UnfenceBroker {
                id: BrokerId::new(1),
                epoch,
            })
            .expect("unfences");
        for (_, _, p) in cluster.image.partitions() {
            assert_eq!((leader(p), ids(&p.isr)), (Some(1), vec![1]));
            assert!(p.cut().is_empty() && p.leader_epoch > epoch_before);
        }
    }
}

#[test]
fn a_single_broker_with_another_directory_never_leads_what_is_gone() {
    let mut cluster = Cluster::of(1);
    cluster.run(topic(&[])).expect("created");
    let fence = BrokerFence {
        id: BrokerId::new(1),
        epoch: cluster.epoch(1),
    };
    cluster
        .run(FenceBrokers { brokers: vec![fence] })
        .expect("fenced");
    cluster.boot(RegisterBroker {
        directory: DirectoryId::from_u128(99),
        ..registration(1, 2)
    });
    let p = cluster.partition(0);
    assert_eq!((leader(p), ids(&p.isr), ids(&p.elr)), (None, vec![], vec![]));
    assert_eq!(p.last_known_elr(), [BrokerId::new(1)]);
}

#[test]
fn after_a_power_cut_of_all_fsync_topics_are_led_again_and_replicated_ones_wait() {
    let mut cluster = Cluster::of(3);
    cluster.run(topic(&[])).expect("created");
    let replicated = TopicId::from_u128(8);
    let other = topic(&[("durability", "replicated")]);
    cluster
        .run(CreateTopic {
            name: "r".into(),
            topic_id: replicated,
            ..other
        })
        .expect("created");
    for broker in 1..=3 {
        cluster.run(registration(broker, 2)).expect("registers");
    }
    for broker in 1..=3 {
        let epoch = cluster.epoch(broker);
        cluster
            .run(UnfenceBroker {
                id: BrokerId::new(broker),
                epoch,
            })
            .expect("unfences");
    }
    assert!(cluster.partition(0).leader.is_some());
    let lost = TopicPartition {
        topic: replicated,
        partition: PartitionId::new(0),
    };
    let lost = cluster.image.partition(lost).expect("there");
    assert_eq!(leader(lost), None, "nobody can be trusted");
    // The first one left while two could still go on without it: an operator looks at the other two.
    assert_eq!(lost.last_known_elr(), [BrokerId::new(2), BrokerId::new(3)]);
}

#[test]
fn what_is_damaged_is_fenced_for_that_partition_only() {
    let mut cluster = Cluster::of(3);
    cluster
        .run(CreateTopic {
            partitions: 2,
            ..topic(&[])
        })
        .expect("created");
    cluster.boot(RegisterBroker {
        damaged: vec![at(0)],
        ..registration(1, 2)
    });
    let id = BrokerId::new(1);
    assert!(!cluster.partition(0).is_safe(id));
    assert!(
        !cluster.partition(1).is_safe(id),
        "two are in sync and enough: it must catch up as well"
    );

    let mut all = Cluster::of(3);
    all.run(CreateTopic {
        partitions: 2,
        ..topic(&[("min.insync.replicas", "3")])
    })
    .expect("created");
    all.boot(RegisterBroker {
        damaged: vec![at(0)],
        ..registration(1, 2)
    });
    assert!(!all.partition(0).is_safe(id));
    assert!(all.partition(1).is_safe(id), "eligible: it has everything");
}

#[test]
fn a_leaving_broker_hands_over_and_says_what_it_cannot() {
    let mut cluster = Cluster::of(3);
    cluster
        .run(CreateTopic {
            partitions: 6,
            ..topic(&[])
        })
        .expect("created");
    let begun = cluster
        .run(BeginShutdown {
            id: BrokerId::new(1),
            epoch: cluster.epoch(1),
        })
        .expect("begun");
    assert_eq!((begun.moved, begun.still_leads), (2, 0));
    assert!(
        cluster
            .image
            .partitions()
            .all(|(_, _, p)| !p.isr.contains(BrokerId::new(1)) && p.isr.len() == 2)
    );
    // Two are needed and two are left, so the next one to go stays in sync, and hands over its leadership.
    let begun = cluster
        .run(BeginShutdown {
            id: BrokerId::new(2),
            epoch: cluster.epoch(2),
        })
        .expect("begun");
    assert!(begun.moved > 0 && begun.still_leads == 0, "{begun:?}");
    assert!(
        cluster
            .image
            .partitions()
            .all(|(_, _, p)| leader(p) == Some(3) && p.isr.len() == 2)
    );

    let mut one = Cluster::of(1);
    one.run(topic(&[])).expect("created");
    let begun = one
        .run(BeginShutdown {
            id: BrokerId::new(1),
            epoch: one.epoch(1),
        })
        .expect("begun");
    assert_eq!(
        (begun.moved, begun.still_leads),
        (0, 1),
        "it serves until it is gone"
    );
}

#[test]
fn a_broker_named_twice_for_one_partition_is_told_so() {
    let mut cluster = Cluster::of(3);
    cluster.run(topic(&[])).expect("created");
    let p = cluster.partition(0).clone();
    let leads = p.leader.expect("led");
    let (id, epoch) = (leads, cluster.epoch(leads.get()));
    let member = |b: BrokerId| IsrMember {
        id: b,
        epoch: cluster.epoch(b.get()),
    };
    let change = IsrChange {
        at: at(0),
        leader_epoch: p.leader_epoch,
        partition_epoch: p.partition_epoch,
        isr: p.isr.iter().take(2).map(member).collect(),
    };
    let request = AlterPartitions {
        id,
        epoch,
        changes: vec![change.clone(), change],
    };
    let answers = cluster.run(request).expect("registered");
    assert_eq!(answers[0].as_ref().map(|a| a.state.isr.len()), Ok(2));
    assert_eq!(answers[1], Err(AlterPartitionError::Twice(at(0))));
}

#[test]
fn an_entry_from_a_newer_version_stops_the_replay() {
    let mut image = Image::default();
    let record = Record::Cluster {
        cluster_id: ClusterId::from_u128(1),
        feature_level: FeatureLevel::new(2),
    };
    assert_eq!(
        image.replay(&record),
        Err(ReplayError::TooNew {
            needs: FeatureLevel::new(2)
        })
    );
    let hole = Record::Partition {
        at: at(0),
        state: some_partition(),
    };
    assert!(matches!(image.replay(&hole), Err(ReplayError::Missing(_))));
}

fn some_partition() -> Partition {
    let mut one = Cluster::of(1);
    one.run(topic(&[])).expect("created");
    one.partition(0).clone()
}

/// Not a measurement of speed: it would be seconds if fencing were not one pass, or cloning not cheap.
#[test]
fn ten_thousand_partitions_are_fenced_in_one_entry_and_images_share_what_is_equal() {
    let mut cluster = Cluster::of(3);
    cluster
        .run(CreateTopic {
            partitions: 10_000,
            ..topic(&[])
        })
        .expect("created");
    let before = cluster.image.clone();
    let fence = BrokerFence {
        id: BrokerId::new(2),
        epoch: cluster.epoch(2),
    };
    cluster
        .run(FenceBrokers { brokers: vec![fence] })
        .expect("fenced");
    assert!(
        cluster
            .image
            .partitions()
            .all(|(_, _, p)| leader(p).is_some_and(|b| b != 2) && p.isr.len() == 2)
    );
    assert!(before.partitions().all(|(_, _, p)| p.isr.len() == 3));
}
