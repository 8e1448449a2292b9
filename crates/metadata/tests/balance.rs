//! Leadership goes back to where it belongs, gently.

mod cluster;

use cluster::{Cluster, leader, wide_topic};
use quipu_metadata::*;
use quipu_record::{BrokerId, Tick};
use std::time::Duration;

const SETTLE: Duration = Duration::from_secs(30);

/// Broker 2 was away and is back and in sync; others lead what it should.
fn after_a_restart(partitions: u32) -> Cluster {
    let mut cluster = Cluster::of(3);
    cluster.run(wide_topic(partitions, &[])).expect("created");
    cluster.fence(&[2]);
    cluster.unfence(2);
    assert_eq!(cluster.image.led_by(BrokerId::new(2)), 0);
    cluster
}

fn catch_up(cluster: &mut Cluster, partitions: u32) {
    for p in 0..partitions {
        cluster.alter(p, &[1, 2, 3]).expect("expands");
    }
}

/// Lets time pass, doing what is proposed: the sizes of the commands, by second.
fn pass(cluster: &mut Cluster, balance: &mut Balance, now: &mut Tick, seconds: u64) -> Vec<(u64, usize)> {
    let mut commands = Vec::new();
    for second in 1..=seconds {
        *now = now.after(Duration::from_secs(1));
        if let Some(command) = balance.tick(&cluster.image, *now) {
            commands.push((second, command.partitions.len()));
            let Ok(answers) = cluster.run(command);
            assert!(answers.iter().all(Result::is_ok), "{answers:?}");
            balance.settled(Settled::At(cluster.image.version()));
        }
    }
    commands
}

#[test]
fn who_is_back_leads_again_after_a_while_and_a_few_at_a_time() {
    let mut cluster = after_a_restart(150);
    let mut now = Tick::from_nanos(0);
    let mut balance = Balance::new(BalanceConfig::default(), now);
    assert_eq!(pass(&mut cluster, &mut balance, &mut now, 60), [], "not in sync");
    catch_up(&mut cluster, 150);
    assert_eq!(pass(&mut cluster, &mut balance, &mut now, 30), [], "not for long");
    let commands = pass(&mut cluster, &mut balance, &mut now, 10);
    assert_eq!(commands, [(1, 20), (2, 20), (3, 10)]);
    assert_eq!(cluster.image.led_by(BrokerId::new(2)), 50);
    assert_eq!(cluster.image.displaced().count(), 0);
}

#[test]
fn nothing_moves_while_somebody_leaves() {
    let mut cluster = after_a_restart(30);
    catch_up(&mut cluster, 30);
    let mut now = Tick::from_nanos(0);
    let mut balance = Balance::new(BalanceConfig::default(), now);
    let BrokerFence { id, epoch } = cluster.lifetime(3);
    cluster.run(BeginShutdown { id, epoch }).expect("begun");
    assert_eq!(pass(&mut cluster, &mut balance, &mut now, 60), []);
    // Gone is not leaving.
    cluster.fence(&[3]);
    assert!(!pass(&mut cluster, &mut balance, &mut now, 31).is_empty());
    let preferred = |p: &Partition| p.replicas.iter().next();
    assert!(
        cluster
            .image
            .displaced()
            .all(|(_, p)| preferred(p) == Some(BrokerId::new(3)))
    );
}

#[test]
fn who_was_away_again_begins_anew() {
    let mut cluster = after_a_restart(30);
    catch_up(&mut cluster, 30);
    let mut now = Tick::from_nanos(0);
    let mut balance = Balance::new(BalanceConfig::default(), now);
    assert_eq!(pass(&mut cluster, &mut balance, &mut now, 20), []);
    cluster.fence(&[2]);
    assert_eq!(pass(&mut cluster, &mut balance, &mut now, 1), []);
    cluster.unfence(2);
    catch_up(&mut cluster, 30);
    assert_eq!(pass(&mut cluster, &mut balance, &mut now, 30), []);
    assert_eq!(pass(&mut cluster, &mut balance, &mut now, 1), [(1, 10)]);
}

#[test]
fn nothing_is_proposed_twice_and_what_failed_is_proposed_again() {
    let mut cluster = after_a_restart(30);
    catch_up(&mut cluster, 30);
    let mut balance = Balance::new(BalanceConfig::default(), Tick::from_nanos(0));
    assert_eq!(balance.tick(&cluster.image, Tick::from_nanos(0)), None);
    let now = Tick::from_nanos(0).after(SETTLE);
    let second = |n| now.after(Duration::from_secs(n));
    let first = balance.tick(&cluster.image, now).expect("ripe");
    assert_eq!(balance.tick(&cluster.image, second(1)), None, "under way");
    balance.settled(Settled::Failed);
    assert_eq!(balance.tick(&cluster.image, second(2)), Some(first.clone()));
    assert_eq!(first.kind, LeaderElection::Preferred);
    assert!(
        first
            .partitions
            .iter()
            .all(|p| leader(cluster.partition(p.partition.get())) != Some(2))
    );
    assert_eq!(first.partitions.len(), 10);
}
