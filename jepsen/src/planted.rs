//! Bugs on purpose that real nodes can show: under which faults each does its harm, and as what it has to be found.
//!
//! Only what clients and replicas show counts. A node that ended badly or a wait that was too long may have any cause.

use crate::Result;
use quipu_checker::{AnomalyKind, Verdict};

/// A bug that nodes can be given (`serve --planted-bug`, in a build with the feature `test-util`).
#[derive(Debug)]
pub(crate) struct Planted {
    pub(crate) name: &'static str,
    /// Kinds of faults, as on the command line.
    pub(crate) faults: &'static str,
    /// What clients do, as on the command line.
    pub(crate) workloads: &'static str,
    /// Milliseconds that a fault lasts, as on the command line: no longer than it takes to do harm, so that many come.
    pub(crate) hold: &'static str,
    /// Any of these is the bug's own doing.
    shows_as: &'static [AnomalyKind],
}

/// What was acknowledged is gone, or something else stands in its place.
const LOSSES: &[AnomalyKind] = &[
    AnomalyKind::LostWrite,
    AnomalyKind::Unseen,
    AnomalyKind::InconsistentOffsets,
    AnomalyKind::StaleHighWatermark,
    AnomalyKind::CutBelowHighWatermark,
];

/// All of them. The simulation finds these too, and others besides (`jepsen/bugs`).
const BUGS: &[Planted] = &[
    Planted {
        name: "ack-before-flush",
        faults: "busy-cut",
        workloads: "append,read",
        hold: "300-600",
        shows_as: LOSSES,
    },
    Planted {
        name: "ack-before-every-replica",
        faults: "isolate-leader",
        workloads: "append,read",
        hold: "2500-4000",
        shows_as: LOSSES,
    },
    Planted {
        name: "crc-unchecked",
        faults: "bit-flip",
        workloads: "append,read",
        hold: "1000-2000",
        shows_as: &[AnomalyKind::CorruptRead, AnomalyKind::UnsentRead],
    },
    Planted {
        name: "no-producer-dedup",
        faults: "lost-replies",
        workloads: "append,read",
        hold: "1000-2000",
        shows_as: &[AnomalyKind::Duplicate],
    },
    Planted {
        name: "no-directory-sync",
        faults: "power-cut",
        workloads: "append,read",
        hold: "300-600",
        shows_as: LOSSES,
    },
    Planted {
        name: "commit-unfenced",
        faults: "pause,slow-replies",
        workloads: "append,commits",
        hold: "1000-2000",
        shows_as: &[AnomalyKind::UnfencedCommit, AnomalyKind::StaleCommit],
    },
    Planted {
        name: "two-owners",
        faults: "pause",
        workloads: "append,groups",
        hold: "1000-2000",
        shows_as: &[AnomalyKind::TwoOwners],
    },
];

impl Planted {
    /// The bug with this name.
    pub(crate) fn named(name: &str) -> Result<&'static Self> {
        BUGS.iter().find(|bug| bug.name == name).ok_or_else(|| {
            let known: Vec<_> = BUGS.iter().map(|bug| bug.name).collect();
            format!(
                "what would show the bug {name:?} is not known; of these it is: {}",
                known.join(", ")
            )
            .into()
        })
    }

    /// What there is of its doing: nothing, if it was not found.
    pub(crate) fn seen_in(&self, verdict: &Verdict) -> Vec<String> {
        let found = verdict
            .found
            .iter()
            .filter(|(kind, _)| self.shows_as.contains(kind));
        found.map(|(kind, count)| format!("{count} x {kind}")).collect()
    }

    /// What would have shown it.
    pub(crate) fn would_show_as(&self) -> String {
        let kinds: Vec<_> = self.shows_as.iter().map(ToString::to_string).collect();
        kinds.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults;
    use quipu_checker::{History, check};

    #[test]
    fn each_bug_has_faults_that_there_are_and_something_that_shows_it() {
        for bug in BUGS {
            assert!(
                bug.faults.split(',').all(|kind| faults::named(kind).is_some()),
                "{}",
                bug.name
            );
            let works = |name| quipu_workload::workloads::named(name).is_some();
            assert!(bug.workloads.split(',').all(works), "{}", bug.name);
            assert!(!bug.would_show_as().is_empty(), "{}", bug.name);
        }
        assert!(Planted::named("earthquake").is_err());
    }

    #[test]
    fn a_bug_is_found_by_what_it_does_and_by_nothing_else() {
        let mut verdict = check(&History::default());
        let bug = Planted::named("no-producer-dedup").expect("it is in the list");
        verdict.found.insert(AnomalyKind::NoWriteAfterHealing, 7);
        verdict.found.insert(AnomalyKind::LostWrite, 1);
        assert!(bug.seen_in(&verdict).is_empty());
        verdict.found.insert(AnomalyKind::Duplicate, 2);
        assert_eq!(bug.seen_in(&verdict), ["2 x P2 duplicate"]);
    }
}
