//! The topic that groups keep their state in: made at the first request of a group, by whoever gets it.

use super::create_topic::{TopicCreated, new_topic};
use super::{Decision, Refusal};
use crate::Image;
use crate::placement::Placement;
use crate::topic_config::offsets_config;
use quipu_record::{ErrorCode, TopicId};

/// The name of the topic that groups keep their state in.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Its partitions: a group's is found by its name's hash, so their number never changes.
pub const OFFSETS_PARTITIONS: u32 = 16;

/// Its replicas, as soon as there are as many brokers.
pub(super) const INTERNAL_REPLICAS: usize = 3;

/// Makes the offsets topic if it is not there. As often as anybody likes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EnsureOffsetsTopic {
    /// The id it shall have if it is made: random, made by whoever asks.
    pub topic_id: TopicId,
}

/// Why it is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnsureOffsetsTopicError {
    /// No broker can hold it now.
    #[error("no broker is ready to lead a partition of {OFFSETS_TOPIC} now: try again")]
    NoBroker,
}

impl Refusal for EnsureOffsetsTopicError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NoBroker => ErrorCode::NotReady,
        }
    }
}

impl EnsureOffsetsTopic {
    pub(crate) fn decide(&self, image: &Image) -> Decision<Self> {
        if let Some(topic) = image.topic_named(OFFSETS_TOPIC) {
            let first = topic.partitions.iter().next();
            let there = TopicCreated {
                topic_id: topic.id,
                partitions: u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX),
                replication_factor: first.map_or(0, |(_, p)| p.replication_factor()),
            };
            return Decision::done(Vec::new(), there);
        }
        let placement = Placement::of(image);
        let factor = INTERNAL_REPLICAS.min(placement.active());
        if factor == 0 || image.topic(self.topic_id).is_some() {
            return Decision::refused(EnsureOffsetsTopicError::NoBroker);
        }
        let made = TopicCreated {
            topic_id: self.topic_id,
            partitions: OFFSETS_PARTITIONS,
            replication_factor: factor,
        };
        let config = offsets_config(factor);
        Decision::done(
            new_topic(image, &placement, OFFSETS_TOPIC, true, config, made),
            made,
        )
    }
}
