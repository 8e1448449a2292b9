//! The messages of commands, and the way between them and the commands.

use super::record_message::{ListenerMessage, level, listeners_in, listeners_out};
use super::{DecodeError, field, list, uuid};
use crate::{
    AllocProducerIds, AlterPartitions, BeginShutdown, BrokerFence, ClusterId, ConfigChange, CreatePartitions,
    CreateTopic, CutPartition, DeleteTopic, DirectoryId, EnsureOffsetsTopic, FenceBrokers, GrowTopic,
    Incarnation, InitCluster, IsrChange, IsrMember, RegisterBroker, UnfenceBroker, UpdateTopicConfig,
};
use prost::Message;
use quipu_record::{
    BrokerEpoch, BrokerId, LeaderEpoch, MetadataVersion, Offset, PartitionEpoch, PartitionId, TopicId,
    TopicPartition,
};

#[derive(Clone, PartialEq, Message)]
pub(super) struct InitClusterMessage {
    #[prost(bytes = "vec", tag = "1")]
    cluster_id: Vec<u8>,
    #[prost(uint32, tag = "2")]
    feature_level: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PlaceMessage {
    #[prost(bytes = "vec", tag = "1")]
    topic: Vec<u8>,
    #[prost(uint32, tag = "2")]
    partition: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CutPartitionMessage {
    #[prost(message, optional, tag = "1")]
    at: Option<PlaceMessage>,
    #[prost(uint32, optional, tag = "2")]
    last_epoch: Option<u32>,
    #[prost(uint64, tag = "3")]
    log_end: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RegisterBrokerMessage {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(bytes = "vec", tag = "2")]
    incarnation: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "3")]
    cluster_id: Option<Vec<u8>>,
    #[prost(bytes = "vec", tag = "4")]
    directory: Vec<u8>,
    #[prost(message, repeated, tag = "5")]
    listeners: Vec<ListenerMessage>,
    #[prost(string, optional, tag = "6")]
    rack: Option<String>,
    #[prost(string, tag = "7")]
    software: String,
    #[prost(uint32, tag = "8")]
    feature_level: u32,
    #[prost(uint64, optional, tag = "9")]
    clean_epoch: Option<u64>,
    #[prost(bool, tag = "10")]
    page_cache_kept: bool,
    #[prost(message, repeated, tag = "11")]
    cut: Vec<CutPartitionMessage>,
    #[prost(message, repeated, tag = "12")]
    damaged: Vec<PlaceMessage>,
}

