//! What a member's client is told.

use super::Hosting;
use crate::groups::failure_of;
use quipu_coordinator::{Changed, MemberEpoch, Notice};
use quipu_proto::v1;
use quipu_proto::v1::consume_response::Message;
use quipu_record::TopicPartition;

impl Hosting {
    pub(super) fn told(&self, notice: Notice) -> Message {
        match notice {
            Notice::Joined(epoch) => Message::Opened(v1::Opened {
                partitions: Vec::new(),
                membership: Some(v1::Membership {
                    member_id: self.member.id().to_string(),
                    member_epoch: epoch.get(),
                }),
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

    fn changed(&self, changed: Changed) -> v1::Assignment {
        let names =
            |partitions: Vec<TopicPartition>| partitions.into_iter().map(|at| self.name(at)).collect();
        v1::Assignment {
            member_epoch: changed.epoch.map_or(0, MemberEpoch::get),
            assigned: Vec::new(),
            revoked: names(changed.revoked),
            revocation_left_ms: u32::try_from(changed.left.as_millis()).unwrap_or(u32::MAX),
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
