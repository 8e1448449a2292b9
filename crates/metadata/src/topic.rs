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

/// A topic's partitions by index. A clone costs one reference count, a change copies one chunk.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Partitions {
    chunks: Arc<Vec<Arc<Vec<Partition>>>>,
}

const CHUNK: usize = 32;

impl Partitions {
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chunks
            .last()
            .map_or(0, |last| (self.chunks.len() - 1) * CHUNK + last.len())
    }

    /// Whether there are none, which is so only while a topic is being created.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// One partition.
    #[must_use]
    pub fn get(&self, partition: PartitionId) -> Option<&Partition> {
        let index = usize::try_from(partition.get()).ok()?;
        self.chunks.get(index / CHUNK)?.get(index % CHUNK)
    }

    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = (PartitionId, &Partition)> {
        (0u32..)
            .map(PartitionId::new)
            .zip(self.chunks.iter().flat_map(|chunk| chunk.iter()))
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
        let chunks = Arc::make_mut(&mut self.chunks);
        if index == len && index % CHUNK == 0 {
            chunks.push(Arc::new(vec![state]));
            return true;
        }
        let chunk = Arc::make_mut(&mut chunks[index / CHUNK]);
        if index == len {
            chunk.push(state);
        } else {
            chunk[index % CHUNK] = state;
        }
        true
    }
}
