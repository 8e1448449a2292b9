//! P8: what one producer sends to a partition stands in the order in which it sent it, also with several batches under
//! way at once. (That a client sees what it was told is there, is with the high watermark.)
//!
//! What was sent after an acknowledgement of all has P4's name, or Jepsen's if one process sent both.

use super::send_order::ends;
use super::{told_seen, told_send};
use crate::history::{History, Kind, Process};
use crate::observed::{KeyIndex, Observed, Sent};
use crate::verdict::{AnomalyKind, Verdict};
use quipu_record::Offset;
use std::collections::BTreeMap;

/// One batch of a producer that keeps an order.
#[derive(Clone, Copy)]
struct InTurn<'a> {
    sequence: u64,
    sent: &'a Sent<'a>,
    /// Where its first and its last value stand.
    first: Offset,
    last: Offset,
}

pub(crate) fn check(history: &History, observed: &Observed<'_>, verdict: &mut Verdict) {
    let mut in_turn: BTreeMap<(u64, KeyIndex), Vec<InTurn<'_>>> = BTreeMap::new();
    let told = observed.told.sends.iter();
    for sent in told.filter(|sent| sent.kind == Kind::Invoke && sent.process != Process::Nemesis) {
        let (Some(producer), Some(sequence)) = (sent.send.producer, sent.send.sequence) else {
            continue;
        };
        if let Some((first, last)) = ends(observed, sent) {
            in_turn.entry((producer, sent.key)).or_default().push(InTurn {
                sequence,
                sent,
                first: first.offset,
                last: last.offset,
            });
        }
    }
    verdict.exercised("P8 (no producer tells its order)", !in_turn.is_empty());
    for ((producer, _), mut sent) in in_turn {
        sent.sort_by_key(|one| one.sequence);
        for pair in sent.windows(2) {
            let [a, b] = [pair[0], pair[1]];
            if b.first <= a.last && !is_told(history, a.sent, b.sent) {
                tell(history, observed, verdict, producer, [a, b]);
            }
        }
    }
}

/// Whether P4 or nonmonotonic-send says it already.
fn is_told(history: &History, first: &Sent<'_>, second: &Sent<'_>) -> bool {
    let first = history.operation_of(first.event);
    let completed = first.filter(|first| history.outcome(*first) == Kind::Ok);
    let completed = completed.and_then(|first| first.completion);
    completed.is_some_and(|completed| completed < second.event)
}

fn tell(
    history: &History,
    observed: &Observed<'_>,
    verdict: &mut Verdict,
    producer: u64,
    [a, b]: [InTurn<'_>; 2],
) {
    verdict.add(AnomalyKind::ProducerOrder, || {
        let summary = format!(
            "producer {producer} sent to {} what stands at offset {}, and then what stands at offset {}",
            a.sent.send.key, a.last, b.first
        );
        let ends = [a, b].map(|one| ends(observed, one.sent));
        let seen = [ends[0].map(|(_, last)| last), ends[1].map(|(first, _)| first)];
        let mut evidence = Vec::new();
        for seen in seen.into_iter().flatten() {
            evidence.push(told_seen(history, observed, &seen));
            evidence.push(told_send(history, seen.sent.event, seen.value()));
        }
        (summary, evidence)
    });
}
