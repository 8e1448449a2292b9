//! What clients ask of a running broker.

use super::Broker;
use crate::alone::invariants::{self, Asked};
use crate::alone::message::{
    Address, Answer, Ask, BrokerEvent, FetchError, Fetched, Message, PartitionIndex, Reply, Request,
    RequestId,
};
use crate::alone::shared::Shared;
use crate::payload;
use bytes::Bytes;
use quipu_record::{Batch, Offset, iter_batches};
use quipu_replication::{Acks, Append, DeleteBefore, DeleteRecords, Input, ReadError};
use std::time::Duration;

impl Broker {
    pub(super) fn request(&mut self, shared: &mut Shared, request: Request) {
        let Request {
            id,
            client,
            partition,
            ask,
        } = request;
        match ask {
            Ask::Produce { batch, acks, timeout } => {
                self.produce(shared, (id, client, partition), batch, acks, timeout)
            }
            Ask::Fetch { from, max_bytes } => {
                let answer = Answer::Fetched(self.fetch(shared, partition, from, max_bytes));
                let reply = Reply {
                    id,
                    partition,
                    answer,
                };
                shared.send(self.address(), Address::Client(client), &Message::Reply(reply));
            }
            Ask::DeleteRecords { before } => self.delete_records(shared, (id, client, partition), before),
        }
    }

    fn produce(
        &mut self,
        shared: &mut Shared,
        (id, client, partition): (RequestId, usize, PartitionIndex),
        bytes: Bytes,
        acks: Acks,
        timeout: Duration,
    ) {
        let now = shared.now();
        let Some(process) = &mut self.process else { return };
        let max = shared.plan.partitions[partition].config.max_message_bytes;
        let checked = Batch::check(bytes, max)
            .and_then(|batch| Ok((batch.validate_records(payload::DECODED_MAX)?, batch)));
        let Ok((summary, batch)) = checked else {
            // The simulation's clients send sound batches, and its network damages none.
            return shared.violated(crate::report::Violation {
                invariant: "the simulation itself",
                what: "a client's batch was refused".to_owned(),
            });
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
        process.replicas[partition].queue.push(Append {
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
    }

    fn fetch(
        &mut self,
        shared: &mut Shared,
        partition: PartitionIndex,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Fetched, FetchError> {
        let Some(process) = &self.process else {
            return Err(FetchError::TryAgain);
        };
        let driver = &process.replicas[partition].driver;
        let view = driver.view();
        let limit = view.read_limit(from, None).map_err(|error| match error {
            ReadError::OutOfRange { log_start, .. } => FetchError::OutOfRange { log_start },
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
                shared.note(format_args!("p{partition} read at {from}: {error}"));
                if matches!(error, quipu_storage::ReadError::Corrupt(_)) {
                    shared.violated(corrupt(&error));
                }
                return Err(FetchError::TryAgain);
            }
        };
        for batch in iter_batches(read.bytes) {
            let told = batch.map_err(|error| corrupt(&error)).and_then(|batch| {
                invariants::on_read(&shared.ghosts[partition], &view, &batch)?;
                payload::read(&batch, &mut fetched.records).map_err(|error| corrupt(&error))
            });
            if let Err(violation) = told {
                shared.violated(violation);
                return Err(FetchError::TryAgain);
            }
        }
        shared.counts.checks += 1;
        fetched.records.retain(|record| record.offset >= from);
        fetched.next = read.next;
        Ok(fetched)
    }

    fn delete_records(
        &mut self,
        shared: &mut Shared,
        (id, client, partition): (RequestId, usize, PartitionIndex),
        before: DeleteBefore,
    ) {
        let Some(process) = &mut self.process else { return };
        let token = process.token();
        process.deleting.insert(token, (id, client));
        let view = process.replicas[partition].driver.view();
        let offset = match before {
            DeleteBefore::Offset(offset) => offset,
            DeleteBefore::HighWatermark => view.high_watermark,
        };
        if offset <= view.high_watermark {
            let ghost = &mut shared.ghosts[partition];
            shared.counts.deleted += offset.since(ghost.may_start);
            ghost.may_delete(offset);
        }
        self.step(
            shared,
            partition,
            Input::DeleteRecords(DeleteRecords { token, before }),
        );
    }
}

/// Nobody damages stored bytes in this world: bytes that turn out bad are a broken promise.
fn corrupt(error: &dyn std::error::Error) -> crate::report::Violation {
    crate::report::Violation {
        invariant: "bad bytes are never served, and none were made",
        what: error.to_string(),
    }
}
