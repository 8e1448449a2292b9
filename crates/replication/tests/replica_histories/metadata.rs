//! The metadata's rules, as few as there can be: who is in sync, who is eligible, who leads (C4, C5).

use quipu_record::{BrokerEpoch, BrokerId, LeaderEpoch, PartitionEpoch};
use quipu_replication::{IsrProposal, IsrRefusal, IsrResult, LeaderRecord, Leadership};
use std::collections::BTreeSet;

pub(crate) const BROKERS: usize = 3;

/// Brokers by index: 0, 1, 2 are the brokers 1, 2, 3.
pub(crate) fn id(broker: usize) -> BrokerId {
    BrokerId::new(u32::try_from(broker).unwrap() + 1)
}

pub(crate) fn index(broker: BrokerId) -> usize {
    usize::try_from(broker.get()).unwrap() - 1
}

#[derive(Clone, Debug)]
pub(crate) struct Metadata {
    /// Counts every change.
    pub(crate) version: u64,
    pub(crate) leader: Option<usize>,
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) partition_epoch: PartitionEpoch,
    pub(crate) isr: BTreeSet<usize>,
    pub(crate) elr: BTreeSet<usize>,
    pub(crate) min_insync: u32,
    /// Each broker's present lifetime, and whether it is fenced.
    pub(crate) brokers: [(BrokerEpoch, bool); BROKERS],
}

impl Metadata {
    pub(crate) fn new(min_insync: u32) -> Self {
        Self {
            version: 1,
            leader: Some(0),
            leader_epoch: LeaderEpoch::new(1),
            partition_epoch: PartitionEpoch::new(1),
            isr: (0..BROKERS).collect(),
            elr: BTreeSet::new(),
            min_insync,
            brokers: [(BrokerEpoch::new(1), false); BROKERS],
        }
    }

    pub(crate) fn is_safe(&self, broker: usize) -> bool {
        self.isr.contains(&broker) || self.elr.contains(&broker)
    }

    pub(crate) fn leadership(&self) -> Leadership {
        let unfenced = (0..BROKERS).filter(|broker| !self.brokers[*broker].1);
        Leadership {
            record: self.record(),
            eligible: unfenced
                .map(|broker| (id(broker), self.brokers[broker].0))
                .collect(),
        }
    }

    fn record(&self) -> LeaderRecord {
        LeaderRecord {
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
            replicas: (0..BROKERS).map(id).collect(),
            growing: false,
            isr: self.isr.iter().copied().map(id).collect(),
            min_insync: self.min_insync,
        }
    }

    /// The in-sync replicas shall be these, and somebody leads if anybody may.
    fn change(&mut self, isr: BTreeSet<usize>, leader: Option<usize>) {
        let before = self.clone();
        let isr: BTreeSet<usize> = isr
            .into_iter()
            .filter(|broker| !self.brokers[*broker].1)
            .collect();
        self.set_isr(isr);
        let may = |broker: &usize| !before.brokers[*broker].1;
        let keep = leader.filter(|broker| self.isr.contains(broker));
        let in_sync = (0..BROKERS).find(|broker| self.isr.contains(broker) && may(broker));
        let eligible = (0..BROKERS).find(|broker| self.elr.contains(broker) && may(broker));
        self.leader = keep.or(in_sync);
        if let (None, Some(eligible)) = (self.leader, eligible) {
            self.leader = Some(eligible);
            self.set_isr([eligible].into());
        }
        if self.leader != before.leader {
            self.leader_epoch = self.leader_epoch.next();
        }
        let same = self.leader == before.leader
            && self.isr == before.isr
            && self.elr == before.elr
            && self.min_insync == before.min_insync;
        if !same {
            self.partition_epoch = self.partition_epoch.next();
        }
        self.version += 1;
    }

    fn set_isr(&mut self, isr: BTreeSet<usize>) {
        let min = usize::try_from(self.min_insync).unwrap();
        if isr.len() >= min {
            self.elr.clear();
        } else {
            self.elr.extend(self.isr.difference(&isr));
            self.elr.retain(|broker| !isr.contains(broker));
        }
        self.isr = isr;
    }

    /// A session ended, or a process did.
    pub(crate) fn fence(&mut self, broker: usize) {
        self.brokers[broker].1 = true;
        let isr = self
            .isr
            .iter()
            .copied()
            .filter(|other| *other != broker)
            .collect();
        self.change(isr, self.leader.filter(|leader| *leader != broker));
    }

    pub(crate) fn unfence(&mut self, broker: usize) {
        self.brokers[broker].1 = false;
        self.change(self.isr.clone(), self.leader);
    }

    /// A process begins: a new lifetime, fenced. Its disk has all that was ever flushed.
    pub(crate) fn register(&mut self, broker: usize) -> BrokerEpoch {
        self.fence(broker);
        self.brokers[broker].0 = BrokerEpoch::new(self.version);
        self.version += 1;
        self.brokers[broker].0
    }

    /// Another leader, of those in sync.
    pub(crate) fn elect(&mut self, broker: usize) {
        if self.isr.contains(&broker) && self.leader != Some(broker) {
            self.change(self.isr.clone(), Some(broker));
        }
    }

    pub(crate) fn set_min_insync(&mut self, min_insync: u32) {
        self.min_insync = min_insync;
        self.change(self.isr.clone(), self.leader);
    }

    pub(crate) fn alter(&mut self, from: usize, life: BrokerEpoch, proposal: &IsrProposal) -> IsrResult {
        if self.brokers[from] != (life, false)
            || self.leader != Some(from)
            || proposal.leader_epoch != self.leader_epoch
        {
            return IsrResult::Refused(IsrRefusal::Fenced);
        }
        if proposal.partition_epoch != self.partition_epoch {
            return IsrResult::Refused(IsrRefusal::Outdated);
        }
        let right = |(broker, life): &(BrokerId, BrokerEpoch)| self.brokers[index(*broker)] == (*life, false);
        if !proposal.isr.iter().all(right) {
            return IsrResult::Refused(IsrRefusal::Ineligible);
        }
        let isr = proposal.isr.iter().map(|(broker, _)| index(*broker)).collect();
        self.change(isr, self.leader);
        IsrResult::Done(self.record())
    }
}
