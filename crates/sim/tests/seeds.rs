//! A bounded number of seeds in every `cargo test`; CI runs more of them with the binary `sim`.

use quipu_record::PlantedBug;
use quipu_sim::{Counts, Deed, Fault, Options, World, run};
use std::time::Duration;

const REPLAY: &str = "replay: cargo run -p quipu-sim --bin sim -- --seeds 1 --tell --seed";

fn alone() -> Options {
    Options {
        world: World::Alone,
        ..Options::default()
    }
}

fn run_all(seeds: u64, options: Options) -> Counts {
    let mut all = Counts::default();
    for seed in 0..seeds {
        let outcome = run(seed, options);
        if let Some(fault) = outcome.fault() {
            panic!("seed {seed}: {fault}\n{REPLAY} {seed}");
        }
        let counts = &outcome.counts;
        assert!(
            matches!(options.world, World::Alone | World::Groups) || counts.reach_the_floors(),
            "seed {seed} falls short: {counts}"
        );
        all += counts;
    }
    all
}

fn struck_by_all(all: &Counts, kinds: &[Fault]) {
    for fault in kinds {
        assert!(
            all.faults.contains_key(fault),
            "{fault:?} was never injected\n{all}"
        );
    }
}

#[test]
fn every_invariant_holds_in_every_seed_of_a_cluster() {
    let all = run_all(100, Options::default());
    struck_by_all(&all, Fault::CLUSTER);
    for deed in Deed::ALL.iter().filter(|deed| **deed != Deed::UncleanElection) {
        assert!(all.deeds.contains_key(deed), "{deed:?} never happened\n{all}");
    }
    assert!(all.acked > 20_000 && all.read > 20_000, "{all}");
}

#[test]
fn every_invariant_holds_in_every_seed_with_real_controllers() {
    let options = Options {
        world: World::Controllers,
        ..Options::default()
    };
    let all = run_all(30, options);
    assert!(
        all.acked > 6_000 && all.deeds.contains_key(&Deed::Election),
        "{all}"
    );
}

#[test]
fn every_invariant_holds_in_every_seed_of_a_broker_alone() {
    let all = run_all(60, alone());
    struck_by_all(&all, Fault::ALONE);
    assert!(all.acked > 10_000 && all.read > 10_000, "{all}");
    assert!(
        all.duplicates > 0 && all.cuts > 0 && all.deleted > 0 && all.unknown > 0,
        "{all}"
    );
}

#[test]
fn a_seed_is_the_same_world_every_time() {
    for options in [Options::default(), alone()] {
        for seed in [1, 2, 3] {
            let (first, second) = (run(seed, options), run(seed, options));
            assert_eq!(first.trace_hash, second.trace_hash, "seed {seed}");
        }
        let other = run(4, options).trace_hash;
        assert_ne!(run(5, options).trace_hash, other);
    }
}

/// A green run means little unless each of these makes it red.
#[allow(clippy::print_stdout, reason = "the seed is told, to be run again")]
fn is_caught_within_100_seeds(bug: PlantedBug, options: Options) {
    let fault = |seed| Some((seed, bug.plant(|| run(seed, options)).fault()?));
    let caught = (0..100).find_map(fault);
    let (seed, fault) = caught.unwrap_or_else(|| panic!("{bug:?} is not caught"));
    println!("{bug:?} is caught by seed {seed}: {fault}");
}

fn is_caught_alone(bug: PlantedBug) {
    let options = Options {
        duration: Duration::from_secs(5),
        ..alone()
    };
    is_caught_within_100_seeds(bug, options);
}

fn is_caught_in_a_cluster(bug: PlantedBug) {
    is_caught_within_100_seeds(bug, Options::default());
}

#[test]
fn ack_before_flush_is_caught() {
    is_caught_alone(PlantedBug::AckBeforeFlush);
    is_caught_in_a_cluster(PlantedBug::AckBeforeFlush);
}

#[test]
fn no_producer_dedup_is_caught() {
    is_caught_alone(PlantedBug::NoProducerDedup);
    is_caught_in_a_cluster(PlantedBug::NoProducerDedup);
}

#[test]
fn ack_before_every_replica_is_caught() {
    is_caught_in_a_cluster(PlantedBug::AckBeforeEveryReplica);
}

#[test]
fn no_epoch_check_on_fetch_is_caught() {
    is_caught_in_a_cluster(PlantedBug::NoEpochCheckOnFetch);
}

#[test]
fn high_watermark_from_old_leader_is_caught() {
    is_caught_in_a_cluster(PlantedBug::HighWatermarkFromOldLeader);
}

#[test]
fn truncate_to_high_watermark_is_caught() {
    is_caught_in_a_cluster(PlantedBug::TruncateToHighWatermark);
}

#[test]
fn expand_without_catching_up_is_caught() {
    is_caught_in_a_cluster(PlantedBug::ExpandWithoutCatchingUp);
}

#[test]
fn elr_ignored_is_caught() {
    is_caught_in_a_cluster(PlantedBug::ElrIgnored);
}

#[test]
fn elr_emptied_by_config_change_is_caught() {
    is_caught_in_a_cluster(PlantedBug::ElrEmptiedByConfigChange);
}

#[test]
fn broker_epoch_unchecked_is_caught() {
    is_caught_in_a_cluster(PlantedBug::BrokerEpochUnchecked);
}

#[test]
fn min_insync_clamped_by_stale_leader_is_caught() {
    is_caught_in_a_cluster(PlantedBug::MinInsyncClampedByStaleLeader);
}

#[test]
fn vouched_by_nobody_is_caught() {
    is_caught_in_a_cluster(PlantedBug::VouchedByNobody);
}

#[test]
fn no_directory_sync_is_caught() {
    is_caught_alone(PlantedBug::NoDirectorySync);
}

#[test]
fn new_segment_synced_first_is_caught() {
    is_caught_alone(PlantedBug::NewSegmentSyncedFirst);
}

#[test]
fn recovery_trusts_index_is_caught() {
    is_caught_alone(PlantedBug::RecoveryTrustsIndex);
}

#[test]
fn crc_unchecked_is_caught() {
    is_caught_alone(PlantedBug::CrcUnchecked);
}

#[test]
fn dirty_descriptor_closed_is_caught() {
    is_caught_alone(PlantedBug::DirtyDescriptorClosed);
}

fn groups() -> Options {
    Options {
        world: World::Groups,
        ..Options::default()
    }
}

#[test]
fn every_invariant_holds_in_every_seed_of_groups() {
    let all = run_all(100, groups());
    struck_by_all(&all, Fault::GROUPS);
    for what in ["assigned", "revoked", "lost", "records processed again"] {
        assert!(all.members.contains_key(what), "{what}: {all}");
    }
}

#[test]
fn two_owners_is_caught() {
    is_caught_within_100_seeds(PlantedBug::TwoOwners, groups());
}

#[test]
fn commit_unfenced_is_caught() {
    is_caught_within_100_seeds(PlantedBug::CommitUnfenced, groups());
}

#[test]
fn serve_before_loaded_is_caught() {
    is_caught_within_100_seeds(PlantedBug::ServeBeforeLoaded, groups());
}
