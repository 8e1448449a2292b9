//! How long the great things take. The times are printed for people and decide nothing.

mod scene;

use quipu_coordinator::{Coordinator, GroupConfig};
use quipu_record::Timestamp;
use scene::{Scene, at};
use std::time::{Duration, Instant};

#[allow(
    clippy::disallowed_methods,
    reason = "a figure for people, nothing goes by it"
)]
fn clock() -> Instant {
    Instant::now()
}

#[test]
fn five_hundred_members_share_two_thousand_partitions() {
    let mut scene = Scene::new(&[("t", 1_500), ("u", 500)]);
    scene.config(GroupConfig {
        assignment_interval: Duration::from_secs(1),
        ..GroupConfig::default()
    });
    for index in 0..499 {
        scene.join(&format!("m{index}"));
    }
    scene.wait(Duration::from_secs(2));
    let start = clock();
    scene.join("last");
    println!(
        "500 members, 2,000 partitions: a join that makes a new target took {:?}",
        start.elapsed()
    );
    assert_eq!(scene.target("last").len(), 4);
    let before = scene.targets();
    scene.wait(Duration::from_secs(2));
    let start = clock();
    scene.leave("m7");
    println!(
        "500 members, 2,000 partitions: a leave that makes a new target took {:?}",
        start.elapsed()
    );
    let after = scene.targets();
    let moved = after
        .iter()
        .filter(|(at, member)| before.get(*at).is_some_and(|was| was != *member));
    assert_eq!(moved.count(), 4, "only what the one who left had");
}

#[test]
fn a_hundred_thousand_offsets_are_committed_and_loaded() {
    const PARTITIONS: u32 = 1_000;
    const GROUPS: u32 = 100;
    let mut scene = Scene::new(&[("t", PARTITIONS)]);
    let start = clock();
    let (mut records, mut bytes) = (Vec::new(), 0);
    for round in 0..2u64 {
        for group in 0..GROUPS {
            for partition in 0..PARTITIONS {
                scene.admin_commit(&format!("g{group}"), at(1, partition), round);
            }
            for record in scene.take_records() {
                bytes += record.key.len() + record.value.as_ref().map_or(0, bytes::Bytes::len);
                records.push(record);
            }
        }
    }
    let took = start.elapsed();
    println!(
        "{} commits of one offset took {took:?}, {bytes} bytes",
        records.len()
    );
    let start = clock();
    let mut loaded = Coordinator::new(GroupConfig::default());
    for record in &records {
        loaded
            .replay(&record.key, record.value.as_deref())
            .expect("replays");
    }
    println!("loading {} records took {:?}", records.len(), start.elapsed());
    assert_eq!(loaded.group_count(), GROUPS as usize);
    assert!(loaded.expiring(Timestamp::new(0)).is_empty());
}
