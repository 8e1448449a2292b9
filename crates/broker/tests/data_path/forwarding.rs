//! A thin client asks one broker for everything; what others lead goes one hop.

use crate::cluster::Cluster;
use crate::harness::{at, encode, encoded, reason, records, stamp};
use quipu_proto::v1;
use quipu_record::{BrokerId, Codec, TopicId};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio_stream::wrappers::ReceiverStream;

const NEVER: Duration = Duration::from_secs(600);
const PARTITIONS: u32 = 6;
const ASKED: BrokerId = BrokerId::new(1);

async fn start() -> (Cluster, TopicId) {
    let cluster = Cluster::start(NEVER).await;
    let topic = cluster.create_of("t", PARTITIONS, &[]);
    let leaders: BTreeSet<_> = (0..PARTITIONS).map(|p| cluster.leader(at(topic, p))).collect();
    assert_eq!(leaders.len(), 3, "everybody leads something");
    (cluster, topic)
}

fn to_all(value: &str) -> Vec<v1::Batch> {
    (0..PARTITIONS)
        .map(|p| records("t", p, &[&format!("{value} {p}")]))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_one_broker_reaches_every_leader() {
    let (cluster, topic) = start().await;
    let request = v1::ProduceRequest {
        batches: to_all("x"),
        ..v1::ProduceRequest::default()
    };
    let results = cluster
        .producing(ASKED)
        .produce(request)
        .await
        .expect("an answer")
        .into_inner()
        .results;
    for (p, result) in (0..PARTITIONS).zip(&results) {
        assert_eq!(result.error, None);
        assert_eq!((result.partition, result.base_offset), (p, Some(0)));
        assert_eq!(result.topic_id, topic.to_string());
    }

    let queries = (0..PARTITIONS).map(|p| v1::OffsetQuery {
        topic: "t".to_owned(),
        partition: p,
        at: Some(v1::StartPosition {
            position: Some(v1::start_position::Position::Latest(v1::Latest {})),
        }),
        ..v1::OffsetQuery::default()
    });
    let request = v1::ListOffsetsRequest {
        queries: queries.collect(),
        ..v1::ListOffsetsRequest::default()
    };
    let listed = cluster
        .consuming(ASKED)
        .list_offsets(request)
        .await
        .expect("an answer")
        .into_inner();
    let latest: Vec<_> = listed
        .results
        .iter()
        .map(|found| (found.error.clone(), found.offset))
        .collect();
    assert_eq!(latest, vec![(None, 1); PARTITIONS as usize]);

    let mut fetched = BTreeSet::new();
    while fetched.len() < PARTITIONS as usize {
        let request = v1::FetchRequest {
            partitions: (0..PARTITIONS).map(part).collect(),
            max_wait_ms: 10_000,
            min_bytes: 1,
            ..v1::FetchRequest::default()
        };
        let answer = cluster
            .consuming(ASKED)
            .fetch(request)
            .await
            .expect("an answer")
            .into_inner();
        assert_eq!(answer.partitions.len(), PARTITIONS as usize);
        for data in answer.partitions {
            assert_eq!(data.error, None);
            for stored in data.records {
                let value = stored.record.and_then(|record| record.value).expect("a value");
                assert_eq!(value, format!("x {}", data.partition));
                fetched.insert(data.partition);
            }
        }
    }
}

/// Thin clients name keys, not partitions: many batches of one call may come to the same partition, here or elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn batches_by_key_that_come_to_one_partition_are_appended_in_order() {
    let (cluster, _) = start().await;
    let batches = (0..60).map(|i| {
        let record = v1::Record {
            key: Some(format!("key {}", i % 10).into()),
            value: Some(i.to_string().into()),
            ..v1::Record::default()
        };
        let records = v1::RecordList {
            records: vec![record],
            ..v1::RecordList::default()
        };
        v1::Batch {
            topic: "t".to_owned(),
            payload: Some(v1::batch::Payload::Records(records)),
            ..v1::Batch::default()
        }
    });
    let request = v1::ProduceRequest {
        batches: batches.collect(),
        ..v1::ProduceRequest::default()
    };
    let answer = cluster
        .producing(ASKED)
        .produce(request)
        .await
        .expect("an answer");
    let mut next = [0; PARTITIONS as usize];
    for result in answer.into_inner().results {
        assert_eq!(result.error, None);
        let next = &mut next[result.partition as usize];
        assert_eq!(result.base_offset, Some(*next), "partition {}", result.partition);
        *next += 1;
    }
    assert_eq!(next.iter().sum::<u64>(), 60);
    assert!(next.iter().any(|there| *there > 10), "{next:?}");
}

