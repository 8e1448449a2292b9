//! What events tell, one list for each subject, in the order of the events: most properties look at one or two of these.

use super::KeyIndex;
use crate::history::{Acks, EventId, History, Kind, Operation, Poll, PolledPartition, Process, Send};
use quipu_record::Offset;
use std::ops::Range;

/// One batch, as an event tells of it: what is asked for, or what came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent<'h> {
    pub(crate) event: EventId,
    pub(crate) process: Process,
    pub(crate) kind: Kind,
    pub(crate) key: KeyIndex,
    pub(crate) send: &'h Send,
    pub(crate) in_transaction: bool,
    // What every property of logs asks of it stands here once more: a look at the event itself is a long way.
    pub(crate) acks: Acks,
    pub(crate) is_idempotent: bool,
    pub(crate) offset: Option<Offset>,
    /// How many values it sends.
    pub(crate) count: u32,
    /// The number of the first of them; absent: it is no operation's.
    pub(super) first: Option<u32>,
}

impl Sent<'_> {
    /// Where its first value stands for good: it was acknowledged under `acks=all`.
    pub(crate) fn promised(&self) -> Option<Offset> {
        let promise = self.kind == Kind::Ok && self.acks == Acks::All;
        self.offset.filter(|_| promise)
    }

    /// The numbers of its values, if it is an operation's.
    pub(super) fn numbers(&self) -> Range<usize> {
        let first = self.first.map(|first| first as usize);
        first.map_or(0..0, |first| first..first + self.count as usize)
    }
}

/// What the end of one poll tells of one partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Polled<'h> {
    pub(crate) event: EventId,
    pub(crate) process: Process,
    pub(crate) kind: Kind,
    pub(crate) key: KeyIndex,
    /// All of the poll.
    pub(crate) poll: &'h Poll,
    pub(crate) part: &'h PolledPartition,
}

/// A high watermark that somebody was told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watermark {
    pub(crate) event: EventId,
    pub(crate) key: KeyIndex,
    pub(crate) told: Offset,
    /// Whether it was asked for; else it came with a read.
    pub(crate) asked: bool,
}

/// The lists.
#[derive(Debug, Default)]
pub(crate) struct Subjects<'h> {
    /// Batches, those of transactions included.
    pub(crate) sends: Vec<Sent<'h>>,
    /// Reads that have ended.
    pub(crate) polls: Vec<Polled<'h>>,
    /// Of `ok` answers.
    pub(crate) watermarks: Vec<Watermark>,
    /// Ends of `assign` and `subscribe` that may have happened.
    pub(crate) moves: Vec<EventId>,
    /// By invocation.
    pub(crate) transactions: Vec<Operation>,
    /// Commits and reads of what is committed, by invocation.
    pub(crate) commits: Vec<Operation>,
    /// Changes and reads of the metadata, by invocation.
    pub(crate) metadata: Vec<Operation>,
    /// What members tell of what they own.
    pub(crate) memberships: Vec<EventId>,
    /// Faults and healings.
    pub(crate) faults: Vec<EventId>,
}

/// Puts down the operation that an event begins.
pub(super) fn note_begin(operations: &mut Vec<Operation>, history: &History, event: EventId) {
    operations.extend(
        history
            .operation_of(event)
            .filter(|operation| operation.invoke == event),
    );
}
