//! What an application hears of rebalances, and may do about them.

use super::core::Core;
use super::{AssignmentEpoch, GroupPartition, MemberEpoch};
use crate::consumer::{Key, Start};
use quipu_record::{Offset, PartitionId};

/// Hears of rebalances, inside of [`GroupConsumer::next`](crate::GroupConsumer::next) and
/// [`GroupConsumer::close`](crate::GroupConsumer::close): before any record that follows.
pub trait RebalanceListener: Send {
    /// These are this member's now; no record of them was given yet. It may seek.
    fn assigned(&mut self, partitions: &[GroupPartition], rebalance: &mut Rebalance<'_>) {
        let _ = (partitions, rebalance);
    }

    /// These are about to go to others: no more records of them are given. What is committed here is where the others
    /// begin (with [`CommitMode::Auto`](crate::CommitMode::Auto) that is done without saying).
    fn revoked(&mut self, partitions: &[GroupPartition], rebalance: &mut Rebalance<'_>) {
        let _ = (partitions, rebalance);
    }

    /// These are gone, and others may have them already: nothing can be committed for them.
    fn lost(&mut self, partitions: &[GroupPartition]) {
        let _ = partitions;
    }
}

/// What can be done in the middle of a rebalance.
#[derive(Debug)]
pub struct Rebalance<'a> {
    pub(super) core: &'a mut Core,
    pub(super) commits: Vec<(Key, Offset, String)>,
}

impl Rebalance<'_> {
    /// Reads on from there. `false`: the partition is not this member's.
    pub fn seek(&mut self, topic: &str, partition: PartitionId, to: Start) -> bool {
        self.core.seek(&super::key(topic, partition), to)
    }

    /// The next offset that would be given, if it is known.
    #[must_use]
    pub fn position(&self, topic: &str, partition: PartitionId) -> Option<Offset> {
        use crate::consumer::Places as _;
        match self.core.place(&super::key(topic, partition)) {
            Some(Start::Offset(offset)) => Some(offset),
            _ => None,
        }
    }

    /// The member epoch in which this member got the partition. `None`: it is not this member's.
    #[must_use]
    pub fn assignment_epoch(&self, topic: &str, partition: PartitionId) -> Option<AssignmentEpoch> {
        self.core.epoch_of(&super::key(topic, partition))
    }

    /// As [`GroupConsumer::confirmed`](crate::GroupConsumer::confirmed).
    #[must_use]
    pub fn confirmed(&self, topic: &str, partition: PartitionId) -> bool {
        self.core.confirmed(&super::key(topic, partition))
    }

    /// This member's id, and how far it has followed the group.
    #[must_use]
    pub fn member(&self) -> (&str, MemberEpoch) {
        (self.core.member(), self.core.epoch())
    }

    /// Commits that everything of this partition below `next` was processed, before it is given up.
    pub fn commit(&mut self, topic: &str, partition: PartitionId, next: Offset) {
        self.commits
            .push((super::key(topic, partition), next, String::new()));
    }

    /// Commits everything that was handed out.
    pub fn commit_all(&mut self) {
        self.commits = self.core.uncommitted();
    }
}
