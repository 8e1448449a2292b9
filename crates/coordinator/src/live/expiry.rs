//! What is forgotten: offsets of groups that were left, of topics that are gone, and groups that are deleted.

use super::Deciding;
use crate::record::Change;
use crate::{GroupError, RequestToken, Response};
use quipu_record::{PartitionId, TopicId, TopicPartition};

/// Offsets that one step lets expire: the rest follows in the next.
pub(crate) const EXPIRED_AT_ONCE: usize = 1_000;

impl Deciding<'_> {
    /// Lets the offsets of a group expire that was left long enough ago. Where each stood is kept, and shown. True if there
    /// is more.
    pub(crate) fn expire(&mut self) -> bool {
        let retention = self.config.offsets_retention;
        if self.group.expires_at(retention).is_none_or(|at| at > self.wall) {
            return false;
        }
        let mut all = self
            .group
            .offsets
            .iter()
            .map(|(at, offset)| (*at, offset.clone()));
        let some: Vec<_> = all.by_ref().take(EXPIRED_AT_ONCE).collect();
        let more = all.next().is_some();
        for (at, offset) in some {
            self.write(Change::Expired(at, Some(offset)));
            self.write(Change::Offset(at, None));
        }
        if self.group.offsets.is_empty() && self.group.expired.is_empty() {
            self.erase();
        }
        more
    }

    /// Topics of this group's offsets that are not there.
    pub(crate) fn missing_topics(&self, found: &mut dyn FnMut(TopicId)) {
        for offsets in [&self.group.offsets, &self.group.expired] {
            let mut next = offsets.keys().next().copied();
            while let Some(at) = next {
                if self.topics.partitions(at.topic).is_none() {
                    found(at.topic);
                }
                let last = TopicPartition {
                    topic: at.topic,
                    partition: PartitionId::new(u32::MAX),
                };
                let beyond = (std::ops::Bound::Excluded(last), std::ops::Bound::Unbounded);
                next = offsets.range(beyond).next().map(|(at, _)| *at);
            }
        }
    }

    /// Forgets the offsets of a topic that was deleted.
    pub(crate) fn forget_topic(&mut self, topic: TopicId) {
        let whole = |partition| TopicPartition {
            topic,
            partition: PartitionId::new(partition),
        };
        let all = whole(0)..=whole(u32::MAX);
        let offsets: Vec<_> = self.group.offsets.range(all.clone()).map(|(at, _)| *at).collect();
        let expired: Vec<_> = self.group.expired.range(all).map(|(at, _)| *at).collect();
        offsets
            .into_iter()
            .for_each(|at| self.write(Change::Offset(at, None)));
        expired
            .into_iter()
            .for_each(|at| self.write(Change::Expired(at, None)));
    }

    pub(crate) fn delete(&mut self, token: RequestToken, validate_only: bool) {
        let answer = if self.group.is_blank() {
            Err(GroupError::UnknownGroup)
        } else if self.group.members.is_empty() {
            Ok(Response::Deleted)
        } else {
            Err(GroupError::GroupNotEmpty)
        };
        if answer.is_ok() && !validate_only {
            self.erase();
        }
        self.answer(token, answer);
    }

    /// Takes everything of a group without members out of what is stored.
    fn erase(&mut self) {
        let offsets: Vec<_> = self.group.offsets.keys().copied().collect();
        let expired: Vec<_> = self.group.expired.keys().copied().collect();
        offsets
            .into_iter()
            .for_each(|at| self.write(Change::Offset(at, None)));
        expired
            .into_iter()
            .for_each(|at| self.write(Change::Expired(at, None)));
        if self.group.target_epoch.is_some() {
            self.write(Change::TargetEpoch(None));
        }
        if self.group.head.is_some() {
            self.write(Change::Group(None));
        }
    }
}
