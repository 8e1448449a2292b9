//! P6: the high watermark, asked for, is above all that was acknowledged before; it does not go back; and it is never
//! above all that was sent. (What comes with a plain read may lag, so only the last of these binds it.)
//!
//! What a client does not see of its own acknowledgements is P8's read-your-writes.

use crate::history::{Acks, Event, EventId, History, Key, Kind, Latest, Op, Process};
use crate::observed::Observed;
use crate::rising::Rising;
use crate::verdict::{AnomalyKind, Evidence, Verdict};
use quipu_record::Offset;
use std::collections::HashMap;

/// What is known of one partition's high watermark, as of an event.
#[derive(Default)]
struct Bounds {
    /// One above the greatest offset acknowledged.
    acked: Rising<Offset>,
    /// The greatest that was told.
    told: Rising<Offset>,
    /// How many values were sent so far.
    sent: u64,
    /// Somebody sends who may store a value twice, or whose transactions leave marks.
    more_than_sent: bool,
}

pub(crate) fn check(history: &History, observed: &Observed, verdict: &mut Verdict) {
    let mut bounds: Vec<Bounds> = observed.for_each_partition();
    let mut invoked: HashMap<Process, EventId> = HashMap::new();
    let mut asked = false;
    for (index, event) in history.events().iter().enumerate() {
        let id = EventId(index);
        for send in event.op.sends() {
            let bounds = &mut bounds[observed.key_in(id, &send.key).number()];
            match (event.kind, send.acks, send.offset) {
                (Kind::Invoke, ..) => {
                    bounds.sent += send.values.len() as u64;
                    bounds.more_than_sent |= send.producer.is_none() || matches!(event.op, Op::Txn(_));
                }
                (Kind::Ok, Acks::All, Some(base)) => {
                    bounds.acked.raise(id, base.plus(send.values.len() as u64))
                }
                _ => {}
            }
        }
        for part in event.op.polls().flat_map(|poll| &poll.partitions) {
            if let (Kind::Ok, Some(told)) = (event.kind, part.high_watermark) {
                let bounds = &bounds[observed.key_in(id, &part.key).number()];
                check_height(history, verdict, bounds, id, (&part.key, told));
            }
        }
        let Op::Latest(latest) = &event.op else { continue };
        let bounds = &mut bounds[observed.key_in(id, &latest.key).number()];
        match (event.kind, latest.high_watermark) {
            (Kind::Invoke, _) => {
                invoked.insert(event.process, id);
            }
            (Kind::Ok, Some(told)) => {
                asked = true;
                let invoke = invoked.get(&event.process).copied().unwrap_or(id);
                check_latest(history, verdict, bounds, (invoke, id), latest, told);
                check_height(history, verdict, bounds, id, (&latest.key, told));
                bounds.told.raise(id, told);
            }
            _ => {}
        }
    }
    verdict.exercised("P6 (nobody asked for a high watermark)", asked);
}

fn check_height(
    history: &History,
    verdict: &mut Verdict,
    bounds: &Bounds,
    event: EventId,
    (key, told): (&Key, Offset),
) {
    if bounds.more_than_sent || told.get() <= bounds.sent {
        return;
    }
    verdict.add(AnomalyKind::HighWatermarkTooHigh, || {
        let sent = bounds.sent;
        let summary =
            format!("{key} has the high watermark {told}, though only {sent} values had been sent to it");
        (
            summary,
            vec![Evidence::of(
                history,
                event,
                &format!("high watermark of {key}: {told}"),
            )],
        )
    });
}

fn check_latest(
    history: &History,
    verdict: &mut Verdict,
    bounds: &Bounds,
    (invoke, event): (EventId, EventId),
    latest: &Latest,
    told: Offset,
) {
    let acked = bounds.acked.before(invoke).filter(|(_, bound)| *bound > told);
    let earlier = bounds.told.before(invoke).filter(|(_, bound)| *bound > told);
    let (kind, (before, bound)) = match (acked, earlier) {
        (Some(acked), _) => {
            let same = |of: &Event| of.process == history.event(event).process;
            let own = same(history.event(acked.0));
            let kind = if own {
                AnomalyKind::ReadYourWrites
            } else {
                AnomalyKind::StaleHighWatermark
            };
            (kind, acked)
        }
        (None, Some(earlier)) => (AnomalyKind::HighWatermarkWentBack, earlier),
        (None, None) => return,
    };
    verdict.add(kind, || {
        let key = &latest.key;
        let summary = format!(
            "{key} has the high watermark {told}, though it was at least {bound} before that was asked"
        );
        let known = match kind {
            AnomalyKind::HighWatermarkWentBack => format!("high watermark of {key}: {bound}"),
            _ => format!("{key} acknowledged below offset {bound}"),
        };
        let evidence = vec![
            Evidence::of(history, before, &known),
            Evidence::of(history, invoke, &format!("asks for the high watermark of {key}")),
            Evidence::of(history, event, &format!("high watermark of {key}: {told}")),
        ];
        (summary, evidence)
    });
}
