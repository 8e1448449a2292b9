//! Every state of a partition on three brokers, every standing of these, and every change: what must hold after it.
//!
//! An attacker's list: whatever order of commands somebody finds, its steps are among these.

use super::*;
use quipu_record::{LeaderEpoch, Offset, PartitionEpoch};

const BROKERS: [u32; 3] = [1, 2, 3];

/// What a broker is to a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Trust {
    InSync,
    Eligible,
    None,
}

/// What a broker is to the cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Active,
    Leaving,
    Fenced,
}

struct Cluster([State; 3]);

impl Cluster {
    fn state(&self, broker: BrokerId) -> State {
        self.0[usize::try_from(broker.get()).expect("small") - 1]
    }
}

impl Standing for Cluster {
    fn is_unfenced(&self, broker: BrokerId) -> bool {
        self.state(broker) != State::Fenced
    }

    fn is_active(&self, broker: BrokerId) -> bool {
        self.state(broker) == State::Active
    }
}

fn triples<T: Copy>(of: [T; 3]) -> impl Iterator<Item = [T; 3]> {
    (0..27).map(move |n| [of[n % 3], of[n / 3 % 3], of[n / 9]])
}

fn chosen(pick: impl Fn(usize) -> bool) -> ReplicaSet {
    let all = BROKERS.iter().enumerate();
    all.filter(|(i, _)| pick(*i))
        .map(|(_, b)| BrokerId::new(*b))
        .collect()
}

/// The states that a partition can be in, by the invariants of this crate.
fn partitions() -> Vec<Partition> {
    let mut all = Vec::new();
    for trust in triples([Trust::InSync, Trust::Eligible, Trust::None]) {
        let isr = chosen(|i| trust[i] == Trust::InSync);
        let elr = chosen(|i| trust[i] == Trust::Eligible);
        for min_insync in 1..=3u8 {
            if isr.len() >= usize::from(min_insync) && !elr.is_empty() {
                continue;
            }
            let leaders = isr.iter().map(Some).chain([None]);
            for (leader, cuts) in leaders.flat_map(|leader| (0..4).map(move |cuts| (leader, cuts))) {
                let mut partition = Partition {
                    replicas: chosen(|_| true),
                    isr: isr.clone(),
                    elr: elr.clone(),
                    leader,
                    leader_epoch: LeaderEpoch::new(5),
                    partition_epoch: PartitionEpoch::new(20),
                    min_insync,
                    rare: None,
                };
                let mut rare = partition.take_rare();
                // Nobody, the first, all but the first, all of the eligible.
                let is_cut = |n: usize| cuts == 3 || (cuts == 1 && n == 0) || (cuts == 2 && n > 0);
                let cut = elr.iter().enumerate().filter(|(n, _)| is_cut(*n));
                rare.cut = cut.map(|(n, broker)| cut_at(broker, 10 + n as u64)).collect();
                partition.set_rare(rare);
                all.push(partition);
            }
        }
    }
    all.dedup();
    all
}

fn cut_at(broker: BrokerId, end: u64) -> CutReplica {
    CutReplica {
        broker,
        last_epoch: Some(LeaderEpoch::FIRST),
        log_end: Offset::new(end),
    }
}

/// One change of a partition.
#[derive(Clone, Debug)]
struct Change {
    isr: Option<ReplicaSet>,
    min_insync: u8,
    lost: Option<BrokerId>,
    cut: Option<CutReplica>,
    preferred: Option<BrokerId>,
    election: Election,
}

impl Change {
    fn build(&self, before: &Partition, cluster: &Cluster) -> Option<Partition> {
        let mut change = PartitionChange::new(before, cluster)
            .min_insync(self.min_insync)
            .election(self.election);
        if let Some(isr) = &self.isr {
            change = change.isr(isr.clone());
        }
        if let Some(lost) = self.lost {
            change = change.lost(lost);
        }
        if let Some(cut) = self.cut {
            change = change.cut(cut);
        }
        if let Some(preferred) = self.preferred {
            change = change.prefer(preferred);
        }
        change.build()
    }
}

