//! What clients did and saw, in order: the only thing that the checks look at.
//!
//! An operation is an `invoke` and at most one completion by the same process: `ok` (it happened), `fail` (it certainly
//! did not) or `info` (nobody knows). A process has one operation under way at a time, and ends with an `info`: what it
//! began may happen at any time after. All times are of one clock. These are Jepsen's rules, so that a history can be
//! handed to Jepsen's own checker as it is.

mod edn;
mod event;
mod json;
mod ledger;
#[cfg(test)]
mod tests;

pub use edn::to_edn;
pub use event::{
    Acks, Advanced, Assign, Commit, CommitId, Committed, Committer, Event, Fault, Final, FinalBatch,
    FoundCommit, Group, GroupEpoch, Key, Kind, Latest, Member, MemberEpoch, MetadataRead, MetadataWrite, Op,
    Owned, Phase, Poll, PolledPartition, Process, ReadRecord, Released, Send, Step, Subscribe, Time, Topic,
    Trim, Txn, Value, ValueId,
};
pub use json::{FORMAT_LINE, LineError, from_line, from_lines, to_line};

use crate::numbered::small;
use ledger::{Ledger, SentValue};
use serde::Serialize;
use thiserror::Error;

/// An event's place in its history.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(transparent)]
pub struct EventId(pub usize);

/// One operation: where it begins and, if it does, where it completes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Operation {
    /// Its invocation.
    pub invoke: EventId,
    /// Its completion; `None`: it was still under way as the history ends, which is as good as an `info`.
    pub completion: Option<EventId>,
}

/// Why events are not a history. A history that breaks these rules proves nothing.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// The clock went back.
    #[error("event {event}: its time {time} ns lies before that of the event before it")]
    TimeWentBack {
        /// Which event.
        event: usize,
        /// Its time.
        time: u64,
    },
    /// Two operations at once.
    #[error("event {event}: {process} invokes while its operation of event {before} is under way")]
    AlreadyBusy {
        /// Which event.
        event: usize,
        /// Whose.
        process: Process,
        /// The invocation that is under way.
        before: usize,
    },
    /// A completion of nothing.
    #[error("event {event}: {process} completes an operation it never invoked")]
    NotInvoked {
        /// Which event.
        event: usize,
        /// Whose.
        process: Process,
    },
    /// A completion of something else.
    #[error("event {event}: {process} completes another operation than the one of event {before}")]
    Mismatch {
        /// Which event.
        event: usize,
        /// Whose.
        process: Process,
        /// The invocation that is under way.
        before: usize,
    },
    /// A process that is no more.
    #[error("event {event}: {process} goes on after an info: take a new process")]
    Retired {
        /// Which event.
        event: usize,
        /// Whose.
        process: Process,
    },
    /// A value sent twice cannot be told from a duplicate.
    #[error(
        "event {event}: value {value} was sent before, by event {before}: each value is sent by one operation"
    )]
    ValueReused {
        /// Which event.
        event: usize,
        /// The value.
        value: ValueId,
        /// The operation that sent it first.
        before: usize,
    },
    /// A commit's name used twice: a read would not tell which of the two it saw.
    #[error("event {event}: commit {id} was invoked before: each commit has a name of its own")]
    CommitReused {
        /// Which event.
        event: usize,
        /// The name.
        id: CommitId,
    },
}

/// Events that obey the rules, with their operations paired up.
#[derive(Clone, Debug, Default)]
pub struct History {
    events: Vec<Event>,
    ledger: Ledger,
}

impl History {
    /// A history of events that are all there.
    ///
    /// # Errors
    /// [`HistoryError`]: the first of them that breaks a rule.
    pub fn of(events: Vec<Event>) -> Result<Self, HistoryError> {
        let mut ledger = Ledger::default();
        for (at, event) in events.iter().enumerate() {
            ledger.take(&events[..at], event)?;
        }
        Ok(Self { events, ledger })
    }

    /// Takes the next event.
    ///
    /// # Errors
    /// [`HistoryError`]: it breaks a rule. The history is then as it was.
    pub fn push(&mut self, event: Event) -> Result<EventId, HistoryError> {
        self.ledger.take(&self.events, &event)?;
        self.events.push(event);
        Ok(EventId(self.events.len() - 1))
    }

    /// The events, in order.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// One event.
    ///
    /// # Panics
    /// If the id is of another history.
    #[must_use]
    pub fn event(&self, id: EventId) -> &Event {
        &self.events[id.0]
    }

    /// The operations, by invocation.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.ledger.operations
    }

    /// The operation that an event begins or ends.
    pub(crate) fn operation_of(&self, event: EventId) -> Option<Operation> {
        let at = self.ledger.of_events[event.0]?;
        Some(self.ledger.operations[at as usize])
    }

    /// The operation that sends this value.
    #[must_use]
    pub fn sender(&self, value: ValueId) -> Option<Operation> {
        let at = self.ledger.values.get(value.0)?;
        Some(self.ledger.operations[self.ledger.sent[at].operation as usize])
    }

    /// The operation that sends this value, the batch it is in, and the value as it was sent.
    pub(crate) fn sent(&self, value: ValueId) -> Option<(Operation, &Send, Value)> {
        let SentValue { operation, at } = self.ledger.sent[self.ledger.values.get(value.0)?];
        let operation = self.ledger.operations[operation as usize];
        let mut at = at as usize;
        for send in self.event(operation.invoke).op.sends() {
            if let Some(value) = send.values.get(at) {
                return Some((operation, send, *value));
            }
            at -= send.values.len();
        }
        None
    }

    /// A value's number among all that are sent.
    pub(crate) fn value_number(&self, value: ValueId) -> Option<usize> {
        self.ledger.values.get(value.0)
    }

    /// The number of the first value of a batch; the others follow it.
    pub(crate) fn first_number(&self, send: &Send) -> Option<u32> {
        let first = send.values.first()?;
        self.value_number(first.id).map(small)
    }

    /// How many values are sent.
    pub(crate) fn values_sent(&self) -> usize {
        self.ledger.sent.len()
    }

    /// The operation that makes this commit.
    pub(crate) fn committer(&self, commit: CommitId) -> Option<Operation> {
        let at = self.ledger.commits.get(commit.0)?;
        Some(self.ledger.operations[at])
    }

    /// How an operation ended; one still under way ended as an `info`.
    #[must_use]
    pub fn outcome(&self, operation: Operation) -> Kind {
        operation
            .completion
            .map_or(Kind::Info, |completion| self.event(completion).kind)
    }

    /// What an operation ended with; what it began with, if it has not ended.
    #[must_use]
    pub fn last_word(&self, operation: Operation) -> &Event {
        self.event(operation.completion.unwrap_or(operation.invoke))
    }
}
