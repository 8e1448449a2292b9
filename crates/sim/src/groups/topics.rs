//! The topics that groups consume: some grow partitions, some appear late.

use quipu_coordinator::Topics;
use quipu_record::{PartitionId, TopicId, TopicPartition};
use std::sync::Arc;

/// Every topic that there is.
#[derive(Clone, Debug, Default)]
pub(super) struct Catalog {
    topics: Vec<(Arc<str>, u32)>,
    version: u64,
}

impl Catalog {
    pub(super) fn add(&mut self, partitions: u32) {
        let name = format!("topic-{}", self.topics.len());
        self.topics.push((name.into(), partitions));
        self.version += 1;
    }

    pub(super) fn grow(&mut self, topic: usize) {
        self.topics[topic].1 += 1;
        self.version += 1;
    }

    pub(super) fn len(&self) -> usize {
        self.topics.len()
    }

    pub(super) fn name_of(&self, topic: usize) -> Arc<str> {
        Arc::clone(&self.topics[topic].0)
    }

    /// All partitions of these topics.
    pub(super) fn partitions_of(&self, names: &[Arc<str>]) -> Vec<TopicPartition> {
        let wanted = self.topics.iter().enumerate();
        let wanted = wanted.filter(|(_, (name, _))| names.contains(name));
        wanted
            .flat_map(|(topic, (_, partitions))| {
                (0..*partitions).map(move |partition| TopicPartition {
                    topic: id(topic),
                    partition: PartitionId::new(partition),
                })
            })
            .collect()
    }

    fn at(&self, topic: TopicId) -> Option<&(Arc<str>, u32)> {
        (0..self.topics.len())
            .find(|at| id(*at) == topic)
            .map(|at| &self.topics[at])
    }
}

fn id(topic: usize) -> TopicId {
    TopicId::from_u128(topic as u128 + 1)
}

impl Topics for Catalog {
    fn named(&self, name: &str) -> Option<TopicId> {
        let found = self.topics.iter().position(|(known, _)| &**known == name);
        found.map(id)
    }

    fn name(&self, topic: TopicId) -> Option<Arc<str>> {
        self.at(topic).map(|(name, _)| Arc::clone(name))
    }

    fn partitions(&self, topic: TopicId) -> Option<u32> {
        self.at(topic).map(|(_, partitions)| *partitions)
    }

    fn racks(&self, _: TopicId, _: PartitionId) -> &[Arc<str>] {
        &[]
    }

    fn each(&self, found: &mut dyn FnMut(&str, TopicId)) {
        for (at, (name, _)) in self.topics.iter().enumerate() {
            found(name, id(at));
        }
    }

    fn version(&self) -> u64 {
        self.version
    }
}
