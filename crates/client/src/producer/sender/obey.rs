//! What the core says is done.

use super::{Event, Lane, Link, Sender};
use crate::producer::answer;
use crate::producer::body::Outgoing;
use crate::producer::core::{BatchId, Effect, LaneId, Outcome, RequestId};
use crate::producer::identity;
use crate::producer::stream::{self, LinkId};
use crate::routing::{ROUTES_AGE_MAX, lock};
use quipu_proto::{frame_of_encoded, v1};
use quipu_record::{BrokerId, ProducerStamp};
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::mpsc;

impl Sender {
    /// Does what the core says.
    pub(super) fn obey(&mut self) {
        while let Some(effect) = self.core.next_effect() {
            match effect {
                Effect::Send {
                    broker,
                    request,
                    batch,
                    lane,
                    stamp,
                    again,
                } => {
                    self.send(broker, request, batch, lane, stamp, again);
                }
                Effect::Resolve { batch, lane, outcome } => {
                    self.resolve(batch, outcome);
                    self.note_room(lane);
                }
                Effect::Close { lane } => {
                    let lane = &self.lanes[lane.0];
                    if let Some(unsealed) = lane.slot.close_now(&self.shared, &lane.topic) {
                        unsealed.seal(&self.shared);
                    }
                }
                Effect::Connect { broker } => self.connect(broker),
                Effect::Disconnect { broker } => {
                    if let Some(link) = self.links.remove(&broker) {
                        link.task.abort();
                    }
                }
                Effect::Refresh => self.refresh(),
                Effect::Identify { previous } => {
                    let shared = self.shared.clone();
                    tokio::spawn(async move {
                        let identity = identity::raise(&shared.cluster, previous).await;
                        shared.tell(Event::Identity(identity));
                    });
                }
            }
        }
        if let (Some(Outcome::Rejected(failure)), false) = (self.core.ended(), self.shared.is_closed()) {
            self.shared.fence(failure.clone());
            self.close_all();
        }
    }

    fn send(
        &mut self,
        broker: BrokerId,
        request: RequestId,
        batch: BatchId,
        lane: LaneId,
        stamp: Option<ProducerStamp>,
        again: bool,
    ) {
        let (Some(in_hand), Some(link)) = (self.batches.get_mut(&batch), self.links.get(&broker)) else {
            return;
        };
        let Lane {
            topic,
            slot,
            enqueued_records,
        } = &self.lanes[lane.0];
        if in_hand.stamp != stamp {
            // It was sealed for another place in the line. What we sealed can be read again.
            if let Ok(bytes) = answer::restamp(&in_hand.bytes, stamp) {
                in_hand.bytes = bytes;
                in_hand.stamp = stamp;
            }
            slot.expect(self.core.next_stamp(lane), *enqueued_records);
        }
        let counters = &self.shared.counters;
        if again {
            counters.retries.fetch_add(1, Relaxed);
        } else {
            in_hand.sent = true;
            counters.batches.fetch_add(1, Relaxed);
            counters.bytes.fetch_add(in_hand.bytes.len() as u64, Relaxed);
            counters.unacknowledged_batches.fetch_add(1, Relaxed);
        }
        let config = &self.shared.config;
        let batch = in_hand.bytes.clone();
        let request = v1::ProduceStreamRequest {
            request_id: request.0,
            batch: Some(answer::address(topic, slot.partition)),
            acks: v1::Acks::from(config.acks).into(),
            timeout_ms: u32::try_from(config.request_timeout.as_millis()).unwrap_or(u32::MAX),
            routing: v1::Routing::LeaderOnly.into(),
        };
        // A batch that is too long for gRPC is longer than any topic takes, and was refused when it was appended.
        if let Some(head) = frame_of_encoded(request, batch.len()) {
            // If the link is gone its task says so.
            let _ = link.requests.send(Outgoing { head, batch });
        }
    }

    pub(super) fn resolve(&mut self, batch: BatchId, outcome: Outcome) {
        let Some(in_hand) = self.batches.remove(&batch) else {
            return;
        };
        let counters = &self.shared.counters;
        if in_hand.sent {
            counters.unacknowledged_batches.fetch_sub(1, Relaxed);
        }
        let records = u64::from(in_hand.records);
        in_hand.state.resolve(outcome, |result| match result {
            Err(error) => {
                let counter = if error.outcome_unknown() {
                    &counters.unknown
                } else {
                    &counters.failed
                };
                counter.fetch_add(records, Relaxed);
                lock(&self.shared.losses).add(in_hand.records, error);
            }
            Ok(_) => {
                counters.acknowledged.fetch_add(records, Relaxed);
            }
        });
        let batch_bytes = in_hand.bytes.len();
        drop(in_hand.bytes);
        if let Some(builder) = in_hand.builder {
            self.shared.keep(builder, batch_bytes);
        }
        self.shared.give_back(in_hand.reserved);
    }

    fn connect(&mut self, broker: BrokerId) {
        let id = LinkId {
            broker,
            number: self.next_link,
        };
        self.next_link += 1;
        let (requests, to_send) = mpsc::unbounded_channel();
        // The other end is in our hand.
        let _ = requests.send(stream::hello());
        let address = self.shared.cluster.address(broker);
        let task = tokio::spawn(stream::run(self.shared.clone(), id, address, to_send)).abort_handle();
        self.links.insert(broker, Link { id, requests, task });
    }

    pub(super) fn refresh(&mut self) {
        self.routes_at = self.shared.now().after(ROUTES_AGE_MAX);
        let shared = self.shared.clone();
        tokio::spawn(async move {
            let names = shared.topic_names();
            let names: Vec<&str> = names.iter().map(|name| &**name).collect();
            // No name at all would ask for every topic.
            let asked = if names.is_empty() {
                Ok(())
            } else {
                shared.cluster.refresh(&names).await
            };
            shared.tell(Event::Routes(asked));
        });
    }
}
