use super::*;
use quipu_record::{LeaderEpoch, Offset, PartitionEpoch};

/// Brokers 1 to 9, of which some are fenced and some are on their way out.
#[derive(Default)]
struct Cluster {
    fenced: Vec<u32>,
    leaving: Vec<u32>,
}

impl Standing for Cluster {
    fn is_unfenced(&self, broker: BrokerId) -> bool {
        !self.fenced.contains(&broker.get())
    }

    fn is_active(&self, broker: BrokerId) -> bool {
        self.is_unfenced(broker) && !self.leaving.contains(&broker.get())
    }
}

fn fenced(brokers: &[u32]) -> Cluster {
    Cluster {
        fenced: brokers.to_vec(),
        leaving: Vec::new(),
    }
}

fn set(brokers: &[u32]) -> ReplicaSet {
    brokers.iter().copied().map(BrokerId::new).collect()
}

fn id(broker: u32) -> BrokerId {
    BrokerId::new(broker)
}

/// Replicas 1, 2, 3; leader epoch 5, partition epoch 20.
fn partition(isr: &[u32], elr: &[u32], leader: Option<u32>, min_insync: u8) -> Partition {
    Partition {
        replicas: set(&[1, 2, 3]),
        isr: set(isr),
        elr: set(elr),
        leader: leader.map(BrokerId::new),
        leader_epoch: LeaderEpoch::new(5),
        partition_epoch: PartitionEpoch::new(20),
        min_insync,
        rare: None,
    }
}

fn with_cut(mut partition: Partition, cuts: &[(u32, Option<u32>, u64)]) -> Partition {
    let mut rare = partition.take_rare();
    rare.cut = cuts
        .iter()
        .map(|(broker, epoch, end)| cut(*broker, *epoch, *end))
        .collect();
    partition.set_rare(rare);
    partition
}

fn cut(broker: u32, epoch: Option<u32>, end: u64) -> CutReplica {
    CutReplica {
        broker: id(broker),
        last_epoch: epoch.map(LeaderEpoch::new),
        log_end: Offset::new(end),
    }
}

/// (leader, isr, elr, leader epoch) of what a change leads to.
fn shape(partition: &Partition) -> (Option<u32>, Vec<u32>, Vec<u32>, u32) {
    let ids = |set: &ReplicaSet| set.iter().map(BrokerId::get).collect();
    let leader = partition.leader.map(BrokerId::get);
    (
        leader,
        ids(&partition.isr),
        ids(&partition.elr),
        partition.leader_epoch.get(),
    )
}

#[test]
fn nothing_changes_when_nothing_is_to_change() {
    let before = partition(&[1, 2, 3], &[], Some(1), 2);
    assert_eq!(PartitionChange::new(&before, &Cluster::default()).build(), None);
    assert_eq!(
        PartitionChange::new(&before, &fenced(&[7])).min_insync(2).build(),
        None
    );
}

#[test]
fn a_follower_that_is_lost_leaves_and_the_leader_stays() {
    let before = partition(&[1, 2, 3], &[], Some(1), 2);
    let after = PartitionChange::new(&before, &fenced(&[3]))
        .build()
        .expect("a change");
    assert_eq!(shape(&after), (Some(1), vec![1, 2], vec![], 5));
    assert_eq!(after.partition_epoch.get(), 21);
}

#[test]
fn the_next_in_replica_order_takes_over_a_lost_leader() {
    let mut before = partition(&[3, 2, 1], &[], Some(1), 2);
    before.replicas = set(&[1, 3, 2]);
    let after = PartitionChange::new(&before, &fenced(&[1]))
        .build()
        .expect("a change");
    assert_eq!(shape(&after), (Some(3), vec![3, 2], vec![], 6));
}

#[test]
fn below_the_minimum_who_leaves_stays_eligible() {
    let before = partition(&[1, 2], &[], Some(1), 2);
    let after = PartitionChange::new(&before, &fenced(&[2, 3]))
        .build()
        .expect("a change");
    assert_eq!(shape(&after), (Some(1), vec![1], vec![2], 5));
    // And the last of them too: nobody is in sync, two are eligible.
    let after = PartitionChange::new(&after, &fenced(&[1, 2, 3]))
        .build()
        .expect("a change");
    assert_eq!(shape(&after), (None, vec![], vec![2, 1], 6));
}

