//! What clients did and saw, in order: the only thing that the checks look at.
//!
//! An operation is an `invoke` and at most one completion by the same process: `ok` (it happened), `fail` (it certainly
//! did not) or `info` (nobody knows). A process has one operation under way at a time, and ends with an `info`: what it
//! began may happen at any time after. All times are of one clock. These are Jepsen's rules, so that a history can be
//! handed to Jepsen's own checker as it is.

mod event;
mod json;
#[cfg(test)]
mod tests;

pub use event::{
    Acks, Event, Final, Key, Kind, Op, Poll, PolledPartition, Process, ReadRecord, Send, Time, Trim, Value,
    ValueId,
};
pub use json::{FORMAT_LINE, LineError, from_line, from_lines, to_line};

use std::collections::HashMap;
use thiserror::Error;

/// An event's place in its history.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EventId(pub usize);

/// One operation: where it begins and, if it does, where it completes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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
    processes: HashMap<Process, Doing>,
    /// Which operation sends a value.
    senders: HashMap<ValueId, usize>,
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
        if event.process != Process::Nemesis {
            match event.kind {
                Kind::Invoke => self.invoke(id, &event)?,
                Kind::Ok | Kind::Fail | Kind::Info => self.complete(id, &event)?,
            }
        }
        self.events.push(event);
        Ok(id)
    }

    fn invoke(&mut self, id: EventId, event: &Event) -> Result<(), HistoryError> {
        let process = event.process;
        match self.processes.get(&process) {
            Some(Doing::Operation(operation)) => {
                let before = self.operations[*operation].invoke.0;
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
        let operation = self.operations.len();
        if let Op::Send(send) = &event.op {
            for value in &send.values {
                if let Some(before) = self.senders.get(&value.id) {
                    let before = self.operations[*before].invoke.0;
                    return Err(HistoryError::ValueReused {
                        event: id.0,
                        value: value.id,
                        before,
                    });
                }
            }
            self.senders
                .extend(send.values.iter().map(|value| (value.id, operation)));
        }
        self.operations.push(Operation {
            invoke: id,
            completion: None,
        });
        self.processes.insert(process, Doing::Operation(operation));
        Ok(())
    }

    fn complete(&mut self, id: EventId, event: &Event) -> Result<(), HistoryError> {
        let process = event.process;
        let Some(Doing::Operation(operation)) = self.processes.get(&process).copied() else {
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
        let next = match event.kind {
            Kind::Info => Doing::Retired,
            _ => Doing::Nothing,
        };
        self.processes.insert(process, next);
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
        self.senders
            .get(&value)
            .map(|operation| self.operations[*operation])
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
