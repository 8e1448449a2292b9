//! Back-pressure.

use crate::harness::{MiniBroker, config, encode, encoded, records};
use quipu_broker::DataPlaneConfig;
use quipu_proto::v1;
use quipu_record::Codec;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

const BATCHES: u64 = 3_000;

/// A client that sends and sends and reads no answer is held back; what it sent before is not lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_no_answers_is_held_back() {
    let queue_bytes = 4 << 20;
    let mut broker = MiniBroker::with(DataPlaneConfig {
        queue_bytes,
        stream_window_bytes: 1 << 20,
        ..config()
    })
    .await;
    broker.create("t", 1);
    let value = "v".repeat(10_000);
    let bytes = encode(&[&value], Codec::None, None);
    let (send, requests) = mpsc::channel(1);
    let responses = broker
        .producing_with_room_for(1024)
        .await
        .produce_stream(ReceiverStream::new(requests))
        .await;
    let mut responses = responses.expect("a stream").into_inner();
    let sent = Arc::new(AtomicU64::new(0));
    let sending = tokio::spawn({
        let sent = Arc::clone(&sent);
        async move {
            for request_id in 0..BATCHES {
                let request = v1::ProduceStreamRequest {
                    request_id,
                    batch: Some(encoded("t", 0, bytes.clone())),
                    ..v1::ProduceStreamRequest::default()
                };
                send.send(request).await.expect("the stream is open");
                sent.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    // The answers' own window takes a while to fill. Then nothing moves any more: that nothing comes is seen by waiting only,
    // and a machine that stalls for so long makes the test look too early, which does not fail it.
    let mut before = u64::MAX;
    while sent.load(Ordering::Relaxed) != before {
        before = sent.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(broker.plane.stats().queued_bytes <= queue_bytes);
    }
    assert!(before < BATCHES, "nothing held it back");
    let mut next = 0;
    while next < BATCHES {
        let response = responses.message().await.expect("no error").expect("no end");
        let Some(request_id) = response.request_id else {
            continue;
        };
        assert_eq!(request_id, next);
        assert_eq!(response.result.expect("a result").base_offset, Some(next));
        next += 1;
    }
    sending.await.expect("all sent");
    assert_eq!(broker.plane.stats().queued_bytes, 0, "everything was given back");
}

/// Much at once is written in pieces, between which the flusher is heard: everything is answered, and nothing that it
/// reported is forgotten, which the end would wait for.
#[tokio::test(flavor = "multi_thread")]
async fn much_at_once_is_answered_and_the_end_is_clean() {
    const CALLS: usize = 24;
    const BATCHES_EACH: usize = 8;
    let mut broker = MiniBroker::with(DataPlaneConfig {
        queue_bytes: 64 << 20,
        ..config()
    })
    .await;
    broker.create("t", 1);
    let value = "x".repeat(400 << 10);
    let bytes = encode(&[value.as_str()], Codec::None, None);
    let calls: Vec<_> = (0..CALLS)
        .map(|_| {
            let mut producing = broker.producing();
            let request = v1::ProduceRequest {
                batches: vec![encoded("t", 0, bytes.clone()); BATCHES_EACH],
                ..v1::ProduceRequest::default()
            };
            tokio::spawn(async move { producing.produce(request).await })
        })
        .collect();
    let mut offsets = Vec::new();
    for call in calls {
        let response = call.await.expect("no panic").expect("an answer").into_inner();
        offsets.extend(response.results.iter().filter_map(|result| result.base_offset));
    }
    offsets.sort_unstable();
    assert!(offsets.into_iter().eq(0..(CALLS * BATCHES_EACH) as u64));
    let broker = broker.restart(true).await;
    assert_eq!(broker.all_values("t", 0).await.len(), CALLS * BATCHES_EACH);
}

/// Past what waits in line, requests are refused by name, and nothing of them is appended.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_larger_than_the_whole_budget_passes_alone() {
    let mut broker = MiniBroker::with(DataPlaneConfig {
        queue_bytes: 1 << 10,
        ..config()
    })
    .await;
    broker.create("t", 1);
    let value = "v".repeat(100_000);
    for offset in 0..3 {
        let result = broker
            .produce(encoded("t", 0, encode(&[&value], Codec::None, None)))
            .await;
        assert_eq!(result.base_offset, Some(offset));
    }
    assert_eq!(broker.plane.stats().queued_bytes, 0);
}

/// Many small parts are cheap on the wire and dear in memory: they are weighed before they are decoded.
#[tokio::test(flavor = "multi_thread")]
async fn requests_of_too_many_parts_are_refused() {
    let mut broker = MiniBroker::start().await;
    broker.create("t", 1);
    let mut batch = records("t", 0, &[]);
    if let Some(v1::batch::Payload::Records(list)) = &mut batch.payload {
        list.records = vec![v1::Record::default(); 200_000];
    }
    let call = v1::ProduceRequest {
        batches: vec![batch],
        ..v1::ProduceRequest::default()
    };
    let status = broker.producing().produce(call).await.expect_err("too many");
    assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status}");

    let fetch = v1::FetchRequest {
        partitions: vec![v1::FetchPartition::default(); 20_000],
        ..v1::FetchRequest::default()
    };
    let status = broker.consuming().fetch(fetch).await.expect_err("too many");
    assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status}");
}
