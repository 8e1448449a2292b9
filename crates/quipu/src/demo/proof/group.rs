//! What the group has processed, against what was acknowledged.

use super::{Check, Place, group_digits};
use quipu_record::{Offset, PartitionId};
use std::collections::{HashMap, HashSet};

/// What came of a group.
#[derive(Clone, Debug)]
pub(crate) struct Consumed {
    /// Of each member, whether it was killed.
    pub(crate) killed: Vec<bool>,
    /// What they processed, all together, in the order in which it was seen.
    pub(crate) processed: Vec<Processed>,
    /// What was committed in the end.
    pub(crate) committed: HashMap<PartitionId, Offset>,
}

/// A record, and which of the members processed it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Processed {
    pub(crate) member: usize,
    pub(crate) place: Place,
}

/// What a member processed of a partition without a gap, from the first on and before the end.
#[derive(Clone, Copy, Debug)]
struct Run {
    member: usize,
    partition: PartitionId,
    first: Offset,
    end: Offset,
}

/// The claims about a group: nothing is left out, nothing out of order, and what is done is known to be done.
pub(crate) fn consumed_by_group(
    acked: &[Option<Place>],
    ends: &[(PartitionId, Offset)],
    group: &Consumed,
) -> [Check; 3] {
    [
        each_once_at_least(acked, group),
        in_order_across_hand_overs(group),
        committed_to_the_end(ends, group),
    ]
}

/// Every acknowledged record was processed, and nothing else; again only what a killed member had processed last: what it had
/// not committed.
fn each_once_at_least(acked: &[Option<Place>], group: &Consumed) -> Check {
    let mut check = Check::new("each processed by the group");
    let mut times: HashMap<Place, u32> = HashMap::new();
    for processed in &group.processed {
        *times.entry(processed.place).or_default() += 1;
    }
    let acked: HashSet<Place> = acked.iter().flatten().copied().collect();
    for place in acked.iter().filter(|place| !times.contains_key(place)) {
        check.fault(|| format!("{}/{} was processed by nobody", place.partition, place.offset));
    }
    for place in times.keys().filter(|place| !acked.contains(place)) {
        check.fault(|| format!("{}/{} was never acknowledged", place.partition, place.offset));
    }
    let last = last_of_the_killed(group, &times);
    let again: Vec<Place> = times
        .iter()
        .filter(|(_, times)| **times > 1)
        .map(|(place, _)| *place)
        .collect();
    for place in &again {
        if times[place] > 2 || !last.contains(place) {
            check.fault(|| {
                let (times, Place { partition, offset }) = (times[place], *place);
                format!("{partition}/{offset} was processed {times} times, not as a killed member's last")
            });
        }
    }
    let processed = acked.iter().filter(|place| times.contains_key(place));
    let (processed, again) = (group_digits(processed.count()), group_digits(again.len()));
    check.looked_at = format!("{processed}, {again} again");
    check
}

/// Of each partition, the records at the end of what a killed member processed of it that were processed again.
fn last_of_the_killed(group: &Consumed, times: &HashMap<Place, u32>) -> HashSet<Place> {
    let mut last = HashSet::new();
    let mut over: HashSet<(usize, PartitionId)> = HashSet::new();
    let killed = |processed: &&Processed| group.killed[processed.member];
    for Processed { member, place } in group.processed.iter().rev().filter(killed) {
        if over.contains(&(*member, place.partition)) {
            continue;
        }
        if times.get(place).is_some_and(|times| *times > 1) {
            last.insert(*place);
        } else {
            over.insert((*member, place.partition));
        }
    }
    last
}

/// Whoever has a partition goes on where the one before ended, or before that if it was killed, and upwards one by one: so
/// the flights of each aircraft are processed in order, whoever does it, but for repeats.
fn in_order_across_hand_overs(group: &Consumed) -> Check {
    let mut check = Check::new("in order across its hand-overs");
    let mut ends: HashMap<PartitionId, Offset> = HashMap::new();
    let runs = runs(group);
    for run in &runs {
        let end = ends.entry(run.partition).or_insert(Offset::ZERO);
        if run.first > *end {
            check.fault(|| {
                let (partition, first) = (run.partition, run.first);
                format!(
                    "member {}: {partition}/{first} when {partition}/{end} was due",
                    run.member + 1
                )
            });
        }
        *end = run.end.max(*end);
    }
    let partitions = ends.len();
    check.looked_at = format!("{} hand-overs", runs.len().saturating_sub(partitions));
    check
}

/// What was processed as runs, in the order in which they began: a member's lines come in order, those of two members may
/// be seen a little late, so the beginning of a run tells more than its end.
fn runs(group: &Consumed) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut open: HashMap<(usize, PartitionId), usize> = HashMap::new();
    for Processed { member, place } in &group.processed {
        let Place { partition, offset } = *place;
        let at = open.get(&(*member, partition)).copied();
        match at.filter(|at| runs[*at].end == offset) {
            Some(at) => runs[at].end = offset.next(),
            None => {
                open.insert((*member, partition), runs.len());
                runs.push(Run {
                    member: *member,
                    partition,
                    first: offset,
                    end: offset.next(),
                });
            }
        }
    }
    runs
}

