//! P2: a value of an idempotent producer stands at one place. (A plain producer that repeats may store it twice.)

use super::{told, told_send};
use crate::history::{History, ValueId};
use crate::observed::{Observed, Sighting};
use crate::verdict::{AnomalyKind, Verdict};

pub(crate) fn check(history: &History, observed: &Observed<'_>, verdict: &mut Verdict) {
    let mut twice: Vec<(ValueId, &Sighting)> = observed
        .elsewhere()
        .iter()
        .filter_map(|(value, others)| Some((*value, others.first()?)))
        .collect();
    twice.sort_unstable_by_key(|(value, other)| (other.event, *value));
    for (value, other) in twice {
        let sent = history.sent(value);
        if sent.is_none_or(|(_, send, _)| send.producer.is_none()) {
            verdict.counts.allowed_duplicates += 1;
            continue;
        }
        let first = observed.known(history, value).first;
        let Some(first) = first.and_then(|place| observed.sighting(place, value)) else {
            continue;
        };
        verdict.add(AnomalyKind::Duplicate, || {
            let summary = format!(
                "value {value} of an idempotent producer stands at {} offset {} and at {} offset {}",
                observed.key(first.key),
                first.offset,
                observed.key(other.key),
                other.offset
            );
            let mut evidence = vec![told(history, observed, first), told(history, observed, other)];
            evidence.extend(sent.map(|(operation, ..)| told_send(history, operation.invoke, value)));
            (summary, evidence)
        });
    }
}
