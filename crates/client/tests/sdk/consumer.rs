//! The consumer against brokers that die, move and refuse.

use crate::fake::{Cluster, until};
use quipu_client::{
    CallError, Client, ClientConfig, Codec, ConsumeError, Consumer, ConsumerConfig, ErrorCode, Offset,
    PartitionId, Producer, ProducerConfig, Record, Start,
};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(60);

async fn client(cluster: &Cluster) -> Client {
    let config = ClientConfig::new(cluster.bootstrap()).with_client_id("tester");
    Client::connect(config).await.unwrap()
}

/// A producer whose batches have some records each.
async fn producer(client: &Client) -> Producer {
    let config = ProducerConfig {
        linger: Duration::from_millis(1),
        codec: Codec::Zstd,
        batch_bytes: 1024,
        ..ProducerConfig::default()
    };
    client.producer(config).await.unwrap()
}

async fn produce(producer: &Producer, partitions: u32, values: std::ops::Range<u32>) {
    let topic = producer.topic("t").await.unwrap();
    for value in values {
        for partition in 0..partitions {
            let text = value.to_string();
            let record = Record::new(text.as_bytes()).to(PartitionId::new(partition));
            drop(topic.send(record).await.unwrap());
        }
    }
    producer.flush().await.unwrap();
}

