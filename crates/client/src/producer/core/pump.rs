//! What the core does on its own: whenever something happened to a lane, all that can be done for it now.

use super::Core;
use super::lane::{Broken, Flight, FlightState};
use super::types::{BatchId, Effect, LaneId, Outcome, RequestId};
use crate::moment::Moment;
use quipu_proto::Failure;
use quipu_record::{BrokerId, ErrorCode, ProducerStamp, Sequence};

impl Core {
    /// Does for a lane what can be done now.
    pub(super) fn pump(&mut self, now: Moment, id: LaneId) {
        if self.ended.is_none() {
            self.expire(now, id);
            self.give_up_overdue(now, id);
            self.settle(id);
            self.send_what_can_be_sent(now, id);
        }
        let lane = &self.lanes[id.0];
        let mut timer = lane.next_timer(now, self.rules.answer_within);
        if let (false, Some(broker)) = (lane.idle(), lane.route.leader) {
            let link = self.links.next_attempt(broker).filter(|at| *at > now);
            timer = timer.into_iter().chain(link).min();
        }
        self.set_timer(id, timer);
    }

    pub(super) fn set_timer(&mut self, id: LaneId, at: Option<Moment>) {
        let lane = &mut self.lanes[id.0];
        if lane.timer != at {
            if let Some(old) = lane.timer {
                self.timers.remove(&(old, id));
            }
            lane.timer = at;
            self.timers.extend(at.map(|at| (at, id)));
        }
    }

    pub(super) fn pump_led_by(&mut self, now: Moment, broker: BrokerId) {
        for id in 0..self.lanes.len() {
            if self.lanes[id].route.leader == Some(broker) && !self.lanes[id].idle() {
                self.pump(now, LaneId(id));
            }
        }
    }

    /// Gives up what is too old.
    fn expire(&mut self, now: Moment, id: LaneId) {
        let lane = &mut self.lanes[id.0];
        if lane.due.is_some_and(|deadline| deadline <= now) {
            lane.due = None;
            self.effects.push_back(Effect::Close { lane: id });
        }
        while let Some(batch) = self.lanes[id.0].take_first_if(|batch| batch.deadline <= now) {
            let last = self.lanes[id.0].last.clone();
            self.resolve(id, batch.id, Outcome::Expired { last });
        }
        while let Some(place) = self.lanes[id.0]
            .flights
            .iter()
            .position(|flight| flight.deadline <= now)
        {
            let lane = &mut self.lanes[id.0];
            let last = lane.last.clone();
            let flight = &mut lane.flights[place];
            flight.clean &= !flight.waiting();
            let outcome = if flight.clean {
                Outcome::Expired { last }
            } else {
                Outcome::Unknown { last }
            };
            let gone = self.take_out(id, place, outcome);
            self.lanes[id.0].close_gap(&gone);
        }
    }

    /// Gives up links on which an answer is overdue.
    fn give_up_overdue(&mut self, now: Moment, id: LaneId) {
        let within = self.rules.answer_within;
        let overdue = self.lanes[id.0]
            .flights
            .iter()
            .find_map(|flight| match flight.state {
                FlightState::Waiting { broker, since, .. } if since.after(within) <= now => Some(broker),
                _ => None,
            });
        if let Some(broker) = overdue {
            self.effects.push_back(Effect::Disconnect { broker });
            let why = format!("broker {broker} did not answer within {within:?}");
            self.link_down(now, broker, &why);
        }
    }

    /// Decides what becomes of a broken lane's flights, once all of them are answered.
    fn settle(&mut self, id: LaneId) {
        let lane = &mut self.lanes[id.0];
        if lane.any_waiting() {
            return;
        }
        match lane.broken.take() {
            None => {}
            Some(Broken::Gap { at }) if lane.move_up(at) => {}
            Some(Broken::Gap { .. }) => {
                let why = format!("a batch before it was refused: {}", lane.last);
                lane.lose_identity(Failure::new(ErrorCode::OutOfOrderSequence, why));
                self.settle(id);
            }
            Some(Broken::Identity { why }) => {
                lane.identity_lost = true;
                while let Some(flight) = self.lanes[id.0].flights.front() {
                    let outcome = outcome_of(flight, &why);
                    self.take_out(id, 0, outcome);
                }
            }
        }
    }

