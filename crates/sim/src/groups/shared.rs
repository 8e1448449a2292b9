//! What every part of the world uses: time, chance, messages, the truth, and the counts.

use super::log::{Leader, OffsetsLog};
use super::topics::Catalog;
use super::truth::Truth;
use crate::chance::Chance;
use crate::report::{Counts, Fault, Violation};
use crate::schedule::Schedule;
use crate::trace::Trace;
use quipu_coordinator::{AssignmentEpoch, GroupError, Mark, MemberEpoch, Request, RequestToken, Response};
use quipu_record::{Offset, Tick, Timestamp, TopicPartition};
use std::fmt;
use std::time::Duration;

/// Sessions of members.
pub(super) const SESSION: Duration = Duration::from_secs(2);
/// How long a partition may take to be given up: longer than a host that hears nothing goes on with it, so that not even
/// a revocation that nobody hears of leaves two owners.
pub(super) const REVOCATION: Duration = Duration::from_millis(1_500);
/// A stale coordinator falls silent after this.
pub(super) const VOUCHED: Duration = Duration::from_millis(666);

/// A stream, for good: numbers are not used again.
pub(super) type StreamIndex = usize;

/// A question on its way to a coordinator.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) stream: StreamIndex,
    pub(super) token: RequestToken,
    pub(super) request: Request,
}

/// What a stream tells its client, in order.
#[derive(Clone, Debug)]
pub(super) enum Told {
    Epoch(MemberEpoch),
    Data {
        at: TopicPartition,
        epoch: AssignmentEpoch,
        from: Offset,
        next: Offset,
    },
    Revoked(Vec<TopicPartition>),
    Lost(Vec<TopicPartition>),
    /// Everything is lost, and the member joins anew.
    Anew,
    /// The stream is over, and its member does not go on by itself.
    Over,
}

/// What a client says on its stream, in order.
#[derive(Clone, Debug)]
pub(super) enum Said {
    Ack {
        at: TopicPartition,
        epoch: AssignmentEpoch,
        next: Offset,
    },
    Commit(u64, Vec<Mark>),
    GiveUp(Vec<TopicPartition>),
    /// Anything else: credit, say.
    Something,
    Close,
}

/// What happens.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Request {
        broker: usize,
        asked: Asked,
    },
    Answer {
        stream: StreamIndex,
        token: RequestToken,
        answer: Result<Response, GroupError>,
    },
    /// The log of this leader has come to a majority up to here.
    Replicated {
        leader: Leader,
        end: usize,
    },
    Load(Leader),
    /// A broker hears that it leads no longer.
    Resign(Leader),
    WakeCoordinator(Leader),
    WakeStream(StreamIndex),
    Deliver(StreamIndex),
    Found {
        stream: StreamIndex,
        at: TopicPartition,
        epoch: AssignmentEpoch,
        begin: Offset,
    },
    ToClient {
        stream: StreamIndex,
        told: Told,
    },
    ToHost {
        stream: StreamIndex,
        said: Said,
    },
    /// The broker sees that the connection is gone.
    Broken(StreamIndex),
    /// A client works off what it has, or opens a stream.
    Client(usize),
    Strike,
    Elect,
    Lift(Fault, usize),
    Rest,
}

/// What every part uses.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) schedule: Schedule<Event>,
    pub(super) chance: Chance,
    pub(super) trace: Trace,
    pub(super) counts: Counts,
    pub(super) log: OffsetsLog,
    pub(super) topics: Catalog,
    pub(super) truth: Truth,
    /// The stream that each client listens to.
    pub(super) listening: Vec<Option<StreamIndex>>,
    /// Messages between brokers are lost once in so many.
    pub(super) lossy: Option<usize>,
    pub(super) late: bool,
    pub(super) twice: bool,
    /// Faults are over.
    pub(super) resting: bool,
    /// Topics get new records until then.
    pub(super) data_until: Duration,
    pub(super) violation: Option<Violation>,
}

impl Shared {
    pub(super) fn now(&self) -> Tick {
        self.schedule.now()
    }

    /// The wall clock; nothing of what is looked at here goes by it.
    pub(super) fn wall(&self) -> Timestamp {
        let millis = self.now().nanos() / 1_000_000;
        Timestamp::new(1_700_000_000_000 + i64::try_from(millis).unwrap_or(i64::MAX))
    }

    pub(super) fn note(&mut self, what: fmt::Arguments<'_>) {
        let now = self.now();
        self.trace.note(now, what);
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        *self.counts.faults.entry(fault).or_default() += 1;
    }

    /// Counts what members did or saw.
    pub(super) fn did(&mut self, what: &'static str, times: usize) {
        *self.counts.members.entry(what).or_default() += times as u64;
    }

    /// Where every partition ends.
    pub(super) fn data_end(&self) -> Offset {
        let filled = self.now().since(Tick::default()).min(self.data_until);
        Offset::new(u64::try_from(filled.as_millis() / 40).unwrap_or(0))
    }

    /// Holds what an invariant says.
    pub(super) fn check(&mut self, found: Result<(), Violation>) {
        self.counts.checks += 1;
        if let Err(violation) = found
            && self.violation.is_none()
        {
            self.note(format_args!("VIOLATION {violation}"));
            self.violation = Some(violation);
        }
    }

    /// Sends between brokers: late, lost or twice, as the network is.
    pub(super) fn send(&mut self, event: Event) {
        let longest = if self.late { 400 } else { 4 };
        if self.twice && self.chance.one_in(4) {
            let wait = self.chance.millis(longest);
            self.schedule.after(wait, event.clone());
        }
        if self.lossy.is_some_and(|times| self.chance.one_in(times)) {
            return;
        }
        let wait = self.chance.millis(longest);
        self.schedule.after(wait, event);
    }
}