/// What the group committed is all that there is.
fn committed_to_the_end(ends: &[(PartitionId, Offset)], group: &Consumed) -> Check {
    let mut check = Check::new("committed to the end");
    for (partition, end) in ends {
        let committed = group.committed.get(partition);
        if committed != Some(end) && *end > Offset::ZERO {
            check
                .fault(|| format!("partition {partition}: {committed:?} is committed, and it ends at {end}"));
        }
    }
    check.looked_at = format!("{} partitions", ends.len());
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(partition: u32, offset: u64) -> Place {
        Place {
            partition: PartitionId::new(partition),
            offset: Offset::new(offset),
        }
    }

    type Story = (Vec<Option<Place>>, Vec<(PartitionId, Offset)>, Consumed);

    /// Two partitions; the first member is killed after it has processed two more than it has committed.
    fn good() -> Story {
        let all = (0..2).flat_map(|partition| (0..10).map(move |offset| Some(place(partition, offset))));
        let ends = [0, 1].map(|partition| (PartitionId::new(partition), Offset::new(10)));
        let of = |member, partition| {
            move |offset| Processed {
                member,
                place: place(partition, offset),
            }
        };
        let first = (0..6).map(of(0, 0));
        let second = (0..10).map(of(1, 1)).chain((4..10).map(of(1, 0)));
        let group = Consumed {
            killed: vec![true, false],
            processed: first.chain(second).collect(),
            committed: ends.into_iter().collect(),
        };
        (all.collect(), ends.to_vec(), group)
    }

    fn broken((acked, ends, group): &Story) -> Vec<&'static str> {
        let checks = consumed_by_group(acked, ends, group);
        checks
            .iter()
            .filter(|check| !check.holds())
            .map(|check| check.claim)
            .collect()
    }

    #[test]
    fn repeats_of_a_killed_member_are_counted_and_no_fault() {
        let (acked, ends, group) = good();
        let [each, order, committed] = consumed_by_group(&acked, &ends, &group);
        assert!(each.holds() && order.holds() && committed.holds());
        assert_eq!(each.looked_at, "20, 2 again");
        assert_eq!(order.looked_at, "1 hand-overs");
    }

    #[test]
    fn each_kind_of_damage_is_told() {
        const EACH: &str = "each processed by the group";
        const ORDER: &str = "in order across its hand-overs";
        let mut missing = good();
        missing.2.processed.retain(|known| known.place != place(1, 7));
        assert_eq!(broken(&missing), [EACH, ORDER]);

        let mut repeated = good();
        repeated.2.killed[0] = false;
        assert_eq!(broken(&repeated), [EACH]);

        let again = Processed {
            member: 1,
            place: place(0, 2),
        };
        let mut committed_and_repeated = good();
        committed_and_repeated.2.processed.insert(16, again);
        assert_eq!(broken(&committed_and_repeated), [EACH]);

        let mut strange = good();
        strange.2.processed.push(Processed {
            place: place(1, 10),
            ..again
        });
        assert_eq!(broken(&strange), [EACH]);

        let mut reordered = good();
        reordered.2.processed.swap(9, 10);
        assert_eq!(broken(&reordered), [ORDER]);

        // Each of the two in order, and all of it processed; but the second went on before the first was there.
        let mut too_early = good();
        too_early.2.processed.rotate_left(6);
        assert_eq!(broken(&too_early), [ORDER]);

        let mut behind = good();
        behind.2.committed.insert(PartitionId::new(1), Offset::new(9));
        assert_eq!(broken(&behind), ["committed to the end"]);
    }

    #[test]
    fn a_partition_that_comes_back_goes_on_where_the_other_ended() {
        let (acked, ends, mut group) = good();
        group.killed = vec![false, false];
        let by = |owners: [(usize, std::ops::Range<u64>); 3]| -> Vec<Processed> {
            let run = |(member, offsets): (usize, std::ops::Range<u64>)| {
                offsets.map(move |offset| Processed {
                    member,
                    place: place(0, offset),
                })
            };
            let other = (0..10).map(|offset| Processed {
                member: 1,
                place: place(1, offset),
            });
            owners.into_iter().flat_map(run).chain(other).collect()
        };
        group.processed = by([(0, 0..3), (1, 3..5), (0, 5..10)]);
        let [each, order, _] = consumed_by_group(&acked, &ends, &group);
        assert!(each.holds() && order.holds());
        assert_eq!(order.looked_at, "2 hand-overs");
        // The one in the middle is left out by the first, and made up for at the end.
        group.processed = by([(0, 0..3), (0, 5..10), (1, 3..5)]);
        let [each, order, _] = consumed_by_group(&acked, &ends, &group);
        assert!(each.holds() && !order.holds());
        assert_eq!(order.faults, ["member 1: 0/5 when 0/3 was due"]);
    }
}
