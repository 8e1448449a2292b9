//! Records as bytes. The types' numbers are never reused.

use super::record_message::{
    BrokerMessage, BrokerStateMessage, ClusterMessage, PartitionRecordMessage, ProducerIdsMessage,
    TopicConfigMessage, TopicDeletedMessage, TopicMessage, config_in, level,
};
use super::{DecodeError, RECORD_BYTES_MAX, body, field, open, seal, uuid};
use crate::{ClusterId, Partition, Record};
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

impl Record {
    /// As stored.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Cluster {
                cluster_id,
                feature_level,
            } => seal(CLUSTER, 1, &ClusterMessage::of(*cluster_id, *feature_level)),
            Self::Broker(broker) => seal(BROKER, 1, &BrokerMessage::from(&**broker)),
            Self::BrokerState {
                id,
                epoch,
                fenced,
                shutting_down,
            } => {
                let message = BrokerStateMessage::of(*id, *epoch, *fenced, *shutting_down);
                seal(BROKER_STATE, 1, &message)
            }
            Self::Topic {
                id,
                name,
                internal,
                config,
                config_version,
            } => seal(
                TOPIC,
                1,
                &TopicMessage::of(*id, name, *internal, config, *config_version),
            ),
            Self::TopicConfig {
                id,
                config,
                config_version,
            } => seal(
                TOPIC_CONFIG,
                1,
                &TopicConfigMessage::of(*id, config, *config_version),
            ),
            Self::TopicDeleted { id } => {
                let id = id.into_bytes().to_vec();
                seal(TOPIC_DELETED, 1, &TopicDeletedMessage { id })
            }
            Self::Partition { at, state } => seal(PARTITION, 1, &PartitionRecordMessage::of(*at, state)),
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
            (CLUSTER, 1) => body::<ClusterMessage>(bytes)?.try_into(),
            (BROKER, 1) => Ok(Self::Broker(Box::new(body::<BrokerMessage>(bytes)?.try_into()?))),
            (BROKER_STATE, 1) => Ok(body::<BrokerStateMessage>(bytes)?.into()),
            (TOPIC, 1) => body::<TopicMessage>(bytes)?.try_into(),
            (TOPIC_CONFIG, 1) => body::<TopicConfigMessage>(bytes)?.try_into(),
            (TOPIC_DELETED, 1) => body::<TopicDeletedMessage>(bytes)?.try_into(),
            (PARTITION, 1) => body::<PartitionRecordMessage>(bytes)?.try_into(),
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

impl TryFrom<ClusterMessage> for Record {
    type Error = DecodeError;

    fn try_from(message: ClusterMessage) -> Result<Self, DecodeError> {
        let cluster_id = ClusterId::from_bytes(uuid("cluster_id", &message.cluster_id)?);
        Ok(Self::Cluster {
            cluster_id,
            feature_level: level(message.feature_level)?,
        })
    }
}

impl From<BrokerStateMessage> for Record {
    fn from(message: BrokerStateMessage) -> Self {
        Self::BrokerState {
            id: BrokerId::new(message.id),
            epoch: BrokerEpoch::new(message.epoch),
            fenced: message.fenced,
            shutting_down: message.shutting_down.map(MetadataVersion::new),
        }
    }
}

impl TryFrom<TopicMessage> for Record {
    type Error = DecodeError;

    fn try_from(message: TopicMessage) -> Result<Self, DecodeError> {
        Ok(Self::Topic {
            id: TopicId::from_bytes(uuid("id", &message.id)?),
            name: Arc::from(message.name),
            internal: message.internal,
            config: config_in(message.config)?,
            config_version: MetadataVersion::new(message.config_version),
        })
    }
}

impl TryFrom<TopicConfigMessage> for Record {
    type Error = DecodeError;

    fn try_from(message: TopicConfigMessage) -> Result<Self, DecodeError> {
        Ok(Self::TopicConfig {
            id: TopicId::from_bytes(uuid("id", &message.id)?),
            config: config_in(message.config)?,
            config_version: MetadataVersion::new(message.config_version),
        })
    }
}

impl TryFrom<TopicDeletedMessage> for Record {
    type Error = DecodeError;

    fn try_from(message: TopicDeletedMessage) -> Result<Self, DecodeError> {
        Ok(Self::TopicDeleted {
            id: TopicId::from_bytes(uuid("id", &message.id)?),
        })
    }
}

impl TryFrom<PartitionRecordMessage> for Record {
    type Error = DecodeError;

    fn try_from(message: PartitionRecordMessage) -> Result<Self, DecodeError> {
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
}
