//! Jepsen's nonmonotonic-send: what a process sends to a partition stands after what it sent there before. A plain
//! producer's values may come to be stored twice, and which copy is seen first says nothing.

use super::told_seen;
use crate::history::{History, Kind, Process};
use crate::numbered::FastMap;
use crate::observed::{KeyIndex, Observed, Seen, Sent};
use crate::verdict::{AnomalyKind, Verdict};

pub(crate) fn check(history: &History, observed: &Observed<'_>, verdict: &mut Verdict) {
    let mut last_sent: FastMap<(Process, KeyIndex), Seen<'_>> = FastMap::default();
    let ended = observed
        .told
        .sends
        .iter()
        .filter(|sent| matches!(sent.kind, Kind::Ok | Kind::Info));
    for sent in ended.filter(|sent| sent.is_idempotent) {
        let Some((first, last)) = ends(observed, sent) else {
            continue;
        };
        let Some(before) = last_sent.insert((sent.process, sent.key), last) else {
            continue;
        };
        // What one transaction sends out of its order is `batch_order`'s.
        if first.offset > before.offset || before.sent.event == sent.event {
            continue;
        }
        verdict.add(AnomalyKind::NonmonotonicSend, || {
            let summary = format!(
                "{} sent to {} what stands at offset {}, and then what stands at offset {}",
                sent.process, sent.send.key, before.offset, first.offset
            );
            let evidence = [before, first].map(|seen| told_seen(history, observed, &seen));
            (summary, evidence.to_vec())
        });
    }
}

/// Where the first and the last value of a batch stand, as far as that is known.
pub(super) fn ends<'a>(observed: &'a Observed<'_>, sent: &'a Sent<'a>) -> Option<(Seen<'a>, Seen<'a>)> {
    let mut seen = observed.seen_of(sent);
    let first = seen.next()?;
    Some((first, seen.next_back().unwrap_or(first)))
}
