//! Fetch.

use crate::harness::{MiniBroker, config, encode, encoded, reason, records};
use quipu_broker::DataPlaneConfig;
use quipu_proto::v1;
use quipu_record::Codec;
use std::time::Duration;
use tokio::time::Instant;

fn request(offset: u64, min_bytes: u32, max_wait_ms: u32) -> v1::FetchRequest {
    v1::FetchRequest {
        partitions: vec![v1::FetchPartition {
            topic: "t".to_owned(),
            offset,
            ..v1::FetchPartition::default()
        }],
        min_bytes,
        max_wait_ms,
        ..v1::FetchRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_waits_for_data_and_no_longer() {
    let mut broker = MiniBroker::start().await;
    broker.create("t", 1);
    let waiting = tokio::spawn({
        let mut client = broker.consuming();
        async move { client.fetch(request(0, 1, 60_000)).await }
    });
    broker.produce(records("t", 0, &["came"])).await;
    let response = waiting.await.expect("no panic").expect("an answer").into_inner();
    assert_eq!(response.partitions[0].records.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_returns_empty_when_its_time_is_up() {
    let mut broker = MiniBroker::start().await;
    broker.create("t", 1);
    broker.produce(records("t", 0, &["little"])).await;
    let began = Instant::now();
    let response = broker.consuming().fetch(request(0, 1 << 20, 100)).await;
    let data = response.expect("an answer").into_inner().partitions.remove(0);
    assert!(began.elapsed() >= Duration::from_millis(100));
    assert_eq!(data.records.len(), 1, "what there is, is given");
    assert_eq!(data.error, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn min_bytes_are_waited_for_over_several_batches() {
    let mut broker = MiniBroker::start().await;
    broker.create("t", 1);
    let value = "v".repeat(1000);
    let waiting = tokio::spawn({
        let mut client = broker.consuming();
        async move { client.fetch(request(0, 4500, 60_000)).await }
    });
    for _ in 0..5 {
        broker.produce(records("t", 0, &[&value])).await;
    }
    let data = waiting.await.expect("no panic").expect("an answer").into_inner();
    assert!(
        data.partitions[0].records.len() >= 4,
        "{}",
        data.partitions[0].records.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_told_by_partition_and_end_the_wait() {
    let mut broker = MiniBroker::start().await;
    broker.create("t", 1);
    broker.produce(records("t", 0, &["x"])).await;
    let mut asked = request(0, 1 << 20, 60_000);
    asked.partitions.push(v1::FetchPartition {
        topic: "t".to_owned(),
        partition: 5,
        ..v1::FetchPartition::default()
    });
    asked.partitions.push(v1::FetchPartition {
        topic: "nope".to_owned(),
        ..v1::FetchPartition::default()
    });
    let data = broker
        .consuming()
        .fetch(asked)
        .await
        .expect("an answer")
        .into_inner()
        .partitions;
    assert_eq!(data[0].records.len(), 1);
    assert_eq!(
        reason(data[1].error.as_ref()),
        v1::ErrorReason::UnknownTopicOrPartition
    );
    assert_eq!(
        reason(data[2].error.as_ref()),
        v1::ErrorReason::UnknownTopicOrPartition
    );

    let beyond = broker.fetch("t", 0, 99, v1::Format::Records).await;
    assert_eq!(reason(beyond.error.as_ref()), v1::ErrorReason::OffsetOutOfRange);
    assert_eq!(
        (beyond.log_start, beyond.high_watermark),
        (0, 1),
        "what would be in range"
    );

    for (epoch, expected) in [(0, None), (9, Some(v1::ErrorReason::UnknownLeaderEpoch))] {
        let mut asked = request(0, 1, 0);
        asked.partitions[0].leader_epoch = Some(epoch);
        let data = broker
            .consuming()
            .fetch(asked)
            .await
            .expect("an answer")
            .into_inner()
            .partitions
            .remove(0);
        let expected = expected.unwrap_or(v1::ErrorReason::Unspecified);
        assert_eq!(reason(data.error.as_ref()), expected);
    }
    let status = broker
        .consuming()
        .fetch(request(0, 1, 60_001))
        .await
        .expect_err("too long");
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_and_one_batch_is_always_given() {
    for tail_bytes in [32 << 20, 0] {
        let mut broker = MiniBroker::with(DataPlaneConfig {
            tail_bytes,
            ..config()
        })
        .await;
        broker.create("t", 1);
        let value = "v".repeat(10_000);
        for _ in 0..20 {
            broker
                .produce(encoded("t", 0, encode(&[&value], Codec::None, None)))
                .await;
        }
        for (max_bytes, batches) in [(1, 1), (35_000, 3), (1 << 20, 20)] {
            let mut asked = request(0, 1, 0);
            asked.format = v1::Format::Encoded.into();
            asked.partitions[0].max_bytes = max_bytes;
            let data = broker
                .consuming()
                .fetch(asked)
                .await
                .expect("an answer")
                .into_inner();
            assert_eq!(
                data.partitions[0].next_offset, batches,
                "tail {tail_bytes}, max {max_bytes}"
            );
        }
        let mut asked = request(0, 1, 0);
        asked.max_bytes = 25_000;
        let data = broker
            .consuming()
            .fetch(asked)
            .await
            .expect("an answer")
            .into_inner();
        assert_eq!(data.partitions[0].records.len(), 2, "decoded records stay below");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn decoded_answers_fit_a_generated_client() {
    let mut broker = MiniBroker::start().await;
    broker.create_with("t", 1, &[("max.message.bytes", "8388608")]);
    let value = "v".repeat(1 << 20);
    for _ in 0..8 {
        broker
            .produce(encoded("t", 0, encode(&[&value], Codec::Zstd, None)))
            .await;
    }
    let mut asked = request(0, 1, 0);
    asked.partitions[0].max_bytes = 32 << 20;
    asked.max_bytes = 32 << 20;
    // 4 MiB is what stubs take that nobody configured.
    let mut client = broker.consuming().max_decoding_message_size(4 << 20);
    let data = client
        .fetch(asked)
        .await
        .expect("below 4 MiB")
        .into_inner()
        .partitions
        .remove(0);
    assert_eq!(data.records.len(), 2);
    assert_eq!(data.next_offset, 2);
}
