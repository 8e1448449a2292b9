//! Records as bytes. The types' numbers are never reused.

use super::partition::PartitionMessage;
use super::{DecodeError, RECORD_BYTES_MAX, body, field, list, open, seal, uuid};
use crate::{
    Broker, ClusterId, ConfigKey, DirectoryId, FeatureLevel, Incarnation, Listener, Partition, Record,
    TopicConfig,
};
use prost::Message;
use quipu_record::{
    BrokerEpoch, BrokerId, MetadataVersion, PartitionId, ProducerId, TopicId, TopicPartition,
};
use std::sync::Arc;

const CLUSTER: u32 = 1;
const BROKER: u32 = 2;
const BROKER_STATE: u32 = 3;
const TOPIC: u32 = 4;
const TOPIC_CONFIG: u32 = 5;
const TOPIC_DELETED: u32 = 6;
const PARTITION: u32 = 7;
const PRODUCER_IDS: u32 = 8;

#[derive(Clone, PartialEq, Message)]
struct ClusterMessage {
    #[prost(bytes = "vec", tag = "1")]
    cluster_id: Vec<u8>,
    #[prost(uint32, tag = "2")]
    feature_level: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ListenerMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    advertised: String,
    #[prost(string, tag = "3")]
    protocol: String,
}

#[derive(Clone, PartialEq, Message)]
struct BrokerMessage {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(uint64, tag = "2")]
    epoch: u64,
    #[prost(bytes = "vec", tag = "3")]
    incarnation: Vec<u8>,
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
    #[prost(bool, tag = "9")]
    fenced: bool,
    #[prost(uint64, optional, tag = "10")]
    shutting_down: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct BrokerStateMessage {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(uint64, tag = "2")]
    epoch: u64,
    #[prost(bool, tag = "3")]
    fenced: bool,
    #[prost(uint64, optional, tag = "4")]
    shutting_down: Option<u64>,
}

/// A config by its stable number; whole numbers as they are, booleans as 0 and 1, words by their place in the table.
#[derive(Clone, PartialEq, Message)]
struct ConfigMessage {
    #[prost(uint32, tag = "1")]
    key: u32,
    #[prost(sint64, tag = "2")]
    value: i64,
}

#[derive(Clone, PartialEq, Message)]
struct TopicMessage {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(bool, tag = "3")]
    internal: bool,
    #[prost(message, repeated, tag = "4")]
    config: Vec<ConfigMessage>,
    #[prost(uint64, tag = "5")]
    config_version: u64,
}

#[derive(Clone, PartialEq, Message)]
struct TopicConfigMessage {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    config: Vec<ConfigMessage>,
    #[prost(uint64, tag = "3")]
    config_version: u64,
}

#[derive(Clone, PartialEq, Message)]
struct TopicDeletedMessage {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct PartitionRecordMessage {
    #[prost(bytes = "vec", tag = "1")]
    topic: Vec<u8>,
    #[prost(uint32, tag = "2")]
    partition: u32,
    #[prost(message, optional, tag = "3")]
    state: Option<PartitionMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct ProducerIdsMessage {
    #[prost(uint64, tag = "1")]
    next: u64,
}

impl Record {
    /// As stored.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Cluster {
                cluster_id,
                feature_level,
            } => {
                let cluster_id = cluster_id.into_bytes().to_vec();
                seal(
                    CLUSTER,
                    1,
                    &ClusterMessage {
                        cluster_id,
                        feature_level: feature_level.get().into(),
                    },
                )
            }
            Self::Broker(broker) => seal(BROKER, 1, &BrokerMessage::from(&**broker)),
            Self::BrokerState {
                id,
                epoch,
                fenced,
                shutting_down,
            } => {
                let shutting_down = shutting_down.map(MetadataVersion::get);
                let (id, epoch, fenced) = (id.get(), epoch.get(), *fenced);
                seal(
                    BROKER_STATE,
                    1,
                    &BrokerStateMessage {
                        id,
                        epoch,
                        fenced,
                        shutting_down,
                    },
                )
            }
            Self::Topic {
                id,
                name,
                internal,
                config,
                config_version,
            } => {
                let message = TopicMessage {
                    id: id.into_bytes().to_vec(),
                    name: name.to_string(),
                    internal: *internal,
                    config: config_out(config),
                    config_version: config_version.get(),
                };
                seal(TOPIC, 1, &message)
            }
            Self::TopicConfig {
                id,
                config,
                config_version,
            } => {
                let (id, config) = (id.into_bytes().to_vec(), config_out(config));
                seal(
                    TOPIC_CONFIG,
                    1,
                    &TopicConfigMessage {
                        id,
                        config,
                        config_version: config_version.get(),
                    },
                )
            }
            Self::TopicDeleted { id } => seal(
                TOPIC_DELETED,
                1,
                &TopicDeletedMessage {
                    id: id.into_bytes().to_vec(),
                },
            ),
            Self::Partition { at, state } => {
                let message = PartitionRecordMessage {
                    topic: at.topic.into_bytes().to_vec(),
                    partition: at.partition.get(),
                    state: Some(state.into()),
                };
                seal(PARTITION, 1, &message)
            }
            Self::ProducerIds { next } => seal(PRODUCER_IDS, 1, &ProducerIdsMessage { next: next.get() }),
        }
    }

    /// From what [`Record::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`]: stop, never skip.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let envelope = open(bytes, RECORD_BYTES_MAX)?;
        let (kind, version, bytes) = (envelope.kind, envelope.version, &envelope.body[..]);
        match (kind, version) {
            (CLUSTER, 1) => {
                let message: ClusterMessage = body(bytes)?;
                Ok(Self::Cluster {
                    cluster_id: ClusterId::from_bytes(uuid("cluster_id", &message.cluster_id)?),
                    feature_level: level(message.feature_level)?,
                })
            }
            (BROKER, 1) => Ok(Self::Broker(Box::new(body::<BrokerMessage>(bytes)?.try_into()?))),
            (BROKER_STATE, 1) => {
                let message: BrokerStateMessage = body(bytes)?;
                Ok(Self::BrokerState {
                    id: BrokerId::new(message.id),
                    epoch: BrokerEpoch::new(message.epoch),
                    fenced: message.fenced,
                    shutting_down: message.shutting_down.map(MetadataVersion::new),
                })
            }
            (TOPIC, 1) => topic_in(body(bytes)?),
            (TOPIC_CONFIG, 1) => {
                let message: TopicConfigMessage = body(bytes)?;
                Ok(Self::TopicConfig {
                    id: TopicId::from_bytes(uuid("id", &message.id)?),
                    config: config_in(message.config)?,
                    config_version: MetadataVersion::new(message.config_version),
                })
            }
            (TOPIC_DELETED, 1) => {
                let message: TopicDeletedMessage = body(bytes)?;
                Ok(Self::TopicDeleted {
                    id: TopicId::from_bytes(uuid("id", &message.id)?),
                })
            }
            (PARTITION, 1) => {
                let message: PartitionRecordMessage = body(bytes)?;
                let topic = TopicId::from_bytes(uuid("topic", &message.topic)?);
                let at = TopicPartition {
                    topic,
                    partition: PartitionId::new(message.partition),
                };
                Ok(Self::Partition {
                    at,
                    state: Partition::try_from(field("state", message.state)?)?,
                })
            }
            (PRODUCER_IDS, 1) => Ok(Self::ProducerIds {
                next: ProducerId::new(body::<ProducerIdsMessage>(bytes)?.next),
            }),
            _ => Err(DecodeError::Unknown {
                what: "record",
                kind,
                version,
            }),
        }
    }
}

