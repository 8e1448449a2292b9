//! The producer's protocol: which batch is sent where, when, with which sequence, and what became of it. Pure: events
//! and time come in, [`Effect`]s go out.
//!
//! What holds, whatever is lost, late or refused (`tests.rs` tries to break it):
//! - records of a partition are stored in the order of enqueueing, each at most once, if the producer is idempotent;
//! - at most `window` batches of a partition are in flight;
//! - every batch is resolved exactly once, and what is said of it is true;
//! - a batch that was ever sent is never sent under another identity.

mod lane;
mod link;
mod pump;
#[cfg(test)]
mod tests;
mod types;

pub(crate) use types::{Acked, BatchId, Closed, Effect, Identity, LaneId, Outcome, RequestId, Rules};

use crate::backoff::{Backoff, Jitter};
use crate::moment::Moment;
use crate::routing::Route;
use lane::{FlightState, Lane, Verdict};
use link::Links;
use pump::outcome_of;
use quipu_proto::Failure;
use quipu_record::{BrokerId, ErrorCode, LeaderEpoch, ProducerStamp, Sequence};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;
use types::is_elsewhere;

/// A broker that asks for more is not believed.
const THROTTLE_MAX: Duration = Duration::from_secs(10);

/// The producer's protocol.
#[derive(Debug)]
pub(crate) struct Core {
    rules: Rules,
    lanes: Vec<Lane>,
    links: Links,
    /// The newest identity; `None`: not idempotent.
    identity: Option<Identity>,
    identifying: bool,
    refresh: Refresh,
    requests: HashMap<RequestId, (LaneId, BrokerId)>,
    next_request: u64,
    timers: BTreeSet<(Moment, LaneId)>,
    unresolved: BTreeSet<BatchId>,
    /// Nothing is sent any more.
    ended: Option<Outcome>,
    jitter: Jitter,
    effects: VecDeque<Effect>,
}

/// Whether routes are to be asked for.
#[derive(Debug, Default)]
struct Refresh {
    wanted: bool,
    asked: bool,
    not_before: Moment,
    backoff: Backoff,
}

impl Core {
    pub(crate) fn new(rules: Rules, identity: Option<Identity>, seed: u64) -> Self {
        Self {
            rules,
            lanes: Vec::new(),
            links: Links::default(),
            identity,
            identifying: false,
            refresh: Refresh::default(),
            requests: HashMap::new(),
            next_request: 0,
            timers: BTreeSet::new(),
            unresolved: BTreeSet::new(),
            ended: None,
            jitter: Jitter::new(seed),
            effects: VecDeque::new(),
        }
    }

    /// A partition that will be sent to.
    pub(crate) fn add_lane(&mut self, route: Route) -> LaneId {
        self.lanes.push(Lane::new(route, self.identity));
        LaneId(self.lanes.len() - 1)
    }

