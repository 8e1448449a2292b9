//! Leaders that move, die, fall silent or are wrong about each other: nothing is lost, doubled or reordered, and whoever
//! knows better is found.

use crate::fake::{Cluster, Next, until};
use quipu_client::{
    Client, ClientConfig, Consumer, ConsumerConfig, Delivery, ErrorCode, NewTopic, Offset, PartitionId,
    Producer, ProducerConfig, Record, Reset, Start,
};
use quipu_proto::Failure;
use std::time::{Duration, Instant};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(60);
/// Less than the keep-alive takes to find out that a broker is silent.
const BEFORE_KEEP_ALIVE: Duration = Duration::from_secs(9);
const ZERO: PartitionId = PartitionId::new(0);

async fn client(cluster: &Cluster) -> Client {
    let config = ClientConfig::new(cluster.bootstrap()).with_client_id("tester");
    Client::connect(config).await.unwrap()
}

async fn producer(client: &Client) -> Producer {
    let config = ProducerConfig {
        linger: Duration::from_millis(1),
        ..ProducerConfig::default()
    };
    client.producer(config).await.unwrap()
}

/// Sends records to one partition, each a batch of its own as far as the window lets it.
async fn send(producer: &Producer, partition: PartitionId, values: std::ops::Range<u32>) -> Vec<Delivery> {
    let topic = producer.topic("t").await.unwrap();
    let mut deliveries = Vec::new();
    for value in values {
        let before = producer.stats().batches;
        let text = value.to_string();
        deliveries.push(
            topic
                .send(Record::new(text.as_bytes()).to(partition))
                .await
                .unwrap(),
        );
        if deliveries.len() < 5 {
            until("the batch is sent", || producer.stats().batches > before).await;
        }
    }
    deliveries
}

async fn all_stored(deliveries: Vec<Delivery>) {
    for delivery in deliveries {
        timeout(SOON, delivery).await.expect("in time").unwrap();
    }
}

