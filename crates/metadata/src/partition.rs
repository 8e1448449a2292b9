//! One partition as the metadata knows it.

use crate::ReplicaSet;
use quipu_record::{BrokerId, LeaderEpoch, Offset, PartitionEpoch};

/// Who holds a partition, who leads it, who is in sync. 80 bytes: there are many of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Partition {
    /// The brokers that hold it, preferred leader first.
    pub replicas: ReplicaSet,
    /// In-sync replicas; never a fenced broker.
    pub isr: ReplicaSet,
    /// Eligible leader replicas (KIP-966): out of sync, but known to hold everything below the high watermark. Empty
    /// whenever the in-sync replicas number `min_insync` or more.
    pub elr: ReplicaSet,
    /// Who leads it; `None`: nobody can now.
    pub leader: Option<BrokerId>,
    /// Counts changes of leadership, to nobody too.
    pub leader_epoch: LeaderEpoch,
    /// Counts changes of anything here.
    pub partition_epoch: PartitionEpoch,
    /// In-sync replicas needed to acknowledge. Here, and not only in the topic's config, so that it changes together
    /// with `partition_epoch`: a leader that has not seen a change cannot alter the in-sync replicas by the old rule.
    pub min_insync: u8,
    /// What most partitions have nothing of.
    pub rare: Option<Box<Rare>>,
}

/// The parts of a partition that are empty most of the time.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rare {
    /// Replicas being added: they are among `replicas`.
    pub adding: ReplicaSet,
    /// Replicas being removed by a reassignment.
    pub removing: ReplicaSet,
    /// The last eligible replicas, kept for the operator after the last of them was lost.
    pub last_known_elr: ReplicaSet,
    /// Replicas whose recovery cut something since they last were in sync: others go before them in an election.
    pub cut: Vec<CutReplica>,
    /// An election outside of the in-sync and eligible replicas happened: acknowledged records may be gone.
    pub possible_loss: bool,
}

impl Rare {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A replica whose recovery after a crash cut its log, and how far the log goes now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CutReplica {
    /// The broker.
    pub broker: BrokerId,
    /// The leader epoch of its last batch; `None`: its log is empty.
    pub last_epoch: Option<LeaderEpoch>,
    /// Its log end.
    pub log_end: Offset,
}

impl Partition {
    /// The replicas that are being added. Until all of them are in sync, the partition has the minimum that it had
    /// without them; otherwise they are replicas like others.
    #[must_use]
    pub fn adding(&self) -> &[BrokerId] {
        self.rare.as_ref().map_or(&[], |r| r.adding.as_slice())
    }

    /// How many replicas it is meant to have, apart from those that are still being added.
    #[must_use]
    pub fn replication_factor(&self) -> usize {
        self.replicas.len().saturating_sub(self.adding().len())
    }

    /// The cut replicas.
    #[must_use]
    pub fn cut(&self) -> &[CutReplica] {
        self.rare.as_ref().map_or(&[], |r| &r.cut)
    }

    /// The last eligible replicas before the last of them was lost.
    #[must_use]
    pub fn last_known_elr(&self) -> &[BrokerId] {
        self.rare.as_ref().map_or(&[], |r| r.last_known_elr.as_slice())
    }

    /// Whether acknowledged records may have been lost by an unclean election.
    #[must_use]
    pub fn possible_loss(&self) -> bool {
        self.rare.as_ref().is_some_and(|r| r.possible_loss)
    }

    /// Whether `broker` may be elected without loss: in sync or eligible.
    #[must_use]
    pub fn is_safe(&self, broker: BrokerId) -> bool {
        self.isr.contains(broker) || self.elr.contains(broker)
    }

    /// Whether another replica leads it than the first, which should.
    #[must_use]
    pub fn is_displaced(&self) -> bool {
        self.leader.is_some() && self.leader.as_ref() != self.replicas.as_slice().first()
    }

    /// The rare parts, to change them; [`Partition::set_rare`] puts them back.
    #[must_use]
    pub fn take_rare(&mut self) -> Rare {
        self.rare.take().map_or_else(Rare::default, |r| *r)
    }

    /// Keeps the rare parts, if there is anything in them.
    pub fn set_rare(&mut self, rare: Rare) {
        self.rare = if rare.is_empty() {
            None
        } else {
            Some(Box::new(rare))
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_small() {
        assert_eq!(size_of::<Partition>(), 80);
    }
}
