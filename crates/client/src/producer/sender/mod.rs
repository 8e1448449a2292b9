//! The producer's one task: feeds the core with what happens, and does what the core says.

mod obey;

use super::accumulator::{Builder, ClosedBatch, Sealed, Slot, TopicState};
use super::answer;
use super::body::Outgoing;
use super::core::{BatchId, Closed, Core, Effect, Identity, LaneId, Outcome, RequestId, Rules};
use super::delivery::BatchState;
use super::shared::Shared;
use super::stream::LinkId;
use crate::error::CallError;
use crate::moment::Moment;
use crate::routing::{ROUTES_AGE_MAX, Route};
use bytes::Bytes;
use quipu_proto::{Failure, v1};
use quipu_record::{BrokerId, ProducerStamp};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::timeout_at;

/// Batches of one partition in flight at most: what brokers remember (`docs/format.md`).
const WINDOW: usize = 5;
/// A broker that was given the request timeout gets so much more to say that it ran out.
const ANSWER_GRACE: Duration = Duration::from_secs(5);
/// Events taken at once.
const EVENTS_MAX: usize = 256;

/// What can happen to a producer.
#[derive(Debug)]
pub(super) enum Event {
    AddLane {
        topic: Arc<TopicState>,
        slot: Arc<Slot>,
        route: Route,
    },
    /// A batch has its first record.
    Opened {
        lane: LaneId,
        number: u64,
        since: Moment,
    },
    Closed(ClosedBatch),
    Sealed {
        lane: LaneId,
        id: BatchId,
        sealed: Sealed,
    },
    Flush(oneshot::Sender<()>),
    /// All that a flush closed was told.
    AllClosed(oneshot::Sender<()>),
    /// Nobody will send any more: resolve what there is, then end.
    End(Option<oneshot::Sender<()>>),
    LinkUp {
        link: LinkId,
    },
    LinkDown {
        link: LinkId,
        why: String,
    },
    Answer {
        link: LinkId,
        answer: Box<v1::ProduceStreamResponse>,
    },
    Routes(Result<(), CallError>),
    Identity(Result<Identity, Failure>),
}

pub(super) struct Sender {
    shared: Arc<Shared>,
    events: mpsc::UnboundedReceiver<Event>,
    core: Core,
    lanes: Vec<Lane>,
    batches: HashMap<BatchId, InHand>,
    links: HashMap<BrokerId, Link>,
    next_link: u64,
    /// Open batches by age.
    lingering: VecDeque<Lingering>,
    /// Each waits until every batch below is resolved.
    flushes: Vec<(BatchId, oneshot::Sender<()>)>,
    ending: bool,
    enders: Vec<oneshot::Sender<()>>,
    routes_at: Moment,
}

struct Lane {
    topic: Arc<TopicState>,
    slot: Arc<Slot>,
    /// Records in batches that the core knows.
    enqueued_records: u64,
}

struct InHand {
    state: Arc<BatchState>,
    records: u32,
    reserved: usize,
    bytes: Bytes,
    stamp: Option<ProducerStamp>,
    builder: Option<Builder>,
    sent: bool,
}

struct Link {
    id: LinkId,
    requests: mpsc::UnboundedSender<Outgoing>,
    task: AbortHandle,
}

struct Lingering {
    lane: LaneId,
    number: u64,
    since: Moment,
}

impl Sender {
    pub(super) fn new(shared: Arc<Shared>, events: mpsc::UnboundedReceiver<Event>) -> Self {
        let rules = Rules {
            window: if shared.config.idempotent { WINDOW } else { 1 },
            answer_within: shared.config.request_timeout.saturating_add(ANSWER_GRACE),
            backoff: shared.cluster.backoff_limits(),
        };
        Self {
            core: Core::new(rules, shared.first_identity, rand::random()),
            routes_at: shared.now().after(ROUTES_AGE_MAX),
            shared,
            events,
            lanes: Vec::new(),
            batches: HashMap::new(),
            links: HashMap::new(),
            next_link: 0,
            lingering: VecDeque::new(),
            flushes: Vec::new(),
            ending: false,
            enders: Vec::new(),
        }
    }

