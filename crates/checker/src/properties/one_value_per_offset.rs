//! P1: an offset holds one value, whoever tells of it: acknowledgements, reads, replicas, in all epochs.

use super::{name, told};
use crate::history::History;
use crate::observed::{Observed, Slot};
use crate::verdict::{AnomalyKind, Verdict};

pub(crate) fn check(history: &History, observed: &Observed, verdict: &mut Verdict) {
    let mut torn: Vec<&Slot> = observed
        .slots
        .values()
        .filter(|slot| !slot.others.is_empty())
        .collect();
    torn.sort_unstable_by_key(|slot| (slot.others[0].event, slot.first.offset));
    for slot in torn {
        verdict.add(AnomalyKind::InconsistentOffsets, || {
            let (first, other) = (&slot.first, &slot.others[0]);
            let summary = format!(
                "{} offset {} holds {} and {}",
                observed.key(first.key),
                first.offset,
                name(first.value),
                name(other.value)
            );
            let evidence = vec![told(history, observed, first), told(history, observed, other)];
            (summary, evidence)
        });
    }
}
