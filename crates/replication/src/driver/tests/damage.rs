//! A replica whose flushed bytes are bad.

use super::bench::stamped;
use super::cluster::Cluster;
use crate::{FetchResult, Input, PartitionConfig};
use quipu_record::Offset;
use quipu_storage::{Corruption, LogConfig};

/// Three with the same log, the second of which has restarted and found its own damaged.
fn damaged() -> Cluster {
    let log = LogConfig {
        segment_bytes: 2048,
        ..LogConfig::default()
    };
    let mut cluster = Cluster::with_log(&PartitionConfig::default(), 1, log);
    for n in 0..40 {
        cluster.produce([stamped(7, 0, n, 1)]);
    }
    cluster.flush();
    cluster.catch_up(&[2, 3]);
    // A round's mark is written with the round after it.
    cluster.produce([stamped(7, 0, 40, 1)]);
    cluster.flush();
    cluster.catch_up(&[2, 3]);
    let bench = cluster.brokers.remove(1);
    let files = bench.disk.files();
    let segment = files
        .iter()
        .find(|path| path.extension().is_some_and(|it| it == "log"));
    bench
        .disk
        .damage(segment.unwrap(), |bytes| bytes.truncate(1000))
        .unwrap();
    cluster.brokers.insert(1, bench.damaged());
    assert!(cluster.on(2).driver.damage().is_some());
    cluster
}

fn corrupt_files(cluster: &mut Cluster) -> usize {
    let files = cluster.on(2).disk.files();
    let set_aside = |path: &&std::path::PathBuf| path.to_string_lossy().contains(".corrupt/");
    files.iter().filter(set_aside).count()
}

/// What a reader comes upon.
fn found() -> Input {
    Input::Damaged(Corruption {
        file: "00000000000000000000.log".into(),
        position: 78,
        offset: Some(Offset::new(1)),
        what: "the batch's CRC-32C differs".into(),
    })
}

#[test]
fn a_leader_that_is_found_damaged_leads_no_more_if_another_is_in_sync() {
    let mut cluster = Cluster::new(&PartitionConfig::default(), 1);
    cluster.produce([stamped(7, 0, 0, 1)]);
    cluster.on(1).step(found());
    assert_eq!(cluster.on(1).driver.view().leading, None);
    assert!(cluster.on(1).effects.damaged.is_some(), "somebody is to be told");
}

#[test]
fn a_leader_that_alone_is_in_sync_serves_what_is_good_of_it() {
    let mut cluster = Cluster::new(&PartitionConfig::default(), 1);
    cluster.set_isr(&[1]);
    cluster.tell(1);
    cluster.on(1).step(found());
    assert!(cluster.on(1).driver.view().leading.is_some());
    assert!(cluster.on(1).effects.damaged.is_none());
}

#[test]
fn a_damaged_replica_does_not_lead_where_there_are_others() {
    let mut cluster = damaged();
    cluster.elect(2);
    assert_eq!(cluster.on(2).driver.view().leading, None);
    assert!(cluster.on(2).effects.damaged.is_some(), "somebody is to be told");
}

#[test]
fn a_damaged_replica_that_may_be_elected_keeps_what_it_has_and_tells_no_position() {
    let mut cluster = damaged();
    cluster.tell(2);
    assert!(cluster.on(2).effects.damaged.is_some());
    assert_eq!(cluster.on(2).effects.position, None);
    cluster.on(2).tick();
    assert_eq!(cluster.on(2).effects.position, None);
    assert_eq!(corrupt_files(&mut cluster), 0);
}

#[test]
fn taken_off_the_lists_it_sets_its_bytes_aside_and_copies_anew() {
    let mut cluster = damaged();
    cluster.tell(2);
    cluster.set_isr(&[1, 3]);
    cluster.tell(1);
    cluster.tell(2);
    let told = cluster.on(2).effects.position.expect("it begins anew");
    assert_eq!((told.fetch_offset, told.last_fetched_epoch), (Offset::ZERO, None));
    assert_eq!(told.flushed, Offset::ZERO);
    assert!(corrupt_files(&mut cluster) > 0);
    cluster.catch_up(&[2, 3]);
    let known = cluster.on(1).driver.producers().clone();
    assert_eq!(cluster.on(2).driver.producers(), &known);
    assert!(cluster.proposal().is_some(), "it may be in sync again");
    let bench = cluster.brokers.remove(1).power_cut(9);
    assert_eq!(bench.driver.view().log_end, Offset::new(41));
    assert!(bench.driver.damage().is_none());
}

#[test]
fn a_crash_right_after_the_bytes_were_set_aside_finds_an_empty_log_and_the_bytes() {
    for seed in 0..8 {
        let mut cluster = damaged();
        cluster.set_isr(&[1, 3]);
        cluster.tell(2);
        let bench = cluster.brokers.remove(1).power_cut(seed);
        cluster.brokers.insert(1, bench);
        assert_eq!(cluster.end(2), 0);
        assert!(corrupt_files(&mut cluster) > 0);
        cluster.tell(2);
        let fetched = cluster.fetch(2);
        assert!(matches!(fetched.result, FetchResult::Accepted { .. }));
    }
}
