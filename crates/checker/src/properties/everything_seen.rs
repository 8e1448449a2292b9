//! Jepsen's unseen: once everything has been polled to its end, every acknowledged value has been polled by somebody.
//!
//! What lies below what was read is a lost write, and what a replica's final log lacks is one too: both are told
//! elsewhere.

use super::{lost_writes, told};
use crate::history::History;
use crate::observed::{Observed, Sent, Sighting, Witness};
use crate::verdict::{AnomalyKind, Evidence, Verdict};
use quipu_record::Offset;

pub(crate) fn check(history: &History, observed: &Observed<'_>, verdict: &mut Verdict) {
    verdict.exercised("unseen (no final polls)", observed.final_polls.is_some());
    let Some(final_polls) = observed.final_polls else {
        return;
    };
    let mut read_to: Vec<Option<Offset>> = observed.for_each_partition();
    for (key, partition) in observed.partitions() {
        read_to[key.number()] = lost_writes::bound(history, observed, partition).map(|bound| bound.offset);
    }
    for sent in &observed.told.sends {
        let Some(base) = sent.promised() else { continue };
        for unseen in unseen_of(observed, read_to[sent.key.number()], (sent, base)) {
            verdict.add(AnomalyKind::Unseen, || {
                let place = format!("{} offset {}", sent.send.key, unseen.offset);
                let summary = format!(
                    "{} was acknowledged at {place}, and no poll saw it",
                    super::name(unseen.value)
                );
                let end = Evidence::of(history, final_polls, "the final polls begin");
                (summary, vec![told(history, observed, &unseen), end])
            });
        }
    }
}

fn unseen_of(
    observed: &Observed<'_>,
    read_to: Option<Offset>,
    (sent, base): (&Sent<'_>, Offset),
) -> Vec<Sighting> {
    let partition = observed.partition(sent.key);
    let values = sent.send.values.iter().zip(observed.known_of(sent));
    let placed = (0_u64..)
        .zip(values)
        .map(|(delta, (value, known))| (base.plus(delta), value, known));
    placed
        .filter(|_| !partition.compacted)
        .filter(|(offset, _, known)| {
            known.polled.is_none()
                && read_to.is_none_or(|bound| *offset > bound)
                && *offset >= partition.deleted_below()
                && (known.in_final || !partition.has_final)
        })
        .map(|(offset, value, _)| Sighting {
            key: sent.key,
            offset,
            value: Some(value.id),
            hash: value.hash,
            event: sent.event,
            witness: Witness::Ack,
        })
        .collect()
}
