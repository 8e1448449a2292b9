//! Commands as bytes. The types' numbers are never reused.

use super::record::{ListenerMessage, level, listeners_in, listeners_out};
use super::{COMMAND_BYTES_MAX, DecodeError, body, field, list, open, seal, uuid};
use crate::{
    AllocProducerIds, AlterPartitions, BeginShutdown, BrokerFence, ClusterId, Command, ConfigChange,
    CreatePartitions, CreateTopic, CutPartition, DeleteTopic, DirectoryId, FenceBrokers, Incarnation,
    InitCluster, IsrChange, IsrMember, RegisterBroker, UnfenceBroker, UpdateTopicConfig,
};
use prost::Message;
use quipu_record::{
    BrokerEpoch, BrokerId, LeaderEpoch, MetadataVersion, Offset, PartitionEpoch, PartitionId, TopicId,
    TopicPartition,
};

const INIT_CLUSTER: u32 = 1;
const REGISTER_BROKER: u32 = 2;
const UNFENCE_BROKER: u32 = 3;
const FENCE_BROKERS: u32 = 4;
const BEGIN_SHUTDOWN: u32 = 5;
const CREATE_TOPIC: u32 = 6;
const DELETE_TOPIC: u32 = 7;
const UPDATE_TOPIC_CONFIG: u32 = 8;
const CREATE_PARTITIONS: u32 = 9;
const ALTER_PARTITIONS: u32 = 10;
const ALLOC_PRODUCER_IDS: u32 = 11;

#[derive(Clone, PartialEq, Message)]
struct InitClusterMessage {
    #[prost(bytes = "vec", tag = "1")]
    cluster_id: Vec<u8>,
    #[prost(uint32, tag = "2")]
    feature_level: u32,
}

#[derive(Clone, PartialEq, Message)]
struct PlaceMessage {
    #[prost(bytes = "vec", tag = "1")]
    topic: Vec<u8>,
    #[prost(uint32, tag = "2")]
    partition: u32,
}

#[derive(Clone, PartialEq, Message)]
struct CutPartitionMessage {
    #[prost(message, optional, tag = "1")]
    at: Option<PlaceMessage>,
    #[prost(uint32, optional, tag = "2")]
    last_epoch: Option<u32>,
    #[prost(uint64, tag = "3")]
    log_end: u64,
}

#[derive(Clone, PartialEq, Message)]
struct RegisterBrokerMessage {
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

/// One lifetime of a broker: three commands say no more.
#[derive(Clone, PartialEq, Message)]
struct LifetimeMessage {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(uint64, tag = "2")]
    epoch: u64,
}