/// Reads until every partition gave its value `last`; checks that each gives `first..=last` in order.
async fn read(consumer: &mut Consumer, partitions: u32, first: u32, last: u32) {
    let mut next: BTreeMap<u32, u32> = (0..partitions).map(|partition| (partition, first)).collect();
    while next.values().any(|next| *next <= last) {
        let batch = timeout(SOON, consumer.next()).await.expect("in time").unwrap();
        let expected = next.get_mut(&batch.partition().get()).unwrap();
        for record in &batch {
            let record = record.unwrap();
            assert_eq!(record.offset, Offset::new((*expected).into()));
            assert_eq!(
                record.value,
                Some(expected.to_string().as_bytes()),
                "partition {}",
                batch.partition()
            );
            *expected += 1;
        }
        assert_eq!(batch.next_offset(), Offset::new((*expected).into()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_partitions_are_read_in_order_from_the_start_and_on() {
    let cluster = Cluster::start(2, 4);
    let client = client(&cluster).await;
    let producer = producer(&client).await;
    produce(&producer, 4, 0..300).await;
    let mut consumer = client.consumer(ConsumerConfig::default());
    consumer.add_topic("t", Start::Earliest).await.unwrap();
    read(&mut consumer, 4, 0, 299).await;
    assert!(
        timeout(Duration::from_millis(50), consumer.next()).await.is_err(),
        "there is no more"
    );
    produce(&producer, 4, 300..310).await;
    read(&mut consumer, 4, 300, 309).await;
    for position in consumer.positions() {
        assert_eq!(position.offset, Some(Offset::new(310)));
        assert_eq!(position.high_watermark, Some(Offset::new(310)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_starts_inside_a_batch_at_the_end_or_where_it_is_told() {
    let cluster = Cluster::start(1, 1);
    let client = client(&cluster).await;
    let producer = producer(&client).await;
    produce(&producer, 1, 0..100).await;
    let zero = PartitionId::new(0);
    let mut inside = client.consumer(ConsumerConfig::default());
    inside
        .add_partition("t", zero, Start::Offset(Offset::new(7)))
        .await
        .unwrap();
    read(&mut inside, 1, 7, 99).await;
    inside.seek("t", zero, Start::Offset(Offset::new(42))).unwrap();
    read(&mut inside, 1, 42, 99).await;
    inside.seek("t", zero, Start::Earliest).unwrap();
    read(&mut inside, 1, 0, 99).await;

    let mut latest = client.consumer(ConsumerConfig::default());
    latest.add_partition("t", zero, Start::Latest).await.unwrap();
    while latest.positions()[0].offset.is_none() {
        assert!(timeout(Duration::from_millis(20), latest.next()).await.is_err());
    }
    assert_eq!(latest.positions()[0].offset, Some(Offset::new(100)));
    produce(&producer, 1, 100..103).await;
    read(&mut latest, 1, 100, 102).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_reads_on_where_it_was_when_brokers_die_and_leaders_move() {
    let mut cluster = Cluster::start(2, 4);
    let client = client(&cluster).await;
    let producer = producer(&client).await;
    let mut consumer = client.consumer(ConsumerConfig::default());
    consumer.add_topic("t", Start::Earliest).await.unwrap();
    produce(&producer, 4, 0..50).await;
    read(&mut consumer, 4, 0, 49).await;
    cluster.kill(0);
    for partition in 0..4 {
        cluster.elect(partition, Some(1));
    }
    produce(&producer, 4, 50..100).await;
    read(&mut consumer, 4, 50, 99).await;
    cluster.start_broker(0);
    for partition in 0..3 {
        cluster.elect(partition, Some(0));
    }
    produce(&producer, 4, 100..150).await;
    read(&mut consumer, 4, 100, 149).await;
    // Nobody leads one of them for a while.
    cluster.elect(3, None);
    cluster.elect(3, Some(1));
    produce(&producer, 4, 150..160).await;
    read(&mut consumer, 4, 150, 159).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_consumer_is_sent_no_more_than_its_window() {
    let cluster = Cluster::start(1, 1);
    let client = client(&cluster).await;
    let producer = producer(&client).await;
    produce(&producer, 1, 0..20_000).await;
    let config = ConsumerConfig {
        window_bytes: 4096,
        ..ConsumerConfig::default()
    };
    let mut consumer = client.consumer(config);
    consumer.add_topic("t", Start::Earliest).await.unwrap();
    let first = timeout(SOON, consumer.next()).await.unwrap().unwrap();
    let given = first.iter().count();
    assert!(given > 0);
    until("the window is given once", || {
        cluster.shared.state().credits.iter().sum::<u64>() >= 4096
    })
    .await;
    let granted: u64 = cluster.shared.state().credits.iter().sum();
    assert!(granted < 3 * 4096, "{granted} bytes for one batch");
    read(&mut consumer, 1, u32::try_from(given).unwrap(), 19_999).await;
    let granted: u64 = cluster.shared.state().credits.iter().sum();
    let stored: usize = cluster.shared.state().topics["t"].partitions[0]
        .log
        .iter()
        .map(quipu_record::StoredBatch::len)
        .sum();
    assert!(granted <= stored as u64 + 4096, "{granted} for {stored}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_partition_waits_at_its_place() {
    let cluster = Cluster::start(1, 2);
    let client = client(&cluster).await;
    let producer = producer(&client).await;
    produce(&producer, 2, 0..10).await;
    let mut consumer = client.consumer(ConsumerConfig::default());
    consumer.add_topic("t", Start::Earliest).await.unwrap();
    read(&mut consumer, 2, 0, 9).await;
    let (zero, one) = (PartitionId::new(0), PartitionId::new(1));
    consumer.pause("t", one).unwrap();
    produce(&producer, 2, 10..20).await;
    read(&mut consumer, 1, 10, 19).await;
    assert!(
        timeout(Duration::from_millis(100), consumer.next())
            .await
            .is_err()
    );
    consumer.pause("t", zero).unwrap();
    assert_eq!(consumer.next().await.unwrap_err(), ConsumeError::NoPartitions);
    consumer.resume("t", one).unwrap();
    let batch = timeout(SOON, consumer.next()).await.unwrap().unwrap();
    assert_eq!(
        (batch.partition(), batch.iter().next().unwrap().unwrap().offset),
        (one, Offset::new(10))
    );
    consumer.remove_partition("t", one);
    consumer.remove_partition("t", zero);
    assert_eq!(consumer.next().await.unwrap_err(), ConsumeError::NoPartitions);
    assert!(matches!(
        consumer.resume("t", one),
        Err(ConsumeError::NotAssigned { .. })
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_names_the_partition_and_the_others_go_on() {
    let cluster = Cluster::start(1, 2);
    let client = client(&cluster).await;
    let producer = producer(&client).await;
    produce(&producer, 2, 0..10).await;
    let mut consumer = client.consumer(ConsumerConfig::default());
    let (zero, one) = (PartitionId::new(0), PartitionId::new(1));
    consumer
        .add_partition("t", zero, Start::Offset(Offset::new(500)))
        .await
        .unwrap();
    consumer.add_partition("t", one, Start::Earliest).await.unwrap();
    let (mut errors, mut records) = (Vec::new(), 0);
    while errors.is_empty() || records < 10 {
        match timeout(SOON, consumer.next()).await.unwrap() {
            Ok(batch) => records += batch.iter().count(),
            Err(error) => errors.push(error),
        }
    }
    let [
        ConsumeError::Rejected {
            partition, failure, ..
        },
    ] = &errors[..]
    else {
        panic!("{errors:?}")
    };
    assert_eq!((*partition, failure.code), (zero, ErrorCode::OffsetOutOfRange));
    consumer.seek("t", zero, Start::Earliest).unwrap();
    read(&mut consumer, 1, 0, 9).await;

    let error = consumer.add_topic("nowhere", Start::Earliest).await.unwrap_err();
    assert!(
        matches!(&error, CallError::Rejected(failure) if failure.code == ErrorCode::UnknownTopicOrPartition)
    );
    let error = consumer
        .add_partition("t", PartitionId::new(9), Start::Earliest)
        .await
        .unwrap_err();
    assert_eq!(error.code(), ErrorCode::UnknownTopicOrPartition);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_bytes_are_not_given() {
    let cluster = Cluster::start(1, 1);
    let client = client(&cluster).await;
    let producer = producer(&client).await;
    produce(&producer, 1, 0..5).await;
    {
        let mut state = cluster.shared.state();
        let mut bytes = state.topics["t"].partitions[0].log[0].to_bytes().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        state.damaged = Some(bytes.into());
    }
    let mut consumer = client.consumer(ConsumerConfig::default());
    consumer.add_topic("t", Start::Earliest).await.unwrap();
    let error = timeout(SOON, consumer.next()).await.unwrap().unwrap_err();
    assert!(matches!(error, ConsumeError::BadBatch { .. }), "{error}");
    assert_eq!(error.code(), ErrorCode::CorruptBatch);
    // Only what was sent was damaged: the next attempt is well.
    consumer.resume("t", PartitionId::new(0)).unwrap();
    read(&mut consumer, 1, 0, 4).await;
}
