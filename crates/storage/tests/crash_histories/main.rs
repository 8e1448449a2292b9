//! Histories of a data directory on a disk that loses what was not synced: append, flush, roll, truncate, retain,
//! delete records, snapshots, compaction (a step at a time, other operations between, the power gone at any call of it),
//! deletion, power cuts, kills, clean shutdowns, failing and full disks, short writes, in any order, held against a model.
//! After each start:
//! - nothing below `flushed`, as it was ever reported, is lost or changed;
//! - what is there is a prefix of what was appended, byte for byte, offsets dense, and so it is served;
//! - a cut that is reported is real, and nothing is reported as corrupt, since nothing was;
//! - after a kill or a clean shutdown nothing is missing at all;
//! - of a log that is compacted the latest of each key is there and what was deleted stays away, for a reader from the
//!   start as for a replica that was away; records keep their offsets and order; the last batch of each producer is
//!   there; and past what was committed as it was cleaned all is byte for byte as it was appended.
//!
//! Then the same with bugs planted: each must be caught.
//!
//! `QUIPU_HISTORIES=n` runs more or fewer, `QUIPU_SEED=n` replays one and tells what it does.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

mod compact;
mod history;
mod keyed;
mod model;
mod stats;
#[path = "../compaction/table.rs"]
mod table;

use history::History;
use quipu_record::PlantedBug;
use stats::Stats;

const OPERATIONS: u64 = 220;

#[expect(clippy::disallowed_methods, reason = "how a person asks for a replay")]
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn nothing_flushed_is_lost_and_nothing_wrong_is_served() {
    let mut stats = Stats::default();
    if let Some(seed) = setting("QUIPU_SEED") {
        let end = History::run(seed, OPERATIONS, true, &mut stats);
        return end.unwrap_or_else(|fault| panic!("history {seed}: {fault}"));
    }
    let histories = setting("QUIPU_HISTORIES").unwrap_or(10_000);
    for seed in 0..histories {
        if let Err(fault) = History::run(seed, OPERATIONS, false, &mut stats) {
            panic!(
                "history {seed}: {fault}\nreplay: QUIPU_SEED={seed} cargo test -p quipu-storage --test crash_histories -- \
                 --nocapture nothing_flushed"
            );
        }
    }
    println!(
        "{histories} histories of {OPERATIONS} operations, seeds 0 to {}\n{stats}",
        histories - 1
    );
    if histories >= 1_000 {
        stats.nothing_is_missing();
    }
}

/// In how many histories at most a planted bug is caught.
fn caught(bug: PlantedBug, within: u64) {
    for seed in 0..within {
        let run = || History::run(seed, OPERATIONS, false, &mut Stats::default());
        if let Err(fault) = bug.plant(run) {
            println!("{bug:?} is caught by history {seed}: {fault}");
            return;
        }
    }
    panic!("{bug:?} is not caught in {within} histories");
}

#[test]
fn directories_that_are_not_synced_are_caught() {
    caught(PlantedBug::NoDirectorySync, 300);
}

#[test]
fn a_new_segment_synced_without_the_old_is_caught() {
    caught(PlantedBug::NewSegmentSyncedFirst, 300);
}

#[test]
fn a_recovery_that_trusts_the_index_is_caught() {
    caught(PlantedBug::RecoveryTrustsIndex, 1_000);
}

#[test]
fn an_unchecked_checksum_is_caught() {
    caught(PlantedBug::CrcUnchecked, 300);
}

#[test]
fn a_dirty_descriptor_closed_early_is_caught() {
    caught(PlantedBug::DirtyDescriptorClosed, 1_000);
}

#[test]
fn a_tombstone_purged_before_every_replica_has_it_is_caught() {
    caught(PlantedBug::TombstonePurgedEarly, 1_000);
}

#[test]
fn compaction_past_the_high_watermark_is_caught() {
    caught(PlantedBug::CompactPastHighWatermark, 300);
}
