//! Jepsen's G0 and G1c: circles of operations, each of which comes before the next.
//!
//! `a` comes before `b` if `b` wrote the value after one of `a`'s (ww), or read one of `a`'s (wr); for the kinds ending
//! in `-process` also if one process did `a` and then `b`; for those in `-realtime` if `a` had ended before `b` began.
//! A transaction's writes are not isolated, so circles through ww are allowed. Each circle is told once, under its
//! simplest name.

mod components;
mod graph;

use crate::history::{History, Operation};
use crate::observed::Observed;
use crate::verdict::counts::op_name;
use crate::verdict::{AnomalyKind, Evidence, Verdict};
use components::components;
use graph::{Graph, Relation};
use std::collections::HashSet;

/// The kinds, by the relations whose circles they are, simplest first; and whether they are allowed.
const KINDS: [(AnomalyKind, &[Relation], bool); 7] = {
    use Relation::{Process, Realtime, Wr, Ww};
    [
        (AnomalyKind::G1c, &[Wr], false),
        (AnomalyKind::G0, &[Ww], true),
        (AnomalyKind::G1c, &[Wr, Ww], true),
        (AnomalyKind::G1cProcess, &[Wr, Process], false),
        (AnomalyKind::G0Process, &[Ww, Process], true),
        (AnomalyKind::G1cRealtime, &[Wr, Realtime], false),
        (AnomalyKind::G0Realtime, &[Ww, Realtime], true),
    ]
};

pub(crate) fn check(history: &History, observed: &Observed<'_>, verdict: &mut Verdict) {
    if observed.told.transactions.is_empty() {
        return;
    }
    let graph = Graph::of(history, observed);
    let mut told: HashSet<usize> = HashSet::new();
    for (kind, relations, allowed) in KINDS {
        for circle in components(&graph.along(relations)) {
            let circle: Vec<usize> = circle
                .into_iter()
                .filter(|node| graph.is_operation(*node))
                .collect();
            if circle.len() < 2 || circle.iter().any(|node| told.contains(node)) {
                continue;
            }
            told.extend(&circle);
            if allowed {
                verdict.allow(kind);
            } else {
                tell(history, verdict, kind, &circle);
            }
        }
    }
}

fn tell(history: &History, verdict: &mut Verdict, kind: AnomalyKind, circle: &[usize]) {
    verdict.add(kind, || {
        let summary = format!(
            "{} operations each come before the next, in a circle",
            circle.len()
        );
        let operations: Vec<Operation> = circle.iter().map(|node| history.operations()[*node]).collect();
        let evidence = operations.iter().take(4).map(|operation| {
            let event = history.last_word(*operation);
            let words = format!("{} in the circle", words(&event.op));
            Evidence::of(history, operation.completion.unwrap_or(operation.invoke), &words)
        });
        (summary, evidence.collect())
    });
}

/// What an operation wrote and read.
fn words(op: &crate::history::Op) -> String {
    let mut words = vec![op_name(op).to_owned()];
    for send in op.sends() {
        let values: Vec<String> = send.values.iter().map(|value| value.id.to_string()).collect();
        words.push(format!("sends {} to {}", values.join(", "), send.key));
    }
    for part in op.polls().flat_map(|poll| &poll.partitions) {
        let values = part.records.iter().filter_map(|record| record.value);
        let values: Vec<String> = values.map(|value| value.to_string()).collect();
        words.push(format!("reads {} from {}", values.join(", "), part.key));
    }
    words.join(" ")
}
