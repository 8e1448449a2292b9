//! Jepsen's poll-skip and nonmonotonic-poll, from one poll of a consumer to its next, and int-poll-skip and
//! int-nonmonotonic-poll, inside one poll.
//!
//! Under `assign` a consumer goes on where its last `ok` poll ended; a new `assign` or `subscribe` keeps the places of
//! the partitions that it names. Under `subscribe` partitions come and go, so what is found between polls is allowed.
//! A process that does neither names its own place with each read.

use crate::history::{EventId, History, Kind, Op, Process};
use crate::numbered::FastMap;
use crate::observed::{KeyIndex, Observed, Polled};
use crate::verdict::{AnomalyKind, Evidence, Verdict};
use quipu_record::Offset;

/// Who chooses what a consumer reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Assigned,
    Subscribed,
}

/// Where consumers are.
pub(super) struct Places<'a> {
    consumers: FastMap<Process, Consumer>,
    /// What was assigned and subscribed to later on, in order.
    later: &'a [EventId],
}

struct Consumer {
    mode: Mode,
    /// Where each partition's last `ok` poll ended, and which that was.
    ends: FastMap<KeyIndex, (Offset, EventId)>,
    /// What was assigned or subscribed to since the last poll, in order.
    moves: Vec<EventId>,
}

impl<'a> Places<'a> {
    /// As they are when the history begins.
    pub(super) fn of(observed: &'a Observed<'_>) -> Self {
        Self {
            consumers: FastMap::default(),
            later: &observed.told.moves,
        }
    }

    /// Whether this process goes on where it was.
    pub(super) fn are_kept(&self, process: Process) -> bool {
        self.consumers.contains_key(&process)
    }

    /// Takes note of each `assign` and `subscribe` before an event.
    pub(super) fn follow(&mut self, history: &History, until: EventId) {
        while let Some((id, later)) = self.later.split_first()
            && *id < until
        {
            self.later = later;
            let event = history.event(*id);
            let mode = match &event.op {
                Op::Subscribe(_) => Mode::Subscribed,
                _ => Mode::Assigned,
            };
            let consumer = self.consumers.entry(event.process).or_insert_with(|| Consumer {
                mode,
                ends: FastMap::default(),
                moves: Vec::new(),
            });
            consumer.mode = mode;
            consumer.moves.push(*id);
        }
    }
}

impl Consumer {
    /// Forgets the places of the partitions that an `assign` or `subscribe` since the last poll does not name.
    fn forget(&mut self, history: &History, observed: &Observed<'_>) {
        for id in self.moves.drain(..) {
            match &history.event(id).op {
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

pub(crate) fn check(history: &History, observed: &Observed<'_>, verdict: &mut Verdict) {
    let mut places = Places::of(observed);
    // Of one event: where each partition was read to.
    let mut ends: Vec<(KeyIndex, Offset)> = Vec::new();
    for of_event in observed.told.polls.chunk_by(|a, b| a.event == b.event) {
        let Polled {
            event, process, kind, ..
        } = of_event[0];
        places.follow(history, event);
        let mut consumer = places.consumers.get_mut(&process);
        for polled in of_event {
            let records = &polled.part.records;
            let (Some(first), Some(last)) = (records.first(), records.last()) else {
                continue;
            };
            check_inside(history, observed, verdict, polled);
            let earlier = ends.iter_mut().find(|(of, _)| *of == polled.key);
            if let Some((_, end)) = earlier {
                // A later step of one transaction goes on where the earlier one ended.
                let step = Step::between(observed, polled, *end, first.offset);
                tell_inside(history, verdict, polled, (*end, first.offset), step);
                *end = last.offset;
                continue;
            }
            ends.push((polled.key, last.offset));
            if let Some(consumer) = consumer.as_deref_mut() {
                consumer.forget(history, observed);
                check_between(history, observed, verdict, consumer, polled, first.offset);
            }
        }
        let ended = ends.drain(..).map(|(key, end)| (key, (end, event)));
        if let (Some(consumer), Kind::Ok) = (consumer, kind) {
            consumer.ends.extend(ended);
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
    fn between(observed: &Observed<'_>, polled: &Polled<'_>, from: Offset, to: Offset) -> Self {
        if to == from.next() {
            return Self::Right;
        }
        if to <= from {
            return Self::Back;
        }
        let skipped = observed.partition(polled.key).known_between(from, to);
        match skipped.filter(|_| !polled.part.compacted) {
            Some(over) => Self::Skip { over },
            None => Self::Right,
        }
    }
}

fn check_inside(history: &History, observed: &Observed<'_>, verdict: &mut Verdict, polled: &Polled<'_>) {
    if polled.poll.rebalanced.contains(&polled.part.key) {
        return;
    }
    for pair in polled.part.records.windows(2) {
        let (from, to) = (pair[0].offset, pair[1].offset);
        let step = Step::between(observed, polled, from, to);
        tell_inside(history, verdict, polled, (from, to), step);
    }
}

fn tell_inside(
    history: &History,
    verdict: &mut Verdict,
    polled: &Polled<'_>,
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
        let (id, key) = (polled.event, &polled.part.key);
        let summary = format!("one poll of {key} read offset {from} and then {to}{what}");
        let words = format!("{key} read at offset {from}, then at {to}");
        (summary, vec![Evidence::of(history, id, &words)])
    });
}

fn check_between(
    history: &History,
    observed: &Observed<'_>,
    verdict: &mut Verdict,
    consumer: &Consumer,
    polled: &Polled<'_>,
    to: Offset,
) {
    let Some((from, before)) = consumer.ends.get(&polled.key).copied() else {
        return;
    };
    let (kind, what) = match Step::between(observed, polled, from, to) {
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
        let (process, id, key) = (polled.process, polled.event, &polled.part.key);
        let summary = format!("{process} had read {key} up to offset {from}, and went on at {to}{what}");
        let evidence = vec![
            Evidence::of(history, before, &format!("{key} read up to offset {from}")),
            Evidence::of(history, id, &format!("{key} read from offset {to}")),
        ];
        (summary, evidence)
    });
}
