//! Members of groups against brokers that die, fall silent and forget.

use crate::fake::{Cluster, until};
use quipu_client::{
    Client, ClientConfig, CommitError, CommitMode, ErrorCode, FetchedBatch, GroupConfig, GroupConsumer,
    GroupError, GroupPartition, Offset, PartitionId, Producer, ProducerConfig, Rebalance, RebalanceListener,
    Record, Start,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(60);
const A_WHILE: Duration = Duration::from_millis(200);

async fn client(cluster: &Cluster) -> Client {
    let config = ClientConfig::new(cluster.bootstrap()).with_client_id("tester");
    Client::connect(config).await.unwrap()
}

/// Values `from..to` to each of the partitions.
async fn produce(client: &Client, partitions: u32, values: std::ops::Range<u32>) {
    let config = ProducerConfig {
        batch_bytes: 1024,
        batch_bytes_max: 1024,
        ..ProducerConfig::default()
    };
    let producer: Producer = client.producer(config).await.unwrap();
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

fn config() -> GroupConfig {
    GroupConfig::new("g").with_topics(["t"])
}

/// How often each value of each partition came.
#[derive(Default)]
struct Seen(BTreeMap<(u32, u32), u32>);

impl Seen {
    fn take(&mut self, batch: &FetchedBatch) {
        for record in batch {
            let text = record.unwrap().value.unwrap().to_vec();
            let value = String::from_utf8(text).unwrap().parse().unwrap();
            *self.0.entry((batch.partition().get(), value)).or_default() += 1;
        }
    }

    fn most(&self) -> u32 {
        self.0.values().copied().max().unwrap_or(0)
    }
}

/// Reads until so many different records were seen.
async fn read(consumer: &mut GroupConsumer, seen: &mut Seen, count: usize) {
    while seen.0.len() < count {
        let batch = timeout(SOON, consumer.next()).await.expect("in time").unwrap();
        seen.take(&batch);
    }
}

/// Nothing comes for a while; what came before is done with.
async fn rest(consumer: &mut GroupConsumer) {
    assert!(
        timeout(A_WHILE, consumer.next()).await.is_err(),
        "there is no more"
    );
}

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn push(&self, what: &str, partitions: &[GroupPartition]) {
        let names: Vec<String> = partitions.iter().map(|p| p.partition.to_string()).collect();
        self.0.lock().unwrap().push(format!("{what} {}", names.join(",")));
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl RebalanceListener for Heard {
    fn assigned(&mut self, partitions: &[GroupPartition], _: &mut Rebalance<'_>) {
        self.push("assigned", partitions);
    }

    fn revoked(&mut self, partitions: &[GroupPartition], rebalance: &mut Rebalance<'_>) {
        self.push("revoked", partitions);
        rebalance.commit_all();
    }

    fn lost(&mut self, partitions: &[GroupPartition]) {
        self.push("lost", partitions);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_processed_is_committed_and_what_was_only_delivered_is_not() {
    let cluster = Cluster::start(1, 1);
    let client = client(&cluster).await;
    produce(&client, 1, 0..1000).await;
    let mut consumer = client.group_consumer(config()).unwrap();
    let first = timeout(SOON, consumer.next()).await.unwrap().unwrap();
    let second = timeout(SOON, consumer.next()).await.unwrap().unwrap();
    assert!(second.next_offset() > first.next_offset());
    until("the first batch is acknowledged", || {
        cluster.committed("g", 0).is_some()
    })
    .await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(
        cluster.committed("g", 0),
        Some(first.next_offset().get()),
        "the second is still being processed"
    );
    drop(consumer);
    // Another begins there.
    cluster.expel_all("g");
    let mut consumer = client.group_consumer(config()).unwrap();
    let again = timeout(SOON, consumer.next()).await.unwrap().unwrap();
    assert_eq!(again.iter().next().unwrap().unwrap().offset, first.next_offset());
    consumer.close().await.unwrap();
    assert_eq!(
        cluster.committed("g", 0),
        Some(again.next_offset().get()),
        "closed in order"
    );
    assert_eq!(cluster.group("g", |group| group.left.len()), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_share_and_a_partition_moves_without_a_gap_or_a_repetition() {
    let cluster = Cluster::start(2, 4);
    let client = client(&cluster).await;
    produce(&client, 4, 0..100).await;
    let (heard, mut seen) = (Heard::default(), Seen::default());
    let mut first = client.group_consumer_with(config(), heard.clone()).unwrap();
    read(&mut first, &mut seen, 400).await;
    rest(&mut first).await;
    let mut second = client.group_consumer(config()).unwrap();
    // The first gives up two of its four, when its application comes for more.
    until("the second asks to join", || {
        cluster.group("g", |group| group.members.len() == 2)
    })
    .await;
    rest(&mut first).await;
    until("half of it moved", || {
        cluster.group("g", |group| {
            group.members.iter().all(|member| member.owned.len() == 2)
        })
    })
    .await;
    produce(&client, 4, 100..200).await;
    let reading = async {
        let mut seen = Seen::default();
        read(&mut second, &mut seen, 200).await;
        rest(&mut second).await;
        seen
    };
    let (theirs, ()) = tokio::join!(reading, read(&mut first, &mut seen, 600));
    seen.0.extend(theirs.0.clone());
    assert_eq!((seen.0.len(), seen.most(), theirs.most()), (800, 1, 1));
    assert_eq!(heard.all(), ["assigned 0,1,2,3", "revoked 1,3"]);
    second.close().await.unwrap();
    until("it has all of it back", || {
        cluster.group("g", |group| group.members[0].owned.len() == 4)
    })
    .await;
    produce(&client, 4, 200..300).await;
    read(&mut first, &mut seen, 1200).await;
    assert_eq!(seen.most(), 1);
    assert_eq!(heard.all()[2..], ["assigned 1,3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_stream_is_followed_by_another_and_nothing_comes_twice() {
    let mut cluster = Cluster::start(3, 3);
    let client = client(&cluster).await;
    produce(&client, 3, 0..300).await;
    let (heard, mut seen) = (Heard::default(), Seen::default());
    // By hand: the brokers begin at offset 0 each time.
    let config = config().with_commit(CommitMode::Manual);
    let mut consumer = client.group_consumer_with(config, heard.clone()).unwrap();
    read(&mut consumer, &mut seen, 300).await;
    let (member, _) = consumer.member();
    for broker in [0, 1, 2, 0] {
        cluster.kill(broker);
        let more = seen.0.len() + 50;
        read(&mut consumer, &mut seen, more).await;
        cluster.start_broker(broker);
    }
    read(&mut consumer, &mut seen, 900).await;
    assert_eq!(seen.most(), 1, "nothing comes twice");
    assert_eq!(
        heard.all(),
        ["assigned 0,1,2"],
        "the application hears nothing of it"
    );
    let opened = cluster.group("g", |group| group.opened.clone());
    assert!(opened.len() > 1, "some stream broke: {opened:?}");
    assert!(opened.iter().all(|(id, _)| *id == member), "{opened:?}");
    assert!(opened[1..].iter().all(|(_, epoch)| *epoch > 0), "{opened:?}");
    let numbers = cluster.group("g", |group| group.numbers.clone());
    assert!(
        numbers[0] > 0 && numbers.is_sorted_by(|one, next| one < next),
        "a later stream has a greater number: {numbers:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_not_known_any_more_has_lost_all_and_joins_anew() {
    let cluster = Cluster::start(1, 2);
    let client = client(&cluster).await;
    produce(&client, 2, 0..100).await;
    let (heard, mut seen) = (Heard::default(), Seen::default());
    let mut consumer = client.group_consumer_with(config(), heard.clone()).unwrap();
    read(&mut consumer, &mut seen, 200).await;
    rest(&mut consumer).await;
    cluster.expel_all("g");
    produce(&client, 2, 100..200).await;
    read(&mut consumer, &mut seen, 400).await;
    assert_eq!(seen.most(), 1, "it begins where it had committed");
    assert_eq!(heard.all(), ["assigned 0,1", "lost 0,1", "assigned 0,1"]);
    let opened = cluster.group("g", |group| group.opened.clone());
    assert_eq!(opened.last().unwrap().1, 0, "{opened:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_stream_for_the_length_of_the_session_all_is_lost() {
    let mut cluster = Cluster::start(1, 2);
    let client = client(&cluster).await;
    produce(&client, 2, 0..10).await;
    let (heard, mut seen) = (Heard::default(), Seen::default());
    let config = config().with_session_timeout(Duration::from_secs(1));
    let mut consumer = client.group_consumer_with(config, heard.clone()).unwrap();
    read(&mut consumer, &mut seen, 20).await;
    rest(&mut consumer).await;
    cluster.kill(0);
    let lost = async {
        while heard.all().len() < 2 {
            let _ = timeout(A_WHILE, consumer.next()).await;
        }
    };
    timeout(SOON, lost).await.unwrap();
    assert_eq!(heard.all(), ["assigned 0,1", "lost 0,1"]);
    assert!(consumer.assignment().is_empty());
    let refused = consumer.commit_sync_at(vec![]).await;
    assert_eq!(refused, Ok(()), "nothing to commit");
    // The group has not heard of any of this.
    cluster.start_broker(0);
    let back = async {
        while heard.all().len() < 3 {
            let _ = timeout(A_WHILE, consumer.next()).await;
        }
    };
    timeout(SOON, back).await.unwrap();
    assert_eq!(heard.all()[2], "assigned 0,1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_by_hand_happen_in_order_and_are_repeated_when_that_may_help() {
    let cluster = Cluster::start(1, 1);
    let client = client(&cluster).await;
    produce(&client, 1, 0..1000).await;
    let config = config().with_commit(CommitMode::Manual);
    let mut consumer = client.group_consumer(config.clone()).unwrap();
    assert_eq!(consumer.commit_sync().await, Ok(()), "there is nothing to commit");
    let first = timeout(SOON, consumer.next()).await.unwrap().unwrap();
    consumer.commit_sync().await.unwrap();
    assert_eq!(cluster.committed("g", 0), Some(first.next_offset().get()));
    cluster.group("g", |group| {
        group
            .fail_commits
            .extend([ErrorCode::CoordinatorLoading, ErrorCode::CoordinatorNotAvailable]);
    });
    let second = timeout(SOON, consumer.next()).await.unwrap().unwrap();
    let one = consumer.commit_async();
    let third = timeout(SOON, consumer.next()).await.unwrap().unwrap();
    let two = consumer.commit_async();
    two.await.unwrap();
    one.await.unwrap();
    let commits = cluster.group("g", |group| {
        group.commits.iter().map(|(_, to)| *to).collect::<Vec<_>>()
    });
    let expected = [&first, &second, &third].map(|batch| batch.next_offset().get());
    assert_eq!(commits, expected, "a repetition is not overtaken");
    // One that is refused for good says so, and changes nothing.
    let _fourth = timeout(SOON, consumer.next()).await.unwrap().unwrap();
    cluster.group("g", |group| {
        group.fail_commits.push_back(ErrorCode::StaleAssignment)
    });
    let error = consumer.commit_sync().await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::StaleAssignment);
    assert_eq!(cluster.committed("g", 0), Some(third.next_offset().get()));
    // Not even at the close is anything committed that the application did not say.
    consumer.close().await.unwrap();
    assert_eq!(cluster.committed("g", 0), Some(third.next_offset().get()));
    let elsewhere = client.group_consumer(config).unwrap();
    assert!(elsewhere.assignment().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_gets_no_answer_says_that_nobody_knows() {
    let cluster = Cluster::start(1, 1);
    let client = client(&cluster).await;
    produce(&client, 1, 0..10).await;
    let config = GroupConfig {
        commit_timeout: Duration::from_millis(100),
        ..config().with_commit(CommitMode::Manual)
    };
    let mut consumer = client.group_consumer(config).unwrap();
    let _batch = timeout(SOON, consumer.next()).await.unwrap().unwrap();
    cluster.group("g", |group| group.commits_hang = true);
    let error = consumer.commit_sync().await.unwrap_err();
    assert!(matches!(error, CommitError::OutcomeUnknown { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seeks_and_pauses_are_of_the_partition_and_outlive_a_stream() {
    let mut cluster = Cluster::start(2, 2);
    let client = client(&cluster).await;
    produce(&client, 2, 0..50).await;
    let mut seen = Seen::default();
    let mut consumer = client.group_consumer(config()).unwrap();
    read(&mut consumer, &mut seen, 100).await;
    let (zero, one) = (PartitionId::new(0), PartitionId::new(1));
    consumer.pause("t", one).unwrap();
    consumer.seek("t", zero, Start::Offset(Offset::new(40))).unwrap();
    for broker in [0, 1] {
        cluster.kill(broker);
        cluster.start_broker(broker);
    }
    let mut again = Seen::default();
    read(&mut consumer, &mut again, 10).await;
    assert!(
        again
            .0
            .keys()
            .all(|(partition, value)| *partition == 0 && *value >= 40)
    );
    produce(&client, 2, 50..60).await;
    read(&mut consumer, &mut again, 20).await;
    rest(&mut consumer).await;
    assert!(
        again.0.keys().all(|(partition, _)| *partition == 0),
        "the other is paused"
    );
    consumer.resume("t", one).unwrap();
    read(&mut consumer, &mut again, 30).await;
    assert_eq!(again.most(), 1);
    let error = consumer
        .seek("t", PartitionId::new(7), Start::Earliest)
        .unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidRequest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_static_member_says_that_it_will_be_back_unless_it_leaves_for_good() {
    let cluster = Cluster::start(1, 2);
    let client = client(&cluster).await;
    produce(&client, 2, 0..10).await;
    let config = config().with_instance_id("one");
    let mut seen = Seen::default();
    let mut consumer = client.group_consumer(config.clone()).unwrap();
    read(&mut consumer, &mut seen, 20).await;
    consumer.close().await.unwrap();
    produce(&client, 2, 10..20).await;
    let mut consumer = client.group_consumer(config).unwrap();
    read(&mut consumer, &mut seen, 40).await;
    assert_eq!(seen.most(), 1);
    consumer.leave().await.unwrap();
    let left = cluster.group("g", |group| {
        group.left.iter().map(|(_, back)| *back).collect::<Vec<_>>()
    });
    assert_eq!(
        left,
        [true, true, false],
        "its last stream says that it will be back"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_for_good_is_the_end() {
    let cluster = Cluster::start(1, 1);
    let client = client(&cluster).await;
    let status = quipu_proto::Failure::new(ErrorCode::FencedInstance, "another has it").into_status();
    cluster.shared.state().fail.insert("consume", [status].into());
    let mut consumer = client.group_consumer(config()).unwrap();
    let error = timeout(SOON, consumer.next()).await.unwrap().unwrap_err();
    assert!(matches!(&error, GroupError::Refused(_)), "{error}");
    assert_eq!(
        (error.code(), error.retryable()),
        (ErrorCode::FencedInstance, false)
    );
    consumer.close().await.unwrap();
    let error = client.group_consumer(GroupConfig::new("g")).unwrap_err();
    assert_eq!(error.field, "topics");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_application_stays_a_member() {
    let mut cluster = Cluster::start(2, 1);
    let client = client(&cluster).await;
    produce(&client, 1, 0..10).await;
    let mut consumer = client.group_consumer(config()).unwrap();
    let _batch = timeout(SOON, consumer.next()).await.unwrap().unwrap();
    // Busy with the batch, while its broker dies.
    for broker in [0, 1] {
        let streams = cluster.group("g", |group| group.opened.len());
        cluster.kill(broker);
        tokio::time::sleep(A_WHILE).await;
        cluster.start_broker(broker);
        if cluster.group("g", |group| group.opened.len()) > streams {
            return;
        }
    }
    panic!("nobody kept it in its group");
}
