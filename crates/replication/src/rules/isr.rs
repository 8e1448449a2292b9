//! Sets of in-sync replicas, as small as they are: the committed one, and the greatest that may come to be.

use quipu_record::BrokerId;

/// Some replicas of one partition, in ascending order, each once.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReplicaSet(Box<[BrokerId]>);

impl ReplicaSet {
    /// Whether this broker is in it.
    #[must_use]
    pub fn contains(&self, broker: BrokerId) -> bool {
        self.0.contains(&broker)
    }

    /// How many replicas it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its members, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = BrokerId> + '_ {
        self.0.iter().copied()
    }
}

impl FromIterator<BrokerId> for ReplicaSet {
    fn from_iter<I: IntoIterator<Item = BrokerId>>(brokers: I) -> Self {
        let mut members: Vec<BrokerId> = brokers.into_iter().collect();
        members.sort_unstable();
        members.dedup();
        Self(members.into_boxed_slice())
    }
}

/// The in-sync replicas as a leader must count them: what the controllers committed, together with what this leader
/// has proposed and does not yet know the fate of.
///
/// A record is committed only once *every* member of the union holds it: whichever of the sets turns out to be the
/// true one, each of its members may be elected, and then has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MaximalIsr {
    committed: ReplicaSet,
    proposed: Option<ReplicaSet>,
    /// Refused, but a copy of the proposal may still be under way.
    lingering: Option<ReplicaSet>,
}

impl MaximalIsr {
    /// What the controllers committed, with nothing proposed.
    #[must_use]
    pub fn committed_as(committed: ReplicaSet) -> Self {
        Self {
            committed,
            proposed: None,
            lingering: None,
        }
    }

    /// The set that the controllers committed: the one that `min.insync.replicas` is held against.
    #[must_use]
    pub fn committed(&self) -> &ReplicaSet {
        &self.committed
    }

    /// This set with a proposal under way. It stays until a commit replaces it: a proposal whose answer was lost may
    /// have been committed.
    pub fn propose(&mut self, proposed: ReplicaSet) {
        self.proposed = Some(proposed);
    }

    /// The proposal was refused. If a copy of it may still come to be taken, its members go on to count.
    pub fn refused(&mut self, copies_under_way: bool) {
        let refused = self.proposed.take();
        if let Some(refused) = refused.filter(|_| copies_under_way) {
            let before = self.lingering.take().unwrap_or_default();
            self.lingering = Some(before.iter().chain(refused.iter()).collect());
        }
    }

    /// No copy of what was refused is under way any more.
    pub fn forget_refused(&mut self) {
        self.lingering = None;
    }

    /// The members of any of the sets, each once, in no promised order.
    pub fn members(&self) -> impl Iterator<Item = BrokerId> + '_ {
        let proposed = self.proposed.iter().flat_map(ReplicaSet::iter);
        let proposed = proposed.filter(|broker| !self.committed.contains(*broker));
        let known = |broker| {
            self.committed.contains(broker) || self.proposed.as_ref().is_some_and(|set| set.contains(broker))
        };
        let lingering = self.lingering.iter().flat_map(ReplicaSet::iter);
        let lingering = lingering.filter(move |broker| !known(*broker));
        self.committed.iter().chain(proposed).chain(lingering)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: &[u32]) -> ReplicaSet {
        ids.iter().copied().map(BrokerId::new).collect()
    }

    #[test]
    fn a_set_is_ordered_and_holds_each_once() {
        assert_eq!(set(&[3, 1, 3, 2]), set(&[1, 2, 3]));
        assert_eq!(set(&[3, 1, 3, 2]).len(), 3);
    }

    #[test]
    fn a_shrink_under_way_still_counts_the_member_it_would_drop() {
        let mut isr = MaximalIsr::committed_as(set(&[1, 2]));
        isr.propose(set(&[1]));
        assert_eq!(isr.members().collect::<ReplicaSet>(), set(&[1, 2]));
    }

    #[test]
    fn an_expand_under_way_counts_the_member_it_would_add() {
        let mut isr = MaximalIsr::committed_as(set(&[1]));
        isr.propose(set(&[1, 3]));
        assert_eq!(isr.members().collect::<ReplicaSet>(), set(&[1, 3]));
        assert_eq!(isr.committed().len(), 1);
    }

    #[test]
    fn what_was_refused_counts_for_as_long_as_a_copy_is_under_way() {
        let mut isr = MaximalIsr::committed_as(set(&[1, 2]));
        isr.propose(set(&[1, 2, 3]));
        isr.refused(false);
        assert_eq!(isr.members().collect::<ReplicaSet>(), set(&[1, 2]));
        isr.propose(set(&[1, 2, 3]));
        isr.refused(true);
        isr.propose(set(&[1]));
        isr.refused(true);
        isr.propose(set(&[1]));
        let members: Vec<_> = isr.members().collect();
        assert_eq!(
            (members.len(), members.into_iter().collect()),
            (3, set(&[1, 2, 3]))
        );
        isr.forget_refused();
        assert_eq!(isr.members().collect::<ReplicaSet>(), set(&[1, 2]));
    }
}