/// One lifetime of a broker: some commands say no more.
#[derive(Clone, PartialEq, Message)]
pub(super) struct LifetimeMessage {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(uint64, tag = "2")]
    epoch: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FenceBrokersMessage {
    #[prost(message, repeated, tag = "1")]
    brokers: Vec<LifetimeMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PairMessage {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CreateTopicMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "vec", tag = "2")]
    topic_id: Vec<u8>,
    #[prost(uint32, tag = "3")]
    partitions: u32,
    #[prost(uint32, optional, tag = "4")]
    replication_factor: Option<u32>,
    #[prost(message, repeated, tag = "5")]
    configs: Vec<PairMessage>,
    #[prost(bool, tag = "6")]
    internal: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DeleteTopicMessage {
    #[prost(bytes = "vec", tag = "1")]
    topic_id: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct EnsureOffsetsTopicMessage {
    #[prost(bytes = "vec", tag = "1")]
    topic_id: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GrowTopicMessage {
    #[prost(bytes = "vec", tag = "1")]
    topic_id: Vec<u8>,
    #[prost(uint32, repeated, tag = "2")]
    gone: Vec<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct UpdateTopicConfigMessage {
    #[prost(bytes = "vec", tag = "1")]
    topic_id: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    set: Vec<PairMessage>,
    #[prost(string, repeated, tag = "3")]
    unset: Vec<String>,
    #[prost(uint64, optional, tag = "4")]
    expected_version: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CreatePartitionsMessage {
    #[prost(bytes = "vec", tag = "1")]
    topic_id: Vec<u8>,
    #[prost(uint32, tag = "2")]
    total: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct IsrChangeMessage {
    #[prost(message, optional, tag = "1")]
    at: Option<PlaceMessage>,
    #[prost(uint32, tag = "2")]
    leader_epoch: u32,
    #[prost(uint64, tag = "3")]
    partition_epoch: u64,
    #[prost(message, repeated, tag = "4")]
    isr: Vec<LifetimeMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AlterPartitionsMessage {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(uint64, tag = "2")]
    epoch: u64,
    #[prost(message, repeated, tag = "3")]
    changes: Vec<IsrChangeMessage>,
}

impl From<&InitCluster> for InitClusterMessage {
    fn from(c: &InitCluster) -> Self {
        Self {
            cluster_id: c.cluster_id.into_bytes().to_vec(),
            feature_level: c.feature_level.get().into(),
        }
    }
}

impl TryFrom<InitClusterMessage> for InitCluster {
    type Error = DecodeError;

    fn try_from(message: InitClusterMessage) -> Result<Self, DecodeError> {
        let cluster_id = ClusterId::from_bytes(uuid("cluster_id", &message.cluster_id)?);
        Ok(Self {
            cluster_id,
            feature_level: level(message.feature_level)?,
        })
    }
}

impl From<&RegisterBroker> for RegisterBrokerMessage {
    fn from(c: &RegisterBroker) -> Self {
        let cut = |cut: &CutPartition| CutPartitionMessage {
            at: Some(place_out(cut.at)),
            last_epoch: cut.last_epoch.map(LeaderEpoch::get),
            log_end: cut.log_end.get(),
        };
        Self {
            id: c.id.get(),
            incarnation: c.incarnation.into_bytes().to_vec(),
            cluster_id: c.cluster_id.map(|id| id.into_bytes().to_vec()),
            directory: c.directory.into_bytes().to_vec(),
            listeners: listeners_out(&c.listeners),
            rack: c.rack.clone(),
            software: c.version.clone(),
            feature_level: c.feature_level.get().into(),
            clean_epoch: c.clean_epoch.map(BrokerEpoch::get),
            page_cache_kept: c.page_cache_kept,
            cut: c.cut.iter().map(cut).collect(),
            damaged: c.damaged.iter().copied().map(place_out).collect(),
        }
    }
}

impl TryFrom<RegisterBrokerMessage> for RegisterBroker {
    type Error = DecodeError;

    fn try_from(message: RegisterBrokerMessage) -> Result<Self, DecodeError> {
        let cut = |cut: CutPartitionMessage| {
            Ok(CutPartition {
                at: place_in(cut.at)?,
                last_epoch: cut.last_epoch.map(LeaderEpoch::new),
                log_end: Offset::new(cut.log_end),
            })
        };
        let cluster_id = message.cluster_id.map(|id| uuid("cluster_id", &id)).transpose()?;
        Ok(Self {
            id: BrokerId::new(message.id),
            incarnation: Incarnation::from_bytes(uuid("incarnation", &message.incarnation)?),
            cluster_id: cluster_id.map(ClusterId::from_bytes),
            directory: DirectoryId::from_bytes(uuid("directory", &message.directory)?),
            listeners: listeners_in(message.listeners)?,
            rack: message.rack,
            version: message.software,
            feature_level: level(message.feature_level)?,
            clean_epoch: message.clean_epoch.map(BrokerEpoch::new),
            page_cache_kept: message.page_cache_kept,
            cut: list("cut", message.cut, cut)?,
            damaged: list("damaged", message.damaged, |at| place_in(Some(at)))?,
        })
    }
}

/// What names no more than a lifetime of a broker.
macro_rules! lifetimes {
    ($($name:ident),*) => { $(
        impl From<&$name> for LifetimeMessage {
            fn from(c: &$name) -> Self {
                Self { id: c.id.get(), epoch: c.epoch.get() }
            }
        }

        impl From<LifetimeMessage> for $name {
            fn from(message: LifetimeMessage) -> Self {
                Self { id: BrokerId::new(message.id), epoch: BrokerEpoch::new(message.epoch) }
            }
        }
    )* };
}

lifetimes!(
    UnfenceBroker,
    BeginShutdown,
    AllocProducerIds,
    BrokerFence,
    IsrMember
);

impl From<&FenceBrokers> for FenceBrokersMessage {
    fn from(c: &FenceBrokers) -> Self {
        Self {
            brokers: c.brokers.iter().map(LifetimeMessage::from).collect(),
        }
    }
}

impl TryFrom<FenceBrokersMessage> for FenceBrokers {
    type Error = DecodeError;

    fn try_from(message: FenceBrokersMessage) -> Result<Self, DecodeError> {
        Ok(Self {
            brokers: list("brokers", message.brokers, |fence| Ok(fence.into()))?,
        })
    }
}

impl From<&CreateTopic> for CreateTopicMessage {
    fn from(c: &CreateTopic) -> Self {
        Self {
            name: c.name.clone(),
            topic_id: c.topic_id.into_bytes().to_vec(),
            partitions: c.partitions,
            replication_factor: c.replication_factor.map(u32::from),
            configs: pairs_out(&c.configs),
            internal: c.internal,
        }
    }
}

impl TryFrom<CreateTopicMessage> for CreateTopic {
    type Error = DecodeError;

    fn try_from(message: CreateTopicMessage) -> Result<Self, DecodeError> {
        let factor = message
            .replication_factor
            .map(|f| field("replication_factor", u16::try_from(f).ok()));
        Ok(Self {
            name: message.name,
            topic_id: topic_in(&message.topic_id)?,
            partitions: message.partitions,
            replication_factor: factor.transpose()?,
            configs: pairs_in(message.configs)?,
            internal: message.internal,
        })
    }
}

impl From<&DeleteTopic> for DeleteTopicMessage {
    fn from(c: &DeleteTopic) -> Self {
        Self {
            topic_id: c.topic_id.into_bytes().to_vec(),
        }
    }
}

impl TryFrom<DeleteTopicMessage> for DeleteTopic {
    type Error = DecodeError;

    fn try_from(message: DeleteTopicMessage) -> Result<Self, DecodeError> {
        Ok(Self {
            topic_id: topic_in(&message.topic_id)?,
        })
    }
}

impl From<&EnsureOffsetsTopic> for EnsureOffsetsTopicMessage {
    fn from(c: &EnsureOffsetsTopic) -> Self {
        Self {
            topic_id: c.topic_id.into_bytes().to_vec(),
        }
    }
}

impl TryFrom<EnsureOffsetsTopicMessage> for EnsureOffsetsTopic {
    type Error = DecodeError;

    fn try_from(message: EnsureOffsetsTopicMessage) -> Result<Self, DecodeError> {
        Ok(Self {
            topic_id: topic_in(&message.topic_id)?,
        })
    }
}

impl From<&GrowTopic> for GrowTopicMessage {
    fn from(c: &GrowTopic) -> Self {
        Self {
            topic_id: c.topic_id.into_bytes().to_vec(),
            gone: c.gone.iter().map(|broker| broker.get()).collect(),
        }
    }
}

impl TryFrom<GrowTopicMessage> for GrowTopic {
    type Error = DecodeError;

    fn try_from(message: GrowTopicMessage) -> Result<Self, DecodeError> {
        Ok(Self {
            topic_id: topic_in(&message.topic_id)?,
            gone: message.gone.into_iter().map(BrokerId::new).collect(),
        })
    }
}

impl From<&UpdateTopicConfig> for UpdateTopicConfigMessage {
    fn from(c: &UpdateTopicConfig) -> Self {
        Self {
            topic_id: c.topic_id.into_bytes().to_vec(),
            set: pairs_out(&c.change.set),
            unset: c.change.unset.clone(),
            expected_version: c.expected_version.map(MetadataVersion::get),
        }
    }
}

impl TryFrom<UpdateTopicConfigMessage> for UpdateTopicConfig {
    type Error = DecodeError;

    fn try_from(message: UpdateTopicConfigMessage) -> Result<Self, DecodeError> {
        Ok(Self {
            topic_id: topic_in(&message.topic_id)?,
            change: ConfigChange {
                set: pairs_in(message.set)?,
                unset: list("unset", message.unset, Ok)?,
            },
            expected_version: message.expected_version.map(MetadataVersion::new),
        })
    }
}

impl From<&CreatePartitions> for CreatePartitionsMessage {
    fn from(c: &CreatePartitions) -> Self {
        Self {
            topic_id: c.topic_id.into_bytes().to_vec(),
            total: c.total,
        }
    }
}

impl TryFrom<CreatePartitionsMessage> for CreatePartitions {
    type Error = DecodeError;

    fn try_from(message: CreatePartitionsMessage) -> Result<Self, DecodeError> {
        Ok(Self {
            topic_id: topic_in(&message.topic_id)?,
            total: message.total,
        })
    }
}

impl From<&AlterPartitions> for AlterPartitionsMessage {
    fn from(c: &AlterPartitions) -> Self {
        let change = |change: &IsrChange| IsrChangeMessage {
            at: Some(place_out(change.at)),
            leader_epoch: change.leader_epoch.get(),
            partition_epoch: change.partition_epoch.get(),
            isr: change.isr.iter().map(LifetimeMessage::from).collect(),
        };
        Self {
            id: c.id.get(),
            epoch: c.epoch.get(),
            changes: c.changes.iter().map(change).collect(),
        }
    }
}

impl TryFrom<AlterPartitionsMessage> for AlterPartitions {
    type Error = DecodeError;

    fn try_from(message: AlterPartitionsMessage) -> Result<Self, DecodeError> {
        let change = |change: IsrChangeMessage| {
            Ok(IsrChange {
                at: place_in(change.at)?,
                leader_epoch: LeaderEpoch::new(change.leader_epoch),
                partition_epoch: PartitionEpoch::new(change.partition_epoch),
                isr: list("isr", change.isr, |member| Ok(member.into()))?,
            })
        };
        Ok(Self {
            id: BrokerId::new(message.id),
            epoch: BrokerEpoch::new(message.epoch),
            changes: list("changes", message.changes, change)?,
        })
    }
}

pub(super) fn place_out(at: TopicPartition) -> PlaceMessage {
    PlaceMessage {
        topic: at.topic.into_bytes().to_vec(),
        partition: at.partition.get(),
    }
}

pub(super) fn place_in(message: Option<PlaceMessage>) -> Result<TopicPartition, DecodeError> {
    let message = field("at", message)?;
    Ok(TopicPartition {
        topic: topic_in(&message.topic)?,
        partition: PartitionId::new(message.partition),
    })
}

fn topic_in(bytes: &[u8]) -> Result<TopicId, DecodeError> {
    uuid("topic", bytes).map(TopicId::from_bytes)
}

fn pairs_out(pairs: &[(String, String)]) -> Vec<PairMessage> {
    pairs
        .iter()
        .map(|(key, value)| PairMessage {
            key: key.clone(),
            value: value.clone(),
        })
        .collect()
}

fn pairs_in(pairs: Vec<PairMessage>) -> Result<Vec<(String, String)>, DecodeError> {
    list("configs", pairs, |pair| Ok((pair.key, pair.value)))
}
