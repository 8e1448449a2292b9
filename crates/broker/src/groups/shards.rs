//! The shards of this broker: one for each replica of the offsets topic, made as the metadata gives it one.

use super::shard::{Place, Shard, ShardHandle, ShardState};
use super::topics::TopicsCache;
use crate::data_plane::DataPlane;
use quipu_coordinator::GroupConfig;
use quipu_metadata::Image;
use quipu_record::TopicPartition;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// The ways to all shards.
#[derive(Debug, Default)]
pub(super) struct Shards {
    by_partition: RwLock<BTreeMap<TopicPartition, ShardHandle>>,
}

impl Shards {
    /// The shard of a partition, if it has a replica here.
    pub(super) fn get(&self, at: TopicPartition) -> Option<ShardHandle> {
        let shards = self.by_partition.read().unwrap_or_else(PoisonError::into_inner);
        shards.get(&at).cloned()
    }

    /// What each is doing.
    pub(super) fn states(&self) -> Vec<(TopicPartition, ShardState)> {
        let shards = self.by_partition.read().unwrap_or_else(PoisonError::into_inner);
        shards.iter().map(|(at, shard)| (*at, shard.state())).collect()
    }

    /// Offsets committed since the start.
    pub(super) fn commits(&self) -> u64 {
        let shards = self.by_partition.read().unwrap_or_else(PoisonError::into_inner);
        shards.values().map(ShardHandle::commits).sum()
    }

    fn insert(&self, at: TopicPartition, shard: ShardHandle) {
        let mut shards = self.by_partition.write().unwrap_or_else(PoisonError::into_inner);
        shards.insert(at, shard);
    }

    /// Those of a topic that is there; the others end, since nobody can ask them any more.
    fn retain(&self, image: &Image) {
        let mut shards = self.by_partition.write().unwrap_or_else(PoisonError::into_inner);
        shards.retain(|at, _| image.partition(*at).is_some());
    }
}

/// The task that makes shards. They end with it.
#[derive(Debug)]
pub(super) struct Manager {
    task: AbortHandle,
}

impl Manager {
    pub(super) fn start(
        shards: Arc<Shards>,
        plane: Arc<DataPlane>,
        images: watch::Receiver<Arc<Image>>,
        config: GroupConfig,
    ) -> Self {
        let making = Making {
            shards,
            plane,
            images,
            config,
            topics: Arc::default(),
            tasks: JoinSet::new(),
        };
        Self {
            task: tokio::spawn(making.run()).abort_handle(),
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Making {
    shards: Arc<Shards>,
    plane: Arc<DataPlane>,
    images: watch::Receiver<Arc<Image>>,
    config: GroupConfig,
    topics: Arc<TopicsCache>,
    tasks: JoinSet<()>,
}

impl Making {
    async fn run(mut self) {
        loop {
            let image = self.images.borrow_and_update().clone();
            self.make(&image);
            tokio::select! {
                changed = self.images.changed() => if changed.is_err() {
                    return;
                },
                // One that panicked has said so itself; another takes its place.
                Some(_) = self.tasks.join_next() => {}
            }
        }
    }

    fn make(&mut self, image: &Image) {
        self.shards.retain(image);
        let Some(topic) = super::offsets_topic(image) else {
            return;
        };
        let me = self.plane.config.broker;
        for (partition, state) in topic.partitions.iter() {
            let at = TopicPartition {
                topic: topic.id,
                partition,
            };
            if state.leader != Some(me) {
                continue;
            }
            let Some(replica) = self.plane.topics.replica(at) else {
                continue;
            };
            if self.shards.get(at).is_some_and(|shard| shard.is_of(&replica)) {
                continue;
            }
            let (shard, handle) = Shard::new(Place {
                plane: Arc::clone(&self.plane),
                replica,
                config: self.config.clone(),
                topics: Arc::clone(&self.topics),
                images: self.images.clone(),
            });
            self.shards.insert(at, handle);
            self.tasks.spawn(shard.run());
        }
    }
}
