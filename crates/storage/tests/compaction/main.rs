//! Histories of a compacted log on a disk that loses what was not synced: append, flush, clean (a step at a time, other
//! operations between), truncate, delete records, power cuts at any call, kills, clean shutdowns, failing and full disks,
//! held against a model. Always:
//! - what is served was appended, and offsets rise;
//! - a reader who goes from the start to any committed place, and a replica that is away and copies on from where it was,
//!   come to the same latest value of each key as if nothing had ever gone;
//! - below the place to which the log says that it is compacted no key is there twice;
//! - the last batch of each producer is there, if only its header.
//!
//! Then the same with bugs planted: each must be caught.
//!
//! `QUIPU_HISTORIES=n` runs more or fewer, `QUIPU_SEED=n` replays one and tells what it does.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

mod history;
mod model;
mod table;

use history::History;
use quipu_record::PlantedBug;
use std::collections::BTreeMap;

const OPERATIONS: u64 = 250;

#[expect(clippy::disallowed_methods, reason = "how a person asks for a replay")]
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn the_latest_of_each_key_stays_whatever_happens() {
    let mut counts = BTreeMap::new();
    if let Some(seed) = setting("QUIPU_SEED") {
        let end = History::run(seed, OPERATIONS, true, &mut counts);
        return end.unwrap_or_else(|fault| panic!("history {seed}: {fault}"));
    }
    let histories = setting("QUIPU_HISTORIES").unwrap_or(1_500);
    for seed in 0..histories {
        if let Err(fault) = History::run(seed, OPERATIONS, false, &mut counts) {
            panic!(
                "history {seed}: {fault}\nreplay: QUIPU_SEED={seed} cargo test -p quipu-storage --test compaction -- \
                 --nocapture the_latest"
            );
        }
    }
    println!("{histories} histories of {OPERATIONS} operations: {counts:#?}");
    let happened = |what| counts.get(what).copied().unwrap_or(0) > 0;
    for what in [
        "cleaned in several passes",
        "segments merged",
        "tombstones purged",
        "cleaning failed",
        "replica caught up",
    ] {
        assert!(histories < 500 || happened(what), "never: {what}");
    }
}

/// In how many histories at most a planted bug is caught.
fn caught(bug: PlantedBug, within: u64) {
    for seed in 0..within {
        let run = || History::run(seed, OPERATIONS, false, &mut BTreeMap::new());
        if let Err(fault) = bug.plant(run) {
            println!("{bug:?} is caught by history {seed}: {fault}");
            return;
        }
    }
    panic!("{bug:?} is not caught in {within} histories");
}

#[test]
fn a_tombstone_purged_before_every_replica_has_it_is_caught() {
    caught(PlantedBug::TombstonePurgedEarly, 500);
}

#[test]
fn compaction_past_the_high_watermark_is_caught() {
    caught(PlantedBug::CompactPastHighWatermark, 500);
}
