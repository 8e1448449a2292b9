//! An internal topic gets replicas on brokers that came later, up to three, and then the majority of them as its minimum.
//!
//! First a partition's new replicas are added: they are replicas like others, and told apart only so that the end can be
//! seen. They copy, and come in sync. Once all are, one entry makes them what the partition was made with: the minimum
//! rises with them, never before.

use super::ensure_offsets_topic::INTERNAL_REPLICAS;
use super::{Decision, Refusal};
use crate::partition_change::PartitionChange;
use crate::placement::Placement;
use crate::topic_config::majority;
use crate::{ConfigKey, Image, Partition, Record, ReplicaSet, Topic};
use quipu_record::{ErrorCode, PartitionId, TopicId, TopicPartition};

/// Takes every step of a topic's growth that can be taken now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GrowTopic {
    /// Which topic: an internal one.
    pub topic_id: TopicId,
}

/// Steps were taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TopicGrown {
    /// Partitions that were given replicas, which have yet to catch up.
    pub begun: usize,
    /// Partitions whose new replicas have.
    pub completed: usize,
}

/// Why no step is taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GrowTopicError {
    /// The topic is not there.
    #[error("there is no topic with id {0}: it was deleted, or belongs to another cluster")]
    Unknown(TopicId),
    /// Its replicas are its owner's business.
    #[error("topic {0:?} is not internal to the cluster: it does not grow by itself")]
    NotInternal(String),
}

impl Refusal for GrowTopicError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Unknown(_) => ErrorCode::UnknownTopicId,
            Self::NotInternal(_) => ErrorCode::InvalidRequest,
        }
    }
}

impl GrowTopic {
    pub(crate) fn decide(&self, image: &Image) -> Decision<Self> {
        let Some(topic) = image.topic(self.topic_id) else {
            return Decision::refused(GrowTopicError::Unknown(self.topic_id));
        };
        if !topic.internal {
            return Decision::refused(GrowTopicError::NotInternal(topic.name.to_string()));
        }
        let steps = Steps::of(image, topic);
        let grown = TopicGrown {
            begun: steps.begun,
            completed: steps.completed,
        };
        Decision::done(steps.records, grown)
    }
}

/// The steps of a topic's growth that can be taken now.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    records: Vec<Record>,
    begun: usize,
    completed: usize,
}

impl Steps {
    pub(crate) fn of(image: &Image, topic: &Topic) -> Self {
        let mut steps = Self::default();
        let placement = Placement::of(image);
        if placement.active() == 0 {
            return steps;
        }
        // Replicas of each partition afterwards; `None`: some are still being added.
        let mut whole: Option<Vec<usize>> = Some(Vec::new());
        for (partition, state) in topic.partitions.iter() {
            let next = match state.adding().is_empty() {
                true => begun(image, &placement, topic.id, partition, state).inspect(|_| steps.begun += 1),
                false => {
                    completed(image, &placement, topic.id, partition, state).inspect(|_| steps.completed += 1)
                }
            };
            let after = next.as_ref().unwrap_or(state);
            match &mut whole {
                Some(counts) if after.adding().is_empty() => counts.push(after.replicas.len()),
                _ => whole = None,
            }
            steps.records.extend(next.map(|state| Record::Partition {
                at: TopicPartition {
                    topic: topic.id,
                    partition,
                },
                state,
            }));
        }
        // What the topic says of itself follows once it holds of every partition.
        let fewest = whole.and_then(|counts| counts.into_iter().min());
        let min_insync = fewest.map(majority).filter(|_| steps.completed > 0);
        if let Some(min_insync) = min_insync {
            steps.records.push(Record::TopicConfig {
                id: topic.id,
                config: topic.config.with(ConfigKey::MinInsyncReplicas, min_insync),
                config_version: image.version(),
            });
        }
        steps
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

/// The partition with replicas on brokers that it has none on, if it has too few.
fn begun(
    image: &Image,
    placement: &Placement,
    topic: TopicId,
    partition: PartitionId,
    state: &Partition,
) -> Option<Partition> {
    let missing = INTERNAL_REPLICAS.saturating_sub(state.replicas.len());
    let order = placement.replicas(topic, partition.get(), placement.room());
    let rack = |id| image.broker(id).map(|broker| broker.rack.clone());
    let mut adding: Vec<_> = Vec::new();
    // First those in racks not yet used, then anybody.
    for fresh_racks in [true, false] {
        for id in order
            .iter()
            .filter(|id| image.broker(*id).is_some_and(|b| b.is_active()))
        {
            let holders: Vec<_> = state.replicas.iter().chain(adding.iter().copied()).collect();
            let taken = holders.contains(&id);
            let rack_taken = holders.iter().any(|holder| rack(*holder) == rack(id));
            if adding.len() < missing && !taken && !(fresh_racks && rack_taken) {
                adding.push(id);
            }
        }
    }
    if adding.is_empty() {
        return None;
    }
    let replicas = state.replicas.iter().chain(adding.iter().copied()).collect();
    let change = PartitionChange::new(state, image);
    change.replicas(replicas, adding.into_iter().collect()).build()
}

/// The partition without any mark of its growth, once all that were added are in sync. Leaders are to be spread as if it
/// had been made like this.
fn completed(
    image: &Image,
    placement: &Placement,
    topic: TopicId,
    partition: PartitionId,
    state: &Partition,
) -> Option<Partition> {
    if !state.adding().iter().all(|id| state.isr.contains(*id)) {
        return None;
    }
    let order = placement.replicas(topic, partition.get(), placement.room());
    let mine = order.iter().filter(|id| state.replicas.contains(*id));
    let replicas: ReplicaSet = mine.chain(state.replicas.iter()).collect();
    let min_insync = u8::try_from(majority(replicas.len())).unwrap_or(u8::MAX);
    PartitionChange::new(state, image)
        .replicas(replicas, ReplicaSet::EMPTY)
        .min_insync(min_insync)
        .build()
}
