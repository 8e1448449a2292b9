//! Leaders change who is in sync (KIP-497), naming the very lifetimes of the replicas they mean (KIP-903).

use super::{BrokerError, Decision, Refusal};
use crate::partition_change::{PartitionChange, Standing as _};
use crate::{Image, Partition, Record, ReplicaSet};
use quipu_record::{
    BrokerEpoch, BrokerId, ErrorCode, LeaderEpoch, PartitionEpoch, PlantedBug, TopicPartition,
};
use std::collections::BTreeSet;

/// A leader's changes of in-sync replicas, for many partitions at once. Each stands or falls by itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AlterPartitions {
    /// Who asks.
    pub id: BrokerId,
    /// In which of its lifetimes.
    pub epoch: BrokerEpoch,
    /// What.
    pub changes: Vec<IsrChange>,
}

/// One partition's in-sync replicas, as its leader wants them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IsrChange {
    /// Which partition.
    pub at: TopicPartition,
    /// The epoch it leads in.
    pub leader_epoch: LeaderEpoch,
    /// The state that it saw.
    pub partition_epoch: PartitionEpoch,
    /// Who shall be in sync.
    pub isr: Vec<IsrMember>,
}

/// A replica in one of its lifetimes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IsrMember {
    /// Which broker.
    pub id: BrokerId,
    /// Which of its lifetimes: one that restarted since may have lost what it had.
    pub epoch: BrokerEpoch,
}

/// The partition after the change. A leader goes by this at once, ahead of its stream of deltas.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionAnswer {
    /// Which partition.
    pub at: TopicPartition,
    /// Its state now.
    pub state: Partition,
}

/// Why one change is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AlterPartitionError {
    /// No such partition.
    #[error("there is no partition {0}")]
    Unknown(TopicPartition),
    /// It is named twice in one request.
    #[error("partition {0} is named twice")]
    Twice(TopicPartition),
    /// Another broker leads it.
    #[error("broker {asks} does not lead partition {at}")]
    NotLeader {
        /// The partition.
        at: TopicPartition,
        /// Who asked.
        asks: BrokerId,
    },
    /// It leads it in another epoch.
    #[error("partition {at} is in leader epoch {now}, not {given}")]
    FencedLeaderEpoch {
        /// The partition.
        at: TopicPartition,
        /// The epoch that holds.
        now: LeaderEpoch,
        /// The epoch it named.
        given: LeaderEpoch,
    },
    /// The partition changed since.
    #[error("partition {at} is in partition epoch {now}, not {given}")]
    InvalidUpdateVersion {
        /// The partition.
        at: TopicPartition,
        /// The epoch that holds.
        now: PartitionEpoch,
        /// The epoch it named.
        given: PartitionEpoch,
    },
    /// Somebody cannot be in sync.
    #[error("broker {broker} cannot be in sync for partition {at}: {why}")]
    IneligibleReplica {
        /// The partition.
        at: TopicPartition,
        /// Who.
        broker: BrokerId,
        /// Why.
        why: Ineligible,
    },
}

/// Why a broker cannot be in sync for a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Ineligible {
    /// The leader left itself out.
    #[error("the leader itself is always in sync")]
    LeaderLeftOut,
    /// It is not among the replicas.
    #[error("it holds no replica")]
    NoReplica,
    /// It is named in a lifetime that is over.
    #[error("it has restarted since, and must catch up again")]
    Restarted,
    /// It is fenced.
    #[error("it is fenced")]
    Fenced,
    /// It is on its way out.
    #[error("it is shutting down")]
    ShuttingDown,
}

impl Refusal for AlterPartitionError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Unknown(_) => ErrorCode::UnknownTopicOrPartition,
            Self::Twice(_) | Self::IneligibleReplica { .. } => ErrorCode::InvalidRequest,
            Self::NotLeader { .. } => ErrorCode::NotLeader,
            Self::FencedLeaderEpoch { .. } => ErrorCode::FencedLeaderEpoch,
            Self::InvalidUpdateVersion { .. } => ErrorCode::VersionMismatch,
        }
    }
}

impl AlterPartitions {
    pub(crate) fn decide(&self, image: &Image) -> Decision<Self> {
        match image.broker_in(self.id, self.epoch) {
            Ok(broker) if broker.fenced => return Decision::refused(BrokerError::Fenced(self.id)),
            Ok(_) => {}
            Err(refusal) => return Decision::refused(refusal),
        }
        let mut records = Vec::new();
        let mut named = BTreeSet::new();
        let mut answers = Vec::with_capacity(self.changes.len());
        for change in &self.changes {
            let at = change.at;
            if !named.insert(at) {
                answers.push(Err(AlterPartitionError::Twice(at)));
                continue;
            }
            let answer = self.one(image, change).map(|after| match after {
                Ok(state) => {
                    records.push(Record::Partition {
                        at,
                        state: state.clone(),
                    });
                    PartitionAnswer { at, state }
                }
                Err(unchanged) => PartitionAnswer { at, state: unchanged },
            });
            answers.push(answer);
        }
        Decision::done(records, answers)
    }

    /// The state after the change: `Ok` if it is another one than before.
    fn one(
        &self,
        image: &Image,
        change: &IsrChange,
    ) -> Result<Result<Partition, Partition>, AlterPartitionError> {
        let at = change.at;
        let before = image.partition(at).ok_or(AlterPartitionError::Unknown(at))?;
        if before.leader != Some(self.id) {
            return Err(AlterPartitionError::NotLeader { at, asks: self.id });
        }
        let (now, given) = (before.leader_epoch, change.leader_epoch);
        if now != given {
            return Err(AlterPartitionError::FencedLeaderEpoch { at, now, given });
        }
        let (now, given) = (before.partition_epoch, change.partition_epoch);
        if now != given {
            return Err(AlterPartitionError::InvalidUpdateVersion { at, now, given });
        }
        let isr: ReplicaSet = change.isr.iter().map(|member| member.id).collect();
        let ineligible = |broker, why| Err(AlterPartitionError::IneligibleReplica { at, broker, why });
        if !isr.contains(self.id) {
            return ineligible(self.id, Ineligible::LeaderLeftOut);
        }
        for member in &change.isr {
            if let Some(why) = why_not(image, before, member) {
                return ineligible(member.id, why);
            }
        }
        // In the order of the replicas, so that equal sets are equal.
        let isr = before.replicas.iter().filter(|b| isr.contains(*b)).collect();
        let after = PartitionChange::new(before, image).isr(isr).build();
        Ok(after.ok_or_else(|| before.clone()))
    }
}

/// Why this broker cannot be in sync.
fn why_not(image: &Image, before: &Partition, member: &IsrMember) -> Option<Ineligible> {
    if !before.replicas.contains(member.id) {
        return Some(Ineligible::NoReplica);
    }
    let has_restarted = image.broker_in(member.id, member.epoch).is_err();
    if has_restarted && !PlantedBug::BrokerEpochUnchecked.planted() {
        return Some(Ineligible::Restarted);
    }
    if !image.is_unfenced(member.id) {
        return Some(Ineligible::Fenced);
    }
    // One that leaves may stay until it is gone, but does not come in.
    if !image.is_active(member.id) && !before.isr.contains(member.id) {
        return Some(Ineligible::ShuttingDown);
    }
    None
}
