//! P5: an acknowledged value (`acks=all`) is in the final log of every replica, at its offset, unless it was deleted;
//! and no log starts above what was deleted.

use super::{name, told, told_send};
use crate::history::History;
use crate::observed::{FinalLog, Observed, Sent, Sighting, Witness};
use crate::verdict::{AnomalyKind, Evidence, Verdict};
use quipu_record::Offset;

pub(crate) fn check(history: &History, observed: &Observed<'_>, verdict: &mut Verdict) {
    let mut finals: Vec<Vec<&FinalLog<'_>>> = observed.for_each_partition();
    for log in &observed.finals {
        finals[log.key.number()].push(log);
    }
    let mut unseen = false;
    for sent in &observed.told.sends {
        let Some(base) = sent.promised() else { continue };
        let logs = &finals[sent.key.number()];
        unseen |= logs.is_empty();
        // What a compacted log keeps is known by its keys only: `replicas_agree` looks at that.
        for log in logs.iter().filter(|log| log.latest.is_none()) {
            check_send((history, observed), verdict, log, (sent, base));
        }
    }
    if unseen {
        verdict
            .unchecked
            .push("P5: some partitions with acknowledged values have no final log of any replica");
    }
}

fn check_send(
    (history, observed): (&History, &Observed<'_>),
    verdict: &mut Verdict,
    log: &FinalLog<'_>,
    (sent, base): (&Sent<'_>, Offset),
) {
    let partition = observed.partition(sent.key);
    let (deleted, deleted_below) = (partition.trimmed, partition.deleted_below());
    for (value, delta) in sent.send.values.iter().zip(0_u64..) {
        let offset = base.plus(delta);
        if log.holds(offset, value.id) || offset < log.log_start.min(deleted_below) {
            continue;
        }
        let replica = log.replica;
        let acknowledged = || {
            let place = format!(
                "value {} was acknowledged at {} offset {offset}",
                value.id, partition.key
            );
            let ack = Sighting {
                key: sent.key,
                offset,
                value: Some(value.id),
                hash: value.hash,
                event: sent.event,
                witness: Witness::Ack,
            };
            let mut evidence = vec![told(history, observed, &ack)];
            let sender = history.sender(value.id);
            evidence.extend(sender.map(|sender| told_send(history, sender.invoke, value.id)));
            (place, evidence)
        };
        if offset < log.log_start {
            verdict.add(AnomalyKind::BelowLogStart, || {
                let (place, mut evidence) = acknowledged();
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
            let (place, mut evidence) = acknowledged();
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
