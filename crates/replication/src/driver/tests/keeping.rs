//! Deletion, retention, and what a restart has to replay.

use super::bench::{Bench, batch, stamped};
use crate::{Acks, DeleteBefore, DeleteRecordsError, PartitionConfig};
use quipu_record::Offset;
use quipu_storage::LogConfig;

#[test]
fn a_deletion_is_answered_once_a_crash_cannot_take_it_back() {
    let mut bench = Bench::leading(PartitionConfig::default());
    bench.produce(Acks::All, [batch(4), batch(4)]);
    bench.delete(DeleteBefore::Offset(Offset::new(3)));
    assert_eq!(
        bench.effects.deleted[0].1,
        Err(DeleteRecordsError::OutOfRange {
            before: Offset::new(3),
            high_watermark: Offset::ZERO
        })
    );
    bench.flush();
    bench.delete(DeleteBefore::Offset(Offset::new(3)));
    assert!(bench.effects.deleted.is_empty() && bench.effects.flush);
    assert_eq!(
        bench.driver.view().log_start,
        Offset::new(3),
        "nobody reads it any more"
    );
    bench.flush();
    assert_eq!(bench.effects.deleted[0].1, Ok(Offset::new(3)));
    let bench = bench.power_cut(3);
    assert_eq!(bench.driver.view().log_start, Offset::new(3));
}

#[test]
fn everything_committed_may_be_deleted_and_producers_are_still_known() {
    let mut bench = Bench::leading(PartitionConfig::default());
    bench.produce(Acks::All, [stamped(7, 0, 0, 2), stamped(8, 0, 0, 2)]);
    bench.flush();
    bench.delete(DeleteBefore::HighWatermark);
    bench.flush();
    assert_eq!(bench.effects.deleted[0].1, Ok(Offset::new(4)));
    let mut bench = bench.power_cut(1);
    bench.lead(2, 2);
    bench.produce(Acks::All, [stamped(7, 0, 0, 2), stamped(8, 0, 2, 1)]);
    bench.flush();
    let answers = bench.answers();
    assert!(answers[0].1.as_ref().unwrap().duplicate);
    assert_eq!(answers[1].1.as_ref().unwrap().base_offset, Offset::new(4));
}

#[test]
fn retention_removes_what_is_committed_and_forgets_silent_producers() {
    let log = LogConfig {
        segment_bytes: 1024,
        retention_bytes: Some(2048),
        ..LogConfig::default()
    };
    let mut bench = Bench::with_log(PartitionConfig::default(), log);
    bench.produce(Acks::All, (0..100).map(|i| stamped(7, 0, i, 1)));
    bench.retain();
    assert_eq!(
        bench.driver.view().log_start,
        Offset::ZERO,
        "nothing is committed yet"
    );
    bench.flush();
    bench.retain();
    let log_start = bench.driver.view().log_start;
    assert!(
        log_start > Offset::ZERO && log_start < Offset::new(100),
        "{log_start}"
    );
    assert!(
        bench.effects.flush,
        "the files go once the new log start is durable"
    );
    assert_eq!(bench.driver.producers().len(), 1);
    bench.now.wall = bench.now.wall.plus_millis(8 * 24 * 3600 * 1000);
    bench.retain();
    assert!(bench.driver.producers().is_empty());
}

#[test]
fn a_restart_replays_only_what_no_snapshot_covers() {
    let mut bench = Bench::leading(PartitionConfig::default());
    bench.produce(Acks::All, (0..20).map(|i| stamped(7, 0, i, 1)));
    bench.flush();
    let mut bench = bench.killed();
    assert_eq!((bench.replayed.from, bench.replayed.batches), (Offset::ZERO, 20));
    bench.lead(2, 2);
    bench.driver.store_producers().unwrap();
    bench.flush();
    bench.produce(Acks::All, [stamped(7, 0, 20, 1)]);
    bench.flush();
    let bench = bench.killed();
    assert_eq!(
        (bench.replayed.from, bench.replayed.batches),
        (Offset::new(20), 1)
    );
    assert_eq!(bench.driver.producers(), &bench.replay());
}

#[test]
fn completed_segments_leave_snapshots_behind() {
    let log = LogConfig {
        segment_bytes: 8192,
        ..LogConfig::default()
    };
    let mut bench = Bench::with_log(PartitionConfig::default(), log);
    for i in 0..300 {
        bench.produce(Acks::All, [stamped(7, 0, i, 1)]);
    }
    bench.flush();
    let bench = bench.killed();
    assert!(bench.replayed.batches < 150, "{:?}", bench.replayed);
    assert_eq!(bench.driver.producers(), &bench.replay());
}
