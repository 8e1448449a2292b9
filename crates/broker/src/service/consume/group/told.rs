//! What a member's client is told.

use super::Hosting;
use crate::groups::failure_of;
use quipu_coordinator::{AssignedPartition, Changed, Joined, MemberEpoch, Notice};
use quipu_proto::v1;
use quipu_proto::v1::consume_response::Message;
use quipu_record::TopicPartition;
use std::sync::Arc;
use std::time::Duration;

impl Hosting {
    pub(super) fn told(&mut self, notice: Notice) -> Message {
        match notice {
            Notice::Joined(joined) => Message::Opened(v1::Opened {
                partitions: Vec::new(),
                membership: Some(self.joined(joined)),
            }),
            Notice::Changed(changed) => Message::Assignment(self.changed(changed)),
            Notice::Committed(request_id, results) => {
                let results = results.into_iter().map(|(at, result)| {
                    let named = self.name(at);
                    v1::StreamOffsetResult {
                        topic: named.topic,
                        partition: named.partition,
                        error: result.err().map(|error| failure_of(&error).into()),
                    }
                });
                Message::Commit(v1::CommitResult {
                    request_id,
                    results: results.collect(),
                })
            }
        }
    }

    fn joined(&mut self, joined: Joined) -> v1::Membership {
        v1::Membership {
            member_id: self.member.id().to_string(),
            member_epoch: joined.epoch.get(),
            assigned: self.named_all(&joined.assigned),
            revoking: self.named_all(&joined.revoking),
            revocation_left_ms: millis(joined.left),
        }
    }

    /// By topic and partition. A topic that this broker has not heard of yet has no name to tell: what a client kept of it is
    /// lost to it, as anything that is not named.
    fn named_all(&mut self, partitions: &[AssignedPartition]) -> Vec<v1::HeldPartition> {
        let mut named = Vec::with_capacity(partitions.len());
        for one in partitions {
            let Some(topic) = self.plane.topics.get(one.at.topic) else {
                continue;
            };
            self.names.insert(one.at.topic, Arc::clone(&topic.info.name));
            named.push(v1::HeldPartition {
                topic: topic.info.name.to_string(),
                topic_id: one.at.topic.to_string(),
                partition: one.at.partition.get(),
                assignment_epoch: one.epoch.get(),
            });
        }
        named.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        named
    }

    fn changed(&self, changed: Changed) -> v1::Assignment {
        let names =
            |partitions: Vec<TopicPartition>| partitions.into_iter().map(|at| self.name(at)).collect();
        v1::Assignment {
            member_epoch: changed.epoch.map_or(0, MemberEpoch::get),
            assigned: Vec::new(),
            revoked: names(changed.revoked),
            revocation_left_ms: millis(changed.left),
            lost: names(changed.lost),
        }
    }

    fn name(&self, at: TopicPartition) -> v1::StreamPartition {
        v1::StreamPartition {
            topic: self
                .names
                .get(&at.topic)
                .map(ToString::to_string)
                .unwrap_or_default(),
            partition: at.partition.get(),
        }
    }
}

fn millis(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}
