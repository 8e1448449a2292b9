//! An internal topic gets replicas on brokers that came later, up to three, and then the majority of them as its minimum.
//!
//! First a partition's new replicas are added: they are replicas like others, and told apart only so that the end can be
//! seen. They copy, and come in sync. Once all are, one entry makes them what the partition was made with: the minimum
//! rises with them, never before.
//!
//! One whose broker is lost for good would be waited for without end: it is taken away again, and another one gets its
//! place where there is one. Only an added replica goes, that is neither in sync nor eligible, and only while the partition
//! has a leader: so nothing that was committed rests on it.

use super::ensure_offsets_topic::INTERNAL_REPLICAS;
use super::{Decision, Refusal};
use crate::partition_change::PartitionChange;
use crate::placement::Placement;
use crate::topic_config::majority;
use crate::{ConfigKey, Image, Partition, Record, ReplicaSet, Topic};
use quipu_record::{BrokerId, ErrorCode, PartitionId, TopicId, TopicPartition};

/// Takes every step of a topic's growth that can be taken now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GrowTopic {
    /// Which topic: an internal one.
    pub topic_id: TopicId,
    /// Brokers that have been away for so long that their replicas, where they are being added, are waited for no more.
    /// One that is back meanwhile keeps them.
    pub gone: Vec<BrokerId>,
}

/// Steps were taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TopicGrown {
    /// Partitions that were given replicas, which have yet to catch up, or that lost some of those, or both.
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
        let steps = Steps::of(image, topic, &self.gone);
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
    pub(crate) fn of(image: &Image, topic: &Topic, gone: &[BrokerId]) -> Self {
        let mut steps = Self::default();
        let placement = Placement::of(image);
        if placement.active() == 0 {
            return steps;
        }
        // Replicas of each partition afterwards; `None`: some are still being added.
        let mut whole: Option<Vec<usize>> = Some(Vec::new());
        let mut growing = false;
        for (partition, state) in topic.partitions.iter() {
            growing |= !state.adding().is_empty();
            let lost = lost(image, state, gone);
            let next = if state.adding().is_empty() || !lost.is_empty() {
                begun(image, &placement, topic.id, partition, (state, &lost)).inspect(|_| steps.begun += 1)
            } else {
                completed(image, &placement, topic.id, partition, state).inspect(|_| steps.completed += 1)
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
        let min_insync = fewest.map(majority).filter(|_| growing);
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

/// The replicas being added that nobody need wait for: their brokers are `gone`, and nothing that was committed rests on
/// them, since somebody leads who holds all of it.
fn lost(image: &Image, state: &Partition, gone: &[BrokerId]) -> ReplicaSet {
    if state.leader.is_none() {
        return ReplicaSet::EMPTY;
    }
    let away = |id: &BrokerId| gone.contains(id) && image.broker(*id).is_none_or(|broker| broker.fenced);
    let adding = state.adding().iter().copied();
    adding.filter(away).filter(|id| !state.is_safe(*id)).collect()
}

/// The partition without the replicas that are `lost`, and with some on brokers that it has none on, if it has too few.
fn begun(
    image: &Image,
    placement: &Placement,
    topic: TopicId,
    partition: PartitionId,
    (state, lost): (&Partition, &ReplicaSet),
) -> Option<Partition> {
    let stay = state.replicas.without(|id| lost.contains(id));
    let missing = INTERNAL_REPLICAS.saturating_sub(stay.len());
    let order = placement.replicas(topic, partition.get(), placement.room());
    let rack = |id| image.broker(id).map(|broker| broker.rack.clone());
    let mut fresh: Vec<_> = Vec::new();
    // First those in racks not yet used, then anybody.
    for fresh_racks in [true, false] {
        for id in order
            .iter()
            .filter(|id| image.broker(*id).is_some_and(|b| b.is_active()))
        {
            let holders: Vec<_> = stay.iter().chain(fresh.iter().copied()).collect();
            let taken = holders.contains(&id);
            let rack_taken = holders.iter().any(|holder| rack(*holder) == rack(id));
            if fresh.len() < missing && !taken && !(fresh_racks && rack_taken) {
                fresh.push(id);
            }
        }
    }
    if fresh.is_empty() && lost.is_empty() {
        return None;
    }
    let adding = state.adding().iter().copied().filter(|id| !lost.contains(*id));
    let adding = adding.chain(fresh.iter().copied()).collect();
    let replicas = stay.iter().chain(fresh.iter().copied()).collect();
    PartitionChange::new(state, image)
        .replicas(replicas, adding)
        .build()
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
