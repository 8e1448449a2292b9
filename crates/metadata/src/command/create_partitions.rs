//! A topic gets more partitions; those it has stay as they are.

use super::create_topic::{PARTITIONS_PER_TOPIC_MAX, new_partition};
use super::{Decision, Refusal};
use crate::placement::Placement;
use crate::{Image, Record};
use quipu_record::{ErrorCode, PartitionId, TopicId, TopicPartition};

/// Adds partitions to a topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CreatePartitions {
    /// Which topic.
    pub topic_id: TopicId,
    /// How many partitions there shall be.
    pub total: u32,
}

/// The partitions are there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartitionsCreated {
    /// How many there are now.
    pub total: u32,
}

/// Why partitions are not added.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreatePartitionsError {
    /// The topic is not there.
    #[error("there is no topic with id {0}: it was deleted, or belongs to another cluster")]
    Unknown(TopicId),
    /// The cluster looks after this one.
    #[error("topic {0:?} is internal to the cluster: its partitions are fixed")]
    Internal(String),
    /// Partitions are never taken away.
    #[error("topic {name:?} has {now} partitions, and {asked} are asked for: their number can only grow")]
    NotMore {
        /// The topic.
        name: String,
        /// How many it has.
        now: usize,
        /// What was asked.
        asked: u32,
    },
    /// Too many.
    #[error("{0} partitions: a topic has at most {PARTITIONS_PER_TOPIC_MAX}")]
    TooMany(u32),
    /// No broker can hold them now.
    #[error(
        "{needed} brokers are needed, {registered} are registered and {ready} are ready to lead: try again later"
    )]
    NoBrokers {
        /// The replication factor of the topic.
        needed: usize,
        /// How many brokers there are.
        registered: usize,
        /// How many may lead.
        ready: usize,
    },
}

impl Refusal for CreatePartitionsError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Unknown(_) => ErrorCode::UnknownTopicId,
            Self::Internal(_) => ErrorCode::InternalTopic,
            Self::NotMore { .. } | Self::TooMany(_) => ErrorCode::InvalidTopic,
            Self::NoBrokers { .. } => ErrorCode::NotReady,
        }
    }
}

impl CreatePartitions {
    pub(crate) fn decide(&self, image: &Image) -> Decision<Self> {
        match self.records(image) {
            Ok(records) => Decision::done(records, PartitionsCreated { total: self.total }),
            Err(refusal) => Decision::refused(refusal),
        }
    }

    fn records(&self, image: &Image) -> Result<Vec<Record>, CreatePartitionsError> {
        let topic = image
            .topic(self.topic_id)
            .ok_or(CreatePartitionsError::Unknown(self.topic_id))?;
        let name = || topic.name.to_string();
        if topic.internal {
            return Err(CreatePartitionsError::Internal(name()));
        }
        let now = topic.partitions.len();
        let first = u32::try_from(now).unwrap_or(u32::MAX);
        if self.total <= first {
            return Err(CreatePartitionsError::NotMore {
                name: name(),
                now,
                asked: self.total,
            });
        }
        if self.total > PARTITIONS_PER_TOPIC_MAX {
            return Err(CreatePartitionsError::TooMany(self.total));
        }
        let needed = topic
            .partitions
            .iter()
            .next()
            .map_or(1, |(_, p)| p.replicas.len());
        let placement = Placement::of(image);
        let (registered, ready) = (placement.room(), placement.active());
        if registered < needed || ready == 0 {
            return Err(CreatePartitionsError::NoBrokers {
                needed,
                registered,
                ready,
            });
        }
        let min_insync = topic.config.min_insync_replicas();
        let record = |index| Record::Partition {
            at: TopicPartition {
                topic: topic.id,
                partition: PartitionId::new(index),
            },
            state: new_partition(image, placement.replicas(topic.id, index, needed), min_insync),
        };
        Ok((first..self.total).map(record).collect())
    }
}
