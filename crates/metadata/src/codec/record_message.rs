//! The messages of records, and the way between them and what records hold.

use super::partition::PartitionMessage;
use super::{DecodeError, field, list, uuid};
use crate::{
    Broker, ClusterId, ConfigKey, DirectoryId, FeatureLevel, Incarnation, Listener, Partition, TopicConfig,
};
use prost::Message;
use quipu_record::{BrokerEpoch, BrokerId, MetadataVersion, TopicId, TopicPartition};

#[derive(Clone, PartialEq, Message)]
pub(super) struct ClusterMessage {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) cluster_id: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub(super) feature_level: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ListenerMessage {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) advertised: String,
    #[prost(string, tag = "3")]
    pub(super) protocol: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct BrokerMessage {
    #[prost(uint32, tag = "1")]
    pub(super) id: u32,
    #[prost(uint64, tag = "2")]
    pub(super) epoch: u64,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) incarnation: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) directory: Vec<u8>,
    #[prost(message, repeated, tag = "5")]
    pub(super) listeners: Vec<ListenerMessage>,
    #[prost(string, optional, tag = "6")]
    pub(super) rack: Option<String>,
    #[prost(string, tag = "7")]
    pub(super) software: String,
    #[prost(uint32, tag = "8")]
    pub(super) feature_level: u32,
    #[prost(bool, tag = "9")]
    pub(super) fenced: bool,
    #[prost(uint64, optional, tag = "10")]
    pub(super) shutting_down: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct BrokerStateMessage {
    #[prost(uint32, tag = "1")]
    pub(super) id: u32,
    #[prost(uint64, tag = "2")]
    pub(super) epoch: u64,
    #[prost(bool, tag = "3")]
    pub(super) fenced: bool,
    #[prost(uint64, optional, tag = "4")]
    pub(super) shutting_down: Option<u64>,
}

/// A config by its stable number; whole numbers as they are, booleans as 0 and 1, words by their place in the table.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ConfigMessage {
    #[prost(uint32, tag = "1")]
    pub(super) key: u32,
    #[prost(sint64, tag = "2")]
    pub(super) value: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TopicMessage {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) id: Vec<u8>,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(bool, tag = "3")]
    pub(super) internal: bool,
    #[prost(message, repeated, tag = "4")]
    pub(super) config: Vec<ConfigMessage>,
    #[prost(uint64, tag = "5")]
    pub(super) config_version: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TopicConfigMessage {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) id: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    pub(super) config: Vec<ConfigMessage>,
    #[prost(uint64, tag = "3")]
    pub(super) config_version: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TopicDeletedMessage {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) id: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PartitionRecordMessage {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) topic: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub(super) partition: u32,
    #[prost(message, optional, tag = "3")]
    pub(super) state: Option<PartitionMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ProducerIdsMessage {
    #[prost(uint64, tag = "1")]
    pub(super) next: u64,
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

pub(super) fn config_in(pairs: Vec<ConfigMessage>) -> Result<TopicConfig, DecodeError> {
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

impl ClusterMessage {
    pub(super) fn of(id: ClusterId, level: FeatureLevel) -> Self {
        Self {
            cluster_id: id.into_bytes().to_vec(),
            feature_level: level.get().into(),
        }
    }
}

impl BrokerStateMessage {
    pub(super) fn of(id: BrokerId, epoch: BrokerEpoch, fenced: bool, since: Option<MetadataVersion>) -> Self {
        let shutting_down = since.map(MetadataVersion::get);
        Self {
            id: id.get(),
            epoch: epoch.get(),
            fenced,
            shutting_down,
        }
    }
}

impl TopicMessage {
    pub(super) fn of(
        id: TopicId,
        name: &str,
        internal: bool,
        config: &TopicConfig,
        version: MetadataVersion,
    ) -> Self {
        let (id, name, config) = (id.into_bytes().to_vec(), name.to_owned(), config_out(config));
        Self {
            id,
            name,
            internal,
            config,
            config_version: version.get(),
        }
    }
}

impl TopicConfigMessage {
    pub(super) fn of(id: TopicId, config: &TopicConfig, version: MetadataVersion) -> Self {
        Self {
            id: id.into_bytes().to_vec(),
            config: config_out(config),
            config_version: version.get(),
        }
    }
}

impl PartitionRecordMessage {
    pub(super) fn of(at: TopicPartition, state: &Partition) -> Self {
        let (topic, partition) = (at.topic.into_bytes().to_vec(), at.partition.get());
        Self {
            topic,
            partition,
            state: Some(state.into()),
        }
    }
}
