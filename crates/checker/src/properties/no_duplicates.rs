//! P2: a value of an idempotent producer stands at one place. (A plain producer that repeats may store it twice.)

use super::{told, told_send};
use crate::history::{History, Op, ValueId};
use crate::observed::{Observed, Places};
use crate::verdict::{AnomalyKind, Verdict};

pub(crate) fn check(history: &History, observed: &Observed, verdict: &mut Verdict) {
    let mut twice: Vec<(&ValueId, &Places)> = observed
        .places
        .iter()
        .filter(|(_, places)| !places.others.is_empty())
        .collect();
    twice.sort_unstable_by_key(|(value, places)| (places.others[0].event, **value));
    for (value, places) in twice {
        let sender = history.sender(*value);
        let idempotent = sender.is_some_and(|operation| {
            matches!(&history.event(operation.invoke).op, Op::Send(send) if send.producer.is_some())
        });
        if !idempotent {
            verdict.counts.allowed_duplicates += 1;
            continue;
        }
        verdict.add(AnomalyKind::Duplicate, || {
            let (first, other) = (&places.first, &places.others[0]);
            let summary = format!(
                "value {value} of an idempotent producer stands at {} offset {} and at {} offset {}",
                observed.key(first.key),
                first.offset,
                observed.key(other.key),
                other.offset
            );
            let mut evidence = vec![told(history, observed, first), told(history, observed, other)];
            evidence.extend(sender.map(|operation| told_send(history, operation.invoke, *value)));
            (summary, evidence)
        });
    }
}
