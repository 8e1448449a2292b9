//! New targets: when one is due, and what it is.

use super::Deciding;
use crate::assignor::{Problem, Shape, Taker};
use crate::record::{Change, GroupHead};
use crate::{MemberId, Subscription};
use quipu_record::{TopicId, TopicPartition};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Deciding<'_> {
    /// A new target is due.
    pub(super) fn raise(&mut self) {
        self.shared.patterns.refresh(self.topics);
        let epoch = self.group.epoch().next();
        let empty = self.group.members.is_empty();
        let head = GroupHead {
            epoch,
            topics_hash: self.shared.patterns.hash(self.group, self.topics),
            topics_version: self.topics.version(),
            empty_since: empty.then_some(self.wall),
        };
        self.write(Change::Group(Some(head)));
        if empty {
            self.write(Change::TargetEpoch(Some(epoch)));
        }
    }

    /// Whether what is consumed is not what it was as the last target became due.
    pub(crate) fn topics_changed(&mut self) {
        let Some(head) = self.group.head else { return };
        // Metadata older than what the group has seen says nothing.
        if self.group.members.is_empty() || self.topics.version() < head.topics_version {
            return;
        }
        self.shared.patterns.refresh(self.topics);
        if self.shared.patterns.hash(self.group, self.topics) == head.topics_hash {
            return;
        }
        self.raise();
        if self.retarget() {
            self.progress();
        }
    }

    /// Makes the target that is due, unless one was made just now. True if it was made.
    pub(super) fn retarget(&mut self) -> bool {
        if self.group.epoch() <= self.group.target_epoch() || self.group.members.is_empty() {
            return false;
        }
        let soonest = self
            .group
            .targeted
            .map(|last| last.after(self.config.assignment_interval));
        if let Some(due) = soonest.filter(|due| *due > self.now) {
            if self.group.due.is_none() {
                self.group.due = Some(due);
                self.shared.timers.insert((due, self.id.clone(), None));
            }
            return false;
        }
        if let Some(due) = self.group.due.take() {
            self.shared.timers.remove(&(due, self.id.clone(), None));
        }
        for (id, target) in self.changed_targets() {
            self.write(Change::Target(id, Some(target.into())));
        }
        let epoch = self.group.epoch();
        self.write(Change::TargetEpoch(Some(epoch)));
        self.group.targeted = Some(self.now);
        true
    }

    /// The group's own timer came.
    pub(crate) fn target_due(&mut self) {
        self.group.due = None;
        if self.retarget() {
            self.progress();
        }
    }

    fn changed_targets(&mut self) -> Vec<(MemberId, Vec<TopicPartition>)> {
        self.shared.patterns.refresh(self.topics);
        let infos = self.group.members.iter();
        let infos: Vec<_> = infos
            .filter_map(|(id, member)| Some((id, member, member.info.as_ref()?)))
            .collect();
        let mut wanted: Vec<Arc<BTreeSet<TopicId>>> = Vec::new();
        let mut last: Option<&Subscription> = None;
        for (_, _, info) in &infos {
            // Mostly all want the same.
            let same = wanted
                .last()
                .filter(|_| last == Some(&info.subscription))
                .cloned();
            wanted.push(same.unwrap_or_else(|| Arc::new(self.shared.patterns.resolve(info, self.topics))));
            last = Some(&info.subscription);
        }
        let all: BTreeSet<TopicId> = wanted.iter().flat_map(|topics| topics.iter().copied()).collect();
        let shapes = all.iter().filter_map(|topic| {
            let partitions = self.topics.partitions(*topic)?;
            Some(Shape {
                topic: *topic,
                partitions,
            })
        });
        let topics: Vec<Shape> = shapes.collect();
        let place = |topic: &TopicId| topics.binary_search_by_key(topic, |shape| shape.topic).ok();
        let takers = infos
            .iter()
            .zip(&wanted)
            .map(|((id, member, info), wanted)| Taker {
                member: id,
                instance: info.instance.as_ref(),
                rack: info.rack.as_deref(),
                topics: wanted.iter().filter_map(place).collect(),
                current: member.target(),
            });
        let metadata = self.topics;
        let problem = Problem {
            takers: takers.collect(),
            racks: &|at: TopicPartition| metadata.racks(at.topic, at.partition),
            topics: topics.clone(),
        };
        let solved = problem.solve(self.group.assignor());
        let changed = infos
            .iter()
            .zip(solved)
            .filter(|((_, member, _), target)| member.target() != *target);
        changed
            .map(|((id, _, _), target)| ((*id).clone(), target))
            .collect()
    }
}