    /// Runs until the producer has ended and all is resolved.
    pub(super) async fn run(mut self) {
        let mut taken = Vec::with_capacity(EVENTS_MAX);
        loop {
            let next = self.shared.instant(self.next_deadline()).into();
            // Without an event in time there is still something due.
            let _ = timeout_at(next, self.events.recv_many(&mut taken, EVENTS_MAX)).await;
            let now = self.shared.now();
            if self.routes_at <= now {
                self.refresh();
            }
            for event in taken.drain(..) {
                self.on(now, event);
                self.obey();
            }
            self.linger(now);
            self.core.tick(now);
            self.obey();
            self.finish_flushes();
            if self.ending && self.core.oldest_unresolved().is_none() && self.events.is_empty() {
                self.shared.stop_waiting();
                return;
            }
        }
    }

    fn next_deadline(&self) -> Moment {
        let oldest = self
            .lingering
            .front()
            .map(|oldest| oldest.since.after(self.shared.config.linger));
        oldest
            .into_iter()
            .chain(self.core.next_tick())
            .fold(self.routes_at, Moment::min)
    }

    fn on(&mut self, now: Moment, event: Event) {
        match event {
            Event::AddLane { topic, slot, route } => {
                let id = self.core.add_lane(route);
                debug_assert_eq!(id, slot.lane);
                self.lanes.push(Lane {
                    topic,
                    slot,
                    enqueued_records: 0,
                });
            }
            Event::Opened { lane, number, since } => {
                self.lingering.push_back(Lingering { lane, number, since })
            }
            Event::Closed(batch) => self.on_closed(now, batch),
            Event::Sealed { lane, id, sealed } => self.on_sealed(now, lane, id, sealed),
            Event::Flush(done) => {
                self.close_all();
                // What was just closed is told before this, and so is known to the core when this comes.
                self.shared.tell(Event::AllClosed(done));
            }
            Event::AllClosed(done) => self.flushes.push((self.shared.batch_ids_end(), done)),
            Event::End(done) => {
                self.shared.close();
                self.close_all();
                self.ending = true;
                self.enders.extend(done);
            }
            Event::LinkUp { link } => {
                if self.is_current(link) {
                    self.core.link_up(now, link.broker);
                }
            }
            Event::LinkDown { link, why } => {
                if self.is_current(link) {
                    self.links.remove(&link.broker);
                    self.core.link_down(now, link.broker, &why);
                }
            }
            Event::Answer { link, answer } => {
                if self.is_current(link) {
                    let pause = Duration::from_millis(answer.throttle_ms.into());
                    self.core.throttled(now, link.broker, pause);
                    if let Some(request) = answer.request_id {
                        self.on_answer(now, RequestId(request), answer.result);
                    }
                }
            }
            Event::Routes(asked) => self.on_routes(now, asked),
            Event::Identity(Ok(identity)) => self.core.identified(now, identity),
            Event::Identity(Err(failure)) => self.core.not_identified(now, &failure),
        }
    }

    fn is_current(&self, link: LinkId) -> bool {
        self.links
            .get(&link.broker)
            .is_some_and(|current| current.id == link)
    }

    fn on_closed(&mut self, now: Moment, batch: ClosedBatch) {
        self.lanes[batch.lane.0].enqueued_records += u64::from(batch.records);
        self.shared
            .counters
            .records
            .fetch_add(batch.records.into(), Relaxed);
        let in_hand = InHand {
            state: batch.state,
            records: batch.records,
            reserved: batch.reserved,
            bytes: Bytes::new(),
            stamp: None,
            builder: None,
            sent: false,
        };
        self.batches.insert(batch.id, in_hand);
        let closed = Closed {
            id: batch.id,
            records: batch.records,
            deadline: batch.since.after(self.shared.config.delivery_timeout),
            sealed: false,
        };
        self.core.enqueue(now, batch.lane, closed);
        self.note_room(batch.lane);
    }

    fn on_sealed(&mut self, now: Moment, lane: LaneId, id: BatchId, sealed: Sealed) {
        let Some(in_hand) = self.batches.get_mut(&id) else {
            return;
        };
        match sealed.bytes {
            Ok(bytes) => {
                in_hand.bytes = bytes;
                in_hand.stamp = sealed.stamp;
                in_hand.builder = Some(sealed.builder);
                self.core.sealed(now, lane, id);
            }
            Err(error) => {
                let failure = Failure::new(error.code(), error.to_string());
                self.core.unsealable(now, lane, id, failure);
            }
        }
    }

