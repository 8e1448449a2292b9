//! What a session does for its member: cursors come and go, frames are marked, messages are pushed.

use super::super::session::Session;
use super::place::Found;
use super::{Hosting, News};
use quipu_coordinator::{MemberEffect, MemberEpoch, MemberInput};
use quipu_proto::v1;
use quipu_proto::v1::consume_response::Message;
use quipu_record::{Offset, TopicPartition};
use std::sync::Arc;
use std::time::Duration;

/// When a partition that does not begin is looked at again.
const AGAIN: Duration = Duration::from_secs(1);

impl Session {
    /// Something happened to the member.
    pub(in super::super) fn member_news(&mut self, news: News) {
        let Some(hosting) = &mut self.hosting else {
            return;
        };
        match news {
            News::Answered(token, answer) => hosting.step(MemberInput::Answered(token, answer)),
            News::Time => hosting.step(MemberInput::Tick),
            News::Found(found) => self.found(found),
            // Whoever waits for this sees it.
            News::Replaced => {}
        }
        self.obey_member();
    }

    /// Does what the member wants done by now.
    pub(in super::super) fn obey_member(&mut self) {
        let Some(hosting) = &mut self.hosting else {
            return;
        };
        hosting.keep_time();
        for effect in std::mem::take(&mut hosting.effects) {
            match effect {
                MemberEffect::Ask(token, request) => hosting.ask(token, request),
                MemberEffect::Start { at, epoch, committed } => {
                    hosting.find(at, epoch, committed, Duration::ZERO);
                }
                MemberEffect::Stop(at) => {
                    if let Some(key) = hosting.forget(at) {
                        self.waiter.disarm(key);
                        self.remote.forget(key);
                        self.cursors.remove(key);
                    }
                }
                MemberEffect::Tell(notice) => {
                    let message = hosting.told(notice);
                    let throttle_ms = self.context.throttle_ms();
                    self.outbox.push_back(v1::ConsumeResponse {
                        message: Some(message),
                        throttle_ms,
                    });
                }
                MemberEffect::Fail(error) => hosting.failed = Some(error),
                MemberEffect::Done => hosting.done = true,
            }
        }
        hosting.rearm();
    }

    /// Places were found: the client is told where its partitions begin, and data flows.
    fn found(&mut self, first: Found) {
        let mut found = vec![first];
        if let Some(hosting) = &mut self.hosting {
            while let Some(more) = hosting.finds.try_join_next() {
                found.extend(more.ok());
            }
        }
        let assigned: Vec<_> = found.into_iter().filter_map(|found| self.begin(found)).collect();
        if assigned.is_empty() {
            return;
        }
        let epoch = self.hosting.as_ref().and_then(|hosting| hosting.member.epoch());
        self.push(Message::Assignment(v1::Assignment {
            member_epoch: epoch.map_or(0, MemberEpoch::get),
            assigned,
            ..v1::Assignment::default()
        }));
    }

    fn begin(&mut self, found: Found) -> Option<v1::PartitionAssigned> {
        let hosting = self.hosting.as_mut()?;
        let Found {
            at,
            epoch,
            committed,
            place,
        } = found;
        let opened = match place {
            Ok((place, opened)) => {
                if !hosting.member.open(at, epoch) {
                    return None;
                }
                hosting.finding.remove(&at);
                let topic = place.topic();
                hosting.names.insert(at.topic, Arc::clone(&topic.name));
                // An offset that was just found.
                let next = Offset::new(opened.offset);
                let key = self
                    .cursors
                    .put(opened.topic.clone(), opened.partition, place, next);
                hosting.keys.insert(at, key);
                opened
            }
            Err(failure) => {
                if !hosting.member.is_opening(at, epoch) {
                    return None;
                }
                hosting.find(at, epoch, committed, AGAIN);
                // Without its name the client could not be told of it, nor that it is taken away again.
                let topic = hosting.plane.topics.get(at.topic)?;
                if !hosting.member.excuse(at, epoch) {
                    return None;
                }
                hosting.names.insert(at.topic, Arc::clone(&topic.info.name));
                v1::OpenedPartition {
                    topic: topic.info.name.to_string(),
                    topic_id: at.topic.to_string(),
                    partition: at.partition.get(),
                    error: Some(failure.into()),
                    ..v1::OpenedPartition::default()
                }
            }
        };
        Some(v1::PartitionAssigned {
            opened: Some(opened),
            assignment_epoch: epoch.get(),
            committed: committed.map(Offset::get),
        })
    }
}

impl Hosting {
    /// Marks a frame that goes out; what is in it has to be acknowledged.
    pub(in super::super) fn sent(&mut self, at: TopicPartition, frame: &mut v1::PartitionData) {
        let Some(epoch) = self.member.may_deliver(at) else {
            return;
        };
        frame.assignment_epoch = Some(epoch.get());
        // Between the last record and where reading goes on there may be offsets without one.
        let next = match frame.records.last() {
            Some(last) => Offset::new(last.offset.saturating_add(1)),
            None if frame.encoded.is_some() => Offset::new(frame.next_offset),
            None => return,
        };
        self.step(MemberInput::Sent { at, next });
    }

    /// A cursor was moved.
    pub(in super::super) fn sought(&mut self, at: TopicPartition) {
        self.step(MemberInput::Sought(at));
    }

    /// The client is there. Only who has to join anew wants to know.
    pub(in super::super) fn heard(&mut self) {
        if self.member.epoch().is_none() {
            self.step(MemberInput::Heard);
        }
    }
}
