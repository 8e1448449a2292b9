//! What a follower has told its leader: only what changed since goes into the next request.

use quipu_record::TopicPartition;
use quipu_replication::Position;
use std::collections::{BTreeMap, BTreeSet};

/// The partitions of one session, as the follower has them.
#[derive(Debug, Default)]
pub(super) struct FollowerSession {
    epoch: u64,
    parts: BTreeMap<TopicPartition, Position>,
    changed: BTreeSet<TopicPartition>,
    forget: BTreeSet<TopicPartition>,
}

/// The next request, as far as it is of partitions.
#[derive(Debug)]
pub(super) struct NextRequest {
    pub(super) session_epoch: u64,
    pub(super) positions: Vec<(TopicPartition, Position)>,
    pub(super) forget: Vec<TopicPartition>,
}

impl FollowerSession {
    /// A session begins anew: the leader knows nothing.
    pub(super) fn begin(&mut self) {
        self.epoch = 0;
        self.changed = self.parts.keys().copied().collect();
        self.forget.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub(super) fn has_changes(&self) -> bool {
        !self.changed.is_empty() || !self.forget.is_empty()
    }

    /// Where a partition stands. If that is where it stood before, it asks once more for what comes there.
    pub(super) fn set(&mut self, at: TopicPartition, position: Position) {
        self.parts.insert(at, position);
        self.forget.remove(&at);
        self.changed.insert(at);
    }

    pub(super) fn remove(&mut self, at: TopicPartition) {
        self.changed.remove(&at);
        if self.parts.remove(&at).is_some() {
            self.forget.insert(at);
        }
    }

    pub(super) fn next_request(&mut self) -> NextRequest {
        self.epoch += 1;
        let changed = std::mem::take(&mut self.changed);
        NextRequest {
            session_epoch: self.epoch,
            positions: changed
                .into_iter()
                .filter_map(|at| Some((at, *self.parts.get(&at)?)))
                .collect(),
            forget: std::mem::take(&mut self.forget).into_iter().collect(),
        }
    }
}
