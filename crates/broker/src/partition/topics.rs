//! The topics and this broker's replicas of them, found by name and by id.

use super::replica::Replica;
use crate::metrics::TopicMetrics;
use arc_swap::ArcSwap;
use quipu_record::{PartitionId, TopicId, TopicPartition};
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// What answers and checks need to know of a topic.
#[derive(Debug)]
pub(crate) struct TopicInfo {
    /// For ever its own.
    pub(crate) id: TopicId,
    /// The id as the wire carries it.
    pub(crate) id_text: String,
    /// Its name.
    pub(crate) name: Arc<str>,
    /// The cluster's own: clients read it, and change nothing of it.
    pub(crate) internal: bool,
    /// Its counters.
    pub(crate) metrics: TopicMetrics,
    /// `max.message.bytes`, which may change.
    max_message_bytes: AtomicUsize,
}

impl TopicInfo {
    /// A topic that was just learnt of.
    pub(crate) fn new(
        topic: &quipu_metadata::Topic,
        metrics: TopicMetrics,
        max_message_bytes: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            id: topic.id,
            id_text: topic.id.to_string(),
            name: Arc::clone(&topic.name),
            internal: topic.internal,
            metrics,
            max_message_bytes: AtomicUsize::new(max_message_bytes),
        })
    }

    /// `max.message.bytes`: of a batch as it is sent, and also decoded.
    pub(crate) fn max_message_bytes(&self) -> usize {
        self.max_message_bytes.load(Ordering::Relaxed)
    }

    /// The config changed.
    pub(crate) fn set_max_message_bytes(&self, bytes: usize) {
        self.max_message_bytes.store(bytes, Ordering::Relaxed);
    }
}

/// One topic.
#[derive(Debug)]
pub(crate) struct Topic {
    /// What does not change with its partitions.
    pub(crate) info: Arc<TopicInfo>,
    /// By partition: the replica on this broker, `None` if others have it.
    partitions: ArcSwap<Vec<Option<Arc<Replica>>>>,
    /// Where the next batch goes that says nothing of where.
    next: AtomicUsize,
}

impl Topic {
    /// A topic with nothing of it here yet.
    pub(crate) fn new(info: Arc<TopicInfo>) -> Self {
        Self {
            info,
            partitions: ArcSwap::default(),
            next: AtomicUsize::new(0),
        }
    }

    /// How many partitions it has; zero only while it is being made known.
    pub(crate) fn partition_count(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(u32::try_from(self.partitions.load().len()).unwrap_or(u32::MAX))
    }

    /// The replica on this broker; `None` in `Some`: elsewhere; `None`: no such partition.
    pub(crate) fn replica(&self, partition: PartitionId) -> Option<Option<Arc<Replica>>> {
        self.partitions.load().get(partition.get() as usize).cloned()
    }

    /// All partitions.
    pub(crate) fn replicas(&self) -> Arc<Vec<Option<Arc<Replica>>>> {
        self.partitions.load_full()
    }

    /// Sets all partitions.
    pub(crate) fn set_replicas(&self, replicas: Vec<Option<Arc<Replica>>>) {
        self.partitions.store(Arc::new(replicas));
    }

    /// A partition for a batch without a key: in turn, one that this broker leads if there is one.
    pub(crate) fn any_partition(&self) -> PartitionId {
        let partitions = self.partitions.load();
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let count = partitions.len().max(1);
        let here = (0..count).map(|n| (turn.wrapping_add(n)) % count).find(|at| {
            let replica = partitions.get(*at).and_then(Option::as_ref);
            replica.is_some_and(|replica| replica.view().leading.is_some())
        });
        PartitionId::new(u32::try_from(here.unwrap_or(turn % count)).unwrap_or(0))
    }
}

/// All topics. Read on every request, written as metadata changes.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    tables: RwLock<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    by_name: HashMap<Arc<str>, Arc<Topic>>,
    by_id: HashMap<TopicId, Arc<Topic>>,
}

impl Topics {
    /// By name.
    pub(crate) fn named(&self, name: &str) -> Option<Arc<Topic>> {
        self.read().by_name.get(name).cloned()
    }

    /// By id.
    pub(crate) fn get(&self, id: TopicId) -> Option<Arc<Topic>> {
        self.read().by_id.get(&id).cloned()
    }

    /// The replica of a partition on this broker, if there is one.
    pub(crate) fn replica(&self, at: TopicPartition) -> Option<Arc<Replica>> {
        self.get(at.topic)?.replica(at.partition)?
    }

    /// Every topic.
    pub(crate) fn all(&self) -> Vec<Arc<Topic>> {
        self.read().by_id.values().cloned().collect()
    }

    /// Adds a topic, in place of another of its name.
    pub(crate) fn insert(&self, topic: Arc<Topic>) {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        tables.by_name.insert(topic.info.name.clone(), topic.clone());
        tables.by_id.insert(topic.info.id, topic);
    }

    /// Takes a topic out.
    pub(crate) fn remove(&self, id: TopicId) -> Option<Arc<Topic>> {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        let topic = tables.by_id.remove(&id)?;
        let name = &topic.info.name;
        // The name may be another topic's by now.
        if tables.by_name.get(name).is_some_and(|named| named.info.id == id) {
            tables.by_name.remove(name);
        }
        Some(topic)
    }

    fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }
}
