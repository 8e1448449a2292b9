//! What is there after an end, clean or not.

use crate::harness::{MiniBroker, at, config, encode, encoded, records, stamp};
use quipu_broker::DataPlaneConfig;
use quipu_metadata::DeleteTopic;
use quipu_proto::v1;
use quipu_record::Codec;

#[tokio::test(flavor = "multi_thread")]
async fn everything_acknowledged_is_there_after_any_end() {
    let mut broker = MiniBroker::start().await;
    broker.create_with("t", 3, &[("segment.bytes", "65536")]);
    let mut expected: Vec<Vec<String>> = vec![Vec::new(); 3];
    for round in 0..6 {
        for (partition, values) in (0u32..).zip(&mut expected) {
            for n in 0..20 {
                let value = format!("{round}/{partition}/{n}/{}", "x".repeat(200));
                let result = broker.produce(records("t", partition, &[&value])).await;
                assert_eq!(result.base_offset, Some(values.len() as u64));
                values.push(value);
            }
        }
        broker = broker.restart(round % 2 == 0).await;
        for (partition, values) in (0u32..).zip(&expected) {
            assert_eq!(broker.all_values("t", partition).await, *values, "round {round}");
        }
    }
    assert_eq!(broker.fatal.reason(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn producers_are_remembered_over_any_end() {
    let mut broker = MiniBroker::start().await;
    broker.create("t", 1);
    for round in 0..4u32 {
        let bytes = encode(&["a", "b"], Codec::None, Some(stamp(3, 0, round * 2)));
        let first = broker.produce(encoded("t", 0, bytes.clone())).await;
        assert_eq!(
            (first.base_offset, first.duplicate),
            (Some(u64::from(round) * 2), false)
        );
        broker = broker.restart(round % 2 == 0).await;
        let again = broker.produce(encoded("t", 0, bytes)).await;
        assert_eq!((again.base_offset, again.duplicate), (first.base_offset, true));
    }
    assert_eq!(broker.all_values("t", 0).await.len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_epoch_rises_and_old_ones_are_fenced() {
    let mut broker = MiniBroker::start().await;
    broker.create("t", 1);
    let before = broker.produce(records("t", 0, &["x"])).await.leader_epoch;
    broker = broker.restart(true).await;
    let after = broker.produce(records("t", 0, &["y"])).await.leader_epoch;
    assert!(after > before, "{after} after {before}");
    let request = v1::FetchRequest {
        partitions: vec![v1::FetchPartition {
            topic: "t".to_owned(),
            leader_epoch: Some(before),
            ..v1::FetchPartition::default()
        }],
        ..v1::FetchRequest::default()
    };
    let data = broker
        .consuming()
        .fetch(request)
        .await
        .expect("an answer")
        .into_inner();
    let error = data.partitions[0].error.as_ref().expect("fenced");
    assert_eq!(error.reason(), v1::ErrorReason::FencedLeaderEpoch);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_topic_leaves_nothing_and_its_name_begins_anew() {
    let mut broker = MiniBroker::start().await;
    let first = broker.create("t", 1);
    broker.produce(records("t", 0, &["old"])).await;
    broker.run(DeleteTopic { topic_id: first });
    assert_eq!(broker.plane.view(at(first, 0)), None);
    let second = broker.create("t", 1);
    assert_ne!(first, second);
    assert_eq!(broker.all_values("t", 0).await, [""; 0]);
    broker.produce(records("t", 0, &["new"])).await;
    broker = broker.restart(false).await;
    assert_eq!(broker.all_values("t", 0).await, ["new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tail_and_the_files_say_the_same() {
    let mut broker = MiniBroker::with(DataPlaneConfig {
        tail_bytes: 32 << 10,
        ..config()
    })
    .await;
    broker.create_with("t", 1, &[("segment.bytes", "65536")]);
    let values: Vec<_> = (0..200).map(|n| format!("{n}-{}", "y".repeat(1000))).collect();
    for value in &values {
        broker
            .produce(encoded("t", 0, encode(&[value], Codec::None, None)))
            .await;
    }
    assert_eq!(
        broker.all_values("t", 0).await,
        values,
        "old ones from files, new ones from memory"
    );
    broker = broker.restart(true).await;
    assert_eq!(broker.all_values("t", 0).await, values, "all from files");
}
