//! P8: what one producer sends to a partition stands in the order in which it sent it, also with several batches under
//! way at once. (That a client sees what it was told is there, is with the high watermark.)
//!
//! What was sent after an acknowledgement of all has P4's name, or Jepsen's if one process sent both.

use super::send_order::ends;
use super::{told, told_send};
use crate::history::{EventId, History, Kind, Operation};
use crate::observed::{KeyIndex, Observed, Sighting};
use crate::verdict::{AnomalyKind, Verdict};

/// One batch of a producer that keeps an order.
struct Sent {
    producer: u64,
    key: KeyIndex,
    sequence: u64,
    operation: Operation,
    first: Sighting,
    last: Sighting,
}

pub(crate) fn check(history: &History, observed: &Observed, verdict: &mut Verdict) {
    let mut sent: Vec<Sent> = Vec::new();
    for operation in history.operations() {
        let event = history.event(operation.invoke);
        for send in event.op.sends() {
            let (Some(producer), Some(sequence)) = (send.producer, send.sequence) else {
                continue;
            };
            let key = observed.key_in(operation.invoke, &send.key);
            if let Some((first, last)) = ends(history, observed, send, key) {
                sent.push(Sent {
                    producer,
                    key,
                    sequence,
                    operation: *operation,
                    first,
                    last,
                });
            }
        }
    }
    verdict.exercised("P8 (no producer tells its order)", !sent.is_empty());
    sent.sort_by_key(|one| (one.producer, one.key, one.sequence));
    for pair in sent.windows(2) {
        let (a, b) = (&pair[0], &pair[1]);
        let one_order = (a.producer, a.key) == (b.producer, b.key);
        if one_order && b.first.offset <= a.last.offset && !is_told(history, a.operation, b.operation.invoke)
        {
            tell(history, observed, verdict, a, b);
        }
    }
}

/// Whether P4 or nonmonotonic-send says it already.
fn is_told(history: &History, first: Operation, second: EventId) -> bool {
    let completed = first.completion.filter(|_| history.outcome(first) == Kind::Ok);
    completed.is_some_and(|completed| completed < second)
}

fn tell(history: &History, observed: &Observed, verdict: &mut Verdict, a: &Sent, b: &Sent) {
    verdict.add(AnomalyKind::ProducerOrder, || {
        let summary = format!(
            "producer {} sent to {} what stands at offset {}, and then what stands at offset {}",
            a.producer,
            observed.key(a.key),
            a.last.offset,
            b.first.offset
        );
        let mut evidence = vec![
            told(history, observed, &a.last),
            told(history, observed, &b.first),
        ];
        for (sent, place) in [(a, a.last), (b, b.first)] {
            evidence.extend(
                place
                    .value
                    .map(|value| told_send(history, sent.operation.invoke, value)),
            );
        }
        (summary, evidence)
    });
}
