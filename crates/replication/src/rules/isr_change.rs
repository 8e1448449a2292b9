//! Who should be in sync: when a leader asks the controllers to take a replica in, or off (C4).

use super::followers::Followers;
use super::isr::ReplicaSet;
use crate::clock::Tick;
use crate::config::Durability;
use quipu_record::{BrokerEpoch, BrokerId, Offset, PlantedBug};
use std::time::Duration;

/// What is decided by.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// The leader.
    pub me: BrokerId,
    /// The in-sync replicas as the controllers committed them.
    pub committed: &'a ReplicaSet,
    /// Who holds a replica.
    pub replicas: &'a [BrokerId],
    /// Who may come to be in sync, each in its present lifetime.
    pub eligible: &'a [(BrokerId, BrokerEpoch)],
    /// What was heard of them.
    pub followers: &'a Followers,
    /// What counts as held.
    pub durability: Durability,
    /// Where the log ends.
    pub log_end: Offset,
    /// What one must hold to be taken in: the high watermark, and where the leader began (until it has passed that, the
    /// high watermark may be less than what was committed).
    pub bar: Offset,
    /// The time.
    pub now: Tick,
    /// How long one in sync may be behind.
    pub lag_max: Duration,
}

impl Standing<'_> {
    /// The set to propose, each member in the lifetime that is meant; `None`: the committed one is right, or a member's
    /// lifetime is not known.
    #[must_use]
    pub fn wanted(&self) -> Option<Vec<(BrokerId, BrokerEpoch)>> {
        let stays = |broker: &BrokerId| *broker == self.me || !self.lags(*broker);
        let joins = |broker: &BrokerId| !self.committed.contains(*broker) && self.may_join(*broker);
        let same = self.committed.iter().all(|broker| stays(&broker)) && !self.replicas.iter().any(joins);
        if same {
            return None;
        }
        let staying = self.committed.iter().filter(stays);
        let joining = self.replicas.iter().copied().filter(joins);
        let all = staying.chain(joining);
        all.map(|broker| Some((broker, self.lifetime(broker)?))).collect()
    }

    /// When the next of those in sync will have been behind for too long.
    #[must_use]
    pub fn next_lag(&self) -> Option<Tick> {
        let others = self.committed.iter().filter(|broker| *broker != self.me);
        let limits = others.filter_map(|broker| self.lag_limit(broker));
        limits.filter(|limit| *limit > self.now).min()
    }

    fn lags(&self, broker: BrokerId) -> bool {
        self.lag_limit(broker).is_some_and(|limit| limit <= self.now)
    }

    fn lag_limit(&self, broker: BrokerId) -> Option<Tick> {
        let since = self
            .followers
            .behind_since(broker, self.log_end, self.durability)?;
        Some(since.after(self.lag_max))
    }

    /// It has fetched in this leader's epoch, in the lifetime that the metadata knows, holds what may be committed, and
    /// keeps up.
    fn may_join(&self, broker: BrokerId) -> bool {
        let Some(follower) = self.followers.get(broker) else {
            return false;
        };
        let eligible = self.eligible.contains(&(broker, follower.broker_epoch));
        let caught_up = follower.progress.held(self.durability) >= self.bar
            && self
                .followers
                .keeps_up(broker, self.now, self.lag_max, self.log_end, self.durability);
        eligible && (caught_up || PlantedBug::ExpandWithoutCatchingUp.planted())
    }

    fn lifetime(&self, broker: BrokerId) -> Option<BrokerEpoch> {
        let registered = self.eligible.iter().find(|(eligible, _)| *eligible == broker);
        let heard = self.followers.get(broker).map(|follower| follower.broker_epoch);
        heard.max(registered.map(|(_, epoch)| *epoch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::high_watermark::Progress;

    const LAG: Duration = Duration::from_secs(10);
    const ALL: [BrokerId; 3] = [BrokerId::new(1), BrokerId::new(2), BrokerId::new(3)];

    struct Case {
        committed: ReplicaSet,
        eligible: Vec<(BrokerId, BrokerEpoch)>,
        followers: Followers,
    }

    fn second(n: u64) -> Tick {
        Tick::from_nanos(n * 1_000_000_000)
    }

    fn life(n: u64) -> BrokerEpoch {
        BrokerEpoch::new(n)
    }

    /// The leader's log ends at 10, and the bar is 8.
    fn case(committed: &[u32]) -> Case {
        Case {
            committed: committed.iter().copied().map(BrokerId::new).collect(),
            eligible: ALL.map(|broker| (broker, life(7))).to_vec(),
            followers: Followers::none_since(second(0)),
        }
    }

    impl Case {
        fn heard(&mut self, at: u64, broker: usize, epoch: u64, held: u64) {
            let progress = Progress {
                log_end: Offset::new(10),
                flushed: Offset::new(held),
            };
            let who = (ALL[broker - 1], life(epoch));
            self.followers
                .fetched(second(at), who, progress, Offset::new(10), Durability::Fsync);
        }

        fn wanted(&self, at: u64) -> Option<Vec<u32>> {
            let wanted = self.standing(at).wanted()?;
            Some(wanted.iter().map(|(broker, _)| broker.get()).collect())
        }

        fn standing(&self, at: u64) -> Standing<'_> {
            Standing {
                me: ALL[0],
                committed: &self.committed,
                replicas: &ALL,
                eligible: &self.eligible,
                followers: &self.followers,
                durability: Durability::Fsync,
                log_end: Offset::new(10),
                bar: Offset::new(8),
                now: second(at),
                lag_max: LAG,
            }
        }
    }

    #[test]
    fn who_is_not_heard_or_stays_behind_for_too_long_is_left_out() {
        let mut case = case(&[1, 2, 3]);
        case.heard(1, 2, 7, 10);
        assert_eq!(case.wanted(9), None);
        assert_eq!(case.standing(9).next_lag(), Some(second(10)));
        assert_eq!(case.wanted(10), Some(vec![1, 2]));
        assert_eq!(case.standing(10).next_lag(), None, "nothing more to wait for");
    }

    #[test]
    fn who_keeps_up_and_holds_enough_is_taken_in() {
        let mut case = case(&[1, 2]);
        case.heard(1, 2, 7, 10);
        assert_eq!(case.wanted(2), None, "3 was not heard");
        case.heard(2, 3, 7, 7);
        assert_eq!(case.wanted(2), None, "it lacks what may be committed");
        case.heard(2, 3, 7, 10);
        assert_eq!(case.wanted(2), Some(vec![1, 2, 3]));
    }

    #[test]
    fn another_lifetime_than_the_metadata_knows_is_not_taken_in() {
        let mut case = case(&[1, 2]);
        case.heard(1, 2, 7, 10);
        case.heard(1, 3, 8, 10);
        assert_eq!(
            case.wanted(2),
            None,
            "restarted, and the metadata here does not know yet"
        );
        case.eligible[2].1 = life(8);
        assert_eq!(case.wanted(2), Some(vec![1, 2, 3]));
        case.eligible.pop();
        assert_eq!(case.wanted(2), None, "fenced, or shutting down");
    }

    #[test]
    fn a_member_whose_lifetime_is_not_known_is_not_named() {
        let mut case = case(&[1, 2]);
        case.heard(1, 3, 7, 10);
        case.eligible.remove(1);
        assert_eq!(case.wanted(2), None);
        case.heard(2, 2, 6, 10);
        let wanted = case.standing(2).wanted().unwrap();
        assert!(wanted.contains(&(ALL[1], life(6))), "as it was heard: {wanted:?}");
    }

    #[test]
    fn the_planted_bug_takes_in_who_holds_nothing() {
        let mut case = case(&[1, 2]);
        case.heard(1, 2, 7, 10);
        case.heard(1, 3, 7, 0);
        assert_eq!(case.wanted(2), None);
        PlantedBug::ExpandWithoutCatchingUp.plant(|| assert_eq!(case.wanted(2), Some(vec![1, 2, 3])));
    }
}