/// What commands make of such a partition.
fn changes(before: &Partition, cluster: &Cluster) -> Vec<Change> {
    let plain = Change {
        isr: None,
        min_insync: before.min_insync,
        lost: None,
        cut: None,
        preferred: None,
        election: Election::default(),
    };
    let mut all = vec![plain.clone()];
    for (wait_is_over, unclean) in [(true, false), (false, true), (true, true)] {
        all.push(Change {
            election: Election {
                wait_is_over,
                unclean,
            },
            ..plain.clone()
        });
    }
    for min_insync in 1..=3 {
        all.push(Change {
            min_insync,
            ..plain.clone()
        });
    }
    for broker in BROKERS.map(BrokerId::new) {
        all.push(Change {
            preferred: Some(broker),
            ..plain.clone()
        });
        match cluster.state(broker) {
            // It registers, or bad bytes were found: it is fenced, or as good as.
            State::Fenced => {
                let cut = Some(cut_at(broker, 99));
                let lost = Some(broker);
                all.push(Change { cut, ..plain.clone() });
                all.push(Change {
                    lost,
                    cut,
                    ..plain.clone()
                });
                all.push(Change {
                    lost,
                    ..plain.clone()
                });
            }
            // It begins to leave.
            State::Leaving if before.isr.contains(broker) => {
                let rest = before.isr.without(|b| b == broker);
                let enough = rest.len() >= usize::from(before.min_insync);
                if enough && rest.iter().any(|b| cluster.is_active(b)) {
                    all.push(Change {
                        isr: Some(rest),
                        ..plain.clone()
                    });
                }
            }
            _ => {}
        }
    }
    all.extend(asked_by_the_leader(before, cluster).map(|isr| Change {
        isr: Some(isr),
        ..plain.clone()
    }));
    all
}

/// The in-sync replicas that a leader may ask for.
fn asked_by_the_leader(before: &Partition, cluster: &Cluster) -> impl Iterator<Item = ReplicaSet> {
    let leader = before.leader.filter(|leader| cluster.is_unfenced(*leader));
    let may = |b: BrokerId| before.isr.contains(b) || cluster.is_active(b);
    let sets = (0..8).map(|n| chosen(|i| n >> i & 1 == 1));
    sets.filter(move |isr| leader.is_some_and(|leader| isr.contains(leader)) && isr.iter().all(may))
}

/// All but the memory of who was eligible, which lasts until enough are in sync.
fn essence(
    p: &Partition,
) -> (
    Option<BrokerId>,
    LeaderEpoch,
    &ReplicaSet,
    &ReplicaSet,
    &[CutReplica],
) {
    (p.leader, p.leader_epoch, &p.isr, &p.elr, p.cut())
}

#[test]
fn whatever_happens_to_a_partition_the_invariants_hold() {
    let mut count = 0;
    let partitions = partitions();
    for states in triples([State::Active, State::Leaving, State::Fenced]) {
        let cluster = Cluster(states);
        for before in &partitions {
            for change in changes(before, &cluster) {
                let after = change.build(before, &cluster).unwrap_or_else(|| before.clone());
                let what = || format!("{before:?}\nin {states:?} by {change:?}\nis {after:?}");
                check_shape(&after, &cluster, &what);
                check_trust(before, &after, &change, &cluster, &what);
                check_leader(before, &after, &change, &cluster, &what);
                check_epochs(before, &after, &what);
                let still = Change {
                    isr: None,
                    lost: None,
                    cut: None,
                    ..change.clone()
                };
                let again = still.build(&after, &cluster).unwrap_or_else(|| after.clone());
                assert_eq!(
                    essence(&again),
                    essence(&after),
                    "it does not stay so: {}",
                    what()
                );
                count += 1;
            }
        }
    }
    println!("{} partitions, {count} changes", partitions.len());
    assert!(count > 50_000);
}

