//! The producer against brokers that refuse, break, hang and move.

use crate::fake::{Cluster, Next, until};
use quipu_client::{
    Acks, Client, ClientConfig, DeliveryError, Durability, ErrorCode, Offset, PartitionId, ProducerConfig,
    Record, SendError,
};
use std::time::Duration;

async fn client(cluster: &Cluster) -> Client {
    let config = ClientConfig::new(cluster.bootstrap()).with_client_id("tester");
    Client::connect(config).await.unwrap()
}

fn config() -> ProducerConfig {
    ProducerConfig {
        linger: Duration::from_millis(1),
        ..ProducerConfig::default()
    }
}

/// Sends `count` records one batch at a time without waiting for answers; returns their values and handles.
async fn send_batches(
    producer: &quipu_client::Producer,
    count: usize,
    prefix: &str,
) -> (Vec<String>, Vec<quipu_client::Delivery>) {
    let topic = producer.topic("t").await.unwrap();
    let mut sent = (Vec::new(), Vec::new());
    for number in 0..count {
        let value = format!("{prefix}{number}");
        let before = producer.stats().batches;
        let record = Record::new(value.as_bytes()).to(PartitionId::new(0));
        sent.1.push(topic.send(record).await.unwrap());
        sent.0.push(value);
        if number < 5 {
            until("the batch is sent", || producer.stats().batches > before).await;
        }
    }
    sent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_stored_in_order_and_acknowledged_with_their_offsets() {
    let cluster = Cluster::start(1, 1);
    let producer = client(&cluster).await.producer(config()).await.unwrap();
    let (values, deliveries) = send_batches(&producer, 50, "v").await;
    for (offset, delivery) in (0..).zip(deliveries) {
        let delivered = delivery.await.unwrap();
        assert_eq!(delivered.offset, Some(Offset::new(offset)));
        assert_eq!(delivered.durability, Some(Durability::Flushed));
    }
    assert_eq!(cluster.values(0), values);
    let stats = producer.stats();
    assert_eq!(
        (stats.records, stats.acknowledged, stats.unacknowledged_batches),
        (50, 50, 0)
    );
    producer.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_go_where_kafka_sends_them_and_keyless_records_stick() {
    let cluster = Cluster::start(2, 4);
    let producer = client(&cluster).await.producer(config()).await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    let partitions = std::num::NonZeroU32::new(4).unwrap();
    for key in 0..100u32 {
        let key = format!("key-{key}");
        let delivery = topic.send(Record::keyed(key.as_bytes(), b"v")).await.unwrap();
        assert_eq!(
            delivery.partition(),
            quipu_record::partition_for_key(key.as_bytes(), partitions)
        );
    }
    producer.flush().await.unwrap();
    let mut used = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let batch = [
            topic.send(Record::new(b"v")).await.unwrap(),
            topic.send(Record::new(b"v")).await.unwrap(),
        ];
        used.insert(batch[0].partition());
        producer.flush().await.unwrap();
    }
    assert_eq!(used.len(), 4, "every partition is used in turn");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_reordered_when_streams_break() {
    let cluster = Cluster::start(1, 1);
    let producer = client(&cluster).await.producer(config()).await.unwrap();
    cluster.next(0, [Next::StoreAndBreak]);
    let (mut values, first) = send_batches(&producer, 1, "a").await;
    cluster.next(
        0,
        [
            Next::Break,
            Next::StoreAndTimeOut,
            Next::NotLeader,
            Next::Refuse(ErrorCode::StorageFull),
        ],
    );
    let (more, second) = send_batches(&producer, 8, "b").await;
    values.extend(more);
    for delivery in first.into_iter().chain(second) {
        delivery.await.unwrap();
    }
    assert_eq!(cluster.values(0), values);
    assert!(producer.stats().retries > 0);
    assert!(cluster.calls("produce_stream") >= 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_broker_costs_nothing_but_time() {
    let mut cluster = Cluster::start(1, 3);
    let producer = client(&cluster).await.producer(config()).await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    let mut deliveries = Vec::new();
    for round in 0..6 {
        for number in 0..200 {
            let (key, value) = (format!("{}", number % 7), format!("{round}-{number}"));
            deliveries.push(
                topic
                    .send(Record::keyed(key.as_bytes(), value.as_bytes()))
                    .await
                    .unwrap(),
            );
        }
        if round == 2 {
            cluster.kill(0);
        }
        if round == 4 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            cluster.start_broker(0);
        }
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    let stored: usize = (0..3).map(|partition| cluster.values(partition).len()).sum();
    assert_eq!(stored, 1200);
    for partition in 0..3 {
        let values = cluster.values(partition);
        let numbers: Vec<(u32, u32)> = values
            .iter()
            .map(|value| {
                let (round, number) = value.split_once('-').unwrap();
                (round.parse().unwrap(), number.parse().unwrap())
            })
            .collect();
        assert!(numbers.is_sorted(), "{numbers:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_moves_is_followed_by_hint_and_by_routes() {
    let cluster = Cluster::start(3, 1);
    let producer = client(&cluster).await.producer(config()).await.unwrap();
    let (mut values, deliveries) = send_batches(&producer, 5, "a").await;
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    for (round, leader) in [1, 2, 0, 2].into_iter().enumerate() {
        cluster.elect(0, Some(leader));
        let (more, deliveries) = send_batches(&producer, 7, &format!("{round}-")).await;
        values.extend(more);
        for delivery in deliveries {
            assert!(delivery.await.unwrap().leader_epoch.get() > 0);
        }
    }
    assert_eq!(cluster.values(0), values);
    // Nobody leads for a while; then somebody does, and only the routes say so.
    cluster.elect(0, None);
    let topic = producer.topic("t").await.unwrap();
    let waiting = topic.send(Record::new(b"waits")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(waiting.try_get(), None);
    cluster.elect(0, Some(1));
    waiting.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_refused_for_good_does_not_take_others_with_it() {
    let cluster = Cluster::start(1, 1);
    let producer = client(&cluster).await.producer(config()).await.unwrap();
    cluster.next(0, [Next::Refuse(ErrorCode::InvalidTimestamp)]);
    let (values, deliveries) = send_batches(&producer, 6, "v").await;
    let mut deliveries = deliveries.into_iter();
    let first = deliveries.next().unwrap().await.unwrap_err();
    assert_eq!(first.code(), ErrorCode::InvalidTimestamp);
    assert!(!first.outcome_unknown());
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    assert_eq!(cluster.values(0), values[1..]);
    let error = producer.flush().await.unwrap_err();
    assert_eq!(
        (error.failed, error.unknown, error.code()),
        (1, 0, ErrorCode::InvalidTimestamp)
    );
    producer.flush().await.unwrap();
    assert_eq!(cluster.calls("init_producer"), 1, "no new identity was needed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_known_is_said_to_be_unknown() {
    let cluster = Cluster::start(1, 1);
    let config = ProducerConfig {
        delivery_timeout: Duration::from_secs(2),
        ..config()
    };
    let producer = client(&cluster).await.producer(config).await.unwrap();
    cluster.next(0, [Next::StoreAndHang]);
    let (_, deliveries) = send_batches(&producer, 1, "v").await;
    for delivery in deliveries {
        let error = delivery.await.unwrap_err();
        assert!(error.outcome_unknown(), "{error}");
    }
    // The next one goes under a raised epoch, and is stored once.
    let (_, deliveries) = send_batches(&producer, 1, "w").await;
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    assert_eq!(cluster.values(0), ["v0", "w0"]);
    let state = cluster.shared.state();
    let stamps: Vec<_> = state
        .sequences
        .iter()
        .filter_map(|(_, header)| header.producer())
        .collect();
    let epochs: Vec<_> = stamps
        .iter()
        .map(|stamp| (stamp.epoch.get(), stamp.base_sequence.get()))
        .collect();
    assert_eq!((epochs.first(), epochs.last()), (Some(&(0, 0)), Some(&(1, 0))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_idempotence_a_lost_answer_is_an_unknown_outcome_and_nothing_is_repeated() {
    let cluster = Cluster::start(1, 1);
    let config = ProducerConfig {
        idempotent: false,
        acks: Acks::Leader,
        ..config()
    };
    let producer = client(&cluster).await.producer(config).await.unwrap();
    cluster.next(0, [Next::StoreAndBreak]);
    let (_, deliveries) = send_batches(&producer, 1, "v").await;
    for delivery in deliveries {
        assert!(matches!(
            delivery.await,
            Err(DeliveryError::OutcomeUnknown { .. })
        ));
    }
    let (_, deliveries) = send_batches(&producer, 3, "w").await;
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    assert_eq!(cluster.values(0), ["v0", "w0", "w1", "w2"]);
    assert_eq!(cluster.calls("init_producer"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_never_sent_expires_and_is_certainly_not_stored() {
    let cluster = Cluster::start(1, 1);
    cluster.elect(0, None);
    let config = ProducerConfig {
        delivery_timeout: Duration::from_millis(1500),
        ..config()
    };
    let producer = client(&cluster).await.producer(config).await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    let error = topic.send(Record::new(b"v")).await.unwrap().await.unwrap_err();
    assert!(
        matches!(&error, DeliveryError::Expired { last } if last.contains("no leader")),
        "{error}"
    );
    cluster.elect(0, Some(0));
    // On a busy machine even this may take too long, and is then not stored either.
    while let Err(error) = topic.send(Record::new(b"w")).await.unwrap().await {
        assert!(matches!(error, DeliveryError::Expired { .. }), "{error}");
    }
    assert_eq!(cluster.values(0), ["w"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_buffer_makes_senders_wait_and_loses_nothing() {
    let cluster = Cluster::start(1, 1);
    cluster.elect(0, None);
    let config = ProducerConfig {
        batch_bytes: 2048,
        buffer_bytes: 8192,
        ..config()
    };
    let producer = client(&cluster).await.producer(config).await.unwrap();
    let topic = producer.topic("t").await.unwrap();
    let value = [b'x'; 500];
    let mut taken = 0;
    loop {
        match topic.try_send(&Record::new(&value)) {
            Ok(delivery) => drop(delivery),
            Err(SendError::BufferFull) => break,
            Err(other) => panic!("{other}"),
        }
        taken += 1;
        assert!(taken < 100);
    }
    assert!(producer.stats().buffered_bytes <= 8192);
    let sending = {
        let topic = topic.clone();
        tokio::spawn(async move {
            for _ in 0..200 {
                let _sent = topic.send(Record::new(&[b'y'; 500])).await.unwrap();
            }
        })
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!sending.is_finished());
    cluster.elect(0, Some(0));
    sending.await.unwrap();
    producer.flush().await.unwrap();
    assert_eq!(cluster.values(0).len(), taken + 200);
    assert_eq!(producer.stats().buffered_bytes, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_are_named() {
    let cluster = Cluster::start(1, 1);
    let client = client(&cluster).await;
    let producer = client.producer(config()).await.unwrap();
    let error = producer.send("nowhere", Record::new(b"v")).await.unwrap_err();
    assert!(
        matches!(&error, SendError::UnknownTopic { topic } if topic == "nowhere"),
        "{error}"
    );
    let error = producer
        .send("t", Record::new(b"v").to(PartitionId::new(1)))
        .await
        .unwrap_err();
    assert!(
        matches!(error, SendError::UnknownPartition { partitions: 1, .. }),
        "{error}"
    );
    let error = producer
        .send("t", Record::new(&vec![0; 2 << 20]))
        .await
        .unwrap_err();
    assert!(
        matches!(error, SendError::TooLarge { limit: 1_048_576, .. }),
        "{error}"
    );
    let wrong = ProducerConfig {
        acks: Acks::Leader,
        ..config()
    };
    assert!(matches!(client.producer(wrong).await, Err(SendError::Config(_))));
    let copy = producer.clone();
    producer.close().await.unwrap();
    let error = copy.send("t", Record::new(b"v")).await.unwrap_err();
    assert!(matches!(error, SendError::Closed), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_created_again_is_another_topic() {
    let cluster = Cluster::start(1, 1);
    let producer = client(&cluster).await.producer(config()).await.unwrap();
    producer
        .send("t", Record::new(b"old"))
        .await
        .unwrap()
        .await
        .unwrap();
    cluster.create("t", 8, 1, 1);
    let error = producer
        .send("t", Record::new(b"lost"))
        .await
        .unwrap()
        .await
        .unwrap_err();
    assert_eq!(error.code(), ErrorCode::UnknownTopicId);
    producer
        .send("t", Record::new(b"new"))
        .await
        .unwrap()
        .await
        .unwrap();
    assert_eq!(cluster.values(0), ["new"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_the_producer_sends_what_it_took() {
    let cluster = Cluster::start(1, 1);
    let producer = client(&cluster).await.producer(config()).await.unwrap();
    let delivery = producer.send("t", Record::new(b"v")).await.unwrap();
    drop(producer);
    delivery.await.unwrap();
    assert_eq!(cluster.values(0), ["v"]);
}

#[test]
fn handles_are_told_even_if_the_runtime_goes_down() {
    let cluster = Cluster::start(1, 1);
    cluster.elect(0, None);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (delivery,) = runtime.block_on(async {
        let producer = client(&cluster).await.producer(config()).await.unwrap();
        (producer.send("t", Record::new(b"v")).await.unwrap(),)
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
    assert!(
        matches!(delivery.try_get(), Some(Err(DeliveryError::Closed))),
        "{:?}",
        delivery.try_get()
    );
}