#[derive(Clone, PartialEq, Message)]
struct FenceBrokersMessage {
    #[prost(message, repeated, tag = "1")]
    brokers: Vec<LifetimeMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct PairMessage {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct CreateTopicMessage {
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
struct DeleteTopicMessage {
    #[prost(bytes = "vec", tag = "1")]
    topic_id: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct UpdateTopicConfigMessage {
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
struct CreatePartitionsMessage {
    #[prost(bytes = "vec", tag = "1")]
    topic_id: Vec<u8>,
    #[prost(uint32, tag = "2")]
    total: u32,
}

#[derive(Clone, PartialEq, Message)]
struct IsrChangeMessage {
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
struct AlterPartitionsMessage {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(uint64, tag = "2")]
    epoch: u64,
    #[prost(message, repeated, tag = "3")]
    changes: Vec<IsrChangeMessage>,
}

impl Command {
    /// As stored.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::InitCluster(c) => {
                let cluster_id = c.cluster_id.into_bytes().to_vec();
                let feature_level = c.feature_level.get().into();
                seal(
                    INIT_CLUSTER,
                    1,
                    &InitClusterMessage {
                        cluster_id,
                        feature_level,
                    },
                )
            }
            Self::RegisterBroker(c) => seal(REGISTER_BROKER, 1, &register_out(c)),
            Self::UnfenceBroker(c) => seal(UNFENCE_BROKER, 1, &lifetime_out(c.id, c.epoch)),
            Self::FenceBrokers(c) => {
                let brokers = c
                    .brokers
                    .iter()
                    .map(|fence| lifetime_out(fence.id, fence.epoch))
                    .collect();
                seal(FENCE_BROKERS, 1, &FenceBrokersMessage { brokers })
            }
            Self::BeginShutdown(c) => seal(BEGIN_SHUTDOWN, 1, &lifetime_out(c.id, c.epoch)),
            Self::CreateTopic(c) => {
                let message = CreateTopicMessage {
                    name: c.name.clone(),
                    topic_id: c.topic_id.into_bytes().to_vec(),
                    partitions: c.partitions,
                    replication_factor: c.replication_factor.map(u32::from),
                    configs: pairs_out(&c.configs),
                    internal: c.internal,
                };
                seal(CREATE_TOPIC, 1, &message)
            }
            Self::DeleteTopic(c) => seal(
                DELETE_TOPIC,
                1,
                &DeleteTopicMessage {
                    topic_id: c.topic_id.into_bytes().to_vec(),
                },
            ),
            Self::UpdateTopicConfig(c) => {
                let message = UpdateTopicConfigMessage {
                    topic_id: c.topic_id.into_bytes().to_vec(),
                    set: pairs_out(&c.change.set),
                    unset: c.change.unset.clone(),
                    expected_version: c.expected_version.map(MetadataVersion::get),
                };
                seal(UPDATE_TOPIC_CONFIG, 1, &message)
            }
            Self::CreatePartitions(c) => {
                let topic_id = c.topic_id.into_bytes().to_vec();
                seal(
                    CREATE_PARTITIONS,
                    1,
                    &CreatePartitionsMessage {
                        topic_id,
                        total: c.total,
                    },
                )
            }
            Self::AlterPartitions(c) => {
                let changes = c.changes.iter().map(isr_change_out).collect();
                let (id, epoch) = (c.id.get(), c.epoch.get());
                seal(
                    ALTER_PARTITIONS,
                    1,
                    &AlterPartitionsMessage { id, epoch, changes },
                )
            }
            Self::AllocProducerIds(c) => seal(ALLOC_PRODUCER_IDS, 1, &lifetime_out(c.id, c.epoch)),
        }
    }

    /// From what [`Command::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`]: stop, never skip.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let envelope = open(bytes, COMMAND_BYTES_MAX)?;
        let (kind, version, bytes) = (envelope.kind, envelope.version, &envelope.body[..]);
        Ok(match (kind, version) {
            (INIT_CLUSTER, 1) => {
                let message: InitClusterMessage = body(bytes)?;
                Self::InitCluster(InitCluster {
                    cluster_id: ClusterId::from_bytes(uuid("cluster_id", &message.cluster_id)?),
                    feature_level: level(message.feature_level)?,
                })
            }
            (REGISTER_BROKER, 1) => Self::RegisterBroker(register_in(body(bytes)?)?),
            (UNFENCE_BROKER, 1) => {
                let (id, epoch) = lifetime_in(&body(bytes)?);
                Self::UnfenceBroker(UnfenceBroker { id, epoch })
            }
            (FENCE_BROKERS, 1) => {
                let fence = |message: LifetimeMessage| {
                    let (id, epoch) = lifetime_in(&message);
                    Ok(BrokerFence { id, epoch })
                };
                let brokers = list("brokers", body::<FenceBrokersMessage>(bytes)?.brokers, fence)?;
                Self::FenceBrokers(FenceBrokers { brokers })
            }
            (BEGIN_SHUTDOWN, 1) => {
                let (id, epoch) = lifetime_in(&body(bytes)?);
                Self::BeginShutdown(BeginShutdown { id, epoch })
            }
            (CREATE_TOPIC, 1) => Self::CreateTopic(create_topic_in(body(bytes)?)?),
            (DELETE_TOPIC, 1) => {
                let topic_id = topic_in(&body::<DeleteTopicMessage>(bytes)?.topic_id)?;
                Self::DeleteTopic(DeleteTopic { topic_id })
            }
            (UPDATE_TOPIC_CONFIG, 1) => {
                let message: UpdateTopicConfigMessage = body(bytes)?;
                let change = ConfigChange {
                    set: pairs_in(message.set)?,
                    unset: list("unset", message.unset, Ok)?,
                };
                Self::UpdateTopicConfig(UpdateTopicConfig {
                    topic_id: topic_in(&message.topic_id)?,
                    change,
                    expected_version: message.expected_version.map(MetadataVersion::new),
                })
            }
            (CREATE_PARTITIONS, 1) => {
                let message: CreatePartitionsMessage = body(bytes)?;
                let topic_id = topic_in(&message.topic_id)?;
                Self::CreatePartitions(CreatePartitions {
                    topic_id,
                    total: message.total,
                })
            }
            (ALTER_PARTITIONS, 1) => {
                let message: AlterPartitionsMessage = body(bytes)?;
                Self::AlterPartitions(AlterPartitions {
                    id: BrokerId::new(message.id),
                    epoch: BrokerEpoch::new(message.epoch),
                    changes: list("changes", message.changes, isr_change_in)?,
                })
            }
            (ALLOC_PRODUCER_IDS, 1) => {
                let (id, epoch) = lifetime_in(&body(bytes)?);
                Self::AllocProducerIds(AllocProducerIds { id, epoch })
            }
            _ => {
                return Err(DecodeError::Unknown {
                    what: "command",
                    kind,
                    version,
                });
            }
        })
    }
}

fn register_out(c: &RegisterBroker) -> RegisterBrokerMessage {
    let cut = |cut: &CutPartition| CutPartitionMessage {
        at: Some(place_out(cut.at)),
        last_epoch: cut.last_epoch.map(LeaderEpoch::get),
        log_end: cut.log_end.get(),
    };
    RegisterBrokerMessage {
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

fn register_in(message: RegisterBrokerMessage) -> Result<RegisterBroker, DecodeError> {
    let cut = |cut: CutPartitionMessage| {
        Ok(CutPartition {
            at: place_in(cut.at)?,
            last_epoch: cut.last_epoch.map(LeaderEpoch::new),
            log_end: Offset::new(cut.log_end),
        })
    };
    let cluster_id = message.cluster_id.map(|id| uuid("cluster_id", &id)).transpose()?;
    Ok(RegisterBroker {
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

fn create_topic_in(message: CreateTopicMessage) -> Result<CreateTopic, DecodeError> {
    let factor = message
        .replication_factor
        .map(|f| field("replication_factor", u16::try_from(f).ok()));
    Ok(CreateTopic {
        name: message.name,
        topic_id: topic_in(&message.topic_id)?,
        partitions: message.partitions,
        replication_factor: factor.transpose()?,
        configs: pairs_in(message.configs)?,
        internal: message.internal,
    })
}

fn isr_change_out(change: &IsrChange) -> IsrChangeMessage {
    IsrChangeMessage {
        at: Some(place_out(change.at)),
        leader_epoch: change.leader_epoch.get(),
        partition_epoch: change.partition_epoch.get(),
        isr: change
            .isr
            .iter()
            .map(|member| lifetime_out(member.id, member.epoch))
            .collect(),
    }
}

fn isr_change_in(message: IsrChangeMessage) -> Result<IsrChange, DecodeError> {
    let member = |message: LifetimeMessage| {
        let (id, epoch) = lifetime_in(&message);
        Ok(IsrMember { id, epoch })
    };
    Ok(IsrChange {
        at: place_in(message.at)?,
        leader_epoch: LeaderEpoch::new(message.leader_epoch),
        partition_epoch: PartitionEpoch::new(message.partition_epoch),
        isr: list("isr", message.isr, member)?,
    })
}

fn lifetime_out(id: BrokerId, epoch: BrokerEpoch) -> LifetimeMessage {
    LifetimeMessage {
        id: id.get(),
        epoch: epoch.get(),
    }
}

fn lifetime_in(message: &LifetimeMessage) -> (BrokerId, BrokerEpoch) {
    (BrokerId::new(message.id), BrokerEpoch::new(message.epoch))
}

fn place_out(at: TopicPartition) -> PlaceMessage {
    PlaceMessage {
        topic: at.topic.into_bytes().to_vec(),
        partition: at.partition.get(),
    }
}

fn place_in(message: Option<PlaceMessage>) -> Result<TopicPartition, DecodeError> {
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
