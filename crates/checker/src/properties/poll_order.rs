//! Jepsen's poll-skip and nonmonotonic-poll, from one poll of a consumer to its next, and int-poll-skip and
//! int-nonmonotonic-poll, inside one poll.
//!
//! Under `assign` a consumer goes on where its last `ok` poll ended; a new `assign` or `subscribe` keeps the places of
//! the partitions that it names. Under `subscribe` partitions come and go, so what is found between polls is allowed.
//! A process that does neither names its own place with each read.

use crate::history::{Event, EventId, History, Kind, Op, Poll, PolledPartition, Process};
use crate::observed::{KeyIndex, Observed};
use crate::verdict::{AnomalyKind, Evidence, Verdict};
use quipu_record::Offset;
use std::collections::HashMap;

/// Who chooses what a consumer reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Assigned,
    Subscribed,
}

/// Where consumers are.
#[derive(Default)]
pub(super) struct Places {
    consumers: HashMap<Process, Consumer>,
}

struct Consumer {
    mode: Mode,
    /// Where each partition's last `ok` poll ended, and which that was.
    ends: HashMap<KeyIndex, (Offset, EventId)>,
    /// What was assigned or subscribed to since the last poll, in order.
    moves: Vec<Op>,
}

impl Places {
    /// Whether this process goes on where it was.
    pub(super) fn are_kept(&self, process: Process) -> bool {
        self.consumers.contains_key(&process)
    }

    /// Takes note of `assign` and `subscribe`.
    pub(super) fn follow(&mut self, event: &Event) {
        let mode = match &event.op {
            Op::Assign(_) => Mode::Assigned,
            Op::Subscribe(_) => Mode::Subscribed,
            _ => return,
        };
        if matches!(event.kind, Kind::Ok | Kind::Info) {
            let consumer = self.consumers.entry(event.process).or_insert_with(|| Consumer {
                mode,
                ends: HashMap::new(),
                moves: Vec::new(),
            });
            consumer.mode = mode;
            consumer.moves.push(event.op.clone());
        }
    }
}

impl Consumer {
    /// Forgets the places of the partitions that an `assign` or `subscribe` since the last poll does not name.
    fn forget(&mut self, observed: &Observed) {
        for op in self.moves.drain(..) {
            match op {
                Op::Assign(assign) if assign.from_beginning => self.ends.clear(),
                Op::Assign(assign) => self
                    .ends
                    .retain(|key, _| assign.keys.contains(observed.key(*key))),
                Op::Subscribe(to) => {
                    let named = |key: KeyIndex| {
                        to.topics
                            .iter()
                            .any(|topic| topic.as_str() == observed.key(key).topic())
                    };
                    self.ends.retain(|key, _| named(*key));
                }
                _ => {}
            }
        }
    }
}

pub(crate) fn check(history: &History, observed: &Observed, verdict: &mut Verdict) {
    let mut places = Places::default();
    for (index, event) in history.events().iter().enumerate() {
        let id = EventId(index);
        places.follow(event);
        if event.kind == Kind::Invoke {
            continue;
        }
        let mut consumer = places.consumers.get_mut(&event.process);
        let mut ends: Vec<(KeyIndex, Offset)> = Vec::new();
        for poll in event.op.polls() {
            for part in &poll.partitions {
                let key = observed.key_in(id, &part.key);
                let (Some(first), Some(last)) = (part.records.first(), part.records.last()) else {
                    continue;
                };
                check_inside(history, observed, verdict, (id, poll, part, key));
                let earlier = ends.iter_mut().find(|(of, _)| *of == key);
                if let Some((_, end)) = earlier {
                    // A later step of one transaction goes on where the earlier one ended.
                    let step = Step::between(observed, part, key, *end, first.offset);
                    tell_inside(history, verdict, id, part, (*end, first.offset), step);
                    *end = last.offset;
                    continue;
                }
                ends.push((key, last.offset));
                if let Some(consumer) = consumer.as_deref_mut() {
                    consumer.forget(observed);
                    check_between(
                        history,
                        observed,
                        verdict,
                        consumer,
                        (id, part, key, first.offset),
                    );
                }
            }
        }
        if let (Some(consumer), Kind::Ok) = (consumer, event.kind) {
            let ends = ends.into_iter().map(|(key, end)| (key, (end, id)));
            consumer.ends.extend(ends);
        }
    }
}

/// What lies between one record and the next that is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Right,
    Back,
    Skip { over: Offset },
}

impl Step {
    fn between(observed: &Observed, part: &PolledPartition, key: KeyIndex, from: Offset, to: Offset) -> Self {
        if to == from.next() {
            return Self::Right;
        }
        if to <= from {
            return Self::Back;
        }
        let skipped = observed.partition(key).known_between(from, to);
        match skipped.filter(|_| !part.compacted) {
            Some(over) => Self::Skip { over },
            None => Self::Right,
        }
    }
}

fn check_inside(
    history: &History,
    observed: &Observed,
    verdict: &mut Verdict,
    (id, poll, part, key): (EventId, &Poll, &PolledPartition, KeyIndex),
) {
    if poll.rebalanced.contains(&part.key) {
        return;
    }
    for pair in part.records.windows(2) {
        let (from, to) = (pair[0].offset, pair[1].offset);
        let step = Step::between(observed, part, key, from, to);
        tell_inside(history, verdict, id, part, (from, to), step);
    }
}

fn tell_inside(
    history: &History,
    verdict: &mut Verdict,
    id: EventId,
    part: &PolledPartition,
    (from, to): (Offset, Offset),
    step: Step,
) {
    let (kind, what) = match step {
        Step::Right => return,
        Step::Back => (AnomalyKind::IntNonmonotonicPoll, String::new()),
        Step::Skip { over } => (
            AnomalyKind::IntPollSkip,
            format!(", though something stands at offset {over}"),
        ),
    };
    verdict.add(kind, || {
        let key = &part.key;
        let summary = format!("one poll of {key} read offset {from} and then {to}{what}");
        let words = format!("{key} read at offset {from}, then at {to}");
        (summary, vec![Evidence::of(history, id, &words)])
    });
}

fn check_between(
    history: &History,
    observed: &Observed,
    verdict: &mut Verdict,
    consumer: &Consumer,
    (id, part, key, to): (EventId, &PolledPartition, KeyIndex, Offset),
) {
    let Some((from, before)) = consumer.ends.get(&key).copied() else {
        return;
    };
    let (kind, what) = match Step::between(observed, part, key, from, to) {
        Step::Right => return,
        Step::Back => (AnomalyKind::NonmonotonicPoll, String::new()),
        Step::Skip { over } => (
            AnomalyKind::PollSkip,
            format!(", though something stands at offset {over}"),
        ),
    };
    if consumer.mode == Mode::Subscribed {
        verdict.allow(kind);
        return;
    }
    verdict.add(kind, || {
        let process = history.event(id).process;
        let key = &part.key;
        let summary = format!("{process} had read {key} up to offset {from}, and went on at {to}{what}");
        let evidence = vec![
            Evidence::of(history, before, &format!("{key} read up to offset {from}")),
            Evidence::of(history, id, &format!("{key} read from offset {to}")),
        ];
        (summary, evidence)
    });
}
