//! The high watermark: below it, every replica that could be elected holds the log.

use super::isr::MaximalIsr;
use crate::config::Durability;
use quipu_record::{BrokerId, Offset, PlantedBug};

/// A high watermark. It only grows; the one way down is a truncation, which says so by name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct HighWatermark(Offset);

impl HighWatermark {
    /// As remembered from an earlier life, kept within what the log holds: a hint may be stale, and a stale high
    /// watermark is safe.
    #[must_use]
    pub fn from_hint(hint: Offset, log_start: Offset, log_end: Offset) -> Self {
        Self(hint.min(log_end).max(log_start))
    }

    /// The offset: everything below it is committed.
    #[must_use]
    pub const fn offset(self) -> Offset {
        self.0
    }

    /// Takes another one's word; says whether this moved.
    pub fn combine(&mut self, other: Offset) -> bool {
        let moved = other > self.0;
        if moved {
            self.0 = other;
        }
        moved
    }

    /// The log was cut, or began anew: what is gone was never committed, or this replica did not know it.
    pub fn cut(&mut self, log_start: Offset, log_end: Offset) {
        self.0 = self.0.min(log_end).max(log_start);
    }

    /// The log start passed it (records were deleted): nothing below the log start can be read, so it follows.
    pub fn at_least_log_start(&mut self, log_start: Offset) {
        self.0 = self.0.max(log_start);
    }
}

/// How far one replica holds the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// It has appended everything below.
    pub log_end: Offset,
    /// It has flushed everything below: a power cut cannot take it back.
    pub flushed: Offset,
}

impl Progress {
    /// How far this replica's word counts towards a commit, on a topic of this durability.
    #[must_use]
    pub fn held(self, durability: Durability) -> Offset {
        match durability {
            Durability::Fsync if !PlantedBug::AckBeforeFlush.planted() => self.flushed,
            Durability::Fsync | Durability::Replicated => self.log_end,
        }
    }
}

/// What the high watermark may be now: the least that any member of the maximal in-sync set holds. `None`: it may not
/// move, because fewer than `min_insync` are in sync or a member has not yet reported in this leader's epoch.
///
/// `others` tells the progress of a replica that has fetched in this leader's epoch.
#[must_use]
pub fn committed(
    durability: Durability,
    isr: &MaximalIsr,
    min_insync: usize,
    me: (BrokerId, Progress),
    others: impl Fn(BrokerId) -> Option<Progress>,
) -> Option<Offset> {
    if isr.committed().len() < min_insync {
        return None;
    }
    // The leader stands in its own set; should metadata ever say otherwise, its own word still counts.
    let mut least = me.1.held(durability);
    if PlantedBug::AckBeforeEveryReplica.planted() {
        return Some(least);
    }
    for broker in isr.members().filter(|broker| *broker != me.0) {
        least = least.min(others(broker)?.held(durability));
    }
    Some(least)
}

#[cfg(test)]
mod tests {
    use super::super::isr::ReplicaSet;
    use super::*;

    const ME: BrokerId = BrokerId::new(1);

    fn isr(ids: &[u32]) -> MaximalIsr {
        MaximalIsr::committed_as(ids.iter().copied().map(BrokerId::new).collect::<ReplicaSet>())
    }

    fn at(log_end: u64, flushed: u64) -> Progress {
        Progress {
            log_end: Offset::new(log_end),
            flushed: Offset::new(flushed),
        }
    }

    #[test]
    fn it_never_goes_back() {
        let mut hw = HighWatermark::from_hint(Offset::new(9), Offset::ZERO, Offset::new(7));
        assert_eq!(
            hw.offset(),
            Offset::new(7),
            "a hint above the log end is cut to it"
        );
        assert!(!hw.combine(Offset::new(5)));
        assert!(hw.combine(Offset::new(8)));
        assert_eq!(hw.offset(), Offset::new(8));
    }

    #[test]
    fn one_replica_commits_what_it_flushed_or_what_it_holds() {
        let alone = |durability| committed(durability, &isr(&[1]), 1, (ME, at(9, 4)), |_| None);
        assert_eq!(alone(Durability::Fsync), Some(Offset::new(4)));
        assert_eq!(alone(Durability::Replicated), Some(Offset::new(9)));
    }

    #[test]
    fn every_member_of_the_maximal_set_counts() {
        let mut set = isr(&[1, 2]);
        let others = |broker: BrokerId| (broker.get() == 2).then(|| at(8, 6));
        let hw = committed(Durability::Fsync, &set, 1, (ME, at(9, 9)), others);
        assert_eq!(hw, Some(Offset::new(6)));
        set.propose([ME, BrokerId::new(3)].into_iter().collect());
        let hw = committed(Durability::Fsync, &set, 1, (ME, at(9, 9)), others);
        assert_eq!(hw, None, "replica 3 has not been heard in this epoch");
    }

    #[test]
    fn it_stands_still_below_min_insync() {
        let hw = committed(Durability::Fsync, &isr(&[1]), 2, (ME, at(9, 9)), |_| None);
        assert_eq!(hw, None);
    }

    #[test]
    fn the_planted_bug_commits_what_the_leader_alone_holds() {
        PlantedBug::AckBeforeEveryReplica.plant(|| {
            let hw = committed(Durability::Fsync, &isr(&[1, 2]), 2, (ME, at(9, 9)), |_| {
                Some(at(3, 3))
            });
            assert_eq!(hw, Some(Offset::new(9)));
        });
    }

    #[test]
    fn a_log_that_begins_anew_takes_it_along() {
        let mut hw = HighWatermark::from_hint(Offset::new(9), Offset::ZERO, Offset::new(9));
        hw.cut(Offset::ZERO, Offset::new(4));
        assert_eq!(hw.offset(), Offset::new(4));
        hw.cut(Offset::new(20), Offset::new(20));
        assert_eq!(hw.offset(), Offset::new(20));
        hw.cut(Offset::new(3), Offset::new(3));
        assert_eq!(hw.offset(), Offset::new(3));
    }

    #[test]
    fn the_planted_bug_counts_what_is_not_flushed() {
        PlantedBug::AckBeforeFlush.plant(|| {
            assert_eq!(at(9, 4).held(Durability::Fsync), Offset::new(9));
        });
    }
}
