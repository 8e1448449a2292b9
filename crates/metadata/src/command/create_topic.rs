//! A new topic, with its partitions placed and led from the same entry on.

use super::{Decision, Refusal};
use crate::placement::Placement;
use crate::{ConfigChange, ConfigMistake, Image, Partition, Record, ReplicaSet, TopicConfig};
use quipu_record::{
    ErrorCode, LeaderEpoch, PartitionEpoch, PartitionId, TopicId, TopicNameError, TopicPartition,
    check_topic_name,
};
use std::fmt;
use std::sync::Arc;

/// Partitions of one topic at most: they are all made by one entry of the metadata log.
pub const PARTITIONS_PER_TOPIC_MAX: u32 = 10_000;

/// The replication factor when not given, if there are as many brokers.
const REPLICATION_FACTOR_DEFAULT: usize = 3;

/// Names that begin with this are the cluster's own.
const INTERNAL_PREFIX: &str = "__";

/// Creates a topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreateTopic {
    /// Its name.
    pub name: String,
    /// The id it shall have: random, made by whoever asks, so that deciding has no randomness.
    pub topic_id: TopicId,
    /// How many partitions.
    pub partitions: u32,
    /// How many copies; `None`: three, or as many as there are brokers.
    pub replication_factor: Option<u16>,
    /// Configs by Kafka's names.
    pub configs: Vec<(String, String)>,
    /// The cluster's own.
    pub internal: bool,
}

/// The topic is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TopicCreated {
    /// Its id.
    pub topic_id: TopicId,
    /// How many partitions.
    pub partitions: u32,
    /// How many copies.
    pub replication_factor: usize,
}

/// Why a topic is not created.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateTopicError {
    /// The name is taken.
    #[error("topic {name:?} exists already, with id {topic_id}")]
    Exists {
        /// The name.
        name: String,
        /// Whose it is.
        topic_id: TopicId,
    },
    /// Something in the request is wrong; all of it is listed.
    #[error("{}", Listed(.0))]
    Invalid(Vec<TopicMistake>),
    /// No broker can hold it now.
    #[error("no broker is ready to lead a partition now: try again")]
    NoBroker,
}

/// What is wrong with a new topic.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TopicMistake {
    /// The name.
    #[error(transparent)]
    Name(#[from] TopicNameError),
    /// The name is one of the cluster's.
    #[error("topic names that begin with \"__\" are the cluster's own: choose another")]
    ReservedName,
    /// The number of partitions.
    #[error("{0} partitions: it must be between 1 and {PARTITIONS_PER_TOPIC_MAX}")]
    Partitions(u32),
    /// The replication factor.
    #[error(
        "replication factor {asked}, and there are {brokers} brokers: it must be between 1 and {brokers}"
    )]
    ReplicationFactor {
        /// What was asked.
        asked: u16,
        /// How many brokers there are.
        brokers: usize,
    },
    /// A config.
    #[error(transparent)]
    Config(#[from] ConfigMistake),
}

/// Several mistakes in one line.
pub(crate) struct Listed<'a, T>(pub(crate) &'a [T]);

impl<T: fmt::Display> fmt::Display for Listed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, mistake) in self.0.iter().enumerate() {
            write!(f, "{}{mistake}", if i == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl TopicMistake {
    const fn code(&self) -> ErrorCode {
        match self {
            Self::Name(_) | Self::ReservedName | Self::Partitions(_) => ErrorCode::InvalidTopic,
            Self::ReplicationFactor { .. } => ErrorCode::InvalidReplicationFactor,
            Self::Config(_) => ErrorCode::InvalidConfig,
        }
    }
}

impl Refusal for CreateTopicError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Exists { .. } => ErrorCode::TopicAlreadyExists,
            Self::Invalid(mistakes) => mistakes
                .first()
                .map_or(ErrorCode::InvalidTopic, TopicMistake::code),
            Self::NoBroker => ErrorCode::NotReady,
        }
    }
}

impl CreateTopic {
    pub(crate) fn decide(&self, image: &Image) -> Decision<Self> {
        if let Some(topic) = image.topic_named(&self.name) {
            let exists = CreateTopicError::Exists {
                name: self.name.clone(),
                topic_id: topic.id,
            };
            return Decision::refused(exists);
        }
        let placement = Placement::of(image);
        let (config, factor) = match self.check(image, &placement) {
            Ok(checked) => checked,
            Err(mistakes) => return Decision::refused(CreateTopicError::Invalid(mistakes)),
        };
        if placement.active() == 0 || image.topic(self.topic_id).is_some() {
            return Decision::refused(CreateTopicError::NoBroker);
        }
        let made = TopicCreated {
            topic_id: self.topic_id,
            partitions: self.partitions,
            replication_factor: factor,
        };
        let records = new_topic(image, &placement, &self.name, self.internal, config, made);
        Decision::done(records, made)
    }

    fn check(&self, image: &Image, placement: &Placement) -> Result<(TopicConfig, usize), Vec<TopicMistake>> {
        let mut mistakes = Vec::new();
        if let Err(mistake) = check_topic_name(&self.name) {
            mistakes.push(TopicMistake::Name(mistake));
        } else if self.name.starts_with(INTERNAL_PREFIX) && !self.internal {
            mistakes.push(TopicMistake::ReservedName);
        }
        if !(1..=PARTITIONS_PER_TOPIC_MAX).contains(&self.partitions) {
            mistakes.push(TopicMistake::Partitions(self.partitions));
        }
        let brokers = placement.room();
        let factor = match self.replication_factor {
            None => REPLICATION_FACTOR_DEFAULT.min(brokers),
            Some(asked) => {
                if asked == 0 || usize::from(asked) > brokers {
                    mistakes.push(TopicMistake::ReplicationFactor { asked, brokers });
                }
                usize::from(asked)
            }
        };
        let change = ConfigChange {
            set: self.configs.clone(),
            unset: Vec::new(),
        };
        match change.apply(None, factor, image.feature_level()) {
            Ok(config) if mistakes.is_empty() => Ok((config, factor)),
            Ok(_) => Err(mistakes),
            Err(config) => {
                mistakes.extend(config.into_iter().map(TopicMistake::Config));
                Err(mistakes)
            }
        }
    }
}

/// A topic and its partitions.
pub(super) fn new_topic(
    image: &Image,
    placement: &Placement,
    name: &str,
    internal: bool,
    config: TopicConfig,
    made: TopicCreated,
) -> Vec<Record> {
    let min_insync = config.min_insync_replicas();
    let topic = made.topic_id;
    let head = Record::Topic {
        id: topic,
        name: Arc::from(name),
        internal,
        config,
        config_version: image.version(),
    };
    let partition = |index| {
        let replicas = placement.replicas(topic, index, made.replication_factor);
        Record::Partition {
            at: TopicPartition {
                topic,
                partition: PartitionId::new(index),
            },
            state: new_partition(image, replicas, min_insync),
        }
    };
    std::iter::once(head)
        .chain((0..made.partitions).map(partition))
        .collect()
}

/// A partition that begins its life: all its active replicas are in sync, as there is nothing to copy yet.
pub(super) fn new_partition(image: &Image, replicas: ReplicaSet, min_insync: u8) -> Partition {
    use crate::partition_change::Standing as _;
    let isr: ReplicaSet = replicas.iter().filter(|b| image.is_active(*b)).collect();
    Partition {
        leader: isr.as_slice().first().copied(),
        replicas,
        isr,
        elr: ReplicaSet::EMPTY,
        leader_epoch: LeaderEpoch::FIRST,
        partition_epoch: PartitionEpoch::FIRST,
        min_insync,
        rare: None,
    }
}
