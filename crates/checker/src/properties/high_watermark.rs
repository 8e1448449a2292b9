//! P6: the high watermark, asked for, is above all that was acknowledged before; it does not go back; and it is never
//! above all that was sent. (What comes with a plain read may lag, so only the last of these binds it.)
//!
//! What a client does not see of its own acknowledgements is P8's read-your-writes.

use crate::history::{Event, History, Key, Kind};
use crate::observed::{Observed, Sent, Watermark};
use crate::rising::Rising;
use crate::verdict::{AnomalyKind, Evidence, Verdict};
use quipu_record::Offset;

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

pub(crate) fn check(history: &History, observed: &Observed<'_>, verdict: &mut Verdict) {
    let mut bounds: Vec<Bounds> = observed.for_each_partition();
    let mut sends = observed.told.sends.iter().peekable();
    for watermark in &observed.told.watermarks {
        while let Some(sent) = sends.next_if(|sent| sent.event <= watermark.event) {
            bounds[sent.key.number()].take(sent);
        }
        let bounds = &mut bounds[watermark.key.number()];
        let key = observed.key(watermark.key);
        if watermark.asked {
            check_latest(history, verdict, bounds, key, watermark);
            bounds.told.raise(watermark.event, watermark.told);
        }
        check_height(history, verdict, bounds, key, watermark);
    }
    let asked = observed.told.watermarks.iter().any(|watermark| watermark.asked);
    verdict.exercised("P6 (nobody asked for a high watermark)", asked);
}

impl Bounds {
    fn take(&mut self, sent: &Sent<'_>) {
        let count = u64::from(sent.count);
        if sent.kind == Kind::Invoke {
            self.sent += count;
            self.more_than_sent |= !sent.is_idempotent || sent.in_transaction;
        }
        if let Some(base) = sent.promised() {
            self.acked.raise(sent.event, base.plus(count));
        }
    }
}

fn check_height(history: &History, verdict: &mut Verdict, bounds: &Bounds, key: &Key, watermark: &Watermark) {
    let Watermark { event, told, .. } = *watermark;
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

fn check_latest(history: &History, verdict: &mut Verdict, bounds: &Bounds, key: &Key, watermark: &Watermark) {
    let Watermark { event, told, .. } = *watermark;
    let operation = history.operation_of(event);
    let invoke = operation.map_or(event, |operation| operation.invoke);
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
