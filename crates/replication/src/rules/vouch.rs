//! Until when a leader knows that no other one has committed anything: what makes a read linearizable, and an answer of a
//! coordinator one that still holds.
//!
//! A follower that asks this leader for more, in its epoch, follows no later one at that moment. Whoever leads next was
//! in sync or eligible under this leader, and commits nothing before `min.insync.replicas` follow it. So either of two
//! sets of replicas vouches, once each member has begun a fetch:
//! - all that are in sync, or may be by a proposal under way: the next leader is one of them, and does not lead yet;
//! - `min.insync.replicas`, and enough to leave fewer than that: whoever commits next needs one of them. Not while
//!   replicas are being added: one of those may be replaced by another that is not asked here.

use super::isr::MaximalIsr;
use crate::clock::Tick;
use quipu_record::{BrokerId, PlantedBug};

/// The last moment at which this leader was the only one that could commit; `None`: it does not know of any.
///
/// `replicas` are all that there are; `None`: some may be replaced before this leader hears of it. `begun` is the last
/// moment of which it is certain that the replica began a fetch in this leader's epoch no earlier.
#[must_use]
pub fn vouched(
    now: Tick,
    me: BrokerId,
    replicas: Option<&[BrokerId]>,
    isr: &MaximalIsr,
    min_insync: usize,
    begun: impl Fn(BrokerId) -> Option<Tick>,
) -> Option<Tick> {
    if PlantedBug::VouchedByNobody.planted() {
        return Some(now);
    }
    let moment = |broker| if broker == me { Some(now) } else { begun(broker) };
    let by_all_in_sync = || {
        if isr.committed().len() < min_insync {
            return None;
        }
        let moments: Option<Vec<Tick>> = isr.members().map(moment).collect();
        moments?.into_iter().min()
    };
    let by_enough = || {
        let replicas = replicas?;
        let needed = min_insync.max((replicas.len() + 1).saturating_sub(min_insync));
        let mut moments: Vec<Tick> = replicas.iter().copied().filter_map(moment).collect();
        moments.sort_unstable();
        moments.into_iter().rev().nth(needed.checked_sub(1)?)
    };
    by_all_in_sync().max(by_enough())
}

#[cfg(test)]
mod tests {
    use super::super::isr::ReplicaSet;
    use super::*;

    const ME: BrokerId = BrokerId::new(1);
    const NOW: u64 = 100;

    fn ids(ids: &[u32]) -> Vec<BrokerId> {
        ids.iter().copied().map(BrokerId::new).collect()
    }

    /// Of 1, 2 and 3, of which some are being added, 1 and 2 are in sync and 3 may be replaced: 2 may lead and commit with
    /// the one in the place of 3, whatever 3 says here.
    #[test]
    fn while_it_grows_only_those_in_sync_vouch() {
        let isr = MaximalIsr::committed_as(ids(&[1, 2]).into_iter().collect::<ReplicaSet>());
        let at = |who: u32| move |id: BrokerId| (id.get() == who).then_some(Tick::from_nanos(40));
        let now = Tick::from_nanos(NOW);
        let growing = |heard: u32| vouched(now, ME, None, &isr, 2, at(heard)).map(Tick::nanos);
        assert_eq!((growing(2), growing(3)), (Some(40), None));
        let whole = vouched(now, ME, Some(&ids(&[1, 2, 3])), &isr, 2, at(3)).map(Tick::nanos);
        assert_eq!(whole, Some(40));
    }

    fn vouched_by(
        replicas: &[u32],
        isr: &[u32],
        proposed: Option<&[u32]>,
        min_insync: usize,
        begun: &[(u32, u64)],
    ) -> Option<u64> {
        let mut maximal = MaximalIsr::committed_as(ids(isr).into_iter().collect::<ReplicaSet>());
        if let Some(proposed) = proposed {
            maximal.propose(ids(proposed).into_iter().collect());
        }
        let begun = |broker: BrokerId| {
            let known = begun.iter().find(|(id, _)| *id == broker.get());
            known.map(|(_, at)| Tick::from_nanos(*at))
        };
        let now = Tick::from_nanos(NOW);
        vouched(now, ME, Some(&ids(replicas)), &maximal, min_insync, begun).map(Tick::nanos)
    }

