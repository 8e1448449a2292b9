//! Jepsen's lost-write: of a partition that was read up to some value, everything before that was read as well.
//!
//! The bound is the greatest of the lowest offsets of all values that an `ok` poll read. A value all of whose places
//! are at or below it, which no `ok` poll read and whose sender has committed, is lost. Nobody can have read what
//! nobody asked for, or what was deleted or compacted away; and what replicas' final logs lack, `durability` tells.

use super::{told, told_send};
use crate::history::{Acks, History, Kind};
use crate::observed::{KeyIndex, Observed, Partition, Sighting, Witness};
use crate::verdict::{AnomalyKind, Verdict};

pub(crate) fn check(history: &History, observed: &Observed<'_>, verdict: &mut Verdict) {
    for (key, partition) in observed.partitions() {
        if partition.compacted {
            continue;
        }
        let Some(bound) = bound(history, observed, partition) else {
            continue;
        };
        let conflicting = partition.conflicts().flatten();
        let mut unread: Vec<&Sighting> = partition
            .in_order()
            .take_while(|sighting| sighting.offset <= bound.offset)
            .chain(conflicting)
            .filter(|sighting| is_lost(history, observed, (key, partition), &bound, sighting))
            .collect();
        unread.sort_unstable_by_key(|sighting| sighting.offset);
        unread.dedup_by_key(|sighting| sighting.value);
        for sighting in unread {
            tell(history, observed, verdict, sighting, &bound);
        }
    }
}

/// The value read that stands furthest.
pub(super) fn bound(
    history: &History,
    observed: &Observed<'_>,
    partition: &Partition<'_>,
) -> Option<Sighting> {
    // From the end: the first one that was read at no lower place.
    for sighting in partition.in_order().rev() {
        let Some(value) = sighting.value else { continue };
        let known = observed.known(history, value);
        let mut offsets = observed.offsets(known, &value, sighting.key);
        let lowest = offsets.all(|offset| offset >= sighting.offset);
        let read = known.polled;
        if let (true, Some(event)) = (lowest, read) {
            let witness = Witness::Read { ok: true };
            return Some(Sighting {
                event,
                witness,
                ..*sighting
            });
        }
    }
    None
}

fn is_lost(
    history: &History,
    observed: &Observed<'_>,
    (key, partition): (KeyIndex, &Partition<'_>),
    bound: &Sighting,
    sighting: &Sighting,
) -> bool {
    let Some(value) = sighting.value else { return false };
    let known = observed.known(history, value);
    if known.polled.is_some() || known.in_final {
        return false;
    }
    let readable = partition
        .deleted_below()
        .max(partition.lowest_asked.unwrap_or_default());
    let mut offsets = observed.offsets(known, &value, key);
    if sighting.offset < readable || !offsets.all(|offset| offset <= bound.offset) {
        return false;
    }
    let Some((sender, send, _)) = history.sent(value) else {
        return false;
    };
    let told_by_durability =
        partition.has_final && history.outcome(sender) == Kind::Ok && send.acks == Acks::All;
    !told_by_durability && observed.is_committed(history, sender)
}

fn tell(
    history: &History,
    observed: &Observed<'_>,
    verdict: &mut Verdict,
    lost: &Sighting,
    bound: &Sighting,
) {
    let Some(value) = lost.value else { return };
    verdict.add(AnomalyKind::LostWrite, || {
        let summary = format!(
            "value {value} is at {} offset {}, and nobody read it, though offset {} was read",
            observed.key(lost.key),
            lost.offset,
            bound.offset
        );
        let mut evidence = vec![told(history, observed, lost), told(history, observed, bound)];
        let sender = history.sender(value);
        evidence.extend(sender.map(|sender| told_send(history, sender.invoke, value)));
        (summary, evidence)
    });
}
