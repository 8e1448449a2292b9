//! Compaction among three replicas: a deleted key never comes back.

use super::cluster::{Cluster, id};
use crate::{CleanEnd, Input, PartitionConfig};
use bytes::Bytes;
use quipu_record::{BatchBuilder, Codec, Offset, PlantedBug, StoredBatch};
use quipu_storage::{CleanBudget, CompactionConfig, LogConfig};
use std::collections::BTreeMap;

fn cluster() -> Cluster {
    let config = PartitionConfig {
        compacted: true,
        timestamp_after_max: None,
        ..PartitionConfig::default()
    };
    let log = LogConfig {
        segment_bytes: 300,
        retention_ms: None,
        compaction: Some(CompactionConfig {
            min_cleanable_dirty_ratio: 0,
            min_compaction_lag_ms: 0,
            delete_retention_ms: 1_000,
        }),
        ..LogConfig::default()
    };
    Cluster::with_log(&config, 2, log)
}

fn put(key: &str, value: Option<&str>) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None, 256);
    let now = quipu_record::Timestamp::new(1_000);
    builder
        .push(now, Some(key.as_bytes()), value.map(str::as_bytes), &[])
        .unwrap();
    builder.finish(None).unwrap()
}

impl Cluster {
    /// Writes a record; those in sync copy it.
    fn write(&mut self, key: &str, value: Option<&str>, in_sync: &[usize]) {
        self.produce([put(key, value)]);
        self.flush();
        self.catch_up(in_sync);
    }

    /// The third replica's broker is gone.
    fn without_the_third(&mut self) {
        self.leadership.eligible.retain(|(broker, _)| *broker != id(3));
        self.set_isr(&[1, 2]);
        self.tell(1);
    }

    /// Writes so much of another key that what came before is no longer in the active segment.
    fn roll(&mut self, in_sync: &[usize]) {
        for n in 0..6 {
            self.write("other", Some(&format!("{n:060}")), in_sync);
        }
    }

    /// Time passes, and these replicas clean their logs, each by itself.
    fn clean(&mut self, brokers: &[usize]) -> u64 {
        let mut purged = 0;
        for broker in brokers {
            let bench = self.on(*broker);
            bench.now.wall = bench.now.wall.plus_millis(10_000);
            // A round writes the mark that the one before completed.
            bench.flush();
            bench.flush();
            if let Some(mut job) = bench.driver.plan_cleaning(bench.now) {
                let report = job.run(&CleanBudget::default(), &mut |_| true).unwrap();
                purged += report.tombstones_purged;
                bench.step(Input::Cleaned(CleanEnd::Done));
            }
        }
        purged
    }

    /// What a reader of this replica comes to.
    fn table(&self, broker: usize) -> BTreeMap<String, String> {
        let view = self.brokers[broker - 1].driver.view();
        let mut table = BTreeMap::new();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut batches: Vec<StoredBatch> = Vec::new();
        let mut from = view.log_start;
        while from < view.log_end {
            // A read ends with its segment.
            batches.extend(self.read(broker, from, view.log_end));
            from = batches.last().map_or(view.log_end, StoredBatch::next_offset);
        }
        for batch in batches {
            for record in &batch.records(1 << 20).unwrap() {
                let record = record.unwrap();
                let key = text(record.key.unwrap());
                match record.value {
                    Some(value) => table.insert(key, text(value)),
                    None => table.remove(&key),
                };
            }
        }
        table.remove("other");
        table
    }
}

/// The third replica is away from before the deletion until long after `delete.retention.ms`; then it leads.
fn away_for_long() -> (BTreeMap<String, String>, u64) {
    let mut cluster = cluster();
    cluster.write("deleted", Some("old"), &[2, 3]);
    cluster.write("kept", Some("1"), &[2, 3]);
    cluster.without_the_third();
    cluster.write("deleted", None, &[2]);
    cluster.write("kept", Some("2"), &[2]);
    let mut purged = 0;
    for _ in 0..4 {
        cluster.roll(&[2]);
        purged += cluster.clean(&[1, 2]);
    }
    assert_eq!(cluster.table(1).get("kept").map(String::as_str), Some("2"));
    cluster.catch_up(&[2, 3]);
    cluster.set_isr(&[1, 2, 3]);
    cluster.elect(3);
    (cluster.table(3), purged)
}

#[test]
fn a_deleted_key_does_not_come_back_however_long_a_replica_was_away() {
    let (table, purged) = away_for_long();
    assert_eq!(table.get("deleted"), None);
    assert_eq!(table.get("kept").map(String::as_str), Some("2"));
    assert_eq!(purged, 0, "the third has not flushed the tombstone");
}