fn part(partition: u32) -> v1::FetchPartition {
    v1::FetchPartition {
        topic: "t".to_owned(),
        partition,
        ..v1::FetchPartition::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_keeps_the_order_of_each_partition_wherever_it_is_led() {
    let (cluster, _) = start().await;
    const EACH: u32 = 40;
    let (send, requests) = tokio::sync::mpsc::channel(8);
    let mut answers = cluster
        .producing(ASKED)
        .produce_stream(ReceiverStream::new(requests))
        .await
        .expect("a stream")
        .into_inner();
    let sending = tokio::spawn(async move {
        for n in 0..EACH {
            for p in 0..PARTITIONS {
                // With a sequence: out of order, it would be refused.
                let bytes = encode(&["x"], Codec::None, Some(stamp(7, 0, n)));
                let request = v1::ProduceStreamRequest {
                    request_id: u64::from(n * PARTITIONS + p),
                    batch: Some(encoded("t", p, bytes)),
                    ..v1::ProduceStreamRequest::default()
                };
                send.send(request).await.expect("the stream is open");
            }
        }
    });
    let mut next = [0; PARTITIONS as usize];
    let mut answered = 0;
    while let Some(answer) = answers.message().await.expect("it goes on") {
        let (Some(id), Some(result)) = (answer.request_id, answer.result) else {
            continue;
        };
        assert_eq!(result.error, None);
        let p = usize::try_from(result.partition).expect("small");
        assert_eq!(id, u64::from(next[p] * PARTITIONS + result.partition), "in order");
        assert_eq!(result.base_offset, Some(next[p].into()));
        next[p] += 1;
        answered += 1;
        if answered == EACH * PARTITIONS {
            break;
        }
    }
    sending.await.expect("all sent");
    assert_eq!(next, [EACH; PARTITIONS as usize]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_on_that_wants_the_leader_or_comes_from_a_broker() {
    let (cluster, topic) = start().await;
    let elsewhere = (0..PARTITIONS)
        .find(|p| cluster.leader(at(topic, *p)) != ASKED)
        .expect("one");
    let request = |routing: v1::Routing| v1::ProduceRequest {
        batches: vec![records("t", elsewhere, &["x"])],
        routing: routing.into(),
        ..v1::ProduceRequest::default()
    };
    let leader_only = cluster
        .producing(ASKED)
        .produce(request(v1::Routing::LeaderOnly))
        .await;
    let internal = cluster
        .producing_internally(ASKED)
        .produce(request(v1::Routing::Forward))
        .await;
    for answer in [leader_only, internal] {
        let result = answer.expect("an answer").into_inner().results.remove(0);
        assert_eq!(reason(result.error.as_ref()), v1::ErrorReason::NotLeader);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_gone_is_said_to_be() {
    let (mut cluster, topic) = start().await;
    let gone = BrokerId::new(3);
    let led = (0..PARTITIONS)
        .find(|p| cluster.leader(at(topic, *p)) == gone)
        .expect("one");
    cluster.crash(gone).await;
    let request = v1::ProduceRequest {
        batches: vec![records("t", led, &["x"])],
        ..v1::ProduceRequest::default()
    };
    let result = cluster
        .producing(ASKED)
        .produce(request)
        .await
        .expect("an answer")
        .into_inner()
        .results
        .remove(0);
    assert_eq!(reason(result.error.as_ref()), v1::ErrorReason::LeaderNotAvailable);
    assert!(result.error.is_some_and(|error| error.retryable));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_to_one_broker_brings_what_every_leader_has() {
    use quipu_proto::v1::consume_request::Message as Ask;
    use quipu_proto::v1::consume_response::Message as Say;

    let (cluster, topic) = start().await;
    let partitions = (0..PARTITIONS).map(|partition| v1::ConsumePartition {
        topic: "t".to_owned(),
        partition,
        ..v1::ConsumePartition::default()
    });
    let open = v1::Open {
        source: Some(v1::open::Source::Partitions(v1::OpenPartitions {
            partitions: partitions.collect(),
        })),
        ..v1::Open::default()
    };
    let credit = v1::Credit {
        bytes: 1 << 20,
        records: None,
    };
    let (ask, asked) = tokio::sync::mpsc::channel(4);
    for message in [Ask::Open(open), Ask::Credit(credit)] {
        let message = v1::ConsumeRequest {
            message: Some(message),
        };
        ask.send(message).await.expect("room");
    }
    let mut client = cluster.consuming(ASKED);
    let stream = client.consume(ReceiverStream::new(asked));
    let mut stream = stream.await.expect("a stream").into_inner();

    let mut opened = false;
    // Twice: what is there, and what comes while the stream waits at the end.
    for value in ["x", "y"] {
        let request = v1::ProduceRequest {
            batches: to_all(value),
            ..v1::ProduceRequest::default()
        };
        cluster
            .producing(ASKED)
            .produce(request)
            .await
            .expect("an answer");
        let mut got = BTreeSet::new();
        while got.len() < PARTITIONS as usize {
            match stream
                .message()
                .await
                .expect("a frame")
                .and_then(|frame| frame.message)
            {
                Some(Say::Opened(all)) => {
                    opened = true;
                    assert!(all.partitions.iter().all(|one| one.error.is_none()), "{all:?}");
                }
                Some(Say::Data(data)) => {
                    assert_eq!(data.error, None);
                    assert_eq!(data.topic_id, topic.to_string());
                    for stored in data.records {
                        let text = stored.record.and_then(|record| record.value).expect("a value");
                        assert_eq!(text, format!("{value} {}", data.partition));
                        assert!(got.insert(data.partition), "each once");
                    }
                }
                _ => {}
            }
        }
    }
    assert!(opened);
}
