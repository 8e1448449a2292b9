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

pub(crate) fn check(history: &History, observed: &Observed, limits: &Limits, verdict: &mut Verdict) {
    check_writes(history, observed, limits.write_within, verdict);
    check_tails(history, observed, limits.tail_within, verdict);
}

fn after(time: Time, limit: Duration) -> Time {
    let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
    Time(time.0.saturating_add(limit))
}

/// Healings that no fault cuts short, each with when its time is over.
fn healings(history: &History, within: Duration) -> (usize, Vec<(EventId, Time)>) {
    let mut all = 0;
    let mut whole: Vec<(EventId, Time)> = Vec::new();
    for (index, event) in history.events().iter().enumerate() {
        match &event.op {
            Op::Healed { .. } => {
                all += 1;
                whole.push((EventId(index), after(event.time, within)));
            }
            Op::Fault(fault) if fault.phase != Some(Phase::End) => {
                while whole.last().is_some_and(|(_, over)| *over > event.time) {
                    whole.pop();
                }
            }
            _ => {}
        }
    }
    let end = history.events().last().map_or(Time(0), |last| last.time);
    whole.retain(|(_, over)| *over <= end);
    (all, whole)
}

/// One partition after one healing.
#[derive(Clone, Copy, Default)]
struct Wait {
    /// The operation that waits first.
    waits: Option<EventId>,
    acked: bool,
}

fn check_writes(history: &History, observed: &Observed, within: Duration, verdict: &mut Verdict) {
    let (all, healings) = healings(history, within);
    verdict.exercised("availability after healing (no healing)", all > 0);
    if all > 0 && healings.is_empty() {
        verdict
            .unchecked
            .push("availability: each healing is cut short by the next fault");
    }
    let deleted: HashSet<&str> = history
        .events()
        .iter()
        .filter_map(|event| match &event.op {
            Op::MetadataWrite(write) if write.partitions.is_none() => Some(write.topic.as_str()),
            _ => None,
        })
        .collect();
    let mut waits: Vec<Vec<Wait>> = vec![observed.for_each_partition(); healings.len()];
    for operation in history.operations() {
        let outcome = history.outcome(*operation);
        let began = history.event(operation.invoke);
        let ended = operation
            .completion
            .map(|completion| history.event(completion).time);
        for send in began.op.sends().filter(|send| send.acks == Acks::All) {
            let key = observed.key_in(operation.invoke, &send.key);
            // Those whose time is not over before this began, up to those that came after it ended.
            let from = healings.partition_point(|(_, over)| *over < began.time);
            for (at, (healed, over)) in healings.iter().enumerate().skip(from) {
                let healed = history.event(*healed).time;
                if ended.is_some_and(|ended| ended < healed) {
                    break;
                }
                let wait = &mut waits[at][key.number()];
                wait.acked |= outcome == Kind::Ok && ended.is_some_and(|ended| ended <= *over);
                if began.time <= Time(healed.0.midpoint(over.0)) && outcome != Kind::Fail {
                    wait.waits.get_or_insert(operation.invoke);
                }
                // What hangs for ever waits for each healing; one is enough to tell of it.
                if ended.is_none() {
                    break;
                }
            }
        }
    }
    for ((healed, _), waits) in healings.iter().zip(waits) {
        for ((key, partition), wait) in observed.partitions().zip(waits) {
            let Some(waiting) = wait.waits.filter(|_| !wait.acked) else {
                continue;
            };
            if !deleted.contains(partition.key.topic()) {
                tell_no_write(history, observed, within, verdict, (*healed, waiting, key));
            }
        }
    }
}

fn tell_no_write(
    history: &History,
    observed: &Observed,
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

fn check_tails(history: &History, observed: &Observed, within: Duration, verdict: &mut Verdict) {
    let Some(begin) = observed.final_polls else { return };
    let begin_time = history.event(begin).time;
    // The greatest offset acknowledged, and when the final polls reached it.
    let mut tails: Vec<Option<Offset>> = observed.for_each_partition();
    for (index, event) in history.events().iter().enumerate() {
        let acked = event.op.sends().filter(|_| event.kind == Kind::Ok);
        for send in acked.filter(|send| send.acks == Acks::All && !send.values.is_empty()) {
            let Some(base) = send.offset else { continue };
            let tail = &mut tails[observed.key_in(EventId(index), &send.key).number()];
            *tail = (*tail).max(Some(base.plus(send.values.len() as u64 - 1)));
        }
    }
    let mut reached: Vec<Option<EventId>> = observed.for_each_partition();
    for (index, event) in history.events().iter().enumerate().skip(begin.0) {
        for part in event.op.polls().flat_map(|poll| &poll.partitions) {
            let number = observed.key_in(EventId(index), &part.key).number();
            let last = part.records.last().map(|record| record.offset);
            if event.kind == Kind::Ok && last.is_some() && last >= tails[number] {
                reached[number].get_or_insert(EventId(index));
            }
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
