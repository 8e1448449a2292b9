//! The replicas of this broker that cannot serve: bad bytes were found in them. The controllers are told with every sign
//! of life, so that nobody counts on them.

use quipu_record::TopicPartition;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::watch;

/// The set, and who waits for it to change.
#[derive(Debug, Default)]
pub(crate) struct Offline {
    set: watch::Sender<Arc<BTreeSet<TopicPartition>>>,
}

impl Offline {
    /// One that cannot serve.
    pub(crate) fn add(&self, at: TopicPartition) {
        self.set.send_if_modified(|set| Arc::make_mut(set).insert(at));
    }

    /// It can again, or is no longer here. True if it was one of them.
    pub(crate) fn remove(&self, at: TopicPartition) -> bool {
        self.set
            .send_if_modified(|set| set.contains(&at) && Arc::make_mut(set).remove(&at))
    }

    /// Whether it is one of them.
    pub(crate) fn contains(&self, at: TopicPartition) -> bool {
        self.set.borrow().contains(&at)
    }

    /// All of them, now and whenever that changes.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<BTreeSet<TopicPartition>>> {
        self.set.subscribe()
    }
}
