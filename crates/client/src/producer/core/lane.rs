//! One partition's batches: those that wait, and those that were sent and are not resolved.
//!
//! ```text
//! enqueue -> queue -> [first sending: gets its sequence] -> flights -> resolved
//!                                                 Waiting <-> Again
//! ```
//!
//! - Sequences are given at the first sending, so what waits can expire without leaving a gap.
//! - A flight that must be sent again waits until no flight of the lane is Waiting; then all that are Again go out in
//!   order. So the broker sees sequences in order on every link.
//! - A flight is *clean* while every sending of it was refused before the append: no copy of it can be stored, ever.

use super::types::{BatchId, Closed, Identity, RequestId, certainly_not_appended};
use crate::backoff::Backoff;
use crate::moment::Moment;
use crate::routing::Route;
use quipu_proto::Failure;
use quipu_record::{BrokerId, ErrorCode, Sequence};
use std::collections::VecDeque;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Flight {
    pub(super) batch: BatchId,
    pub(super) records: u32,
    pub(super) deadline: Moment,
    pub(super) sequence: Sequence,
    pub(super) state: FlightState,
    pub(super) clean: bool,
    /// When it was last sent, all before it had been resolved: nothing but itself can have been out of order.
    pub(super) sent_first_in_line: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FlightState {
    /// Sent; no answer yet.
    Waiting {
        request: RequestId,
        broker: BrokerId,
        since: Moment,
    },
    /// To be sent again.
    Again,
}

impl Flight {
    pub(super) const fn waiting(&self) -> bool {
        matches!(self.state, FlightState::Waiting { .. })
    }

    pub(super) const fn end(&self) -> Sequence {
        self.sequence.plus(self.records)
    }
}

/// Why the flights of a lane cannot simply be sent again. What is Waiting is awaited first, then it is settled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Broken {
    /// The batch with this sequence was refused for good and is certainly not stored: those behind move up.
    Gap { at: Sequence },
    /// The broker will not take these sequences from this identity any more.
    Identity { why: Failure },
}

/// What an error means for the flight it answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Send it again, with the same sequence.
    Again,
    /// It is stored; where is no longer known.
    Stored,
    /// It is refused for good.
    Refused,
    /// The identity is of no use in this partition any more.
    IdentityLost,
    /// It cannot be repeated and may be stored.
    Unknown,
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) route: Route,
    /// Whether batches carry an identity.
    pub(super) identity: Option<Identity>,
    /// The identity is of no use here: another is needed before anything is sent.
    pub(super) identity_lost: bool,
    pub(super) next_sequence: Sequence,
    pub(super) queue: VecDeque<Closed>,
    pub(super) flights: VecDeque<Flight>,
    pub(super) broken: Option<Broken>,
    /// The open batch waits to be closed, and is given up at this time.
    pub(super) due: Option<Moment>,
    pub(super) backoff: Backoff,
    pub(super) paused_until: Moment,
    /// What went wrong last, for the message of those that are given up.
    pub(super) last: String,
    pub(super) timer: Option<Moment>,
}

impl Lane {
    pub(super) fn new(route: Route, identity: Option<Identity>) -> Self {
        Self {
            route,
            identity,
            identity_lost: false,
            next_sequence: Sequence::FIRST,
            queue: VecDeque::new(),
            flights: VecDeque::new(),
            broken: None,
            due: None,
            backoff: Backoff::default(),
            paused_until: Moment::default(),
            last: "no attempt was made".into(),
            timer: None,
        }
    }

    pub(super) fn any_waiting(&self) -> bool {
        self.flights.iter().any(Flight::waiting)
    }

    pub(super) fn any_again(&self) -> bool {
        self.flights.iter().any(|flight| !flight.waiting())
    }

    pub(super) fn idle(&self) -> bool {
        self.queue.is_empty() && self.flights.is_empty() && self.due.is_none()
    }

    /// The first that waits, if it is `right`.
    pub(super) fn take_first_if(&mut self, right: impl FnOnce(&Closed) -> bool) -> Option<Closed> {
        if self.queue.front().is_some_and(right) {
            return self.queue.pop_front();
        }
        None
    }

