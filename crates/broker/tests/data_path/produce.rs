//! Produce and ProduceStream.

use crate::harness::{MiniBroker, encode, encoded, reason, records, stamp};
use quipu_proto::v1;
use quipu_record::Codec;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

#[tokio::test(flavor = "multi_thread")]
async fn plain_records_come_back_as_they_were_sent() {
    let mut broker = MiniBroker::start().await;
    let id = broker.create("t", 3);
    let record = v1::Record {
        key: Some("key".into()),
        value: None,
        headers: vec![
            v1::Header {
                key: "a".to_owned(),
                value: Some("1".into()),
            },
            v1::Header {
                key: "a".to_owned(),
                value: None,
            },
        ],
        timestamp_ms: Some(1_700_000_000_123),
    };
    let mut batch = records("t", 0, &["x"]);
    batch.partition = None;
    batch.payload = Some(v1::batch::Payload::Records(v1::RecordList {
        records: vec![record.clone()],
        compression: v1::Compression::Zstd.into(),
    }));
    let result = broker.produce(batch).await;
    assert_eq!(result.topic_id, id.to_string());
    assert_eq!(result.base_offset, Some(0));
    assert_eq!(result.durability(), v1::Durability::Flushed);
    let three = std::num::NonZeroU32::new(3).expect("three");
    let partition = quipu_record::partition_for_key(b"key", three);
    assert_eq!(result.partition, partition.get());
    let data = broker.fetch("t", result.partition, 0, v1::Format::Records).await;
    assert_eq!(data.records[0].record, Some(record));
    assert_eq!((data.high_watermark, data.next_offset), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoded_batch_is_stored_as_it_is() {
    let mut broker = MiniBroker::start().await;
    broker.create("t", 1);
    broker.produce(records("t", 0, &["first"])).await;
    let sent = encode(&["a", "b", "c"], Codec::Zstd, None);
    let result = broker.produce(encoded("t", 0, sent.clone())).await;
    assert_eq!(result.base_offset, Some(1));
    let data = broker.fetch("t", 0, 2, v1::Format::Encoded).await;
    let stored = data.encoded.expect("encoded").into_bytes();
    // All but base offset and leader epoch, which the leader sets.
    assert_eq!(stored[16..], sent[16..]);
    assert_eq!(stored[..8], 1u64.to_be_bytes());
    assert_eq!(data.next_offset, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn keyless_batches_go_round_the_partitions() {
    let mut broker = MiniBroker::start().await;
    broker.create("t", 4);
    let mut seen = std::collections::HashSet::new();
    for _ in 0..4 {
        let mut batch = records("t", 0, &["x"]);
        batch.partition = None;
        seen.insert(broker.produce(batch).await.partition);
    }
    assert_eq!(seen.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_one_batch_is_said_of_that_batch() {
    let mut broker = MiniBroker::start().await;
    broker.create_with("t", 2, &[("max.message.bytes", "2000")]);
    let mut damaged = encode(&["x"], Codec::None, None).to_vec();
    *damaged.last_mut().expect("bytes") ^= 1;
    let mut gzip = encode(&["x"], Codec::None, None).to_vec();
    gzip[22] = 1;
    let bomb = "0".repeat(1 << 20);
    let mut keyed = records("t", 0, &["x"]);
    keyed.identity = Some(v1::ProducerIdentity::default());
    keyed.partition = None;
    let wrong_id = v1::Batch {
        topic_id: Some("11111111-1111-1111-1111-111111111111".to_owned()),
        ..records("t", 0, &["x"])
    };
    let cases = [
        (encoded("t", 0, damaged.into()), v1::ErrorReason::CorruptBatch),
        (encoded("t", 0, gzip.into()), v1::ErrorReason::UnsupportedCodec),
        (encoded("t", 0, "nonsense".into()), v1::ErrorReason::CorruptBatch),
        (
            encoded("t", 0, encode(&[&bomb], Codec::Zstd, None)),
            v1::ErrorReason::BatchTooLarge,
        ),
        (records("t", 0, &[&bomb]), v1::ErrorReason::BatchTooLarge),
        (records("t", 0, &[]), v1::ErrorReason::InvalidRequest),
        (records("t", 7, &["x"]), v1::ErrorReason::UnknownTopicOrPartition),
        (
            records("nope", 0, &["x"]),
            v1::ErrorReason::UnknownTopicOrPartition,
        ),
        (wrong_id, v1::ErrorReason::UnknownTopicId),
        (keyed, v1::ErrorReason::InvalidRequest),
    ];
    for (batch, expected) in cases {
        let result = broker.try_produce(batch).await;
        assert_eq!(reason(result.error.as_ref()), expected, "{result:?}");
        let error = result.error.expect("an error");
        assert!(!error.message.is_empty() && !error.retryable, "{error:?}");
    }
    assert_eq!(broker.all_values("t", 0).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_topic_refuses_records_without_a_key() {
    let mut broker = MiniBroker::start().await;
    broker.create_with("t", 1, &[("cleanup.policy", "compact")]);
    for batch in [
        records("t", 0, &["x"]),
        encoded("t", 0, encode(&["x"], Codec::Zstd, None)),
    ] {
        let result = broker.try_produce(batch).await;
        assert_eq!(
            reason(result.error.as_ref()),
            v1::ErrorReason::InvalidRequest,
            "{result:?}"
        );
        let message = result.error.expect("an error").message;
        assert!(message.contains("give every record a key"), "{message}");
    }
    let mut batch = records("t", 0, &["x"]);
    if let Some(v1::batch::Payload::Records(list)) = &mut batch.payload {
        list.records[0].key = Some("k".into());
    }
    assert_eq!(broker.produce(batch).await.base_offset, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_batch_is_answered_with_its_first_offset() {
    let mut broker = MiniBroker::start().await;
    broker.create("t", 1);
    let first = encode(&["a", "b"], Codec::None, Some(stamp(5, 0, 0)));
    let second = encode(&["c"], Codec::None, Some(stamp(5, 0, 2)));
    for (bytes, offset, duplicate) in [(&first, 0, false), (&second, 2, false), (&first, 0, true)] {
        let result = broker.produce(encoded("t", 0, bytes.clone())).await;
        assert_eq!((result.base_offset, result.duplicate), (Some(offset), duplicate));
    }
    let ahead = encode(&["x"], Codec::None, Some(stamp(5, 0, 9)));
    let result = broker.try_produce(encoded("t", 0, ahead)).await;
    assert_eq!(reason(result.error.as_ref()), v1::ErrorReason::OutOfOrderSequence);
    let newer = encode(&["d"], Codec::None, Some(stamp(5, 1, 0)));
    broker.produce(encoded("t", 0, newer)).await;
    let result = broker.try_produce(encoded("t", 0, second)).await;
    assert_eq!(
        reason(result.error.as_ref()),
        v1::ErrorReason::InvalidProducerEpoch
    );
    assert_eq!(broker.all_values("t", 0).await, ["a", "b", "c", "d"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_one_partition_come_in_order_whatever_they_are() {
    let mut broker = MiniBroker::start().await;
    broker.create("t", 2);
    let (send, requests) = mpsc::channel(64);
    let responses = broker
        .producing()
        .produce_stream(ReceiverStream::new(requests))
        .await;
    let mut responses = responses.expect("a stream").into_inner();
    let mut expected = Vec::new();
    for request_id in 0..60u64 {
        let good = request_id % 3 != 0;
        let batch = if good {
            encoded("t", 0, encode(&["x"], Codec::None, None))
        } else {
            // Refused at once, while those before it wait for the disk.
            encoded("t", 0, "bad".into())
        };
        let acks = if request_id % 2 == 0 {
            v1::Acks::All
        } else {
            v1::Acks::None
        };
        expected.push((request_id, good));
        let request = v1::ProduceStreamRequest {
            request_id,
            batch: Some(batch),
            acks: acks.into(),
            ..v1::ProduceStreamRequest::default()
        };
        send.send(request).await.expect("the stream is open");
    }
    drop(send);
    let mut answered = Vec::new();
    while let Some(response) = responses.message().await.expect("an answer") {
        assert!(response.window_bytes > 0);
        if let (Some(request_id), Some(result)) = (response.request_id, response.result) {
            answered.push((request_id, result.error.is_none()));
        }
    }
    assert_eq!(answered, expected);
    assert_eq!(broker.all_values("t", 0).await.len(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_stream_gets_signs_of_life_and_an_answer_to_its_own() {
    let broker = MiniBroker::start().await;
    let (send, requests) = mpsc::channel(4);
    let responses = broker
        .producing()
        .produce_stream(ReceiverStream::new(requests))
        .await;
    let mut responses = responses.expect("a stream").into_inner();
    let alive = v1::ProduceStreamRequest {
        request_id: 9,
        ..v1::ProduceStreamRequest::default()
    };
    send.send(alive).await.expect("open");
    let (mut answered, mut heartbeats) = (0, 0);
    while answered == 0 || heartbeats < 2 {
        let response = responses.message().await.expect("no error").expect("no end");
        match response.request_id {
            Some(9) => answered += 1,
            None => heartbeats += 1,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn producer_ids_are_handed_out_and_epochs_raised() {
    let broker = MiniBroker::start().await;
    let mut client = broker.producing();
    let first = client
        .init_producer(v1::InitProducerRequest::default())
        .await
        .expect("an id");
    let second = client
        .init_producer(v1::InitProducerRequest::default())
        .await
        .expect("an id");
    let (first, second) = (first.into_inner(), second.into_inner());
    assert_ne!(first.producer_id, second.producer_id);
    let again = v1::InitProducerRequest {
        producer_id: Some(first.producer_id),
        producer_epoch: Some(0),
    };
    let again = client.init_producer(again).await.expect("an epoch").into_inner();
    assert_eq!((again.producer_id, again.producer_epoch), (first.producer_id, 1));
    let half = v1::InitProducerRequest {
        producer_id: Some(1),
        producer_epoch: None,
    };
    let status = client.init_producer(half).await.expect_err("half of it");
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
}
