//! Jepsen's nonmonotonic-send: what a process sends to a partition stands after what it sent there before. A plain
//! producer's values may come to be stored twice, and which copy is seen first says nothing.

use super::told;
use crate::history::{EventId, History, Kind, Process, Send};
use crate::observed::{KeyIndex, Observed, Sighting};
use crate::verdict::{AnomalyKind, Verdict};
use std::collections::HashMap;

pub(crate) fn check(history: &History, observed: &Observed, verdict: &mut Verdict) {
    let mut last_sent: HashMap<(Process, KeyIndex), Sighting> = HashMap::new();
    for (index, event) in history.events().iter().enumerate() {
        if !matches!(event.kind, Kind::Ok | Kind::Info) {
            continue;
        }
        for send in event.op.sends().filter(|send| send.producer.is_some()) {
            let key = observed.key_in(EventId(index), &send.key);
            let Some((first, last)) = ends(history, observed, send, key) else {
                continue;
            };
            let Some(before) = last_sent.insert((event.process, key), last) else {
                continue;
            };
            if first.offset > before.offset {
                continue;
            }
            verdict.add(AnomalyKind::NonmonotonicSend, || {
                let summary = format!(
                    "{} sent to {} what stands at offset {}, and then what stands at offset {}",
                    event.process, send.key, before.offset, first.offset
                );
                let evidence = vec![told(history, observed, &before), told(history, observed, &first)];
                (summary, evidence)
            });
        }
    }
}

/// Where the first and the last value of a batch stand, as far as that is known.
pub(super) fn ends(
    history: &History,
    observed: &Observed,
    send: &Send,
    key: KeyIndex,
) -> Option<(Sighting, Sighting)> {
    let place = |value: &crate::history::Value| {
        let place = observed.place(history, value.id);
        place.filter(|place| place.key == key)
    };
    let first = send.values.iter().find_map(place)?;
    let last = send.values.iter().rev().find_map(place)?;
    Some((first, last))
}
