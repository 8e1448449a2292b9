//! What clients did and saw, in order: the only thing that the checks look at.
//!
//! An operation is an `invoke` and at most one completion by the same process: `ok` (it happened), `fail` (it certainly
//! did not) or `info` (nobody knows). A process has one operation under way at a time, and ends with an `info`: what it
//! began may happen at any time after. All times are of one clock. These are Jepsen's rules, so that a history can be
//! handed to Jepsen's own checker as it is.

mod edn;
mod event;
mod json;
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

use crate::counting::Counting;
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

/// A value that an operation sends.
#[derive(Clone, Copy, Debug)]
struct SentValue {
    operation: u32,
    /// Its place among all values of the operation.
    at: u32,
}

/// What a process is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Doing {
    Nothing,
    Operation(usize),
    Retired,
}

/// Events that obey the rules, with their operations paired up.
#[derive(Clone, Debug, Default)]
pub struct History {
    events: Vec<Event>,
    operations: Vec<Operation>,
    /// Places in `doing`.
    processes: Counting,
    doing: Vec<Doing>,
    /// Places in `sent`.
    values: Counting,
    sent: Vec<SentValue>,
    /// The operations that commit.
    commits: Counting,
}

impl History {
    /// Takes the next event.
    ///
    /// # Errors
    /// [`HistoryError`]: it breaks a rule. The history is then as it was.
    pub fn push(&mut self, event: Event) -> Result<EventId, HistoryError> {
        let id = EventId(self.events.len());
        if self.events.last().is_some_and(|last| last.time > event.time) {
            return Err(HistoryError::TimeWentBack {
                event: id.0,
                time: event.time.0,
            });
        }
        if let Process::Client(process) = event.process
            && !event.op.is_mark()
        {
            match event.kind {
                Kind::Invoke => self.invoke(id, process, &event)?,
                Kind::Ok | Kind::Fail | Kind::Info => self.complete(id, process, &event)?,
            }
        }
        self.events.push(event);
        Ok(id)
    }

    fn invoke(&mut self, id: EventId, number: u64, event: &Event) -> Result<(), HistoryError> {
        let process = event.process;
        let doing = self.processes.get(number);
        match doing.map(|at| self.doing[at]) {
            Some(Doing::Operation(operation)) => {
                let before = self.operations[operation].invoke.0;
                return Err(HistoryError::AlreadyBusy {
                    event: id.0,
                    process,
                    before,
                });
            }
            Some(Doing::Retired) => {
                return Err(HistoryError::Retired { event: id.0, process });
            }
            Some(Doing::Nothing) | None => {}
        }
        self.take_names(id, &event.op)?;
        let operation = Doing::Operation(self.operations.len());
        self.operations.push(Operation {
            invoke: id,
            completion: None,
        });
        if let Some(at) = doing {
            self.doing[at] = operation;
        } else {
            self.processes.insert(number, self.doing.len());
            self.doing.push(operation);
        }
        Ok(())
    }

    /// Names of values and commits are used once.
    fn take_names(&mut self, id: EventId, op: &Op) -> Result<(), HistoryError> {
        let operation = self.operations.len();
        if let Op::Commit(commit) = op {
            if self.commits.get(commit.id.0).is_some() {
                return Err(HistoryError::CommitReused {
                    event: id.0,
                    id: commit.id,
                });
            }
            self.commits.insert(commit.id.0, operation);
        }
        let known = self.sent.len();
        for value in op.sends().flat_map(|send| &send.values) {
            if let Some(before) = self.values.get(value.id.0) {
                let before = self.sent[before].operation as usize;
                let before = self.operations.get(before).map_or(id, |first| first.invoke).0;
                self.forget(op, self.sent.len() - known);
                self.sent.truncate(known);
                return Err(HistoryError::ValueReused {
                    event: id.0,
                    value: value.id,
                    before,
                });
            }
            self.values.insert(value.id.0, self.sent.len());
            let [operation, at] = [operation, self.sent.len() - known].map(|number| {
                u32::try_from(number).unwrap_or_else(|_| unreachable!("events are counted in four bytes"))
            });
            self.sent.push(SentValue { operation, at });
        }
        Ok(())
    }

    /// Takes back the names of the first so many values of an operation.
    fn forget(&mut self, op: &Op, count: usize) {
        for value in op.sends().flat_map(|send| &send.values).take(count) {
            self.values.remove(value.id.0);
        }
    }

    fn complete(&mut self, id: EventId, number: u64, event: &Event) -> Result<(), HistoryError> {
        let process = event.process;
        let doing = self.processes.get(number).map(|at| (at, self.doing[at]));
        let Some((at, Doing::Operation(operation))) = doing else {
            return Err(HistoryError::NotInvoked { event: id.0, process });
        };
        let invoke = self.operations[operation].invoke;
        if !self.events[invoke.0].op.is_completed_by(&event.op) {
            return Err(HistoryError::Mismatch {
                event: id.0,
                process,
                before: invoke.0,
            });
        }
        self.operations[operation].completion = Some(id);
        self.doing[at] = match event.kind {
            Kind::Info => Doing::Retired,
            _ => Doing::Nothing,
        };
        Ok(())
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
        &self.operations
    }

    /// The operation that sends this value.
    #[must_use]
    pub fn sender(&self, value: ValueId) -> Option<Operation> {
        let at = self.values.get(value.0)?;
        Some(self.operations[self.sent[at].operation as usize])
    }

    /// The operation that sends this value, the batch it is in, and the value as it was sent.
    pub(crate) fn sent(&self, value: ValueId) -> Option<(Operation, &Send, Value)> {
        let SentValue { operation, at } = self.sent[self.values.get(value.0)?];
        let operation = self.operations[operation as usize];
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
        self.values.get(value.0)
    }

    /// How many values are sent.
    pub(crate) fn values_sent(&self) -> usize {
        self.sent.len()
    }

    /// The operation that makes this commit.
    pub(crate) fn committer(&self, commit: CommitId) -> Option<Operation> {
        let at = self.commits.get(commit.0)?;
        Some(self.operations[at])
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
