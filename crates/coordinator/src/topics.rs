//! What a coordinator knows about topics: the caller's metadata.

use quipu_record::{PartitionId, TopicId};
use std::sync::Arc;

/// The topics of the moment. An internal topic is as good as absent.
pub trait Topics {
    /// The topic of this name.
    fn named(&self, name: &str) -> Option<TopicId>;
    /// The name of a topic.
    fn name(&self, topic: TopicId) -> Option<Arc<str>>;
    /// How many partitions it has.
    fn partitions(&self, topic: TopicId) -> Option<u32>;
    /// The racks of a partition's replicas, each once; empty if none is known.
    fn racks(&self, topic: TopicId, partition: PartitionId) -> &[Arc<str>];
    /// Every topic that is not internal, in an order that depends on the topics only.
    fn each(&self, found: &mut dyn FnMut(&str, TopicId));
    /// Grows with every change.
    fn version(&self) -> u64;
}
