//! P3: what is read was sent, to that partition, with those bytes, by somebody who was not told that it failed.

use super::{name, told, told_send};
use crate::history::{History, Kind, Operation, ValueId};
use crate::observed::{Observed, Sighting};
use crate::verdict::{AnomalyKind, Evidence, Verdict};
use std::collections::HashSet;

pub(crate) fn check(history: &History, observed: &Observed<'_>, verdict: &mut Verdict) {
    let mut seen: HashSet<(AnomalyKind, Option<ValueId>)> = HashSet::new();
    for sighting in &observed.doubtful {
        let Some((kind, summary)) = fault(history, observed, sighting) else {
            continue;
        };
        // One value is told once for each fault, however often it was read; bytes without a value each time.
        if sighting.value.is_some() && !seen.insert((kind, sighting.value)) {
            continue;
        }
        verdict.add(kind, || {
            let mut evidence = vec![told(history, observed, sighting)];
            if let Some((value, sender)) = sighting
                .value
                .and_then(|value| history.sender(value).map(|sender| (value, sender)))
            {
                evidence.push(told_send(history, sender.invoke, value));
                evidence.extend(failure(history, sender, value));
            }
            (summary, evidence)
        });
    }
    if !observed.anything_read {
        verdict.unchecked.push("P3: nothing was read");
    }
}

fn fault(history: &History, observed: &Observed<'_>, sighting: &Sighting) -> Option<(AnomalyKind, String)> {
    let key = observed.key(sighting.key);
    let place = || format!("{} at {key} offset {}", name(sighting.value), sighting.offset);
    let unsent = || {
        let summary = format!("{} was never sent to {key}", place());
        Some((AnomalyKind::UnsentRead, summary))
    };
    let Some((sender, _, sent)) = sighting.value.and_then(|value| history.sent(value)) else {
        return unsent();
    };
    if observed.known(history, sent.id).sent_to != Some(sighting.key) {
        return unsent();
    }
    if sighting.hash != sent.hash {
        let summary = format!("{} has other bytes than were sent", place());
        return Some((AnomalyKind::CorruptRead, summary));
    }
    if history.outcome(sender) == Kind::Fail {
        let summary = format!(
            "{} was read, though its sender was told that it had certainly failed",
            place()
        );
        return Some((AnomalyKind::AbortedRead, summary));
    }
    None
}

fn failure(history: &History, operation: Operation, value: ValueId) -> Option<Evidence> {
    let completion = operation.completion?;
    let failed = history.event(completion).kind == Kind::Fail;
    failed.then(|| Evidence::of(history, completion, &format!("value {value} was not appended")))
}