fn topic_in(message: TopicMessage) -> Result<Record, DecodeError> {
    Ok(Record::Topic {
        id: TopicId::from_bytes(uuid("id", &message.id)?),
        name: Arc::from(message.name),
        internal: message.internal,
        config: config_in(message.config)?,
        config_version: MetadataVersion::new(message.config_version),
    })
}

pub(super) fn level(level: u32) -> Result<FeatureLevel, DecodeError> {
    Ok(FeatureLevel::new(field(
        "feature_level",
        u16::try_from(level).ok(),
    )?))
}

fn config_out(config: &TopicConfig) -> Vec<ConfigMessage> {
    let message = |(key, value): &(ConfigKey, i64)| ConfigMessage {
        key: key.number().into(),
        value: *value,
    };
    config.raw().iter().map(message).collect()
}

fn config_in(pairs: Vec<ConfigMessage>) -> Result<TopicConfig, DecodeError> {
    let pair = |message: ConfigMessage| {
        let key = u16::try_from(message.key).ok().and_then(ConfigKey::from_number);
        Ok((field("config", key)?, message.value))
    };
    Ok(TopicConfig::from_raw(list("config", pairs, pair)?))
}

pub(super) fn listeners_out(listeners: &[Listener]) -> Vec<ListenerMessage> {
    let message = |listener: &Listener| ListenerMessage {
        name: listener.name.clone(),
        advertised: listener.advertised.clone(),
        protocol: listener.protocol.clone(),
    };
    listeners.iter().map(message).collect()
}

pub(super) fn listeners_in(listeners: Vec<ListenerMessage>) -> Result<Vec<Listener>, DecodeError> {
    list("listeners", listeners, |m| {
        Ok(Listener {
            name: m.name,
            advertised: m.advertised,
            protocol: m.protocol,
        })
    })
}

impl From<&Broker> for BrokerMessage {
    fn from(broker: &Broker) -> Self {
        Self {
            id: broker.id.get(),
            epoch: broker.epoch.get(),
            incarnation: broker.incarnation.into_bytes().to_vec(),
            directory: broker.directory.into_bytes().to_vec(),
            listeners: listeners_out(&broker.listeners),
            rack: broker.rack.clone(),
            software: broker.version.clone(),
            feature_level: broker.feature_level.get().into(),
            fenced: broker.fenced,
            shutting_down: broker.shutting_down.map(MetadataVersion::get),
        }
    }
}

impl TryFrom<BrokerMessage> for Broker {
    type Error = DecodeError;

    fn try_from(message: BrokerMessage) -> Result<Self, DecodeError> {
        Ok(Self {
            id: BrokerId::new(message.id),
            epoch: BrokerEpoch::new(message.epoch),
            incarnation: Incarnation::from_bytes(uuid("incarnation", &message.incarnation)?),
            directory: DirectoryId::from_bytes(uuid("directory", &message.directory)?),
            listeners: listeners_in(message.listeners)?,
            rack: message.rack,
            version: message.software,
            feature_level: level(message.feature_level)?,
            fenced: message.fenced,
            shutting_down: message.shutting_down.map(MetadataVersion::new),
        })
    }
}