    pub(super) fn place_of(&self, asked: RequestId) -> Option<usize> {
        let is = |flight: &Flight| matches!(flight.state, FlightState::Waiting { request, .. } if request == asked);
        self.flights.iter().position(is)
    }

    /// What a refusal means for the flight at `place`, which is then no longer Waiting.
    pub(super) fn judge(&mut self, place: usize, failure: &Failure) -> Verdict {
        let nothing_before = place == 0;
        let flight = &mut self.flights[place];
        flight.state = FlightState::Again;
        flight.clean &= certainly_not_appended(failure.code);
        if self.identity.is_none() {
            return match (failure.retryable, flight.clean) {
                (true, true) => Verdict::Again,
                (false, true) => Verdict::Refused,
                (_, false) => Verdict::Unknown,
            };
        }
        match failure.code {
            ErrorCode::DuplicateSequence => Verdict::Stored,
            // While something before it is unresolved (or was, when it was sent), that is to be expected.
            ErrorCode::OutOfOrderSequence if !(nothing_before && flight.sent_first_in_line) => Verdict::Again,
            ErrorCode::OutOfOrderSequence | ErrorCode::UnknownProducer | ErrorCode::InvalidProducerEpoch => {
                Verdict::IdentityLost
            }
            _ if failure.retryable => Verdict::Again,
            _ => Verdict::Refused,
        }
    }

    /// After a batch was taken out of the line for good: what that means for those behind it.
    pub(super) fn close_gap(&mut self, gone: &Flight) {
        if self.identity.is_none() {
            return;
        }
        if !gone.clean {
            let why = format!("what became of the batch before it is unknown: {}", self.last);
            self.lose_identity(Failure::new(ErrorCode::OutOfOrderSequence, why));
            return;
        }
        match &mut self.broken {
            Some(Broken::Identity { .. }) => {}
            Some(Broken::Gap { at }) if behind(*at, gone.sequence) => *at = gone.sequence,
            Some(Broken::Gap { .. }) => {}
            None if self
                .flights
                .iter()
                .any(|flight| behind(flight.sequence, gone.sequence)) =>
            {
                self.broken = Some(Broken::Gap { at: gone.sequence });
            }
            None => self.next_sequence = gone.sequence,
        }
    }

    pub(super) fn lose_identity(&mut self, why: Failure) {
        self.broken = Some(Broken::Identity { why });
    }

    /// Nothing is Waiting: those behind a gap move up, if no copy of any of them can be anywhere.
    pub(super) fn move_up(&mut self, gap: Sequence) -> bool {
        let behind_gap = |flight: &&mut Flight| behind(flight.sequence, gap);
        if self
            .flights
            .iter_mut()
            .filter(behind_gap)
            .any(|flight| !flight.clean)
        {
            return false;
        }
        let mut next = gap;
        for flight in self.flights.iter_mut().filter(behind_gap) {
            flight.sequence = next;
            next = flight.end();
        }
        self.next_sequence = next;
        true
    }

    /// When something will be due though nothing happens.
    pub(super) fn next_timer(&self, now: Moment, answer_within: Duration) -> Option<Moment> {
        let overdue = self.flights.iter().filter_map(|flight| match flight.state {
            FlightState::Waiting { since, .. } => Some(since.after(answer_within)),
            FlightState::Again => None,
        });
        let given_up = self.flights.iter().map(|flight| flight.deadline);
        let waiting = self.queue.front().map(|batch| batch.deadline);
        let paused = (self.paused_until > now && !self.idle()).then_some(self.paused_until);
        overdue
            .chain(given_up)
            .chain(waiting)
            .chain(self.due)
            .chain(paused)
            .min()
    }
}

/// Whether `sequence` comes after `other` in one producer's line of at most a few batches. Sequences wrap.
fn behind(sequence: Sequence, other: Sequence) -> bool {
    let distance = sequence.get().wrapping_sub(other.get()) & 0x7fff_ffff;
    distance != 0 && distance < 0x4000_0000
}