#[test]
fn the_last_in_sync_replica_becomes_eligible_with_a_minimum_of_one() {
    let before = partition(&[1], &[], Some(1), 1);
    let after = PartitionChange::new(&before, &fenced(&[1]))
        .build()
        .expect("a change");
    assert_eq!(shape(&after), (None, vec![], vec![1], 6));
    let again = PartitionChange::new(&after, &Cluster::default())
        .build()
        .expect("a change");
    assert_eq!(shape(&again), (Some(1), vec![1], vec![], 7));
}

#[test]
fn at_the_minimum_nobody_is_eligible() {
    let before = partition(&[1], &[2, 3], Some(1), 2);
    let after = PartitionChange::new(&before, &Cluster::default())
        .isr(set(&[1, 2]))
        .build()
        .expect("a change");
    assert_eq!(shape(&after), (Some(1), vec![1, 2], vec![], 5));
}

#[test]
fn an_eligible_replica_is_elected_and_is_alone_in_sync() {
    let before = partition(&[], &[2, 3], None, 2);
    let after = PartitionChange::new(&before, &fenced(&[1, 2]))
        .build()
        .expect("a change");
    assert_eq!(shape(&after), (Some(3), vec![3], vec![2], 6));
}

#[test]
fn in_sync_goes_before_eligible() {
    let before = partition(&[3], &[1], None, 2);
    let after = PartitionChange::new(&before, &Cluster::default())
        .build()
        .expect("a change");
    assert_eq!(shape(&after), (Some(3), vec![3], vec![1], 6));
}

#[test]
fn never_a_replica_that_is_neither_unless_unclean_is_allowed() {
    let before = partition(&[1], &[], Some(1), 1);
    let lost = PartitionChange::new(&before, &fenced(&[1]))
        .build()
        .expect("a change");
    assert_eq!(shape(&lost), (None, vec![], vec![1], 6));
    assert_eq!(PartitionChange::new(&lost, &fenced(&[1])).build(), None);
    let unclean = Election {
        unclean: true,
        wait_is_over: false,
    };
    let forced = PartitionChange::new(&lost, &fenced(&[1]))
        .election(unclean)
        .build()
        .expect("a change");
    assert_eq!(shape(&forced), (Some(2), vec![2], vec![], 7));
    assert!(forced.possible_loss());
    assert_eq!(forced.last_known_elr(), [id(1)]);
}

#[test]
fn unclean_is_the_last_resort_only() {
    let before = partition(&[], &[3], None, 2);
    let unclean = Election {
        unclean: true,
        wait_is_over: false,
    };
    let after = PartitionChange::new(&before, &fenced(&[1]))
        .election(unclean)
        .build()
        .expect("a change");
    assert_eq!(shape(&after), (Some(3), vec![3], vec![], 6));
    assert!(!after.possible_loss());
}

#[test]
fn a_replica_that_lost_data_is_neither_in_sync_nor_eligible() {
    let before = partition(&[1], &[2], Some(1), 2);
    let after = PartitionChange::new(&before, &fenced(&[1]))
        .lost(id(1))
        .build()
        .expect("a change");
    assert_eq!(shape(&after), (Some(2), vec![2], vec![], 6));
    assert_eq!(after.last_known_elr(), [id(1)]);

    let all = partition(&[1], &[], Some(1), 1);
    let after = PartitionChange::new(&all, &fenced(&[1]))
        .lost(id(1))
        .build()
        .expect("a change");
    assert_eq!(shape(&after), (None, vec![], vec![], 6));
    assert_eq!(after.last_known_elr(), [id(1)]);
    // Not even when it is back: an operator must say so.
    assert_eq!(PartitionChange::new(&after, &Cluster::default()).build(), None);
}

