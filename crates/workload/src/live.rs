//! What there is to see while a history grows, without looking at all of it.

use quipu_checker::{Acks, History, Key, Kind, Op, Time};
use std::collections::HashMap;
use std::time::Duration;

/// How far a history is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Live {
    /// Events of all kinds.
    pub events: usize,
    /// Operations that began.
    pub invoked: u64,
    /// Operations that happened.
    pub ok: u64,
    /// Operations that certainly did not.
    pub fail: u64,
    /// Operations that nobody knows of; those under way are not among them.
    pub info: u64,
    /// Values acknowledged under `acks=all`.
    pub acked: u64,
    /// Records read, repetitions included.
    pub read: u64,
    /// When something was acknowledged the last time.
    pub last_ack: Option<Time>,
}

/// What an operation was, as far as its latency is concerned.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum What {
    /// A send.
    Send,
    /// A read of records.
    Poll,
    /// Anything else.
    Other,
}

impl What {
    const fn of(op: &Op) -> Self {
        match op {
            Op::Send(_) => Self::Send,
            Op::Poll(_) => Self::Poll,
            _ => Self::Other,
        }
    }
}

/// One operation that has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sample {
    /// When it began.
    pub at: Time,
    /// How long it took.
    pub took: Duration,
    /// How it ended.
    pub kind: Kind,
    /// What it was.
    pub what: What,
}

impl Sample {
    /// Of every operation that has ended, in the order in which they began.
    pub(crate) fn all_of(history: &History) -> Vec<Self> {
        let ended = history.operations().iter().filter_map(|operation| {
            let (began, ended) = (
                history.event(operation.invoke),
                history.event(operation.completion?),
            );
            Some(Self {
                at: began.time,
                took: Duration::from_nanos(ended.time.0.saturating_sub(began.time.0)),
                kind: ended.kind,
                what: What::of(&began.op),
            })
        });
        ended.collect()
    }
}

/// What is counted as events come.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    live: Live,
    /// By partition, in order.
    acks: HashMap<Key, Vec<Time>>,
}

impl Seen {
    /// Takes note of an event; returns how many values it acknowledges. `begun`: of an operation's completion.
    pub(crate) fn take(&mut self, op: &Op, kind: Kind, time: Time, begun: Option<Time>) -> u64 {
        match kind {
            Kind::Invoke => self.live.invoked += 1,
            Kind::Ok => self.live.ok += 1,
            Kind::Fail => self.live.fail += 1,
            // The nemesis's events are no operations.
            Kind::Info if begun.is_some() => self.live.info += 1,
            Kind::Info => {}
        }
        match op {
            Op::Send(send) if kind == Kind::Ok && send.acks == Acks::All => {
                let acked = send.values.len() as u64;
                self.live.acked += acked;
                self.live.last_ack = Some(time);
                match self.acks.get_mut(&send.key) {
                    Some(acks) => acks.push(time),
                    None => drop(self.acks.insert(send.key.clone(), vec![time])),
                }
                acked
            }
            Op::Poll(poll) if kind == Kind::Ok => {
                let read = poll.partitions.iter().map(|part| part.records.len() as u64);
                self.live.read += read.sum::<u64>();
                0
            }
            _ => 0,
        }
    }

    pub(crate) const fn live(&self, events: usize) -> Live {
        Live { events, ..self.live }
    }

    pub(crate) fn acks_of(&self, key: &Key) -> &[Time] {
        self.acks.get(key).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn first_ack_after(&self, key: &Key, after: Time) -> Option<Time> {
        let acks = self.acks_of(key);
        acks.get(acks.partition_point(|ack| *ack <= after)).copied()
    }
}