    /// The next thing to do.
    pub(crate) fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Core::tick`] is wanted at the latest.
    pub(crate) fn next_tick(&self) -> Option<Moment> {
        let lane = self.timers.first().map(|(at, _)| *at);
        let refresh = (self.refresh.wanted && !self.refresh.asked).then_some(self.refresh.not_before);
        lane.into_iter().chain(refresh).min()
    }

    /// The oldest batch that is not resolved.
    pub(crate) fn oldest_unresolved(&self) -> Option<BatchId> {
        self.unresolved.first().copied()
    }

    /// A batch was closed. Batches of one lane come in the order of their ids.
    pub(crate) fn enqueue(&mut self, now: Moment, id: LaneId, batch: Closed) {
        self.unresolved.insert(batch.id);
        let lane = &mut self.lanes[id.0];
        lane.due = None;
        if let Some(end) = self.ended.clone() {
            self.resolve(id, batch.id, end);
            return;
        }
        lane.queue.push_back(batch);
        self.pump(now, id);
    }

    /// The bytes of a closed batch are there.
    pub(crate) fn sealed(&mut self, now: Moment, id: LaneId, batch: BatchId) {
        let queue = &mut self.lanes[id.0].queue;
        if let Some(closed) = queue.iter_mut().find(|closed| closed.id == batch) {
            closed.sealed = true;
            self.pump(now, id);
        }
    }

    /// A closed batch turned out to be no batch, and was never sent.
    pub(crate) fn unsealable(&mut self, now: Moment, id: LaneId, batch: BatchId, why: Failure) {
        let queue = &mut self.lanes[id.0].queue;
        if let Some(place) = queue.iter().position(|closed| closed.id == batch) {
            queue.remove(place);
            self.resolve(id, batch, Outcome::Rejected(why));
            self.pump(now, id);
        }
    }

    /// The lane's open batch has lingered: it is to be closed as soon as it can be sent, or at `deadline`.
    pub(crate) fn due(&mut self, now: Moment, id: LaneId, deadline: Moment) {
        if self.ended.is_some() {
            self.effects.push_back(Effect::Close { lane: id });
            return;
        }
        self.lanes[id.0].due.get_or_insert(deadline);
        self.pump(now, id);
    }

    /// A partition is led by this broker now.
    pub(crate) fn routed(&mut self, now: Moment, id: LaneId, route: Route) {
        let lane = &mut self.lanes[id.0];
        if route != lane.route {
            let moved = route.leader != lane.route.leader;
            lane.route = route;
            if moved {
                // The pause was for the old leader.
                lane.paused_until = now;
                if let Some(leader) = route.leader {
                    self.move_to(id, leader);
                }
            }
            self.pump(now, id);
        }
    }

    /// A new leader: nothing is awaited from the old one any more. It may be silent for long, and what it took in is
    /// stored by the new one or never, which the sequences tell. Without sequences its word is all there is, and is
    /// awaited.
    fn move_to(&mut self, id: LaneId, leader: BrokerId) {
        let lane = &mut self.lanes[id.0];
        if lane.identity.is_none() {
            return;
        }
        let left = lane.flights.iter().filter_map(|flight| match flight.state {
            FlightState::Waiting { request, broker, .. } if broker != leader => Some(request),
            _ => None,
        });
        for request in left.collect::<Vec<_>>() {
            self.requests.remove(&request);
            self.lost(id, request, "the leader has moved");
        }
    }

    /// The routes were asked for (and came, or did not).
    pub(crate) fn refreshed(&mut self, now: Moment) {
        self.refresh.asked = false;
        self.refresh.not_before = now.after(self.refresh.backoff.next(self.rules.backoff, &mut self.jitter));
        for id in 0..self.lanes.len() {
            if !self.lanes[id].idle() && self.lanes[id].route.leader.is_none() {
                self.pump(now, LaneId(id));
            }
        }
    }

    /// A link is open.
    pub(crate) fn link_up(&mut self, now: Moment, broker: BrokerId) {
        self.links.up(broker);
        self.pump_led_by(now, broker);
    }

    /// A link broke, or did not come to be.
    pub(crate) fn link_down(&mut self, now: Moment, broker: BrokerId, why: &str) {
        self.links.down(now, broker, self.rules.backoff, &mut self.jitter);
        let lost: Vec<_> = self
            .requests
            .iter()
            .filter(|(_, (_, at))| *at == broker)
            .map(|(id, _)| *id)
            .collect();
        let mut lanes = BTreeSet::new();
        for request in lost {
            if let Some((id, _)) = self.requests.remove(&request) {
                self.lost(id, request, why);
                lanes.insert(id);
            }
        }
        self.want_refresh(now);
        for id in lanes {
            why.clone_into(&mut self.lanes[id.0].last);
            self.pump(now, id);
        }
        for lane in &mut self.lanes {
            if lane.route.leader == Some(broker) {
                why.clone_into(&mut lane.last);
            }
        }
        self.pump_led_by(now, broker);
    }

    /// A sending will not be answered.
    fn lost(&mut self, id: LaneId, request: RequestId, why: &str) {
        let lane = &mut self.lanes[id.0];
        let Some(place) = lane.place_of(request) else {
            return;
        };
        lane.flights[place].state = FlightState::Again;
        lane.flights[place].clean = false;
        if lane.identity.is_none() {
            let last = why.to_owned();
            self.take_out(id, place, Outcome::Unknown { last });
        }
    }

    /// Whether a batch that is closed now is sent now, as far as the lane is concerned.
    pub(crate) fn has_room(&self, id: LaneId) -> bool {
        let lane = &self.lanes[id.0];
        lane.queue.is_empty() && lane.flights.len() < self.rules.window && lane.route.leader.is_some()
    }

    /// A broker asks for a pause before it is sent more.
    pub(crate) fn throttled(&mut self, now: Moment, broker: BrokerId, pause: Duration) {
        if !pause.is_zero() {
            self.links.hold(broker, now.after(pause.min(THROTTLE_MAX)));
        }
    }

    /// The lane of a request that is not answered yet.
    pub(crate) fn lane_of(&self, request: RequestId) -> Option<LaneId> {
        self.requests.get(&request).map(|(lane, _)| *lane)
    }

    /// What the next batch that is enqueued will have to carry, as far as can be foreseen.
    pub(crate) fn next_stamp(&self, id: LaneId) -> Option<ProducerStamp> {
        let lane = &self.lanes[id.0];
        let waiting = lane
            .queue
            .iter()
            .fold(0u32, |sum, batch| sum.wrapping_add(batch.records));
        // Without flights the lane takes the newest identity before it sends.
        let renewed = lane.flights.is_empty() && lane.identity != self.identity;
        let (identity, from) = if renewed || lane.identity_lost {
            (self.identity?, Sequence::FIRST)
        } else {
            (lane.identity?, lane.next_sequence)
        };
        Some(ProducerStamp {
            id: identity.id,
            epoch: identity.epoch,
            base_sequence: from.plus(waiting),
        })
    }

    /// A broker answered. Answers to what was given up are ignored.
    pub(crate) fn answered(&mut self, now: Moment, request: RequestId, answer: Result<Acked, Failure>) {
        let Some((id, broker)) = self.requests.remove(&request) else {
            return;
        };
        let lane = &mut self.lanes[id.0];
        let Some(place) = lane.place_of(request) else {
            return;
        };
        match answer {
            Ok(acked) => {
                lane.backoff.reset();
                lane.paused_until = now;
                self.links.works(broker);
                self.refresh.backoff.reset();
                self.take_out(id, place, Outcome::Acked(acked));
            }
            Err(failure) => self.refused(now, id, place, failure),
        }
        self.pump(now, id);
    }

    fn refused(&mut self, now: Moment, id: LaneId, place: usize, failure: Failure) {
        let lane = &mut self.lanes[id.0];
        lane.last = failure.to_string();
        if failure.retryable && lane.paused_until <= now {
            let pause = lane.backoff.next(self.rules.backoff, &mut self.jitter);
            lane.paused_until = now.after(failure.retry_after.unwrap_or(pause));
        }
        let verdict = lane.judge(place, &failure);
        if is_elsewhere(failure.code) {
            self.want_refresh(now);
        }
        let lane = &mut self.lanes[id.0];
        match verdict {
            // Once nothing is Waiting.
            Verdict::Again => {}
            Verdict::Stored => {
                let acked = Acked {
                    base_offset: None,
                    leader_epoch: LeaderEpoch::FIRST,
                    durability: None,
                    duplicate: true,
                    append_time: None,
                };
                self.take_out(id, place, Outcome::Acked(acked));
            }
            Verdict::Refused => {
                let outcome = outcome_of(&lane.flights[place], &failure);
                let gone = self.take_out(id, place, outcome);
                self.lanes[id.0].close_gap(&gone);
            }
            Verdict::IdentityLost => {
                let fenced =
                    failure.code == ErrorCode::InvalidProducerEpoch && lane.identity == self.identity;
                if fenced {
                    self.end(Outcome::Rejected(failure));
                } else {
                    lane.lose_identity(failure);
                }
            }
            Verdict::Unknown => {
                let last = failure.to_string();
                self.take_out(id, place, Outcome::Unknown { last });
            }
        }
    }

    /// There is a newer identity.
    pub(crate) fn identified(&mut self, now: Moment, identity: Identity) {
        self.identifying = false;
        self.identity = Some(identity);
        for id in 0..self.lanes.len() {
            if self.lanes[id].identity_lost {
                self.pump(now, LaneId(id));
            }
        }
    }

    /// A newer identity could not be had; it is asked for again after a pause.
    pub(crate) fn not_identified(&mut self, now: Moment, why: &Failure) {
        self.identifying = false;
        if !why.retryable {
            self.end(Outcome::Rejected(why.clone()));
            return;
        }
        for id in 0..self.lanes.len() {
            let lane = &mut self.lanes[id];
            if lane.identity_lost {
                lane.last = why.to_string();
                lane.paused_until = now.after(lane.backoff.next(self.rules.backoff, &mut self.jitter));
                self.pump(now, LaneId(id));
            }
        }
    }

    /// Time went on.
    pub(crate) fn tick(&mut self, now: Moment) {
        while let Some(&(at, id)) = self.timers.first() {
            if at > now {
                break;
            }
            self.timers.remove(&(at, id));
            self.lanes[id.0].timer = None;
            self.pump(now, id);
        }
        self.try_refresh(now);
    }

    /// Nothing is sent any more: what waits gets `outcome`, and of what was sent nobody knows.
    pub(crate) fn end(&mut self, outcome: Outcome) {
        for id in (0..self.lanes.len()).map(LaneId) {
            while let Some(batch) = self.lanes[id.0].queue.pop_front() {
                self.resolve(id, batch.id, outcome.clone());
            }
            while let Some(flight) = self.lanes[id.0].flights.front() {
                let outcome = if flight.clean && !flight.waiting() {
                    outcome.clone()
                } else {
                    let last = self.lanes[id.0].last.clone();
                    Outcome::Unknown { last }
                };
                self.take_out(id, 0, outcome);
            }
            if self.lanes[id.0].due.take().is_some() {
                self.effects.push_back(Effect::Close { lane: id });
            }
            self.set_timer(id, None);
        }
        self.ended.get_or_insert(outcome);
    }

    /// Whether the producer was ended from without: another took its identity over.
    pub(crate) fn ended(&self) -> Option<&Outcome> {
        self.ended.as_ref()
    }
}
