//! One topic as the metadata knows it.

use crate::{Partition, TopicConfig};
use quipu_record::{MetadataVersion, PartitionId, TopicId};
use std::sync::Arc;

/// A topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topic {
    /// For ever its own.
    pub id: TopicId,
    /// What people call it.
    pub name: Arc<str>,
    /// Internal to the cluster: people may not delete it.
    pub internal: bool,
    /// What is configured; the rest are defaults.
    pub config: TopicConfig,
    /// The metadata version of the last change of `config`.
    pub config_version: MetadataVersion,
    /// Its partitions.
    pub partitions: Partitions,
}

/// A topic's partitions by index. A clone costs one reference count, a change copies one chunk; a topic of few partitions
/// is one chunk and nothing else.
#[derive(Clone, Debug)]
pub struct Partitions(Repr);

#[derive(Clone, Debug)]
enum Repr {
    Few(Arc<Vec<Partition>>),
    Many(Arc<Vec<Arc<Vec<Partition>>>>),
}

/// Partitions in each chunk but the last.
const CHUNK: usize = 32;

impl Partitions {
    fn chunk(&self, chunk: usize) -> Option<&Vec<Partition>> {
        match &self.0 {
            Repr::Few(only) => (chunk == 0).then_some(&**only),
            Repr::Many(chunks) => chunks.get(chunk).map(|chunk| &**chunk),
        }
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Few(only) => only.len(),
            Repr::Many(chunks) => chunks
                .last()
                .map_or(0, |last| (chunks.len() - 1) * CHUNK + last.len()),
        }
    }

    /// Whether there are none, which is so only while a topic is being created.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One partition.
    #[must_use]
    pub fn get(&self, partition: PartitionId) -> Option<&Partition> {
        let index = usize::try_from(partition.get()).ok()?;
        self.chunk(index / CHUNK)?.get(index % CHUNK)
    }

    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = (PartitionId, &Partition)> {
        let chunks = (0..).map_while(|chunk| self.chunk(chunk));
        (0u32..).map(PartitionId::new).zip(chunks.flatten())
    }

    /// Sets a partition, or adds the next one; `false`: there would be a hole before it.
    pub(crate) fn set(&mut self, partition: PartitionId, state: Partition) -> bool {
        let len = self.len();
        let Ok(index) = usize::try_from(partition.get()) else {
            return false;
        };
        if index > len {
            return false;
        }
        if let Repr::Few(only) = &self.0
            && index == CHUNK
        {
            self.0 = Repr::Many(Arc::new(vec![Arc::clone(only)]));
        }
        let chunk = match &mut self.0 {
            Repr::Few(only) => only,
            Repr::Many(chunks) => {
                let chunks = Arc::make_mut(chunks);
                if index / CHUNK == chunks.len() {
                    chunks.push(Arc::default());
                }
                &mut chunks[index / CHUNK]
            }
        };
        let chunk = Arc::make_mut(chunk);
        if index < len {
            chunk[index % CHUNK] = state;
        } else {
            // Exactly: most topics stay as they were made.
            chunk.reserve_exact(1);
            chunk.push(state);
        }
        true
    }
}

impl Default for Partitions {
    fn default() -> Self {
        Self(Repr::Few(Arc::default()))
    }
}

impl PartialEq for Partitions {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for Partitions {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ReplicaSet;
    use quipu_record::{BrokerId, LeaderEpoch, PartitionEpoch};

    fn partition(n: u32) -> Partition {
        Partition {
            replicas: ReplicaSet::only(BrokerId::new(n)),
            isr: ReplicaSet::EMPTY,
            elr: ReplicaSet::EMPTY,
            leader: None,
            leader_epoch: LeaderEpoch::FIRST,
            partition_epoch: PartitionEpoch::FIRST,
            min_insync: 1,
            rare: None,
        }
    }

    #[test]
    fn partitions_are_added_in_order_and_changed_anywhere_without_touching_clones() {
        for total in [1, 31, 32, 33, 64, 65, 200u32] {
            let mut partitions = Partitions::default();
            for n in 0..total {
                assert!(!partitions.set(PartitionId::new(n + 1), partition(0)), "a hole");
                assert!(partitions.set(PartitionId::new(n), partition(n)));
            }
            let before = partitions.clone();
            assert!(partitions.set(PartitionId::new(total - 1), partition(9_999)));
            assert_ne!(before, partitions);
            let ids = |p: &Partitions| p.iter().map(|(id, _)| id.get()).collect::<Vec<_>>();
            assert_eq!(ids(&partitions), (0..total).collect::<Vec<_>>());
            for n in 0..total {
                assert_eq!(before.get(PartitionId::new(n)), Some(&partition(n)));
            }
            assert_eq!(partitions.get(PartitionId::new(total)), None);
        }
    }
}
