//! A broker found bad bytes in some of its replicas: it is fenced for those, and for nothing else.

use super::Decision;
use crate::partition_change::{Election, PartitionChange, Standing};
use crate::{Image, Record};
use quipu_record::{BrokerEpoch, BrokerId, TopicPartition};
use std::collections::BTreeSet;

/// Takes replicas out of the in-sync and the eligible ones: they may lack what they acknowledged. They come back as any
/// other does, by catching up with a leader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OfflineReplicas {
    /// Whose.
    pub id: BrokerId,
    /// In which of its lifetimes.
    pub epoch: BrokerEpoch,
    /// Of which partitions.
    pub partitions: Vec<TopicPartition>,
}

/// The replicas are trusted no longer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplicasOffline {
    /// How many partitions changed by it.
    pub changed: usize,
    /// How many of them nobody leads now.
    pub leaderless: usize,
}

struct After<'a> {
    image: &'a Image,
    offline: BrokerId,
}

/// For these partitions the broker is as good as fenced.
impl Standing for After<'_> {
    fn is_unfenced(&self, broker: BrokerId) -> bool {
        broker != self.offline && self.image.is_unfenced(broker)
    }

    fn is_active(&self, broker: BrokerId) -> bool {
        broker != self.offline && self.image.is_active(broker)
    }
}

impl OfflineReplicas {
    /// Whether the metadata still trusts this replica, so that it must be told. The only replica there is stays: nothing
    /// could take its place, and what is good in it is all there is to serve.
    #[must_use]
    pub fn matters(image: &Image, id: BrokerId, at: TopicPartition) -> bool {
        image
            .partition(at)
            .is_some_and(|state| state.replicas.len() > 1 && state.is_safe(id))
    }

    pub(crate) fn decide(&self, image: &Image) -> Decision<Self> {
        if let Err(refusal) = image.broker_in(self.id, self.epoch) {
            return Decision::refused(refusal);
        }
        let standing = After {
            image,
            offline: self.id,
        };
        let mut records = Vec::new();
        let mut leaderless = 0;
        let named: BTreeSet<TopicPartition> = self.partitions.iter().copied().collect();
        for at in named.into_iter().filter(|at| Self::matters(image, self.id, *at)) {
            let Some((topic, before)) = image.topic(at.topic).zip(image.partition(at)) else {
                continue;
            };
            let election = Election {
                unclean: topic.config.unclean_leader_election(),
                ..Election::default()
            };
            let change = PartitionChange::new(before, &standing)
                .lost(self.id)
                .election(election);
            if let Some(state) = change.build() {
                leaderless += usize::from(state.leader.is_none());
                records.push(Record::Partition { at, state });
            }
        }
        let changed = records.len();
        Decision::done(records, ReplicasOffline { changed, leaderless })
    }
}