fn check_shape(after: &Partition, cluster: &Cluster, what: &dyn Fn() -> String) {
    let in_sync = |b: BrokerId| after.isr.contains(b);
    assert!(
        after.isr.iter().all(|b| cluster.is_unfenced(b)),
        "fenced in sync: {}",
        what()
    );
    assert!(!after.elr.iter().any(in_sync), "in sync and eligible: {}", what());
    assert!(
        after.elr.is_empty() || after.isr.len() < usize::from(after.min_insync),
        "{}",
        what()
    );
    assert!(
        after.leader.is_none_or(in_sync),
        "it leads and is not in sync: {}",
        what()
    );
    assert!(
        after.cut().iter().all(|c| after.elr.contains(c.broker)),
        "{}",
        what()
    );
}

/// Trust is neither given nor taken without a reason.
fn check_trust(
    before: &Partition,
    after: &Partition,
    change: &Change,
    cluster: &Cluster,
    what: &dyn Fn() -> String,
) {
    let unclean = after
        .leader
        .is_some_and(|b| before.leader != Some(b) && !before.is_safe(b))
        && change.isr.is_none();
    assert!(
        !unclean || (change.election.unclean && after.possible_loss()),
        "{}",
        what()
    );
    if unclean {
        let others = |b: &BrokerId| before.is_safe(*b) && Some(*b) != change.lost;
        assert!(
            !before
                .replicas
                .iter()
                .filter(others)
                .any(|b| cluster.is_unfenced(b)),
            "somebody was here who has everything: {}",
            what()
        );
        return;
    }
    for broker in BROKERS.map(BrokerId::new) {
        let asked = change.isr.as_ref().is_some_and(|isr| isr.contains(broker));
        let lost = change.lost == Some(broker);
        assert!(
            !after.is_safe(broker) || (!lost && (before.is_safe(broker) || asked)),
            "{}",
            what()
        );
    }
    let all_lost = before
        .isr
        .iter()
        .chain(before.elr.iter())
        .all(|b| change.lost == Some(b));
    assert!(
        all_lost || !(after.isr.is_empty() && after.elr.is_empty()),
        "nobody is left: {}",
        what()
    );
    // While fewer are in sync than must be, nobody who has everything is forgotten.
    if after.isr.len() < usize::from(after.min_insync) {
        let kept = |b: BrokerId| after.is_safe(b) || change.lost == Some(b);
        assert!(
            before.isr.iter().chain(before.elr.iter()).all(kept),
            "forgotten: {}",
            what()
        );
    }
}

fn check_leader(
    before: &Partition,
    after: &Partition,
    change: &Change,
    cluster: &Cluster,
    what: &dyn Fn() -> String,
) {
    let uncut = |b: BrokerId| before.cut().iter().all(|c| c.broker != b);
    let could = |b: BrokerId| cluster.is_active(b) && after.is_safe(b);
    match after.leader {
        None => {
            assert!(
                !BROKERS
                    .map(BrokerId::new)
                    .into_iter()
                    .any(|b| could(b) && uncut(b)),
                "{}",
                what()
            );
            let anybody = BROKERS.map(BrokerId::new).into_iter().any(could);
            assert!(!(change.election.wait_is_over && anybody), "{}", what());
        }
        Some(leader) if !cluster.is_active(leader) => {
            assert_eq!(before.leader, Some(leader), "{}", what());
            let in_sync = |b: &BrokerId| after.isr.contains(*b);
            assert!(
                !after
                    .replicas
                    .iter()
                    .filter(in_sync)
                    .any(|b| cluster.is_active(b)),
                "{}",
                what()
            );
        }
        Some(_) => {}
    }
    let keeps = before
        .leader
        .filter(|b| after.isr.contains(*b) && cluster.is_active(*b));
    if change.preferred.is_none() && keeps.is_some() {
        assert_eq!(after.leader, keeps, "it had no reason to go: {}", what());
    }
}

fn check_epochs(before: &Partition, after: &Partition, what: &dyn Fn() -> String) {
    let leader_steps = after.leader_epoch.get() - before.leader_epoch.get();
    assert_eq!(
        leader_steps,
        u32::from(before.leader != after.leader),
        "{}",
        what()
    );
    let steps = after.partition_epoch.get() - before.partition_epoch.get();
    assert_eq!(steps, u64::from(before != after), "{}", what());
}
