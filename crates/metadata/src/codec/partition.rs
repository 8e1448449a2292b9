//! A partition's state as bytes.

use super::{DecodeError, Ids, field};
use crate::{CutReplica, Partition, Rare, ReplicaSet};
use prost::Message;
use quipu_record::{BrokerId, LeaderEpoch, Offset, PartitionEpoch};

/// Replicas of one partition at most, as far as reading goes.
const REPLICAS_MAX: usize = 255;

#[derive(Clone, PartialEq, Message)]
pub(super) struct PartitionMessage {
    #[prost(uint32, repeated, tag = "1")]
    replicas: Ids,
    #[prost(uint32, repeated, tag = "2")]
    isr: Ids,
    #[prost(uint32, repeated, tag = "3")]
    elr: Ids,
    #[prost(uint32, optional, tag = "4")]
    leader: Option<u32>,
    #[prost(uint32, tag = "5")]
    leader_epoch: u32,
    #[prost(uint64, tag = "6")]
    partition_epoch: u64,
    #[prost(uint32, tag = "7")]
    min_insync: u32,
    #[prost(uint32, repeated, tag = "8")]
    adding: Ids,
    #[prost(uint32, repeated, tag = "9")]
    removing: Ids,
    #[prost(uint32, repeated, tag = "10")]
    last_known_elr: Ids,
    #[prost(message, repeated, tag = "11")]
    cut: Vec<CutMessage>,
    #[prost(bool, tag = "12")]
    possible_loss: bool,
}

#[derive(Clone, PartialEq, Message)]
struct CutMessage {
    #[prost(uint32, tag = "1")]
    broker: u32,
    #[prost(uint32, optional, tag = "2")]
    last_epoch: Option<u32>,
    #[prost(uint64, tag = "3")]
    log_end: u64,
}

impl From<&Partition> for PartitionMessage {
    fn from(partition: &Partition) -> Self {
        let ids = |set: &ReplicaSet| set.iter().map(BrokerId::get).collect();
        let rare = partition.rare.as_deref().cloned().unwrap_or_default();
        let cut = |cut: &CutReplica| CutMessage {
            broker: cut.broker.get(),
            last_epoch: cut.last_epoch.map(LeaderEpoch::get),
            log_end: cut.log_end.get(),
        };
        Self {
            replicas: ids(&partition.replicas),
            isr: ids(&partition.isr),
            elr: ids(&partition.elr),
            leader: partition.leader.map(BrokerId::get),
            leader_epoch: partition.leader_epoch.get(),
            partition_epoch: partition.partition_epoch.get(),
            min_insync: partition.min_insync.into(),
            adding: ids(&rare.adding),
            removing: ids(&rare.removing),
            last_known_elr: ids(&rare.last_known_elr),
            cut: rare.cut.iter().map(cut).collect(),
            possible_loss: rare.possible_loss,
        }
    }
}

impl TryFrom<PartitionMessage> for Partition {
    type Error = DecodeError;

    fn try_from(message: PartitionMessage) -> Result<Self, DecodeError> {
        let cut = |cut: CutMessage| CutReplica {
            broker: BrokerId::new(cut.broker),
            last_epoch: cut.last_epoch.map(LeaderEpoch::new),
            log_end: Offset::new(cut.log_end),
        };
        if message.cut.len() > REPLICAS_MAX {
            return Err(DecodeError::Field { field: "cut" });
        }
        let rare = Rare {
            adding: ids("adding", message.adding)?,
            removing: ids("removing", message.removing)?,
            last_known_elr: ids("last_known_elr", message.last_known_elr)?,
            cut: message.cut.into_iter().map(cut).collect(),
            possible_loss: message.possible_loss,
        };
        let mut partition = Self {
            replicas: ids("replicas", message.replicas)?,
            isr: ids("isr", message.isr)?,
            elr: ids("elr", message.elr)?,
            leader: message.leader.map(BrokerId::new),
            leader_epoch: LeaderEpoch::new(message.leader_epoch),
            partition_epoch: PartitionEpoch::new(message.partition_epoch),
            min_insync: field("min_insync", u8::try_from(message.min_insync).ok())?,
            rare: None,
        };
        partition.set_rare(rare);
        Ok(partition)
    }
}

fn ids(name: &'static str, ids: Ids) -> Result<ReplicaSet, DecodeError> {
    if ids.len() > REPLICAS_MAX {
        return Err(DecodeError::Field { field: name });
    }
    Ok(ids.into_iter().map(BrokerId::new).collect())
}
