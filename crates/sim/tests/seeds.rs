//! A bounded number of seeds in every `cargo test`; CI runs more of them with the binary `sim`.

use quipu_record::PlantedBug;
use quipu_sim::{Counts, Fault, Options, run};
use std::time::Duration;

const REPLAY: &str = "replay: cargo run -p quipu-sim --bin sim -- --seeds 1 --tell --seed";

#[test]
fn every_invariant_holds_in_every_seed() {
    let mut all = Counts::default();
    for seed in 0..60 {
        let outcome = run(seed, Options::default());
        if let Some(fault) = outcome.fault() {
            panic!("seed {seed}: {fault}\n{REPLAY} {seed}");
        }
        all += &outcome.counts;
    }
    for fault in Fault::ALL {
        assert!(
            all.faults.contains_key(fault),
            "{fault:?} was never injected\n{all}"
        );
    }
    assert!(all.acked > 10_000 && all.read > 10_000, "{all}");
    assert!(
        all.duplicates > 0 && all.cuts > 0 && all.deleted > 0 && all.unknown > 0,
        "{all}"
    );
}

#[test]
fn a_seed_is_the_same_world_every_time() {
    for seed in [1, 2, 3] {
        let (first, second) = (run(seed, Options::default()), run(seed, Options::default()));
        assert_eq!(first.trace_hash, second.trace_hash, "seed {seed}");
    }
    let other = run(4, Options::default()).trace_hash;
    assert_ne!(run(5, Options::default()).trace_hash, other);
}

/// A green run means little unless each of these makes it red.
fn is_caught_within_100_seeds(bug: PlantedBug) {
    let options = Options {
        duration: Duration::from_secs(5),
        ..Options::default()
    };
    let caught = (0..100).find_map(|seed| bug.plant(|| run(seed, options)).fault());
    assert!(caught.is_some(), "{bug:?} is not caught");
}

#[test]
fn ack_before_flush_is_caught() {
    is_caught_within_100_seeds(PlantedBug::AckBeforeFlush);
}

#[test]
fn no_producer_dedup_is_caught() {
    is_caught_within_100_seeds(PlantedBug::NoProducerDedup);
}

#[test]
fn no_directory_sync_is_caught() {
    is_caught_within_100_seeds(PlantedBug::NoDirectorySync);
}

#[test]
fn new_segment_synced_first_is_caught() {
    is_caught_within_100_seeds(PlantedBug::NewSegmentSyncedFirst);
}

#[test]
fn recovery_trusts_index_is_caught() {
    is_caught_within_100_seeds(PlantedBug::RecoveryTrustsIndex);
}

#[test]
fn crc_unchecked_is_caught() {
    is_caught_within_100_seeds(PlantedBug::CrcUnchecked);
}

#[test]
fn dirty_descriptor_closed_is_caught() {
    is_caught_within_100_seeds(PlantedBug::DirtyDescriptorClosed);
}