    fn send_what_can_be_sent(&mut self, now: Moment, id: LaneId) {
        let lane = &mut self.lanes[id.0];
        if lane.broken.is_some() || lane.idle() {
            return;
        }
        if lane.flights.is_empty() && lane.identity != self.identity {
            lane.identity = self.identity;
            lane.identity_lost = false;
            lane.next_sequence = Sequence::FIRST;
        }
        if lane.paused_until > now {
            return;
        }
        if lane.identity_lost {
            self.want_identity(id);
            return;
        }
        let Some(broker) = lane.route.leader else {
            "the partition has no leader".clone_into(&mut lane.last);
            self.want_refresh(now);
            return;
        };
        if !self.links.is_up(broker) {
            if self.links.try_connect(now, broker) {
                self.effects.push_back(Effect::Connect { broker });
            }
            return;
        }
        if self.links.is_held(now, broker) {
            return;
        }
        let lane = &mut self.lanes[id.0];
        if lane.any_again() {
            if lane.any_waiting() {
                return;
            }
            for place in 0..self.lanes[id.0].flights.len() {
                self.send(now, id, place, broker, true);
            }
        }
        self.send_new(now, id, broker);
    }

    fn send_new(&mut self, now: Moment, id: LaneId, broker: BrokerId) {
        loop {
            let lane = &mut self.lanes[id.0];
            if lane.flights.len() >= self.rules.window {
                return;
            }
            let Some(batch) = lane.take_first_if(|batch| batch.sealed) else {
                break;
            };
            let flight = Flight {
                batch: batch.id,
                records: batch.records,
                deadline: batch.deadline,
                sequence: lane.next_sequence,
                state: FlightState::Again,
                clean: true,
                sent_first_in_line: false,
            };
            lane.next_sequence = flight.end();
            lane.flights.push_back(flight);
            let place = lane.flights.len() - 1;
            self.send(now, id, place, broker, false);
        }
        let lane = &mut self.lanes[id.0];
        if lane.queue.is_empty() && lane.due.take().is_some() {
            self.effects.push_back(Effect::Close { lane: id });
        }
    }

    fn send(&mut self, now: Moment, id: LaneId, place: usize, broker: BrokerId, again: bool) {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        self.requests.insert(request, (id, broker));
        let lane = &mut self.lanes[id.0];
        let flight = &mut lane.flights[place];
        flight.state = FlightState::Waiting {
            request,
            broker,
            since: now,
        };
        flight.sent_first_in_line = place == 0;
        let stamp = lane.identity.map(|identity| ProducerStamp {
            id: identity.id,
            epoch: identity.epoch,
            base_sequence: flight.sequence,
        });
        self.effects.push_back(Effect::Send {
            broker,
            request,
            batch: flight.batch,
            lane: id,
            stamp,
            again,
        });
    }

    fn want_identity(&mut self, id: LaneId) {
        if let (false, Some(previous)) = (self.identifying, self.lanes[id.0].identity) {
            self.identifying = true;
            self.effects.push_back(Effect::Identify { previous });
        }
    }

    pub(super) fn want_refresh(&mut self, now: Moment) {
        self.refresh.wanted = true;
        self.try_refresh(now);
    }

    pub(super) fn try_refresh(&mut self, now: Moment) {
        if self.refresh.wanted
            && !self.refresh.asked
            && self.refresh.not_before <= now
            && self.ended.is_none()
        {
            self.refresh.wanted = false;
            self.refresh.asked = true;
            self.effects.push_back(Effect::Refresh);
        }
    }

    /// Resolves a flight and takes it out of the line.
    pub(super) fn take_out(&mut self, id: LaneId, place: usize, outcome: Outcome) -> Flight {
        let lane = &mut self.lanes[id.0];
        #[expect(clippy::expect_used, reason = "every caller has just found it there")]
        let flight = lane.flights.remove(place).expect("a flight at this place");
        if let FlightState::Waiting { request, .. } = flight.state {
            self.requests.remove(&request);
        }
        self.resolve(id, flight.batch, outcome);
        flight
    }

    pub(super) fn resolve(&mut self, lane: LaneId, batch: BatchId, outcome: Outcome) {
        self.unresolved.remove(&batch);
        self.effects.push_back(Effect::Resolve { batch, lane, outcome });
    }
}

/// What to say of a flight that will not be sent again, for this reason.
pub(super) fn outcome_of(flight: &Flight, why: &Failure) -> Outcome {
    if flight.clean {
        return Outcome::Rejected(why.clone());
    }
    Outcome::Unknown {
        last: why.to_string(),
    }
}
