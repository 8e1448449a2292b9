//! Jepsen's int-nonmonotonic-send and int-send-skip: the values of one send stand in its order. Between them may stand
//! those of others. A plain producer's values may come to be stored twice, and which copy is seen first says nothing.

use super::told_seen;
use crate::history::{History, Kind};
use crate::observed::{Observed, Seen};
use crate::verdict::{AnomalyKind, Verdict};

pub(crate) fn check(history: &History, observed: &Observed<'_>, verdict: &mut Verdict) {
    // Of one operation: the last place of each partition that it sends to.
    let mut last: Vec<Seen<'_>> = Vec::new();
    for of_event in observed.told.sends.chunk_by(|a, b| a.event == b.event) {
        if !matches!(of_event[0].kind, Kind::Ok | Kind::Info) {
            continue;
        }
        last.clear();
        for sent in of_event.iter().filter(|sent| sent.is_idempotent) {
            for seen in observed.seen_of(sent) {
                match last.iter_mut().find(|before| before.sent.key == sent.key) {
                    Some(before) => {
                        check_step(history, observed, verdict, before, &seen);
                        *before = seen;
                    }
                    None => last.push(seen),
                }
            }
        }
    }
}

fn check_step(
    history: &History,
    observed: &Observed<'_>,
    verdict: &mut Verdict,
    before: &Seen<'_>,
    seen: &Seen<'_>,
) {
    let (from, to) = (before.offset, seen.offset);
    if to == from.next() {
        return;
    }
    if to > from {
        if observed
            .partition(seen.sent.key)
            .known_between(from, to)
            .is_some()
        {
            verdict.allow(AnomalyKind::IntSendSkip);
        }
        return;
    }
    verdict.add(AnomalyKind::IntNonmonotonicSend, || {
        let key = observed.key(seen.sent.key);
        let summary = format!("values of one send to {key} stand at offset {from} and then at {to}");
        let evidence = [before, seen].map(|seen| told_seen(history, observed, seen));
        (summary, evidence.to_vec())
    });
}
