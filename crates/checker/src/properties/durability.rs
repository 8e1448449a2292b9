//! P5: an acknowledged value (`acks=all`) is in the final log of every replica, at its offset, unless it was deleted;
//! and no log starts above what was deleted.

use super::{name, told, told_send};
use crate::history::{Acks, EventId, History, Kind, Send};
use crate::observed::{FinalLog, KeyIndex, Observed, Sighting, Witness};
use crate::verdict::{AnomalyKind, Evidence, Verdict};
use quipu_record::Offset;

pub(crate) fn check(history: &History, observed: &Observed, verdict: &mut Verdict) {
    let mut finals: Vec<Vec<&FinalLog>> = observed.for_each_partition();
    for log in &observed.finals {
        finals[log.key.number()].push(log);
    }
    let mut unseen = false;
    for (index, event) in history.events().iter().enumerate() {
        let id = EventId(index);
        for send in event.op.sends() {
            let (Kind::Ok, Acks::All, Some(base)) = (event.kind, send.acks, send.offset) else {
                continue;
            };
            let key = observed.key_in(id, &send.key);
            let logs = &finals[key.number()];
            unseen |= logs.is_empty();
            // What a compacted log keeps is known by its keys only: `replicas_agree` looks at that.
            for log in logs.iter().filter(|log| log.latest.is_none()) {
                check_send((history, observed), verdict, log, (send, base, key, id));
            }
        }
    }
    if unseen {
        verdict
            .unchecked
            .push("P5: some partitions with acknowledged values have no final log of any replica");
    }
}

fn check_send(
    (history, observed): (&History, &Observed),
    verdict: &mut Verdict,
    log: &FinalLog,
    (send, base, key, event): (&Send, Offset, KeyIndex, EventId),
) {
    let partition = observed.partition(key);
    let (deleted, deleted_below) = (partition.trimmed, partition.deleted_below());
    for (value, delta) in send.values.iter().zip(0_u64..) {
        let offset = base.plus(delta);
        if log.holds(offset, value.id) || offset < log.log_start.min(deleted_below) {
            continue;
        }
        let ack = Sighting {
            key,
            offset,
            value: Some(value.id),
            hash: Some(value.hash),
            event,
            witness: Witness::Ack,
        };
        let place = format!(
            "value {} was acknowledged at {} offset {offset}",
            value.id, send.key
        );
        let replica = log.replica;
        let mut evidence = vec![told(history, observed, &ack)];
        evidence.extend(
            history
                .sender(value.id)
                .map(|s| told_send(history, s.invoke, value.id)),
        );
        if offset < log.log_start {
            verdict.add(AnomalyKind::BelowLogStart, || {
                let start = log.log_start;
                let what = format!("the final log of replica {replica} starts at offset {start}");
                evidence.push(Evidence::of(history, log.event, &what));
                if let Some((offset, event)) = deleted {
                    let what = format!("the greatest deletion there: below offset {offset}");
                    evidence.push(Evidence::of(history, event, &what));
                }
                let summary = format!(
                    "{place}, and replica {replica}'s log starts at {start}, though nothing was deleted beyond {deleted_below}"
                );
                (summary, evidence)
            });
            continue;
        }
        verdict.add(AnomalyKind::LostWrite, || {
            let holds = match log.at(offset) {
                Some(other) => format!("holds {} there", name(other)),
                None => "holds nothing there".to_owned(),
            };
            let what = format!("the final log of replica {replica} {holds}");
            evidence.push(Evidence::of(history, log.event, &what));
            (format!("{place}, and replica {replica} {holds}"), evidence)
        });
    }
}
