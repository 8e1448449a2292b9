//! Partitions on three brokers: what is acknowledged, who is in sync, whose log is whose.

use crate::cluster::{Cluster, until};
use crate::harness::{reason, records};
use quipu_broker::replication::ReplicationConfig;
use quipu_proto::v1;
use quipu_record::{BrokerId, Offset, PartitionId, TopicPartition};
use std::time::Duration;

/// Nobody falls behind in a test that does not want it.
const NEVER: Duration = Duration::from_secs(600);
/// Who is gone falls behind soon.
const SOON: Duration = Duration::from_millis(500);

fn all() -> v1::ProduceRequest {
    v1::ProduceRequest::default()
}

fn leader_only() -> v1::ProduceRequest {
    v1::ProduceRequest {
        acks: v1::Acks::Leader.into(),
        ..v1::ProduceRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_batch_is_flushed_on_every_in_sync_replica() {
    let mut cluster = Cluster::start(NEVER).await;
    let at = cluster.create("t", &[]);
    let leader = cluster.leader(at);
    for n in 1..=20 {
        let result = cluster.produce(leader, records("t", 0, &["x"]), all()).await;
        assert_eq!(result.error, None);
        assert_eq!(result.durability(), v1::Durability::Flushed);
        for id in cluster.followers(at) {
            assert!(
                cluster.view(id, at).flushed >= Offset::new(n),
                "acknowledged, and not flushed on {id}"
            );
        }
    }
    cluster.settled(at).await;

    // One of them is gone, and still in sync: nothing is acknowledged.
    let gone = cluster.followers(at)[0];
    cluster.crash(gone).await;
    let impatient = v1::ProduceRequest {
        timeout_ms: 300,
        ..all()
    };
    let result = cluster.produce(leader, records("t", 0, &["y"]), impatient).await;
    assert_eq!(reason(result.error.as_ref()), v1::ErrorReason::RequestTimedOut);
    assert_eq!(cluster.view(leader, at).high_watermark, Offset::new(20));
    assert_eq!(cluster.view(leader, at).log_end, Offset::new(21));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_falls_behind_leaves_the_in_sync_replicas_and_comes_back() {
    let mut cluster = Cluster::start(SOON).await;
    let at = cluster.create("t", &[("min.insync.replicas", "2")]);
    let leader = cluster.leader(at);
    cluster.produce(leader, records("t", 0, &["a"]), all()).await;
    cluster.in_sync(at, 3).await;

    let gone = cluster.followers(at)[0];
    cluster.crash(gone).await;
    let waited = cluster.produce(leader, records("t", 0, &["b"]), all()).await;
    assert_eq!(waited.error, None, "acknowledged once two are in sync");
    cluster.in_sync(at, 2).await;
    for _ in 0..50 {
        let result = cluster.produce(leader, records("t", 0, &["c"]), all()).await;
        assert_eq!(result.error, None);
    }

    cluster.boot(gone).await;
    cluster.in_sync(at, 3).await;
    cluster.settled(at).await;
    let result = cluster.produce(leader, records("t", 0, &["d"]), all()).await;
    assert_eq!(result.error, None);
    assert_eq!(cluster.view(gone, at).flushed, Offset::new(53));
}

#[tokio::test(flavor = "multi_thread")]
async fn below_the_minimum_nothing_is_taken() {
    let mut cluster = Cluster::start(SOON).await;
    let at = cluster.create("t", &[("min.insync.replicas", "2")]);
    let leader = cluster.leader(at);
    cluster.in_sync(at, 3).await;
    for id in cluster.followers(at) {
        cluster.crash(id).await;
        cluster.fence(id);
    }
    let result = cluster.produce(leader, records("t", 0, &["x"]), all()).await;
    assert_eq!(reason(result.error.as_ref()), v1::ErrorReason::NotEnoughReplicas);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_old_leader_had_alone_is_cut_when_it_follows() {
    let mut cluster = Cluster::start(NEVER).await;
    let at = cluster.create("t", &[]);
    let old = cluster.leader(at);
    for value in ["a", "b"] {
        let result = cluster.produce(old, records("t", 0, &[value]), all()).await;
        assert_eq!(result.error, None);
    }
    cluster.settled(at).await;
    // Nobody copies what comes now.
    let others = cluster.followers(at);
    for id in &others {
        cluster.crash(*id).await;
    }
    for _ in 0..3 {
        let result = cluster
            .produce(old, records("t", 0, &["lost", "lost"]), leader_only())
            .await;
        assert_eq!(result.error, None);
    }
    cluster.crash(old).await;
    for id in &others {
        cluster.boot(*id).await;
    }
    cluster.fence(old);
    let new = cluster.leader(at);
    assert_ne!(new, old);
    cluster.in_sync(at, 2).await;
    let result = cluster.produce(new, records("t", 0, &["kept"]), all()).await;
    assert_eq!((result.error.clone(), result.base_offset), (None, Some(2)));

    cluster.boot(old).await;
    cluster.in_sync(at, 3).await;
    cluster.settled(at).await;
    assert_eq!(cluster.view(old, at).log_end, Offset::new(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_batches_arrive_whole_and_in_order() {
    let cluster = Cluster::start(NEVER).await;
    let at = cluster.create("t", &[]);
    let leader = cluster.leader(at);
    let value = "v".repeat(10_000);
    let values = vec![value.as_str(); 50];
    let mut sent = Vec::new();
    for _ in 0..40 {
        sent.push(cluster.produce(leader, records("t", 0, &values), leader_only()));
    }
    for sent in sent {
        assert_eq!(sent.await.error, None);
    }
    cluster.settled(at).await;
    until("consumers see it", || {
        cluster.view(leader, at).high_watermark == Offset::new(2000)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_with_bad_bytes_is_copied_again() {
    let mut cluster = Cluster::start(SOON).await;
    let at = cluster.create("t", &[("min.insync.replicas", "2")]);
    let leader = cluster.leader(at);
    for _ in 0..20 {
        let result = cluster
            .produce(leader, records("t", 0, &["some value"]), all())
            .await;
        assert_eq!(result.error, None);
    }
    cluster.settled(at).await;
    let hurt = cluster.followers(at)[0];
    cluster.crash(hurt).await;
    cluster.spoil(hurt, at);
    cluster.boot(hurt).await;
    cluster.in_sync(at, 3).await;
    cluster.settled(at).await;
    until("it is whole", || cluster.plane(hurt).offline().is_empty()).await;
}

/// A partition of the first two brokers, and a third one.
async fn two_and_another() -> (Cluster, TopicPartition) {
    let config = ReplicationConfig {
        lag_max: NEVER,
        ..ReplicationConfig::default()
    };
    let mut cluster = Cluster::of([1, 2].map(BrokerId::new), config).await;
    let topic = cluster.create_on(2, "t", 1, &[]);
    cluster.add(BrokerId::new(3)).await;
    let partition = PartitionId::new(0);
    (cluster, TopicPartition { topic, partition })
}

/// Broker 3 is given a replica, and lost: the replica is taken from it. If it was cut off it keeps what it has, if it was down
/// it deletes that as it starts, unless it has the only other copy; and it follows again when it is given one again.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_was_taken_away_is_deleted_at_the_next_start_and_may_come_again() {
    let lost = BrokerId::new(3);
    let (mut cluster, at) = two_and_another().await;
    let leader = cluster.leader(at);
    let other = cluster
        .followers(at)
        .into_iter()
        .find(|id| *id != lost)
        .expect("one");
    for (was_down, alone) in [(false, false), (true, false), (true, true), (false, false)] {
        cluster.add_replica(at, lost);
        cluster.in_sync(at, 3).await;
        let result = cluster.produce(leader, records("t", 0, &["a", "b"]), all()).await;
        assert_eq!(result.error, None);
        cluster.settled(at).await;
        assert!(!cluster.bytes(lost, at).is_empty());
        let old = cluster.image();

        match was_down {
            true => cluster.crash(lost).await,
            false => cluster.cut_off(lost),
        }
        cluster.fence(lost);
        cluster.take_replica(at, lost);
        let result = cluster.produce(leader, records("t", 0, &["c"]), all()).await;
        assert_eq!(result.error, None, "nobody waits for broker 3");
        if alone {
            cluster.fence(other);
        }
        if was_down {
            cluster.boot_with(lost, &old).await;
            assert_eq!(cluster.bytes(lost, at).is_empty(), !alone);
        } else {
            cluster.reconnect(lost);
            cluster.unfence(lost);
            assert!(!cluster.bytes(lost, at).is_empty());
        }
        let view = cluster.plane(lost).view(at);
        assert_eq!(view.is_none(), was_down && !alone);
        assert!(view.is_none_or(|view| view.following.is_none()));
        if alone {
            cluster.unfence(other);
            cluster.in_sync(at, 2).await;
        }
    }
    cluster.add_replica(at, lost);
    cluster.in_sync(at, 3).await;
    cluster.settled(at).await;
    assert_eq!(cluster.view(leader, at).high_watermark, Offset::new(12));
}

/// Metadata comes late: a replica that was taken away and given back is in sync by the time that its broker hears that it
/// was taken away.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_was_given_back_is_not_deleted_by_old_news() {
    let late = BrokerId::new(3);
    let (cluster, at) = two_and_another().await;
    let leader = cluster.leader(at);
    cluster.add_replica(at, late);
    cluster.in_sync(at, 3).await;
    let result = cluster.produce(leader, records("t", 0, &["a", "b"]), all()).await;
    assert_eq!(result.error, None);
    cluster.settled(at).await;

    cluster.cut_off(late);
    cluster.fence(late);
    cluster.take_replica(at, late);
    let without = cluster.image();
    cluster.unfence(late);
    cluster.add_replica(at, late);
    cluster.in_sync(at, 3).await;
    let held = cluster.bytes(late, at);
    cluster.plane(late).reset(&without);
    assert_eq!(cluster.bytes(late, at), held);
    assert_eq!(cluster.view(late, at).flushed, Offset::new(2));
    cluster.reconnect(late);
    cluster.settled(at).await;
    let result = cluster.produce(leader, records("t", 0, &["c"]), all()).await;
    assert_eq!(result.error, None);
}

/// A broker may come upon a controller that lags behind, and opens its logs by what that one knows.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_deleted_by_metadata_that_is_older_than_the_registration() {
    let mut cluster = Cluster::start(NEVER).await;
    let old = cluster.image();
    let at = cluster.create("t", &[]);
    let leader = cluster.leader(at);
    let result = cluster.produce(leader, records("t", 0, &["a", "b"]), all()).await;
    assert_eq!(result.error, None);
    cluster.settled(at).await;
    let other = cluster.followers(at)[0];
    let held = cluster.bytes(other, at);
    cluster.crash(other).await;
    // Nobody is left that it could be copied from.
    let third = cluster.followers(at)[0];
    cluster.crash(third).await;
    cluster.crash(leader).await;
    cluster.boot_with(other, &old).await;
    assert_eq!(cluster.bytes(other, at), held);
    assert_eq!(cluster.view(other, at).log_end, Offset::new(2));
}
