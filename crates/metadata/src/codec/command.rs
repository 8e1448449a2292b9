//! Commands as bytes. The types' numbers are never reused.

use super::command_message::{
    AlterPartitionsMessage, CreatePartitionsMessage, CreateTopicMessage, DeleteTopicMessage,
    EnsureOffsetsTopicMessage, FenceBrokersMessage, GrowTopicMessage, InitClusterMessage, LifetimeMessage,
    RegisterBrokerMessage, UpdateTopicConfigMessage,
};
use super::election_message::{ElectLeadersMessage, OfflineReplicasMessage};
use super::{COMMAND_BYTES_MAX, DecodeError, body, open, seal};
use crate::Command;

pub(super) const INIT_CLUSTER: u32 = 1;
pub(super) const REGISTER_BROKER: u32 = 2;
pub(super) const UNFENCE_BROKER: u32 = 3;
pub(super) const FENCE_BROKERS: u32 = 4;
pub(super) const BEGIN_SHUTDOWN: u32 = 5;
pub(super) const CREATE_TOPIC: u32 = 6;
pub(super) const DELETE_TOPIC: u32 = 7;
pub(super) const UPDATE_TOPIC_CONFIG: u32 = 8;
pub(super) const CREATE_PARTITIONS: u32 = 9;
pub(super) const ALTER_PARTITIONS: u32 = 10;
pub(super) const ALLOC_PRODUCER_IDS: u32 = 11;
pub(super) const ELECT_LEADERS: u32 = 12;
pub(super) const OFFLINE_REPLICAS: u32 = 13;
pub(super) const ENSURE_OFFSETS_TOPIC: u32 = 14;
pub(super) const GROW_TOPIC: u32 = 15;

impl Command {
    /// As stored.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::InitCluster(c) => seal(INIT_CLUSTER, 1, &InitClusterMessage::from(c)),
            Self::RegisterBroker(c) => seal(REGISTER_BROKER, 1, &RegisterBrokerMessage::from(c)),
            Self::UnfenceBroker(c) => seal(UNFENCE_BROKER, 1, &LifetimeMessage::from(c)),
            Self::FenceBrokers(c) => seal(FENCE_BROKERS, 1, &FenceBrokersMessage::from(c)),
            Self::BeginShutdown(c) => seal(BEGIN_SHUTDOWN, 1, &LifetimeMessage::from(c)),
            Self::CreateTopic(c) => seal(CREATE_TOPIC, 1, &CreateTopicMessage::from(c)),
            Self::DeleteTopic(c) => seal(DELETE_TOPIC, 1, &DeleteTopicMessage::from(c)),
            Self::UpdateTopicConfig(c) => seal(UPDATE_TOPIC_CONFIG, 1, &UpdateTopicConfigMessage::from(c)),
            Self::CreatePartitions(c) => seal(CREATE_PARTITIONS, 1, &CreatePartitionsMessage::from(c)),
            Self::AlterPartitions(c) => seal(ALTER_PARTITIONS, 1, &AlterPartitionsMessage::from(c)),
            Self::AllocProducerIds(c) => seal(ALLOC_PRODUCER_IDS, 1, &LifetimeMessage::from(c)),
            Self::ElectLeaders(c) => seal(ELECT_LEADERS, 1, &ElectLeadersMessage::from(c)),
            Self::OfflineReplicas(c) => seal(OFFLINE_REPLICAS, 1, &OfflineReplicasMessage::from(c)),
            Self::GrowTopic(c) => seal(GROW_TOPIC, 1, &GrowTopicMessage::from(c)),
            Self::EnsureOffsetsTopic(c) => seal(ENSURE_OFFSETS_TOPIC, 1, &EnsureOffsetsTopicMessage::from(c)),
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
            (INIT_CLUSTER, 1) => Self::InitCluster(body::<InitClusterMessage>(bytes)?.try_into()?),
            (REGISTER_BROKER, 1) => Self::RegisterBroker(body::<RegisterBrokerMessage>(bytes)?.try_into()?),
            (UNFENCE_BROKER, 1) => Self::UnfenceBroker(body::<LifetimeMessage>(bytes)?.into()),
            (FENCE_BROKERS, 1) => Self::FenceBrokers(body::<FenceBrokersMessage>(bytes)?.try_into()?),
            (BEGIN_SHUTDOWN, 1) => Self::BeginShutdown(body::<LifetimeMessage>(bytes)?.into()),
            (CREATE_TOPIC, 1) => Self::CreateTopic(body::<CreateTopicMessage>(bytes)?.try_into()?),
            (DELETE_TOPIC, 1) => Self::DeleteTopic(body::<DeleteTopicMessage>(bytes)?.try_into()?),
            (UPDATE_TOPIC_CONFIG, 1) => {
                Self::UpdateTopicConfig(body::<UpdateTopicConfigMessage>(bytes)?.try_into()?)
            }
            (CREATE_PARTITIONS, 1) => {
                Self::CreatePartitions(body::<CreatePartitionsMessage>(bytes)?.try_into()?)
            }
            (ALTER_PARTITIONS, 1) => {
                Self::AlterPartitions(body::<AlterPartitionsMessage>(bytes)?.try_into()?)
            }
            (ALLOC_PRODUCER_IDS, 1) => Self::AllocProducerIds(body::<LifetimeMessage>(bytes)?.into()),
            (ELECT_LEADERS, 1) => Self::ElectLeaders(body::<ElectLeadersMessage>(bytes)?.try_into()?),
            (OFFLINE_REPLICAS, 1) => {
                Self::OfflineReplicas(body::<OfflineReplicasMessage>(bytes)?.try_into()?)
            }
            (GROW_TOPIC, 1) => Self::GrowTopic(body::<GrowTopicMessage>(bytes)?.try_into()?),
            (ENSURE_OFFSETS_TOPIC, 1) => {
                Self::EnsureOffsetsTopic(body::<EnsureOffsetsTopicMessage>(bytes)?.try_into()?)
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