    fn on_answer(&mut self, now: Moment, request: RequestId, result: Option<v1::BatchResult>) {
        let Some(lane) = self.core.lane_of(request) else {
            return;
        };
        let answer = answer::read(result);
        let failure = answer.as_ref().err().cloned();
        self.core.answered(now, request, answer);
        let Some(failure) = failure else {
            return;
        };
        tracing::debug!(topic = %self.lanes[lane.0].topic.name, %failure, "a batch was refused");
        let Lane { topic, slot, .. } = &self.lanes[lane.0];
        if answer::topic_is_gone(failure.code) {
            topic.gone.store(true, Relaxed);
            self.shared.cluster.forget(&topic.name);
        }
        if let Some(hint) = &failure.leader
            && self
                .shared
                .cluster
                .hint(&topic.name, topic.id, slot.partition, hint)
        {
            self.take_routes(now, &topic.name.clone());
        }
    }

    fn on_routes(&mut self, now: Moment, asked: Result<(), CallError>) {
        match asked {
            Ok(()) => {
                for name in self.shared.topic_names() {
                    self.take_routes(now, &name);
                }
            }
            Err(error) => tracing::warn!(%error, "the producer does not know where to send"),
        }
        self.core.refreshed(now);
    }

    /// Tells the core what is known of a topic's leaders.
    fn take_routes(&mut self, now: Moment, name: &str) {
        let Some(news) = self.shared.cluster.known_topic(name) else {
            return;
        };
        if self
            .shared
            .known_topic(name)
            .is_some_and(|topic| topic.id == news.id)
        {
            // There may be more partitions than before.
            let topic = self.shared.take_topic(name, &news);
            for (slot, route) in topic.slots.load().iter().zip(&news.partitions) {
                slot.led.store(route.leader.is_some(), Relaxed);
                // A new lane is not in the core yet, and has its route from the beginning.
                if slot.lane.0 < self.lanes.len() {
                    self.core.routed(now, slot.lane, *route);
                }
            }
        }
    }

    /// Batches that are old enough are to be sent.
    fn linger(&mut self, now: Moment) {
        let linger = self.shared.config.linger;
        while let Some(oldest) = self.lingering.front()
            && oldest.since.after(linger) <= now
        {
            let Lingering { lane, number, since } = *oldest;
            self.lingering.pop_front();
            if self.lanes[lane.0].slot.is_open(number) {
                self.core
                    .due(now, lane, since.after(self.shared.config.delivery_timeout));
            }
        }
    }

    /// Whoever appends to a lane knows whether its batch could be sent.
    fn note_room(&self, lane: LaneId) {
        let busy = !self.core.has_room(lane);
        let Lane { topic, slot, .. } = &self.lanes[lane.0];
        let was_busy = slot.busy.swap(busy, Relaxed);
        if was_busy && !busy {
            // It has waited for this, and need not linger.
            let grown = slot.close_grown(&self.shared, topic, self.shared.config.batch_bytes);
            grown.into_iter().for_each(|unsealed| unsealed.seal(&self.shared));
        }
    }

    fn close_all(&self) {
        for lane in &self.lanes {
            if let Some(unsealed) = lane.slot.close_now(&self.shared, &lane.topic) {
                unsealed.seal(&self.shared);
            }
        }
    }

    fn finish_flushes(&mut self) {
        let oldest = self.core.oldest_unresolved();
        let done = |upto: &BatchId| oldest.is_none_or(|oldest| oldest >= *upto);
        for (_, waiter) in self.flushes.extract_if(.., |(upto, _)| done(upto)) {
            // Whoever asked may have stopped waiting.
            let _ = waiter.send(());
        }
    }
}

/// Whoever holds a handle is told, even if the runtime goes down with batches on their way.
impl Drop for Sender {
    fn drop(&mut self) {
        self.shared.close();
        self.shared.stop_waiting();
        self.core.end(Outcome::Closed);
        self.close_all();
        let now = self.shared.now();
        while let Ok(event) = self.events.try_recv() {
            self.on(now, event);
        }
        while let Some(effect) = self.core.next_effect() {
            if let Effect::Resolve { batch, outcome, .. } = effect {
                self.resolve(batch, outcome);
            }
        }
        for link in self.links.values() {
            link.task.abort();
        }
        for waiter in self
            .flushes
            .drain(..)
            .map(|(_, waiter)| waiter)
            .chain(self.enders.drain(..))
        {
            let _ = waiter.send(());
        }
    }
}
