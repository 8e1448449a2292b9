//! P1: an offset holds one value, whoever tells of it: acknowledgements, reads, replicas, in all epochs.

use super::{name, told};
use crate::history::History;
use crate::observed::{Observed, Sighting};
use crate::verdict::{AnomalyKind, Verdict};

pub(crate) fn check(history: &History, observed: &Observed<'_>, verdict: &mut Verdict) {
    let mut torn: Vec<&Sighting> = observed
        .partitions()
        .flat_map(|(_, partition)| partition.conflicts())
        .filter_map(<[Sighting]>::first)
        .collect();
    torn.sort_unstable_by_key(|other| (other.event, other.key, other.offset));
    for other in torn {
        let Some(first) = observed.partition(other.key).at(other.offset) else {
            continue;
        };
        verdict.add(AnomalyKind::InconsistentOffsets, || {
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