    #[test]
    fn who_is_alone_vouches_for_itself() {
        assert_eq!(vouched_by(&[1], &[1], None, 1, &[]), Some(NOW));
        assert_eq!(
            vouched_by(&[1, 2, 3], &[1], None, 1, &[]),
            Some(NOW),
            "nobody else may be elected"
        );
    }

    #[test]
    fn who_is_isolated_knows_no_more_than_when_it_last_heard() {
        assert_eq!(vouched_by(&[1, 2, 3], &[1, 2, 3], None, 2, &[]), None);
        let heard = [(2, 40), (3, 30)];
        assert_eq!(
            vouched_by(&[1, 2, 3], &[1, 2, 3], None, 2, &heard),
            Some(40),
            "one of two is enough"
        );
        assert_eq!(vouched_by(&[1, 2], &[1, 2], None, 2, &[(2, 40)]), Some(40));
    }

    #[test]
    fn where_one_may_commit_all_in_sync_are_needed() {
        let one = [(2, 40)];
        assert_eq!(
            vouched_by(&[1, 2, 3], &[1, 2, 3], None, 1, &one),
            None,
            "3 could lead, and commit alone"
        );
        assert_eq!(vouched_by(&[1, 2, 3], &[1, 2], None, 1, &one), Some(40));
        assert_eq!(
            vouched_by(&[1, 2, 3], &[1], Some(&[1, 2]), 1, &[]),
            None,
            "2 may be in sync by now"
        );
        assert_eq!(vouched_by(&[1, 2, 3], &[1], Some(&[1, 2]), 1, &one), Some(40));
    }

    #[test]
    fn below_the_minimum_those_out_of_sync_vouch_too() {
        assert_eq!(
            vouched_by(&[1, 2, 3], &[1], None, 2, &[]),
            None,
            "2 and 3 may be eligible"
        );
        assert_eq!(vouched_by(&[1, 2, 3], &[1], None, 2, &[(3, 40)]), Some(40));
        assert_eq!(
            vouched_by(&[1, 2, 3, 4, 5], &[1, 2], None, 3, &[(2, 50), (5, 40)]),
            Some(40)
        );
    }

    /// Every small case: a set that vouches shares a member with whatever could commit next.
    #[test]
    fn no_later_leader_could_have_committed() {
        for n in 1..=5_u32 {
            for min in 1..=n {
                for isr in 0..1_u32 << n {
                    for heard in 0..1_u32 << n {
                        check(n, min, isr | 1, heard | 1);
                    }
                }
            }
        }
    }

    fn check(n: u32, min: u32, isr: u32, heard: u32) {
        let of = |set: u32| {
            (0..n)
                .filter(|i| set & (1 << i) != 0)
                .map(|i| i + 1)
                .collect::<Vec<_>>()
        };
        let begun: Vec<_> = of(heard & !1).into_iter().map(|id| (id, 10)).collect();
        let all: Vec<_> = (1..=n).collect();
        if vouched_by(&all, &of(isr), None, min as usize, &begun).is_none() {
            return;
        }
        for next in 0..1_u32 << n {
            // Who has not begun a fetch here may follow another leader, one that could be elected: any at all once those
            // in sync are fewer than commits need, since then others may be eligible.
            let electable = if isr.count_ones() >= min {
                isr
            } else {
                (1 << n) - 1
            };
            let commits = next.count_ones() >= min && next & heard == 0 && next & electable != 0;
            assert!(
                !commits,
                "{n} {min} {isr:b} {heard:b}: {next:b} may have committed"
            );
        }
    }
}
