//! How a session delivers: its cursors' turns, from memory, from files, and from other brokers.

use super::cursor::{Place, There};
use super::frame::stopped;
use super::remote;
use super::session::Session;
use crate::service::read::{self, Batches};
use quipu_proto::v1::consume_response::Message;
use quipu_proto::{Failure, v1};
use quipu_record::Offset;
use quipu_replication::ReadError;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// A read of files that is under way.
pub(super) struct Reading {
    key: u32,
    moves: u32,
    limit: Offset,
    pub(super) batches: Pin<Box<dyn Future<Output = Result<Batches, Failure>> + Send>>,
}

impl Session {
    /// Makes the next frame, if there is credit and anything to deliver, or begins to read what is not in memory.
    pub(super) fn advance(&mut self) {
        while self.outbox.is_empty() && self.reading.is_none() && self.credits.open() {
            if self.hosting.is_some() {
                // Before anything goes out: whether it still may.
                self.obey_member();
            }
            let Some(key) = self.cursors.dequeue() else {
                if self.ask_others() {
                    continue;
                }
                return;
            };
            if let Err(failure) = self.deliver(key) {
                self.stop(key, failure);
            }
        }
    }

    /// Asks other brokers for what is wanted of them; true if this broker leads some of it by now.
    fn ask_others(&mut self) -> bool {
        let room = self.delivery.room(&self.credits);
        let (plane, listener) = (&self.plane, &self.context.listener);
        let here = self.remote.ask(plane, listener, &mut self.cursors, room);
        for key in &here {
            let cursor = self.cursors.get(*key);
            if let Some(replica) = plane.topics.replica(cursor.place.at()) {
                cursor.place = Place::Here(replica);
            }
            self.cursors.enqueue(*key);
        }
        !here.is_empty()
    }

    /// Delivers what another broker has of a partition.
    pub(super) fn answered(&mut self, key: u32, data: v1::PartitionData) {
        if let Some(error) = data.error {
            let failure = Failure::from(error);
            if remote::passes(failure.code) {
                return self.remote.later(key);
            }
            return self.stop(key, failure);
        }
        let cursor = self.cursors.get(key);
        if let Place::There(there) = &mut cursor.place {
            there.leader_epoch = data.leader_epoch;
            there.high_watermark = data.high_watermark;
            there.log_start = data.log_start;
        }
        let encoded = data.encoded.unwrap_or_default().into_bytes();
        if encoded.is_empty() || !self.credits.open() {
            // Without credit it is asked for again.
            return self.cursors.enqueue(key);
        }
        match self
            .delivery
            .frame(cursor, Batches::Stored(encoded), &mut self.credits)
        {
            Ok(frame) => self.delivered(key, frame),
            Err(failure) => self.stop(key, failure),
        }
    }

    /// Does one cursor's turn.
    fn deliver(&mut self, key: u32) -> Result<(), Failure> {
        let cursor = self.cursors.get(key);
        if cursor.decoder.is_some() {
            let frame = self.delivery.decode(cursor, &mut self.credits)?;
            self.delivered(key, frame);
            return Ok(());
        }
        let Place::Here(replica) = &cursor.place else {
            self.remote.want(key, cursor.moves);
            return Ok(());
        };
        let replica = Arc::clone(replica);
        let view = replica.view();
        let limit = match view.read_limit(cursor.next, None) {
            Ok(limit) if limit > cursor.next => limit,
            Ok(_) => {
                replica.wait(&mut self.waiter, key, cursor.next, &view);
                return Ok(());
            }
            Err(ReadError::NotAvailable) => {
                replica.wait(&mut self.waiter, key, view.high_watermark, &view);
                return Ok(());
            }
            // Another broker will lead it, if it does not yet.
            Err(ReadError::NotLeader)
                if self.forward && self.plane.image.load().partition(replica.at).is_some() =>
            {
                cursor.place = Place::There(There {
                    topic: Arc::clone(&replica.topic),
                    at: replica.at,
                    leader_epoch: 0,
                    high_watermark: view.high_watermark.get(),
                    log_start: view.log_start.get(),
                });
                self.remote.want(key, cursor.moves);
                return Ok(());
            }
            Err(error) => {
                let listener = &self.context.listener;
                return Err(self.plane.read_refused(&error, &replica, listener));
            }
        };
        let room = self.delivery.room(&self.credits);
        if let Some(batches) = read::read_tail(&replica, cursor.next, limit, room) {
            let before = cursor.next;
            let frame = self.delivery.frame(cursor, batches, &mut self.credits)?;
            if cursor.next == before {
                // The batch there is not readable as a whole yet.
                replica.wait(&mut self.waiter, key, limit, &view);
                return Ok(());
            }
            self.delivered(key, frame);
            return Ok(());
        }
        self.reading = Some(Reading {
            key,
            moves: cursor.moves,
            limit,
            batches: Box::pin(read::read_stored(&self.plane, &replica, cursor.next, limit, room)),
        });
        Ok(())
    }

    pub(super) fn read_done(&mut self, reading: &Reading, batches: Result<Batches, Failure>) {
        let key = reading.key;
        let cursor = self.cursors.get(key);
        if cursor.moves != reading.moves || !cursor.is_active() {
            // Nobody wants it any more; a cursor that was paused reads it again.
            return;
        }
        let before = cursor.next;
        let frame = batches.and_then(|batches| self.delivery.frame(cursor, batches, &mut self.credits));
        match frame {
            Ok(None) if cursor.next == before => {
                if let Place::Here(replica) = &cursor.place {
                    let view = replica.view();
                    replica.wait(&mut self.waiter, key, reading.limit, &view);
                }
            }
            Ok(frame) => self.delivered(key, frame),
            Err(failure) => self.stop(key, failure),
        }
    }

    /// A frame, if there is one, goes out, and its cursor stands in line again.
    fn delivered(&mut self, key: u32, frame: Option<v1::PartitionData>) {
        self.cursors.enqueue(key);
        if let Some(mut frame) = frame {
            if let Some(hosting) = &mut self.hosting {
                hosting.sent(self.cursors.place(key).at(), &mut frame);
            }
            self.push(Message::Data(frame));
        }
    }

    fn stop(&mut self, key: u32, failure: Failure) {
        self.plane.metrics.error(self.context.api, failure.code);
        self.cursors.stop(key);
        let mut frame = stopped(self.cursors.get(key), failure);
        if let Some(hosting) = &mut self.hosting {
            hosting.sent(self.cursors.place(key).at(), &mut frame);
        }
        self.push(Message::Data(frame));
    }
}
