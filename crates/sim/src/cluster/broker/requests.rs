//! What clients ask of a running broker.

use super::Broker;
use crate::cluster::message::{
    Address, Answer, Ask, BrokerEvent, FetchError, Fetched, Message, PartitionIndex, Reply, Request,
    RequestId,
};
use crate::cluster::shared::Shared;
use crate::invariants::{self, Asked};
use crate::payload;
use bytes::Bytes;
use quipu_record::{Batch, Offset, iter_batches};
use quipu_replication::{
    Acks, Append, DeleteBefore, DeleteRecords, DeleteRecordsError, Input, ProduceError, ReadError,
};
use std::time::Duration;

impl Broker {
    pub(super) fn request(&mut self, shared: &mut Shared, request: Request) {
        let Request {
            id,
            client,
            partition,
            ask,
        } = request;
        let answer = match ask {
            Ask::Produce { batch, acks, timeout } => {
                self.produce(shared, (id, client, partition), batch, acks, timeout)
            }
            Ask::Fetch { from, max_bytes } => {
                Some(Answer::Fetched(self.fetch(shared, partition, from, max_bytes)))
            }
            Ask::Latest => Some(Answer::Latest(self.latest(partition))),
            Ask::DeleteRecords { before } => self.delete_records(shared, (id, client, partition), before),
            Ask::Metadata => Some(Answer::Metadata(self.leader(shared, partition))),
        };
        if let Some(answer) = answer {
            let reply = Reply {
                id,
                partition,
                answer,
            };
            shared.send(self.address(), Address::Client(client), Message::Reply(reply));
        }
    }

    fn leader(
        &self,
        shared: &Shared,
        partition: PartitionIndex,
    ) -> Option<(quipu_record::BrokerId, quipu_record::LeaderEpoch)> {
        let at = shared.plan.partitions[partition].partition;
        let state = self.process.as_ref()?.image.partition(at)?;
        Some((state.leader?, state.leader_epoch))
    }

    fn latest(&self, partition: PartitionIndex) -> Option<Offset> {
        let replica = self.process.as_ref()?.replicas.get(&partition)?;
        replica.driver.view().latest(None).ok()
    }

    fn produce(
        &mut self,
        shared: &mut Shared,
        (id, client, partition): (RequestId, usize, PartitionIndex),
        bytes: Bytes,
        acks: Acks,
        timeout: Duration,
    ) -> Option<Answer> {
        let now = self.now(shared);
        let process = self.process.as_mut()?;
        if !process.replicas.contains_key(&partition) {
            return Some(Answer::Produced(Err(ProduceError::NotLeader)));
        }
        let max = shared.plan.topic_of(partition).config.max_message_bytes;
        let checked = Batch::check(bytes, max)
            .and_then(|batch| Ok((batch.validate_records(payload::DECODED_MAX)?, batch)));
        let Ok((summary, batch)) = checked else {
            // The simulation's clients send sound batches, and its network damages none.
            shared.violated(crate::report::Violation {
                invariant: "the simulation itself",
                what: "a client's batch was refused".to_owned(),
            });
            return None;
        };
        let token = process.token();
        let header = *batch.header();
        process.asked.insert(
            token,
            Asked {
                id,
                client,
                acks,
                header,
            },
        );
        let replica = process.replicas.get_mut(&partition)?;
        replica.queue.push(Append {
            token,
            batch,
            summary,
            acks,
            deadline: now.mono.after(timeout),
        });
        if !process.drain_planned {
            process.drain_planned = true;
            let wait = shared.chance.between(Duration::ZERO, Duration::from_millis(2));
            self.plan(shared, wait, BrokerEvent::Drain);
        }
        None
    }

    fn fetch(
        &mut self,
        shared: &mut Shared,
        partition: PartitionIndex,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Fetched, FetchError> {
        let process = self.process.as_ref().ok_or(FetchError::TryAgain)?;
        let replica = process.replicas.get(&partition).ok_or(FetchError::NotLeader)?;
        let driver = &replica.driver;
        let view = driver.view();
        let limit = view.read_limit(from, None).map_err(|error| match error {
            ReadError::OutOfRange { log_start, .. } => FetchError::OutOfRange { log_start },
            ReadError::NotLeader => FetchError::NotLeader,
            _ => FetchError::TryAgain,
        })?;
        let mut fetched = Fetched {
            records: Vec::new(),
            next: from,
            high_watermark: view.high_watermark,
        };
        if limit <= from {
            return Ok(fetched);
        }
        let read = match driver.reader().read(from, limit, max_bytes) {
            Ok(read) => read,
            Err(error) => {
                shared.note(format_args!("b{} p{partition} read at {from}: {error}", self.me));
                self.unreadable(shared, partition, &error);
                return Err(FetchError::TryAgain);
            }
        };
        for batch in iter_batches(read.bytes) {
            let Ok(batch) = batch else {
                return Err(FetchError::TryAgain);
            };
            invariants::on_read(shared, partition, &view, &batch);
            if let Err(error) = payload::read(&batch, &mut fetched.records) {
                shared.violated(corrupt(&error));
            }
        }
        fetched.records.retain(|record| record.offset >= from);
        fetched.next = read.next;
        Ok(fetched)
    }

    /// Bytes of a log turned out bad: without a flipped bit that is a broken promise.
    pub(super) fn unreadable(
        &mut self,
        shared: &mut Shared,
        partition: PartitionIndex,
        error: &quipu_storage::ReadError,
    ) {
        let quipu_storage::ReadError::Corrupt(damage) = error else {
            return;
        };
        if !shared.ghosts[partition].replicas[self.me].flipped {
            return shared.violated(corrupt(error));
        }
        let damage = quipu_storage::Corruption::clone(damage);
        self.step(shared, partition, Input::Damaged(damage));
    }

    fn delete_records(
        &mut self,
        shared: &mut Shared,
        (id, client, partition): (RequestId, usize, PartitionIndex),
        before: Offset,
    ) -> Option<Answer> {
        let process = self.process.as_mut()?;
        let Some(replica) = process.replicas.get(&partition) else {
            return Some(Answer::Deleted(Err(DeleteRecordsError::NotLeader)));
        };
        let view = replica.driver.view();
        let token = process.token();
        process.deleting.insert(token, (id, client));
        if view.leading.is_some() && before <= view.high_watermark {
            let ghost = &mut shared.ghosts[partition];
            shared.counts.deleted += before.since(ghost.may_start);
            ghost.may_delete(before);
        }
        let before = DeleteBefore::Offset(before);
        self.step(
            shared,
            partition,
            Input::DeleteRecords(DeleteRecords { token, before }),
        );
        None
    }
}

/// Nobody damaged these bytes: that they are bad is a broken promise.
fn corrupt(error: &dyn std::error::Error) -> crate::report::Violation {
    crate::report::Violation {
        invariant: "bad bytes are never served, and none were made",
        what: error.to_string(),
    }
}