#[test]
fn a_tombstone_purged_before_an_absent_replica_has_it_is_caught() {
    let (table, purged) = PlantedBug::TombstonePurgedEarly.plant(away_for_long);
    assert!(purged > 0);
    assert_eq!(
        table.get("deleted").map(String::as_str),
        Some("old"),
        "it came back"
    );
}

#[test]
fn tombstones_go_once_every_replica_has_flushed_them() {
    let mut cluster = cluster();
    cluster.write("deleted", Some("old"), &[2, 3]);
    cluster.write("deleted", None, &[2, 3]);
    let mut purged = 0;
    for _ in 0..4 {
        cluster.roll(&[2, 3]);
        purged += cluster.clean(&[1, 2, 3]);
    }
    assert_eq!(purged, 3, "each replica by itself");
    for broker in 1..=3 {
        assert_eq!(cluster.table(broker), BTreeMap::new());
    }
}

#[test]
fn a_replica_that_comes_back_from_below_the_floor_begins_anew() {
    let mut cluster = cluster();
    cluster.write("deleted", Some("old"), &[2, 3]);
    // The third is no replica any more, and its broker is down: its log stays as it is.
    cluster.leadership.record.replicas = [1, 2].map(id).to_vec();
    cluster.set_isr(&[1, 2]);
    cluster.elect_quietly(1);
    cluster.tell(1);
    cluster.tell(2);
    cluster.write("deleted", None, &[2]);
    let mut purged = 0;
    for _ in 0..4 {
        cluster.roll(&[2]);
        purged += cluster.clean(&[1, 2]);
    }
    assert_eq!(purged, 2);
    // It is one again, years later. Another replica leads by now, which purged the tombstone by itself.
    cluster.leadership.record.replicas = [1, 2, 3].map(id).to_vec();
    cluster.elect(2);
    cluster.catch_up(&[1, 3]);
    assert_eq!(
        cluster.table(3),
        BTreeMap::new(),
        "it did not keep what was deleted"
    );
    let floor = cluster.on(2).driver.log().purged_to();
    assert!(
        cluster.on(3).driver.log().purged_to() >= floor,
        "and says so to its followers"
    );
}

#[test]
fn a_gap_where_nothing_was_compacted_is_refused() {
    let mut cluster = cluster();
    cluster.write("a", Some("1"), &[2]);
    cluster.produce([put("a", Some("2")), put("a", Some("3"))]);
    cluster.flush();
    let mut fetched = cluster.fetch(2);
    if let crate::FetchResult::Accepted { batches, .. } = &mut fetched.result {
        batches.remove(0);
    }
    cluster.on(2).step(Input::Fetched(fetched));
    assert_eq!(cluster.end(2), 1);
    let mut fetched = cluster.fetch(2);
    if let crate::FetchResult::Accepted {
        batches, cleaned_to, ..
    } = &mut fetched.result
    {
        batches.remove(0);
        *cleaned_to = Offset::new(3);
    }
    cluster.on(2).step(Input::Fetched(fetched));
    assert_eq!(cluster.end(2), 3);
}

#[test]
fn the_last_batch_of_a_producer_stays_for_a_replica_that_begins_anew() {
    let mut cluster = cluster();
    let stamped = |sequence| {
        let mut builder = BatchBuilder::new(Codec::None, 256);
        let now = quipu_record::Timestamp::new(1_000);
        builder.push(now, Some(b"k"), Some(b"v"), &[]).unwrap();
        let stamp = quipu_record::ProducerStamp {
            id: quipu_record::ProducerId::new(9),
            epoch: quipu_record::ProducerEpoch::new(0),
            base_sequence: quipu_record::Sequence::new(sequence),
        };
        builder.finish(Some(stamp)).unwrap()
    };
    cluster.without_the_third();
    for sequence in 0..3 {
        cluster.produce([stamped(sequence)]);
        cluster.flush();
        cluster.catch_up(&[2]);
    }
    cluster.write("k", Some("later"), &[2]);
    cluster.roll(&[2]);
    cluster.clean(&[1, 2]);
    assert!(cluster.on(1).driver.log().compacted_to() > Offset::new(4));
    // The third has nothing yet: it copies what is left.
    cluster.catch_up(&[3]);
    assert_eq!(cluster.on(3).driver.producers().len(), 1);
    cluster.set_isr(&[1, 2, 3]);
    cluster.elect(3);
    let before = cluster.end(3);
    cluster.produce([stamped(2)]);
    assert_eq!(cluster.end(3), before, "a repetition is not appended");
}
