//! P9 and Jepsen's precommitted-read: a transaction is all or nothing, does not read itself, and those who read only
//! what is committed stay below the last stable offset. (An aborted value that is read is G1a, with P3.)

use super::told_send;
use crate::history::{History, Kind, Operation, Value};
use crate::observed::{Observed, Polled};
use crate::verdict::{AnomalyKind, Evidence, Verdict};

pub(crate) fn check(history: &History, observed: &Observed<'_>, verdict: &mut Verdict) {
    verdict.exercised(
        "P9 and the anomalies of transactions (no transactions)",
        !observed.told.transactions.is_empty(),
    );
    for operation in &observed.told.transactions {
        check_own_reads(history, verdict, *operation);
        check_torn(history, observed, verdict, *operation);
    }
    for polled in observed
        .told
        .polls
        .iter()
        .filter(|polled| polled.kind == Kind::Ok)
    {
        check_stable(history, verdict, polled);
    }
}

fn check_own_reads(history: &History, verdict: &mut Verdict, operation: Operation) {
    let Some(completion) = operation.completion else {
        return;
    };
    let op = &history.event(completion).op;
    for part in op.polls().flat_map(|poll| &poll.partitions) {
        let mut values = part.records.iter().filter_map(|record| record.value);
        let Some(own) = values.find(|value| history.sender(*value) == Some(operation)) else {
            continue;
        };
        verdict.add(AnomalyKind::PrecommittedRead, || {
            let summary = format!("a transaction read value {own}, which it had sent itself");
            let read = Evidence::of(history, completion, &format!("value {own} read at {}", part.key));
            (summary, vec![told_send(history, operation.invoke, own), read])
        });
    }
}

/// Of a transaction whose end nobody knows, one value is there and another is in no replica's final log. (Of one that
/// is `ok`, the other is a lost write.)
fn check_torn(history: &History, observed: &Observed<'_>, verdict: &mut Verdict, operation: Operation) {
    if !matches!(history.outcome(operation), Kind::Info | Kind::Invoke) {
        return;
    }
    let (mut there, mut missing): (Option<Value>, Option<Value>) = (None, None);
    for send in history.event(operation.invoke).op.sends() {
        for value in &send.values {
            let known = observed.known(history, value.id);
            let Some(partition) = known.sent_to.map(|key| observed.partition(key)) else {
                continue;
            };
            if known.in_final || known.polled.is_some() {
                there = there.or(Some(*value));
            } else if partition.has_final && partition.trimmed.is_none() && !partition.compacted {
                missing = missing.or(Some(*value));
            }
        }
    }
    let (Some(there), Some(missing)) = (there, missing) else {
        return;
    };
    verdict.add(AnomalyKind::TornTransaction, || {
        let (there, missing) = (there.id, missing.id);
        let summary =
            format!("value {there} of a transaction is in the log, and value {missing} of it is not");
        let evidence = [there, missing].map(|value| told_send(history, operation.invoke, value));
        (summary, evidence.to_vec())
    });
}

fn check_stable(history: &History, verdict: &mut Verdict, polled: &Polled<'_>) {
    let part = polled.part;
    let (Some(last), Some(stable)) = (part.records.last(), part.last_stable) else {
        return;
    };
    if last.offset < stable {
        return;
    }
    verdict.add(AnomalyKind::PastLastStable, || {
        let (key, last) = (&part.key, last.offset);
        let summary = format!("{key} offset {last} was read, and the last stable offset is {stable}");
        let what = format!("{key} read up to offset {last}, last stable offset {stable}");
        (summary, vec![Evidence::of(history, polled.event, &what)])
    });
}