fn texts(values: std::ops::Range<u32>) -> Vec<String> {
    values.map(|value| value.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_dies_with_batches_unacknowledged_and_another_leads() {
    let mut cluster = Cluster::start(3, 1);
    let client = client(&cluster).await;
    let producer = producer(&client).await;
    // Each batch is stored by the old leader, and no answer leaves it.
    cluster.next(0, vec![Next::StoreAndHang; 5]);
    let deliveries = send(&producer, ZERO, 0..40).await;
    let stored = || cluster.shared.state().topics["t"].partitions[0].log.len();
    until("the old leader has stored a window of them", || stored() == 5).await;
    cluster.kill(0);
    until("it waits for news", || cluster.calls("watch_routing") > 0).await;
    cluster.elect(0, Some(2));
    all_stored(deliveries).await;
    assert_eq!(cluster.values(0), texts(0..40));
    assert_eq!(cluster.calls("init_producer"), 1, "the identity is still good");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_leader_is_left_as_soon_as_a_newer_one_is_known() {
    let cluster = Cluster::start(2, 2);
    let client = client(&cluster).await;
    let producer = producer(&client).await;
    let mut consumer = client.consumer(ConsumerConfig::default());
    consumer.add_topic("t", Start::Earliest).await.unwrap();
    all_stored(send(&producer, ZERO, 0..3).await).await;
    all_stored(send(&producer, PartitionId::new(1), 0..3).await).await;
    read(&mut consumer, 0, 0..3).await;

    cluster.silence(0);
    let begun = Instant::now();
    let waiting = send(&producer, ZERO, 3..8).await;
    cluster.elect(0, Some(1));
    // Nobody tells of partition 0, but another partition's trouble makes both ask.
    cluster.next(1, [Next::Refuse(ErrorCode::LeaderNotAvailable)]);
    all_stored(send(&producer, PartitionId::new(1), 3..4).await).await;
    all_stored(waiting).await;
    assert_eq!(cluster.values(0), texts(0..8));
    assert!(begun.elapsed() < BEFORE_KEEP_ALIVE, "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hints_that_are_older_than_what_is_known_lead_nobody_astray() {
    let cluster = Cluster::start(3, 1);
    let client = client(&cluster).await;
    let producer = producer(&client).await;
    all_stored(send(&producer, ZERO, 0..1).await).await;
    cluster.elect(0, Some(1));
    cluster.elect(0, Some(2));
    all_stored(send(&producer, ZERO, 1..2).await).await;
    // The leader itself, and then nobody, says what was true before.
    let streams = cluster.calls("produce_stream");
    cluster.next(0, [Next::Hint(0, 0), Next::Hint(1, 1)]);
    all_stored(send(&producer, ZERO, 2..9).await).await;
    assert_eq!(cluster.values(0), texts(0..9));
    assert_eq!(cluster.calls("produce_stream"), streams, "nobody else was asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_hears_of_nothing_is_not_believed_for_ever() {
    let mut cluster = Cluster::start(3, 1);
    // Whom the client asks first.
    cluster.cut_off(0);
    cluster.elect(0, Some(1));
    let client = client(&cluster).await;
    let producer = producer(&client).await;
    all_stored(send(&producer, ZERO, 0..3).await).await;
    let mut consumer = client.consumer(ConsumerConfig::default());
    consumer.add_topic("t", Start::Earliest).await.unwrap();
    read(&mut consumer, 0, 0..3).await;
    // The leader dies: no hint can come, and the one that is asked is wrong.
    cluster.kill(1);
    cluster.elect(0, Some(2));
    all_stored(send(&producer, ZERO, 3..9).await).await;
    read(&mut consumer, 0, 3..9).await;
    assert_eq!(cluster.values(0), texts(0..9));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fenced_and_unknown_epochs_are_waited_out() {
    let cluster = Cluster::start(2, 1);
    let client = client(&cluster).await;
    let producer = producer(&client).await;
    cluster.next(
        0,
        [
            Next::Refuse(ErrorCode::FencedLeaderEpoch),
            Next::Refuse(ErrorCode::UnknownLeaderEpoch),
            Next::Refuse(ErrorCode::LeaderNotAvailable),
            Next::Refuse(ErrorCode::NotEnoughReplicas),
            Next::Refuse(ErrorCode::ShuttingDown),
            Next::StoreAndTimeOut,
        ],
    );
    all_stored(send(&producer, ZERO, 0..12).await).await;
    assert_eq!(cluster.values(0), texts(0..12));
}

/// Reads the values of one partition of those that come.
async fn read(consumer: &mut Consumer, partition: u32, values: std::ops::Range<u32>) {
    let mut expected = values.start;
    while expected < values.end {
        let batch = timeout(SOON, consumer.next()).await.expect("in time").unwrap();
        if batch.partition().get() != partition {
            continue;
        }
        for record in &batch {
            let record = record.unwrap();
            assert_eq!(record.offset, Offset::new(expected.into()));
            assert_eq!(record.value, Some(expected.to_string().as_bytes()));
            expected += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_leaves_a_silent_leader_and_waits_for_a_new_ones_high_watermark() {
    let cluster = Cluster::start(2, 2);
    let client = client(&cluster).await;
    let producer = producer(&client).await;
    let mut consumer = client.consumer(ConsumerConfig::default());
    consumer.add_topic("t", Start::Earliest).await.unwrap();
    all_stored(send(&producer, ZERO, 0..5).await).await;
    read(&mut consumer, 0, 0..5).await;
    cluster.silence(0);
    cluster.elect(0, Some(1));
    cluster.shared.state().topics.get_mut("t").unwrap().partitions[0].not_available = 3;
    let begun = Instant::now();
    // Trouble with another partition makes it look, and all routes are looked at.
    let writer = self::client(&cluster).await;
    let writer = self::producer(&writer).await;
    all_stored(send(&writer, ZERO, 5..9).await).await;
    cluster.elect(1, None);
    read(&mut consumer, 0, 5..9).await;
    assert_eq!(cluster.shared.state().topics["t"].partitions[0].not_available, 0);
    assert!(begun.elapsed() < BEFORE_KEEP_ALIVE, "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn out_of_range_is_the_applications_to_decide_beforehand() {
    let cluster = Cluster::start(1, 1);
    let client = client(&cluster).await;
    let producer = producer(&client).await;
    all_stored(send(&producer, ZERO, 0..20).await).await;
    {
        let mut state = cluster.shared.state();
        let partition = &mut state.topics.get_mut("t").unwrap().partitions[0];
        partition.log_start = partition.log[3].header().base_offset().get();
    }
    let log_start = cluster.shared.state().topics["t"].partitions[0].log_start;
    let from = |reset| ConsumerConfig {
        reset,
        ..ConsumerConfig::default()
    };
    let gone = Start::Offset(Offset::new(1));

    let mut told = client.consumer(from(Reset::None));
    told.add_partition("t", ZERO, gone).await.unwrap();
    let error = timeout(SOON, told.next()).await.unwrap().unwrap_err();
    assert_eq!(error.code(), ErrorCode::OffsetOutOfRange);

    let mut earliest = client.consumer(from(Reset::Earliest));
    earliest.add_partition("t", ZERO, gone).await.unwrap();
    read(&mut earliest, 0, u32::try_from(log_start).unwrap()..20).await;

    let mut latest = client.consumer(from(Reset::Latest));
    latest.add_partition("t", ZERO, gone).await.unwrap();
    while latest.positions()[0].offset != Some(Offset::new(20)) {
        assert!(timeout(Duration::from_millis(20), latest.next()).await.is_err());
    }
    all_stored(send(&producer, ZERO, 20..22).await).await;
    read(&mut latest, 0, 20..22).await;
    // What the application seeks itself is reset in the same way.
    latest.seek("t", ZERO, Start::Offset(Offset::new(900))).unwrap();
    all_stored(send(&producer, ZERO, 22..23).await).await;
    while latest.positions()[0].offset != Some(Offset::new(23)) {
        let _ = timeout(Duration::from_millis(20), latest.next()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admin_asks_whoever_is_there() {
    let mut cluster = Cluster::start(3, 1);
    let admin = client(&cluster).await.admin();
    admin.create_topic(NewTopic::new("a")).await.unwrap();
    cluster.kill(0);
    // A look is repeated; a change is not, while it cannot be known whether the dead broker has heard of it.
    admin.check().await.unwrap();
    admin.create_topic(NewTopic::new("b")).await.unwrap();
    cluster.kill(1);
    admin.check().await.unwrap();
    cluster
        .shared
        .state()
        .fail
        .entry("create_topic")
        .or_default()
        .extend([
            Failure::new(ErrorCode::NotReady, "starting").into_status(),
            Failure::new(ErrorCode::NoQuorum, "an election").into_status(),
        ]);
    admin.create_topic(NewTopic::new("c")).await.unwrap();
    assert_eq!(admin.cluster().await.unwrap().answered_by.get(), 2);
}
