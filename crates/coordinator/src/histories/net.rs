//! The topics of a history.

use super::Dice;
use quipu_record::{PartitionId, TopicId, TopicPartition};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Names that topics have; a deleted one comes back with another id.
pub(super) const NAMES: [&str; 4] = ["apple", "banana", "cherry", "date"];

#[derive(Debug)]
struct Topic {
    id: TopicId,
    partitions: u32,
}

#[derive(Debug)]
pub(super) struct Topics {
    named: BTreeMap<&'static str, Topic>,
    racks: Vec<[Arc<str>; 1]>,
    version: u64,
    ids: u128,
}

impl Topics {
    pub(super) fn new(dice: &mut Dice) -> Self {
        let racks = ["north", "south"].map(|rack| [Arc::from(rack)]);
        let mut topics = Self {
            named: BTreeMap::new(),
            racks: racks.into(),
            version: 1,
            ids: 0,
        };
        for name in &NAMES[..1 + dice.below(3)] {
            topics.create(name, dice);
        }
        topics
    }

    fn create(&mut self, name: &'static str, dice: &mut Dice) {
        self.ids += 1;
        let topic = Topic {
            id: TopicId::from_u128(self.ids),
            partitions: 1 + u32::try_from(dice.below(6)).unwrap_or(0),
        };
        self.named.insert(name, topic);
    }

    /// Something about topics changes.
    pub(super) fn change(&mut self, dice: &mut Dice) {
        self.version += 1;
        let name = NAMES[dice.below(NAMES.len())];
        match self.named.get_mut(name) {
            None => self.create(name, dice),
            Some(_) if dice.one_in(3) => drop(self.named.remove(name)),
            Some(topic) => topic.partitions += 1,
        }
    }

    /// Every topic there is.
    pub(super) fn names(&self) -> Vec<(&'static str, TopicId)> {
        self.named.iter().map(|(name, topic)| (*name, topic.id)).collect()
    }

    /// Every partition there is.
    pub(super) fn all(&self) -> Vec<TopicPartition> {
        let each = self.named.values().flat_map(|topic| {
            (0..topic.partitions).map(|partition| TopicPartition {
                topic: topic.id,
                partition: PartitionId::new(partition),
            })
        });
        each.collect()
    }
}

impl crate::Topics for Topics {
    fn named(&self, name: &str) -> Option<TopicId> {
        self.named.get(name).map(|topic| topic.id)
    }

    fn name(&self, topic: TopicId) -> Option<Arc<str>> {
        let found = self.named.iter().find(|(_, one)| one.id == topic);
        found.map(|(name, _)| Arc::from(*name))
    }

    fn partitions(&self, topic: TopicId) -> Option<u32> {
        let found = self.named.values().find(|one| one.id == topic);
        found.map(|one| one.partitions)
    }

    fn racks(&self, _: TopicId, partition: PartitionId) -> &[Arc<str>] {
        &self.racks[partition.get() as usize % self.racks.len()]
    }

    fn each(&self, found: &mut dyn FnMut(&str, TopicId)) {
        for (name, topic) in &self.named {
            found(name, topic.id);
        }
    }

    fn version(&self) -> u64 {
        self.version
    }
}
