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
/// A record is committed only once *every* member of the union holds it: whichever of the two sets turns out to be the
/// true one, each of its members may be elected, and then has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MaximalIsr {
    committed: ReplicaSet,
    proposed: Option<ReplicaSet>,
}

impl MaximalIsr {
    /// What the controllers committed, with nothing proposed.
    #[must_use]
    pub fn committed_as(committed: ReplicaSet) -> Self {
        Self {
            committed,
            proposed: None,
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

    /// The members of either set, each once, in no promised order.
    pub fn members(&self) -> impl Iterator<Item = BrokerId> + '_ {
        let added = self.proposed.iter().flat_map(ReplicaSet::iter);
        self.committed
            .iter()
            .chain(added.filter(|broker| !self.committed.contains(*broker)))
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
}
