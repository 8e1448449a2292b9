//! Jepsen's unseen: once everything has been polled to its end, every acknowledged value has been polled by somebody.
//!
//! What lies below what was read is a lost write, and what a replica's final log lacks is one too: both are told
//! elsewhere.

use super::{lost_writes, told};
use crate::history::{Acks, EventId, History, Kind, Send};
use crate::observed::{KeyIndex, Observed, Sighting, Witness};
use crate::verdict::{AnomalyKind, Evidence, Verdict};
use quipu_record::Offset;

pub(crate) fn check(history: &History, observed: &Observed, verdict: &mut Verdict) {
    verdict.exercised("unseen (no final polls)", observed.final_polls.is_some());
    let Some(final_polls) = observed.final_polls else {
        return;
    };
    let mut read_to: Vec<Option<Offset>> = observed.for_each_partition();
    for (key, partition) in observed.partitions() {
        read_to[key.number()] = lost_writes::bound(history, observed, partition).map(|bound| bound.offset);
    }
    for (index, event) in history.events().iter().enumerate() {
        let id = EventId(index);
        if event.kind != Kind::Ok {
            continue;
        }
        for send in event.op.sends() {
            let key = observed.key_in(id, &send.key);
            for unseen in unseen_of(history, observed, read_to[key.number()], (send, key, id)) {
                verdict.add(AnomalyKind::Unseen, || {
                    let place = format!("{} offset {}", send.key, unseen.offset);
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
}

fn unseen_of(
    history: &History,
    observed: &Observed,
    read_to: Option<Offset>,
    (send, key, event): (&Send, KeyIndex, EventId),
) -> Vec<Sighting> {
    let partition = observed.partition(key);
    let (Acks::All, Some(base), false) = (send.acks, send.offset, partition.compacted) else {
        return Vec::new();
    };
    let placed = (0_u64..)
        .zip(&send.values)
        .map(|(delta, value)| (base.plus(delta), value));
    placed
        .filter(|(offset, value)| {
            let known = observed.known(history, value.id);
            known.polled.is_none()
                && read_to.is_none_or(|bound| *offset > bound)
                && *offset >= partition.deleted_below()
                && (known.in_final || !partition.has_final)
        })
        .map(|(offset, value)| Sighting {
            key,
            offset,
            value: Some(value.id),
            hash: Some(value.hash),
            event,
            witness: Witness::Ack,
        })
        .collect()
}
