//! What the group has processed, against what was acknowledged.

use super::{Check, Place, group_digits};
use quipu_record::{Offset, PartitionId};
use std::collections::{HashMap, HashSet};

/// What came of a group.
#[derive(Clone, Debug)]
pub(crate) struct Consumed {
    /// For each member, whether it was killed, and what it processed, in order.
    pub(crate) processed: Vec<(bool, Vec<Place>)>,
    /// What was committed in the end.
    pub(crate) committed: HashMap<PartitionId, Offset>,
}

/// The claims about a group: nothing is left out, nothing out of order, and what is done is known to be done.
pub(crate) fn consumed_by_group(
    acked: &[Option<Place>],
    ends: &[(PartitionId, Offset)],
    group: &Consumed,
) -> [Check; 3] {
    [
        each_once_at_least(acked, group),
        in_order_of_each_member(group),
        committed_to_the_end(ends, group),
    ]
}

/// Every acknowledged record was processed, and nothing else; again only what a killed member had processed last: what it had
/// not committed.
fn each_once_at_least(acked: &[Option<Place>], group: &Consumed) -> Check {
    let mut check = Check::new("each processed by the group");
    let mut times: HashMap<Place, u32> = HashMap::new();
    for place in group.processed.iter().flat_map(|(_, places)| places) {
        *times.entry(*place).or_default() += 1;
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
    for (_, places) in group.processed.iter().filter(|(killed, _)| *killed) {
        let mut over: HashSet<PartitionId> = HashSet::new();
        for place in places.iter().rev() {
            if over.contains(&place.partition) {
                continue;
            }
            if times.get(place).is_some_and(|times| *times > 1) {
                last.insert(*place);
            } else {
                over.insert(place.partition);
            }
        }
    }
    last
}

/// A member gets each of its partitions in order, and so the flights of each aircraft.
fn in_order_of_each_member(group: &Consumed) -> Check {
    let mut check = Check::new("in order by each of its members");
    for (number, (_, places)) in group.processed.iter().enumerate() {
        let mut last: HashMap<PartitionId, Offset> = HashMap::new();
        for Place { partition, offset } in places {
            let before = last.insert(*partition, *offset);
            if let Some(before) = before.filter(|before| before >= offset) {
                check.fault(|| format!("member {}: {partition}/{offset} after {before}", number + 1));
            }
        }
    }
    check.looked_at = format!("{} members", group.processed.len());
    check
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

    type Run = (Vec<Option<Place>>, Vec<(PartitionId, Offset)>, Consumed);

    /// Two partitions; the first member is killed after it has processed two more than it has committed.
    fn good() -> Run {
        let all = (0..2).flat_map(|partition| (0..10).map(move |offset| Some(place(partition, offset))));
        let ends = [0, 1].map(|partition| (PartitionId::new(partition), Offset::new(10)));
        let first = (0..6).map(|offset| place(0, offset)).collect();
        let mut second: Vec<Place> = (0..10).map(|offset| place(1, offset)).collect();
        second.extend((4..10).map(|offset| place(0, offset)));
        let group = Consumed {
            processed: vec![(true, first), (false, second)],
            committed: ends.into_iter().collect(),
        };
        (all.collect(), ends.to_vec(), group)
    }

    fn broken((acked, ends, group): &Run) -> Vec<&'static str> {
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
    }

    #[test]
    fn each_kind_of_damage_is_told() {
        let mut missing = good();
        missing.2.processed[1].1.retain(|known| *known != place(1, 7));
        assert_eq!(broken(&missing), ["each processed by the group"]);

        let mut repeated = good();
        repeated.2.processed[0].0 = false;
        assert_eq!(broken(&repeated), ["each processed by the group"]);

        let mut committed_and_repeated = good();
        committed_and_repeated.2.processed[1].1.insert(10, place(0, 2));
        assert_eq!(broken(&committed_and_repeated), ["each processed by the group"]);

        let mut strange = good();
        strange.2.processed[1].1.push(place(1, 10));
        assert_eq!(broken(&strange), ["each processed by the group"]);

        let mut reordered = good();
        reordered.2.processed[1].1.swap(3, 4);
        assert_eq!(broken(&reordered), ["in order by each of its members"]);

        let mut behind = good();
        behind.2.committed.insert(PartitionId::new(1), Offset::new(9));
        assert_eq!(broken(&behind), ["committed to the end"]);
    }
}
