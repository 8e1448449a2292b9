//! A cluster that is whole again acknowledges soon, in each partition that is sent to; and the final polls reach each
//! partition's end soon.
//!
//! A healing counts if no fault begins before its time is over, and a partition if somebody was waiting for it in the
//! first half of that time. Partitions of topics that are deleted in this history do not count.

use crate::history::{Acks, EventId, History, Kind, Op, Phase, Time};
use crate::observed::{KeyIndex, Observed};
use crate::verdict::{AnomalyKind, Evidence, Limits, Verdict};
use quipu_record::Offset;
use std::collections::HashSet;
use std::time::Duration;

pub(crate) fn check(history: &History, observed: &Observed<'_>, limits: &Limits, verdict: &mut Verdict) {
    check_writes(history, observed, limits.write_within, verdict);
    check_tails(history, observed, limits.tail_within, verdict);
}

fn after(time: Time, limit: Duration) -> Time {
    let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
    Time(time.0.saturating_add(limit))
}

/// A healing, and the events before which something has to have happened.
#[derive(Clone, Copy)]
struct Healing {
    healed: EventId,
    /// Whoever began before it waits long enough.
    half_over: EventId,
    over: EventId,
}

/// All healings counted, and those that no fault cuts short.
fn healings(history: &History, observed: &Observed<'_>, within: Duration) -> (usize, Vec<Healing>) {
    let mut all = 0;
    let mut whole: Vec<(EventId, Time)> = Vec::new();
    for id in observed.told.faults.iter().copied() {
        let event = history.event(id);
        match &event.op {
            Op::Healed { .. } => {
                all += 1;
                whole.push((id, after(event.time, within)));
            }
            Op::Fault(fault) if fault.phase != Some(Phase::End) => {
                while whole.last().is_some_and(|(_, over)| *over > event.time) {
                    whole.pop();
                }
            }
            _ => {}
        }
    }
    let events = history.events();
    let end = events.last().map_or(Time(0), |last| last.time);
    let first_after = |time: Time| EventId(events.partition_point(|event| event.time <= time));
    let whole = whole.into_iter().filter(|(_, over)| *over <= end);
    let whole = whole.map(|(healed, over)| Healing {
        healed,
        half_over: first_after(Time(history.event(healed).time.0.midpoint(over.0))),
        over: first_after(over),
    });
    (all, whole.collect())
}

/// One partition after one healing.
#[derive(Clone, Copy, Default)]
struct Wait {
    /// The operation that waits first.
    waits: Option<EventId>,
    acked: bool,
}

fn check_writes(history: &History, observed: &Observed<'_>, within: Duration, verdict: &mut Verdict) {
    let (all, healings) = healings(history, observed, within);
    verdict.exercised("availability after healing (no healing)", all > 0);
    if all > 0 && healings.is_empty() {
        verdict
            .unchecked
            .push("availability: each healing is cut short by the next fault");
    }
    if healings.is_empty() {
        return;
    }
    let changes = observed
        .told
        .metadata
        .iter()
        .map(|operation| &history.event(operation.invoke).op);
    let deleted: HashSet<&str> = changes
        .filter_map(|op| match op {
            Op::MetadataWrite(write) if write.partitions.is_none() => Some(write.topic.as_str()),
            _ => None,
        })
        .collect();
    let mut waits: Vec<Vec<Wait>> = vec![observed.for_each_partition(); healings.len()];
    let invoked = observed
        .told
        .sends
        .iter()
        .filter(|sent| sent.kind == Kind::Invoke);
    for sent in invoked.filter(|sent| sent.acks == Acks::All) {
        let Some(operation) = history.operation_of(sent.event) else {
            continue;
        };
        // Those whose time is not over before this began, up to those that came after it ended.
        let from = healings.partition_point(|healing| healing.over <= sent.event);
        for (healing, waits) in healings[from..].iter().zip(&mut waits[from..]) {
            if operation.completion.is_some_and(|ended| ended < healing.healed) {
                break;
            }
            let outcome = history.outcome(operation);
            let wait = &mut waits[sent.key.number()];
            let in_time = operation.completion.is_some_and(|ended| ended < healing.over);
            wait.acked |= outcome == Kind::Ok && in_time;
            if sent.event < healing.half_over && outcome != Kind::Fail {
                wait.waits.get_or_insert(sent.event);
            }
            // What hangs for ever waits for each healing; one is enough to tell of it.
            if operation.completion.is_none() {
                break;
            }
        }
    }
    for (healing, waits) in healings.iter().zip(waits) {
        for ((key, partition), wait) in observed.partitions().zip(waits) {
            let Some(waiting) = wait.waits.filter(|_| !wait.acked) else {
                continue;
            };
            if !deleted.contains(partition.key.topic()) {
                tell_no_write(history, observed, within, verdict, (healing.healed, waiting, key));
            }
        }
    }
}

fn tell_no_write(
    history: &History,
    observed: &Observed<'_>,
    within: Duration,
    verdict: &mut Verdict,
    (healed, waiting, key): (EventId, EventId, KeyIndex),
) {
    verdict.add(AnomalyKind::NoWriteAfterHealing, || {
        let key = observed.key(key);
        let summary = format!("nothing was acknowledged in {key} within {within:?} after a healing");
        let what = match &history.event(healed).op {
            Op::Healed { what } => format!("healed: {what}"),
            _ => String::new(),
        };
        let evidence = vec![
            Evidence::of(history, healed, &what),
            Evidence::of(history, waiting, &format!("send to {key}")),
        ];
        (summary, evidence)
    });
}

fn check_tails(history: &History, observed: &Observed<'_>, within: Duration, verdict: &mut Verdict) {
    let Some(begin) = observed.final_polls else { return };
    let begin_time = history.event(begin).time;
    // The greatest offset acknowledged, and when the final polls reached it.
    let mut tails: Vec<Option<Offset>> = observed.for_each_partition();
    for sent in &observed.told.sends {
        let (Some(base), Some(more)) = (sent.promised(), sent.count.checked_sub(1)) else {
            continue;
        };
        let tail = &mut tails[sent.key.number()];
        *tail = (*tail).max(Some(base.plus(u64::from(more))));
    }
    let mut reached: Vec<Option<EventId>> = observed.for_each_partition();
    let from = observed.told.polls.partition_point(|polled| polled.event < begin);
    for polled in observed.told.polls[from..]
        .iter()
        .filter(|polled| polled.kind == Kind::Ok)
    {
        let number = polled.key.number();
        let last = polled.part.records.last().map(|record| record.offset);
        if last.is_some() && last >= tails[number] {
            reached[number].get_or_insert(polled.event);
        }
    }
    for (key, partition) in observed.partitions() {
        let Some(tail) = tails[key.number()] else { continue };
        let reached = reached[key.number()];
        let in_time = reached.is_some_and(|event| history.event(event).time <= after(begin_time, within));
        // What nobody ever read is unseen, or lost: those are better names.
        let value = partition.at(tail).and_then(|at| at.value);
        let polled = value.is_some_and(|value| observed.known(history, value).polled.is_some());
        if in_time || !polled || tail < partition.deleted_below() || partition.compacted {
            continue;
        }
        verdict.add(AnomalyKind::TailNotReached, || {
            let key = &partition.key;
            let summary =
                format!("{key} ends at offset {tail}, which the final polls did not reach within {within:?}");
            let mut evidence = vec![Evidence::of(history, begin, "the final polls begin")];
            evidence.extend(
                reached.map(|event| Evidence::of(history, event, &format!("{key} read up to there"))),
            );
            (summary, evidence)
        });
    }
}
