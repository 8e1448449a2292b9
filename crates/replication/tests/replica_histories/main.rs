//! Histories of three replicas on disks that lose what was not synced: messages lost, repeated and out of order, power
//! cuts, kills, brokers fenced and let in again, elections, `min.insync.replicas` changed, records deleted, in any order.
//! After each step:
//! - below its high watermark every replica's log is the same;
//! - the leader that the metadata means has all that was ever committed, as it was, and its high watermark only grows;
//! - what is acknowledged is committed;
//! - no leader counts what a follower says in another epoch;
//! - no replica that may be elected cuts off what was committed.
//!
//! In the end everything works again, and all replicas come to be equal and in sync. Then the same with bugs planted:
//! each must be caught.
//!
//! `QUIPU_HISTORIES=n` runs more or fewer, `QUIPU_SEED=n` replays one and tells what it does.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

mod broker;
mod ghost;
mod history;
mod metadata;

use history::History;
use quipu_record::PlantedBug;

const STEPS: u64 = 2_000;

#[expect(clippy::disallowed_methods, reason = "how a person asks for a replay")]
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn replicas_agree_and_nothing_acknowledged_is_lost() {
    if let Some(seed) = setting("QUIPU_SEED") {
        let end = History::run(seed, STEPS, true);
        end.unwrap_or_else(|fault| panic!("history {seed}: {fault}"));
        return;
    }
    let histories = setting("QUIPU_HISTORIES").unwrap_or(600);
    let mut acks = 0;
    for seed in 0..histories {
        match History::run(seed, STEPS, false) {
            Ok(more) => acks += more,
            Err(fault) => panic!(
                "history {seed}: {fault}\nreplay: QUIPU_SEED={seed} cargo test -p quipu-replication \
                 --test replica_histories -- --nocapture replicas_agree"
            ),
        }
    }
    println!(
        "{histories} histories of {STEPS} steps, seeds 0 to {}: {acks} acknowledged",
        histories - 1
    );
    assert!(acks > histories * 5, "hardly anything was acknowledged: {acks}");
}

/// In how many histories at most a planted bug is caught.
fn caught(bug: PlantedBug, within: u64) {
    for seed in 0..within {
        if let Err(fault) = bug.plant(|| History::run(seed, STEPS, false)) {
            println!("{bug:?} is caught by history {seed}: {fault}");
            return;
        }
    }
    panic!("{bug:?} is not caught in {within} histories");
}

#[test]
fn an_acknowledgement_before_every_replica_has_it_is_caught() {
    caught(PlantedBug::AckBeforeEveryReplica, 50);
}

#[test]
fn an_acknowledgement_before_the_flush_is_caught() {
    caught(PlantedBug::AckBeforeFlush, 200);
}

#[test]
fn a_leader_that_does_not_check_epochs_is_caught() {
    caught(PlantedBug::NoEpochCheckOnFetch, 100);
}

#[test]
fn a_high_watermark_of_another_leader_is_caught() {
    caught(PlantedBug::HighWatermarkFromOldLeader, 300);
}

#[test]
fn a_log_cut_to_the_high_watermark_is_caught() {
    caught(PlantedBug::TruncateToHighWatermark, 50);
}

#[test]
fn an_expansion_without_catching_up_is_caught() {
    caught(PlantedBug::ExpandWithoutCatchingUp, 50);
}

#[test]
fn an_old_minimum_is_caught() {
    caught(PlantedBug::MinInsyncClampedByStaleLeader, 300);
}