#[test]
fn raising_the_minimum_empties_nothing_and_lowering_it_only_where_it_is_met() {
    let healthy = partition(&[1, 2], &[], Some(1), 2);
    let after = PartitionChange::new(&healthy, &Cluster::default())
        .min_insync(3)
        .build()
        .expect("a change");
    assert_eq!(shape(&after), (Some(1), vec![1, 2], vec![], 5));
    assert_eq!((after.min_insync, after.partition_epoch.get()), (3, 21));

    let waiting = partition(&[], &[1], None, 2);
    let after = PartitionChange::new(&waiting, &fenced(&[1]))
        .min_insync(1)
        .build()
        .expect("a change");
    assert_eq!(
        shape(&after),
        (None, vec![], vec![1], 5),
        "a harmless alter must not strand the partition"
    );

    let shrunk = partition(&[1], &[2], Some(1), 2);
    let after = PartitionChange::new(&shrunk, &Cluster::default())
        .min_insync(1)
        .build()
        .expect("a change");
    assert_eq!(shape(&after), (Some(1), vec![1], vec![], 5));
}

#[test]
fn a_leaving_leader_hands_over_or_serves_to_the_end() {
    let leaving = Cluster {
        fenced: vec![],
        leaving: vec![1],
    };
    let before = partition(&[1, 2], &[], Some(1), 2);
    let after = PartitionChange::new(&before, &leaving).build().expect("a change");
    assert_eq!(shape(&after), (Some(2), vec![1, 2], vec![], 6));

    let alone = partition(&[1], &[2], Some(1), 2);
    assert_eq!(
        PartitionChange::new(&alone, &leaving).build(),
        None,
        "it leads until it is gone"
    );
}

#[test]
fn the_uncut_go_before_the_cut() {
    let before = with_cut(partition(&[], &[1, 2, 3], None, 2), &[(1, Some(5), 100)]);
    let after = PartitionChange::new(&before, &Cluster::default())
        .build()
        .expect("a change");
    assert_eq!(shape(&after), (Some(2), vec![2], vec![1, 3], 6));
    assert_eq!(
        after.cut(),
        [cut(1, Some(5), 100)],
        "still cut: it must catch up first"
    );
    // As it catches up, its cut is forgotten.
    let after = PartitionChange::new(&after, &Cluster::default())
        .isr(set(&[1, 2]))
        .build()
        .expect("a change");
    assert_eq!(shape(&after), (Some(2), vec![1, 2], vec![], 6));
    assert!(after.cut().is_empty());
}

#[test]
fn among_the_cut_the_longest_log_wins_once_all_are_here() {
    let cuts = [(1, Some(5), 100), (2, Some(6), 40), (3, Some(6), 41)];
    let before = with_cut(partition(&[], &[1, 2, 3], None, 2), &cuts);
    assert_eq!(
        PartitionChange::new(&before, &fenced(&[3])).build(),
        None,
        "broker 3 may have more"
    );
    let after = PartitionChange::new(&before, &Cluster::default())
        .build()
        .expect("a change");
    assert_eq!(shape(&after), (Some(3), vec![3], vec![1, 2], 6));

    let over = Election {
        wait_is_over: true,
        unclean: false,
    };
    let after = PartitionChange::new(&before, &fenced(&[3]))
        .election(over)
        .build()
        .expect("a change");
    assert_eq!(shape(&after), (Some(2), vec![2], vec![1, 3], 6));
}

#[test]
fn an_empty_log_is_the_shortest_and_equal_logs_go_by_replica_order() {
    let cuts = [(1, None, 0), (2, Some(0), 7), (3, Some(0), 7)];
    let before = with_cut(partition(&[], &[1, 2, 3], None, 2), &cuts);
    let after = PartitionChange::new(&before, &Cluster::default())
        .build()
        .expect("a change");
    assert_eq!(after.leader, Some(id(2)));
}

#[test]
fn a_new_cut_replaces_the_old_one() {
    let before = with_cut(partition(&[], &[1], None, 2), &[(1, Some(5), 100)]);
    let away = fenced(&[1]);
    let change = PartitionChange::new(&before, &away).cut(cut(1, Some(5), 90));
    assert_eq!(change.build().expect("a change").cut(), [cut(1, Some(5), 90)]);
}
