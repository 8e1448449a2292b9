//! How long the great commands take, and how large they are. The times are printed for people and decide nothing; the sizes
//! are held to their bounds.

mod cluster;

use cluster::{Cluster, at, registration, wide_topic};
use quipu_metadata::*;
use quipu_record::{
    BrokerEpoch, BrokerId, LeaderEpoch, MetadataVersion, Offset, PartitionEpoch, PartitionId, TopicId,
    TopicPartition,
};

/// Runs a command, and prints how long it took to decide and to replay.
#[allow(clippy::print_stdout, reason = "a figure for people")]
fn timed<R: Request>(what: &str, cluster: &mut Cluster, request: R) -> Result<R::Outcome, R::Refusal> {
    let command = request.into_command();
    let encoded = command.encode().len();
    assert!(encoded <= COMMAND_BYTES_MAX);
    let image = &mut cluster.image;
    image.advance_to(MetadataVersion::new(image.version().get() + 1));
    let (start, before) = (clock(), image.clone());
    let (records, reply) = image.decide(&command);
    let decided = start.elapsed();
    for record in &records {
        image.replay(record).expect("replays");
    }
    let (replayed, count) = (start.elapsed() - decided, records.len());
    println!("{what}: {encoded} bytes, {count} records; decided in {decided:?}, replayed in {replayed:?}");
    drop(before);
    assert!(reply.encode().len() <= REPLY_BYTES_MAX);
    R::from_reply(reply).expect("the command's own reply")
}

#[allow(
    clippy::disallowed_methods,
    reason = "a figure for people, nothing goes by it"
)]
fn clock() -> std::time::Instant {
    std::time::Instant::now()
}

#[test]
fn a_broker_that_leads_ten_thousand_of_thirty_thousand_partitions() {
    let mut cluster = Cluster::of(3);
    for n in 0..30u128 {
        let one = CreateTopic {
            name: format!("t{n}"),
            topic_id: TopicId::from_u128(100 + n * 3),
            ..wide_topic(1_000, &[])
        };
        if n == 29 {
            timed("a topic of 1,000 partitions", &mut cluster, one).expect("created");
        } else {
            cluster.run(one).expect("created");
        }
    }
    let two = cluster.lifetime(2);
    let led = cluster.image.led_by(two.id);
    assert!((9_900..=10_100).contains(&led), "{led}");
    let fence = FenceBrokers { brokers: vec![two] };
    timed("fence a leader of 10,000 of 30,000", &mut cluster, fence).expect("never refused");
    assert_eq!(cluster.image.led_by(two.id), 0);
    let BrokerFence { id, epoch } = two;
    timed("unfence it", &mut cluster, UnfenceBroker { id, epoch }).expect("registered");
    timed("register it again", &mut cluster, registration(2, 2)).expect("registers");
    let BrokerFence { id, epoch } = cluster.lifetime(3);
    timed(
        "shut a leader of 15,000 down",
        &mut cluster,
        BeginShutdown { id, epoch },
    )
    .expect("begun");

    // Somebody who has nothing is not looked for.
    cluster.run(registration(9, 1)).expect("registers");
    cluster.unfence(9);
    let fence = FenceBrokers {
        brokers: vec![cluster.lifetime(9)],
    };
    timed("fence a broker of no partitions", &mut cluster, fence).expect("never refused");
}

#[test]
fn the_greatest_commands_and_their_replies_keep_their_bounds() {
    const PARTITIONS: u32 = 30_000;
    let place = |n: u32| TopicPartition {
        topic: TopicId::from_u128(u128::MAX),
        partition: PartitionId::new(n),
    };
    let (id, epoch) = (BrokerId::new(u32::MAX), BrokerEpoch::new(u64::from(u32::MAX)));
    let change = |n: u32| IsrChange {
        at: place(n),
        leader_epoch: LeaderEpoch::new(100_000),
        partition_epoch: PartitionEpoch::new(1_000_000),
        isr: vec![IsrMember { id, epoch }; 3],
    };
    let cut = |n: u32| CutPartition {
        at: place(n),
        last_epoch: Some(LeaderEpoch::new(100_000)),
        log_end: Offset::new(u64::MAX),
    };
    let places: Vec<TopicPartition> = (0..PARTITIONS).map(place).collect();
    let all = [
        AlterPartitions {
            id,
            epoch,
            changes: (0..PARTITIONS).map(change).collect(),
        }
        .into_command(),
        RegisterBroker {
            cut: (0..PARTITIONS).map(cut).collect(),
            damaged: places.clone(),
            ..registration(1, 1)
        }
        .into_command(),
        OfflineReplicas {
            id,
            epoch,
            partitions: places.clone(),
        }
        .into_command(),
        ElectLeaders {
            partitions: places,
            kind: LeaderElection::Preferred,
        }
        .into_command(),
    ];
    for command in &all {
        let bytes = command.encode().len();
        println!("{} of {PARTITIONS} partitions: {bytes} bytes", command.name());
        assert!(bytes <= COMMAND_BYTES_MAX);
    }
    let mut cluster = Cluster::of(3);
    cluster.run(wide_topic(1, &[])).expect("created");
    let answer = Ok(PartitionAnswer {
        at: at(0),
        state: cluster.partition(0).clone(),
    });
    let reply = Reply::AlterPartitions(Ok(vec![answer; 30_000])).encode().len();
    println!("the reply of AlterPartitions: {reply} bytes");
    assert!(reply <= REPLY_BYTES_MAX);
}
