//! What a member's client says.

use super::super::session::Session;
use super::Hosting;
use crate::service::route::shown;
use quipu_coordinator::{AssignmentEpoch, Mark, MemberInput};
use quipu_proto::v1::consume_request::Message;
use quipu_proto::v1::consume_response::Message as Answer;
use quipu_proto::{Failure, scalars, v1};
use quipu_record::{ErrorCode, PartitionId, TopicPartition};
use std::sync::Arc;

impl Session {
    /// The client says something that only a member's does.
    pub(in super::super) fn member_asked(&mut self, asked: Message) -> Result<(), Failure> {
        let Some(hosting) = &mut self.hosting else {
            let told = "only a group's stream remembers offsets: open with a group";
            return Err(Failure::new(ErrorCode::InvalidRequest, told));
        };
        match asked {
            Message::Ack(ack) => hosting.ack(&ack),
            Message::AssignmentAck(ack) => {
                hosting.give_up(&ack);
                Ok(())
            }
            Message::Commit(commit) => {
                if let Some(result) = hosting.commit(commit)? {
                    self.push(Answer::Commit(result));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Hosting {
    /// A partition that the client names; `None`: the member never had it.
    fn named(&self, topic: &str, partition: u32) -> Option<TopicPartition> {
        // Of topics that had the same name in turn, the one that the member has.
        let ids = self.names.iter().filter(|(_, name)| ***name == *topic);
        let places = ids.map(|(id, _)| TopicPartition {
            topic: *id,
            partition: PartitionId::new(partition),
        });
        let mut found = None;
        for at in places {
            if self.member.has(at) {
                return Some(at);
            }
            found = Some(at);
        }
        found
    }

    pub(super) fn ack(&mut self, ack: &v1::Ack) -> Result<(), Failure> {
        let next = scalars::offset("ack.next_offset", ack.next_offset)?;
        if let Some(at) = self.named(&ack.topic, ack.partition) {
            let epoch = ack.assignment_epoch.map(AssignmentEpoch::new);
            self.step(MemberInput::Ack { at, epoch, next });
        }
        Ok(())
    }

    /// What was asked; or the answer, where it is clear at once.
    pub(super) fn commit(&mut self, commit: v1::Commit) -> Result<Option<v1::CommitResult>, Failure> {
        let request = commit.request_id;
        let mut marks = Vec::with_capacity(commit.offsets.len());
        for offset in &commit.offsets {
            let next = scalars::offset("commit.next_offset", offset.next_offset)?;
            if let Some(at) = self.named(&offset.topic, offset.partition) {
                marks.push(Mark {
                    at,
                    epoch: offset.assignment_epoch.map(AssignmentEpoch::new),
                    next,
                    metadata: Arc::from(offset.metadata.as_str()),
                });
            }
        }
        if marks.len() == commit.offsets.len() {
            self.step(MemberInput::Commit { request, marks });
            return Ok(None);
        }
        let result = |offset: v1::StreamOffset| v1::StreamOffsetResult {
            topic: shown(&offset.topic).to_owned(),
            partition: offset.partition,
            error: Some(not_its(&offset.topic, offset.partition).into()),
        };
        Ok(Some(v1::CommitResult {
            request_id: request,
            results: commit.offsets.into_iter().map(result).collect(),
        }))
    }

    pub(super) fn give_up(&mut self, ack: &v1::AssignmentAck) {
        let named = ack.partitions.iter();
        let named = named.filter_map(|named| self.named(&named.topic, named.partition));
        let partitions = named.collect();
        self.step(MemberInput::GiveUp(partitions));
    }
}

/// What a client is told that names a partition which its member does not have now.
pub(in super::super) fn not_its(topic: &str, partition: u32) -> Failure {
    let topic = shown(topic);
    Failure::new(
        ErrorCode::StaleAssignment,
        format!("not all of what is named is this member's: partition {partition} of topic {topic:?}"),
    )
}
