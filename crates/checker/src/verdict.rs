//! The verdict: what was looked at, what was found, and how it shows.

mod anomaly;
pub(crate) mod counts;

pub use anomaly::{Anomaly, AnomalyKind, Evidence};
pub use counts::{Counts, Outcomes};

use crate::history::History;
use crate::observed::Observed;
use crate::properties;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// How long things may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// From a healing to an acknowledgement in each partition that is sent to.
    pub write_within: Duration,
    /// From the beginning of the final polls to the end of each partition.
    pub tail_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            write_within: Duration::from_secs(5),
            tail_within: Duration::from_secs(30),
        }
    }
}

/// What came of a check.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Verdict {
    /// What there was to look at.
    pub counts: Counts,
    /// How often each kind of anomaly occurred.
    pub found: BTreeMap<AnomalyKind, usize>,
    /// How often that occurred which is strange, but allowed there (as Jepsen allows it).
    pub allowed: BTreeMap<AnomalyKind, usize>,
    /// The first few of each kind found.
    pub anomalies: Vec<Anomaly>,
    /// Properties that had something to look at, but not enough, and why.
    pub unchecked: Vec<&'static str>,
    /// What the history had nothing of.
    pub not_exercised: Vec<&'static str>,
}

/// How many anomalies of a kind are shown in full.
const SHOWN_OF_EACH: usize = 5;

impl Verdict {
    /// Whether nothing was found that may not happen.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.found.is_empty()
    }

    /// Takes note of an anomaly; only the first few of a kind are told in full.
    pub(crate) fn add(&mut self, kind: AnomalyKind, tell: impl FnOnce() -> (String, Vec<Evidence>)) {
        let count = self.found.entry(kind).or_insert(0);
        *count += 1;
        if *count <= SHOWN_OF_EACH {
            let (summary, mut evidence) = tell();
            evidence.sort_by_key(|one| one.event);
            evidence.dedup();
            self.anomalies.push(Anomaly {
                kind,
                summary,
                evidence,
            });
        }
    }

    /// Takes note of what is strange, but allowed.
    pub(crate) fn allow(&mut self, kind: AnomalyKind) {
        *self.allowed.entry(kind).or_insert(0) += 1;
    }

    /// Says so if the history had nothing of this.
    pub(crate) fn exercised(&mut self, what: &'static str, is: bool) {
        if !is {
            self.not_exercised.push(what);
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = &self.counts;
        writeln!(
            f,
            "{} events on {} partitions: {} ok, {} fail, {} info, {} faults; {} values sent, {} acknowledged, {} read; {} final logs with {} records",
            c.events,
            c.partitions,
            c.ok,
            c.fail,
            c.info,
            c.faults,
            c.sent,
            c.acked,
            c.read,
            c.final_logs,
            c.final_records
        )?;
        for unchecked in &self.unchecked {
            writeln!(f, "unchecked: {unchecked}")?;
        }
        if !self.not_exercised.is_empty() {
            writeln!(f, "not exercised: {}", self.not_exercised.join("; "))?;
        }
        for (kind, count) in &self.allowed {
            writeln!(f, "allowed: {count} x {kind}")?;
        }
        if self.is_clean() {
            return f.write_str("no anomalies");
        }
        for (kind, count) in &self.found {
            writeln!(f, "{count} x {kind}")?;
        }
        let told: Vec<String> = self.anomalies.iter().map(ToString::to_string).collect();
        f.write_str(&told.join("\n"))
    }
}

/// Checks a history with the usual limits. Linear in its length.
#[must_use]
pub fn check(history: &History) -> Verdict {
    check_with(history, &Limits::default())
}

/// Checks a history. Linear in its length, but for the sorting of what is few.
#[must_use]
pub fn check_with(history: &History, limits: &Limits) -> Verdict {
    let observed = Observed::of(history);
    let mut verdict = Verdict {
        counts: counts::count(history, &observed),
        found: BTreeMap::new(),
        allowed: BTreeMap::new(),
        anomalies: Vec::new(),
        unchecked: Vec::new(),
        not_exercised: Vec::new(),
    };
    for property in properties::ALL {
        property(history, &observed, &mut verdict);
    }
    properties::availability::check(history, &observed, limits, &mut verdict);
    verdict
}
