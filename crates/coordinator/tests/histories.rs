//! Random lives of a group; see the module `histories`. More of them run in the simulation.
//!
//! `QUIPU_HISTORIES=n` runs more or fewer.

use quipu_coordinator::histories::{Counts, histories, run};
use quipu_record::PlantedBug;

const HISTORIES: u64 = 5_000;

#[expect(clippy::disallowed_methods, reason = "a test's own settings")]
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn a_group_keeps_its_word_whatever_happens() {
    let wanted = setting("QUIPU_HISTORIES").unwrap_or(HISTORIES);
    let threads: Vec<_> = (0..2u64)
        .map(|half| {
            let seeds = half * wanted / 2..(half + 1) * wanted / 2;
            std::thread::Builder::new()
                .spawn(move || histories(seeds))
                .expect("a thread")
        })
        .collect();
    let mut all = Counts::default();
    for thread in threads {
        match thread.join().expect("no panic") {
            Ok(counts) => all.merge(&counts),
            Err(violation) => panic!("{violation}"),
        }
    }
    println!("{all}");
    assert_eq!(all.histories, wanted);
    assert!(all.kinds["ended-stable"] > wanted / 2, "{all}");
}

/// How many histories it takes until the bug shows.
fn caught(bug: PlantedBug) -> u64 {
    let caught = bug.plant(|| (0..500).find(|seed| run(*seed).is_err()));
    caught.unwrap_or_else(|| panic!("{bug:?} is not caught"))
}

#[test]
fn a_commit_without_a_fence_is_caught() {
    caught(PlantedBug::CommitUnfenced);
}

#[test]
fn a_late_commit_is_caught() {
    caught(PlantedBug::LateCommitTaken);
}

#[test]
fn a_second_owner_is_caught() {
    caught(PlantedBug::TwoOwners);
}
