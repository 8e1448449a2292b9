//! The rules of histories, kept event by event; and what keeping them tells: which events are one operation, who sends
//! a value, who makes a commit.

use super::{Event, EventId, HistoryError, Kind, Op, Operation, Process};
use crate::counting::Counting;
use crate::numbered::small;

/// A value that an operation sends.
#[derive(Clone, Copy, Debug)]
pub(super) struct SentValue {
    pub(super) operation: u32,
    /// Its place among all values of the operation.
    pub(super) at: u32,
}

/// What a process is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Doing {
    Nothing,
    Operation(u32),
    Retired,
}

/// What the events so far have told.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    pub(super) operations: Vec<Operation>,
    /// Of each event: its operation; `None`: it has none.
    pub(super) of_events: Vec<Option<u32>>,
    /// Places in `doing`.
    processes: Counting,
    doing: Vec<Doing>,
    /// Places in `sent`.
    pub(super) values: Counting,
    pub(super) sent: Vec<SentValue>,
    /// The operations that commit.
    pub(super) commits: Counting,
}

impl Ledger {
    /// Takes the event that comes after these.
    pub(super) fn take(&mut self, before: &[Event], event: &Event) -> Result<(), HistoryError> {
        let id = EventId(before.len());
        if before.last().is_some_and(|last| last.time > event.time) {
            return Err(HistoryError::TimeWentBack {
                event: id.0,
                time: event.time.0,
            });
        }
        let operation = match (event.process, event.kind) {
            (Process::Nemesis, _) => None,
            _ if event.op.is_mark() => None,
            (Process::Client(process), Kind::Invoke) => Some(self.invoke(id, process, event)?),
            (Process::Client(process), _) => Some(self.complete(before, process, event)?),
        };
        self.of_events.push(operation);
        Ok(())
    }

    fn invoke(&mut self, id: EventId, number: u64, event: &Event) -> Result<u32, HistoryError> {
        let process = event.process;
        let doing = self.processes.get(number);
        match doing.map(|at| self.doing[at]) {
            Some(Doing::Operation(operation)) => {
                let before = self.operations[operation as usize].invoke.0;
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
        let operation = small(self.operations.len());
        self.operations.push(Operation {
            invoke: id,
            completion: None,
        });
        if let Some(at) = doing {
            self.doing[at] = Doing::Operation(operation);
        } else {
            self.processes.insert(number, self.doing.len());
            self.doing.push(Doing::Operation(operation));
        }
        Ok(operation)
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
            self.sent.push(SentValue {
                operation: small(operation),
                at: small(self.sent.len() - known),
            });
        }
        Ok(())
    }

    /// Takes back the names of the first so many values of an operation.
    fn forget(&mut self, op: &Op, count: usize) {
        for value in op.sends().flat_map(|send| &send.values).take(count) {
            self.values.remove(value.id.0);
        }
    }

    fn complete(&mut self, before: &[Event], number: u64, event: &Event) -> Result<u32, HistoryError> {
        let (id, process) = (EventId(before.len()), event.process);
        let doing = self.processes.get(number).map(|at| (at, self.doing[at]));
        let Some((at, Doing::Operation(number))) = doing else {
            return Err(HistoryError::NotInvoked { event: id.0, process });
        };
        let operation = &mut self.operations[number as usize];
        let invoke = operation.invoke;
        if !before[invoke.0].op.is_completed_by(&event.op) {
            return Err(HistoryError::Mismatch {
                event: id.0,
                process,
                before: invoke.0,
            });
        }
        operation.completion = Some(id);
        self.doing[at] = match event.kind {
            Kind::Info => Doing::Retired,
            _ => Doing::Nothing,
        };
        Ok(number)
    }
}
