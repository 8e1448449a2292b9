//! A dump is told as it is, and what is missing from it as missing.

use super::*;
use quipu_client::PartitionDescription;
use quipu_record::PartitionEpoch;

const REPLICA: BrokerId = BrokerId::new(2);

fn topic(replicas: &[&[u32]]) -> TopicDescription {
    let partitions = replicas
        .iter()
        .zip(0..)
        .map(|(replicas, index)| PartitionDescription {
            partition: PartitionId::new(index),
            leader: None,
            leader_epoch: LeaderEpoch::new(1),
            partition_epoch: PartitionEpoch::new(1),
            replicas: replicas.iter().copied().map(BrokerId::new).collect(),
            in_sync_replicas: Vec::new(),
            eligible_leader_replicas: Vec::new(),
            min_insync_replicas: 2,
        });
    TopicDescription {
        name: "t".to_owned(),
        id: TopicId::from_u128(0x0123),
        partitions: partitions.collect(),
        configs: Vec::new(),
        config_version: 1,
        internal: false,
    }
}

fn line(id: TopicId, partition: u32, base: u64, last: u64, epoch: u32, crc: u32) -> String {
    format!(
        r#"{{"file":"/data/logs/{id}/{partition}/00000000000000000000.log","position":0,"base_offset":{base},"last_offset":{last},"leader_epoch":{epoch},"records":1,"size":80,"crc":"{crc:08x}","codec":"none"}}"#
    )
}

fn finals(text: &str, topics: &[TopicDescription]) -> Vec<Final> {
    let ends = BTreeMap::from([(Key::new("t/0"), Offset::new(9))]);
    let ops = replica_ops(text, REPLICA, topics, &ends).expect("a dump");
    let finals = ops.into_iter().map(|op| match op {
        Op::Final(last) => last,
        other => panic!("{other:?}"),
    });
    finals.collect()
}

#[test]
fn a_dump_tells_each_assigned_partition_and_one_that_is_gone_as_empty() {
    let topic = topic(&[&[1, 2, 3], &[2], &[1, 3]]);
    let text = [
        line(topic.id, 0, 0, 4, 1, 0xdead_beef),
        line(topic.id, 0, 5, 8, 2, 7),
        line(TopicId::from_u128(0x0999), 0, 0, 0, 1, 1),
        line(topic.id, 2, 0, 0, 1, 1),
    ]
    .join("\n");
    let found = finals(&text, std::slice::from_ref(&topic));
    assert_eq!(found.len(), 2);
    let (first, second) = (&found[0], &found[1]);
    assert_eq!(first.key, Key::new("t/0"));
    assert_eq!(first.replica, REPLICA);
    assert_eq!(first.high_watermark, Some(Offset::new(9)));
    assert_eq!(first.leader_epoch, Some(LeaderEpoch::new(2)));
    let batch = first.batches[0];
    assert_eq!((batch.base, batch.last), (Offset::new(0), Offset::new(4)));
    assert_eq!(
        (batch.leader_epoch, batch.crc),
        (LeaderEpoch::new(1), 0xdead_beef)
    );
    assert_eq!(first.batches.len(), 2);
    assert_eq!(second.key, Key::new("t/1"));
    assert!(second.batches.is_empty());
}

#[test]
fn a_log_that_begins_late_says_so() {
    let topic = topic(&[&[2]]);
    let found = finals(&line(topic.id, 0, 12, 13, 1, 7), std::slice::from_ref(&topic));
    assert_eq!(found[0].log_start, Offset::new(12));
}

#[test]
fn what_is_no_dump_is_an_error() {
    let nothing = BTreeMap::new();
    for text in [
        "no json",
        r#"{"file":"x"}"#,
        r#"{"file":"x.log","base_offset":0,"last_offset":0,"leader_epoch":null,"crc":"00"}"#,
        r#"{"file":"/a/b/0/x.log","base_offset":0,"last_offset":0,"leader_epoch":null,"crc":"no"}"#,
    ] {
        assert!(replica_ops(text, REPLICA, &[], &nothing).is_err(), "{text}");
    }
}
