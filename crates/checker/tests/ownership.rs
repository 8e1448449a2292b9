//! Who owns a partition: what is no anomaly, though two members tell of one partition at a time.

use quipu_checker::{
    Advanced, AnomalyKind, Event, Group, GroupEpoch, History, Key, Kind, Member, MemberEpoch, Op, Owned,
    Process, Released, Time, check,
};

fn owned(member: &str, since: u32) -> Op {
    Op::Owned(Owned {
        group: Group::new("g"),
        member: Member::new(member),
        key: Key::new("t/0"),
        assignment_epoch: MemberEpoch(since),
        member_epoch: MemberEpoch(since),
        group_epoch: None,
    })
}

fn released(member: &str, lost: bool) -> Op {
    Op::Released(Released {
        group: Group::new("g"),
        member: Member::new(member),
        key: Key::new("t/0"),
        lost,
    })
}

/// How often two owners are found: each member is a process of its own.
fn two_owners<const N: usize>(told: [(u64, Op); N]) -> usize {
    let mut history = History::default();
    for (time, (process, op)) in (1..).zip(told) {
        let event = Event {
            time: Time(time),
            process: Process::Client(process),
            kind: Kind::Info,
            op,
        };
        history.push(event).expect("a history");
    }
    let found = check(&history).found;
    found.get(&AnomalyKind::TwoOwners).copied().unwrap_or_default()
}

#[test]
fn who_was_displaced_by_its_instance_id_learns_of_it_late() {
    let late = |lost| {
        [
            (0, owned("first", 7)),
            (1, owned("second", 7)),
            (0, released("first", lost)),
            (1, released("second", false)),
        ]
    };
    assert_eq!(
        two_owners(late(true)),
        0,
        "it was taken at a time that it does not know"
    );
    assert_eq!(two_owners(late(false)), 1, "it gave it up itself, and too late");
}

#[test]
fn who_comes_later_with_an_earlier_epoch_owns_nothing() {
    let told = [
        (0, owned("first", 8)),
        (1, owned("second", 7)),
        (0, released("first", true)),
        (1, released("second", false)),
    ];
    assert_eq!(two_owners(told), 1);
}

#[test]
fn who_tells_again_of_what_it_has_has_had_it_all_the_time() {
    let told_again = |since| {
        [
            (0, owned("first", 7)),
            (1, owned("second", 8)),
            (1, released("second", false)),
            (0, owned("first", since)),
            (0, released("first", false)),
        ]
    };
    assert_eq!(two_owners(told_again(7)), 1);
    assert_eq!(
        two_owners(told_again(9)),
        0,
        "it was taken, and given to it again: it does not know when"
    );
}

#[test]
fn who_owns_it_all_the_while_does_so_beside_each_of_two_others() {
    let all_the_while = [
        (0, owned("first", 7)),
        (1, owned("second", 8)),
        (1, released("second", false)),
        (2, owned("third", 9)),
        (2, released("third", false)),
        (0, released("first", false)),
    ];
    assert_eq!(two_owners(all_the_while), 2);
    let one_after_the_other = [
        (0, owned("first", 7)),
        (1, owned("second", 8)),
        (0, released("first", false)),
        (2, owned("third", 9)),
        (2, released("third", false)),
        (1, released("second", false)),
    ];
    assert_eq!(two_owners(one_after_the_other), 2);
}

#[test]
fn epochs_may_stay_as_they_are_and_need_not_all_be_told() {
    let told = |epochs: &[(u32, Option<u32>)]| {
        let mut history = History::default();
        for (member_epoch, group_epoch) in epochs {
            let op = Op::Advanced(Advanced {
                group: Group::new("g"),
                member: Member::new("m"),
                member_epoch: MemberEpoch(*member_epoch),
                group_epoch: group_epoch.map(GroupEpoch),
            });
            let event = Event {
                time: Time(1),
                process: Process::Client(0),
                kind: Kind::Info,
                op,
            };
            history.push(event).expect("a history");
        }
        let found = check(&history).found;
        found
            .get(&AnomalyKind::GroupEpochWentBack)
            .copied()
            .unwrap_or_default()
    };
    assert_eq!(
        told(&[(3, Some(5)), (3, Some(5)), (3, None), (3, Some(5)), (4, Some(6))]),
        0
    );
    assert_eq!(told(&[(3, Some(5)), (3, Some(4))]), 1);
    assert_eq!(told(&[(3, Some(5)), (4, Some(4))]), 1);
    assert_eq!(told(&[(3, Some(5)), (2, Some(5))]), 1);
    assert_eq!(told(&[(3, Some(5)), (2, Some(6)), (1, None)]), 2);
}
