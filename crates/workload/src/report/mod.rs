//! The report of a run: what was done, what was found, how long it took; as Markdown, as JSON and as a picture.
//!
//! A [`Report`] is plain data made from the history and the checker's verdict. Whoever reads it must be able to repeat
//! the run, so the command and the seed come first; and must be able to tell a clean run from an empty one, so a run
//! that exercised too little is [`Outcome::Vacuous`], never clean.
//!
//! `timeline` reads the writes out of the history, `healing` and `around` say how they fared around faults, `words` and
//! `markdown` tell it, `plot` draws it with `svg`, `files` writes it down.

mod around;
mod files;
mod healing;
mod markdown;
mod plot;
mod svg;
#[cfg(test)]
mod tests;
mod timeline;
mod words;

pub use around::Around;
pub use healing::Healing;
pub use timeline::Percentiles;

use quipu_checker::{History, Outcomes, Verdict};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use timeline::{FaultSpan, Timeline};

/// What the caller knows of the run, and the history does not.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// What ran, in a few words: the heading.
    pub title: String,
    /// The command that repeats it.
    pub command: String,
    /// The seed that all chance came from, if there was any.
    pub seed: Option<u64>,
    /// Quipu's version.
    pub version: String,
    /// The commit it was built from, if that is known.
    pub commit: Option<String>,
    /// How many brokers there were.
    pub nodes: u32,
    /// Where it ran, if that is worth saying.
    pub machine: Option<String>,
    /// Kinds of faults that were asked for: one that never came makes the run vacuous.
    pub kinds_requested: Vec<String>,
    /// What this run cannot say anything about.
    pub not_exercised: Vec<String>,
    /// What must be reached for the run to count.
    pub floors: Floors,
    /// What the caller saw that may not happen, and no history tells: a broker that ended by itself, say.
    pub incidents: Vec<String>,
    /// Why the run did not come to its end, if it did not: it does not count then.
    pub incomplete: Vec<String>,
}

/// What must be reached for a run to count.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Floors {
    /// The share of operations that must be ok.
    pub ok_share: f64,
    /// Records that must be acknowledged.
    pub acknowledged: Option<u64>,
    /// Faults that must be injected.
    pub faults: Option<u64>,
    /// How long after a healing the next write may be acknowledged: told here, held to by the checker.
    pub heal_limit: Option<Duration>,
}

impl Default for Floors {
    fn default() -> Self {
        Self {
            ok_share: 0.5,
            acknowledged: None,
            faults: None,
            heal_limit: Some(Duration::from_secs(5)),
        }
    }
}

/// What it comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Nothing was found, and enough was exercised.
    Clean,
    /// Something happened that may not happen.
    Found,
    /// Nothing was found, and that means nothing: too little was exercised.
    Vacuous,
}

/// Records by what became of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Records {
    /// Sent.
    pub sent: usize,
    /// Acknowledged under `acks=all`.
    pub acknowledged: usize,
    /// Read by consumers, repetitions included.
    pub read: usize,
    /// Logs read to their ends when all had come to rest.
    pub final_logs: usize,
    /// What these logs hold.
    pub final_records: usize,
}

/// One anomaly, told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AnomalyReport {
    /// What it is.
    pub kind: String,
    /// In one sentence.
    pub summary: String,
    /// The piece of the history that shows it: event numbers and words.
    pub history: Vec<String>,
}

impl AnomalyReport {
    fn incident(summary: String) -> Self {
        Self {
            kind: INCIDENT.to_owned(),
            summary,
            history: Vec::new(),
        }
    }
}

/// What an incident is found as.
const INCIDENT: &str = "incident";

/// One fault, and how writes fared around it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct FaultReport {
    /// What kind.
    pub kind: String,
    /// To whom and how.
    pub what: String,
    /// Seconds since the history began.
    pub begin_s: f64,
    /// When it was healed.
    pub end_s: Option<f64>,
    /// From the healing to the next acknowledged write.
    pub next_ack_ms: Option<f64>,
    /// Latency of acknowledged writes before, during and after it.
    pub around: Around,
}

/// A run, told. Serialized, it is `report.json`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    /// What ran.
    pub title: String,
    /// What it comes to.
    pub outcome: Outcome,
    /// The command that repeats it.
    pub command: String,
    /// The seed.
    pub seed: Option<u64>,
    /// Quipu's version.
    pub version: String,
    /// Its commit.
    pub commit: Option<String>,
    /// How many brokers.
    pub nodes: u32,
    /// Where it ran.
    pub machine: Option<String>,
    /// How long the history is.
    pub seconds: f64,
    /// Partitions named in it.
    pub partitions: usize,
    /// All operations of clients.
    pub operations: Outcomes,
    /// The same by name.
    pub operations_by_name: BTreeMap<&'static str, Outcomes>,
    /// Records.
    pub records: Records,
    /// How often each kind of fault was injected; asked for and never injected: 0.
    pub faults_by_kind: BTreeMap<String, usize>,
    /// Each of them.
    pub faults: Vec<FaultReport>,
    /// From healings to the next acknowledged writes.
    pub healing: Healing,
    /// Latency of acknowledged writes.
    pub latency: Option<Percentiles>,
    /// How often each kind of anomaly was found.
    pub found: BTreeMap<String, usize>,
    /// The first few of each.
    pub anomalies: Vec<AnomalyReport>,
    /// Why the run does not count, if it does not.
    pub vacuous: Vec<String>,
    /// Properties that had nothing to look at, and what the run leaves out.
    pub not_exercised: Vec<String>,
    #[serde(skip)]
    timeline: Timeline,
}

impl Report {
    /// Tells a run from its history, what the checker said of it, and what the caller knows.
    #[must_use]
    pub fn new(about: About, history: &History, verdict: &Verdict) -> Self {
        let timeline = Timeline::of(history);
        let faults = timeline.faults.iter().map(|span| fault(span, &timeline));
        let mut faults_by_kind: BTreeMap<String, usize> = about
            .kinds_requested
            .iter()
            .map(|kind| (kind.clone(), 0))
            .collect();
        for span in &timeline.faults {
            *faults_by_kind.entry(span.kind.clone()).or_default() += 1;
        }
        let counts = &verdict.counts;
        let mut report = Self {
            title: about.title,
            outcome: Outcome::Clean,
            command: about.command,
            seed: about.seed,
            version: about.version,
            commit: about.commit,
            nodes: about.nodes,
            machine: about.machine,
            seconds: words::round3(timeline.seconds()),
            partitions: counts.partitions,
            operations: Outcomes {
                ok: counts.ok,
                fail: counts.fail,
                info: counts.info,
            },
            operations_by_name: counts.operations.clone(),
            records: Records {
                sent: counts.sent,
                acknowledged: counts.acked,
                read: counts.read,
                final_logs: counts.final_logs,
                final_records: counts.final_records,
            },
            faults_by_kind,
            faults: faults.collect(),
            healing: Healing::of(&timeline, about.floors.heal_limit),
            latency: timeline.acknowledged_latency(),
            found: BTreeMap::new(),
            anomalies: about.incidents.into_iter().map(AnomalyReport::incident).collect(),
            vacuous: about.incomplete,
            not_exercised: about.not_exercised,
            timeline,
        };
        report.not_exercised.extend(
            verdict
                .unchecked
                .iter()
                .chain(&verdict.not_exercised)
                .map(ToString::to_string),
        );
        report.take_findings(verdict);
        report.vacuous.extend(report.too_little(about.floors));
        report.outcome = match (report.found.is_empty(), report.vacuous.is_empty()) {
            (false, _) => Outcome::Found,
            (true, false) => Outcome::Vacuous,
            (true, true) => Outcome::Clean,
        };
        report
    }

    fn take_findings(&mut self, verdict: &Verdict) {
        for finding in &self.anomalies {
            *self.found.entry(finding.kind.clone()).or_default() += 1;
        }
        for (kind, count) in &verdict.found {
            *self.found.entry(kind.to_string()).or_default() += *count;
        }
        let told = verdict.anomalies.iter().map(|anomaly| AnomalyReport {
            kind: anomaly.kind.to_string(),
            summary: anomaly.summary.clone(),
            history: (anomaly.evidence.iter())
                .map(|one| format!("#{:<6} {}", one.event.0, one.words))
                .collect(),
        });
        self.anomalies.extend(told);
    }

    /// Why the run does not count.
    fn too_little(&self, floors: Floors) -> Vec<String> {
        let mut why = Vec::new();
        let Outcomes { ok, fail, info } = self.operations;
        let all = ok + fail + info;
        #[allow(clippy::cast_precision_loss)]
        if (ok as f64) < all as f64 * floors.ok_share {
            why.push(format!("only {ok} of {all} operations were ok"));
        }
        if self.records.acknowledged == 0 {
            why.push("no record was acknowledged".to_owned());
        }
        if self.records.read + self.records.final_records == 0 {
            why.push("no record was read".to_owned());
        }
        let acknowledged = self.records.acknowledged as u64;
        if let Some(floor) = floors.acknowledged.filter(|floor| acknowledged < *floor) {
            why.push(format!("{acknowledged} records acknowledged, fewer than {floor}"));
        }
        let faults = self.faults.len() as u64;
        if let Some(floor) = floors.faults.filter(|floor| faults < *floor) {
            why.push(format!("{faults} faults injected, fewer than {floor}"));
        }
        let never = self.faults_by_kind.iter().filter(|(_, count)| **count == 0);
        why.extend(never.map(|(kind, _)| format!("no fault of kind {kind} was injected")));
        why
    }

    /// What it comes to.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Whether the run is clean, and counts.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.outcome == Outcome::Clean
    }
}

fn fault(span: &FaultSpan, timeline: &Timeline) -> FaultReport {
    let next_ack = span.end.and_then(|end| healing::next_ack(timeline, end));
    FaultReport {
        kind: span.kind.clone(),
        what: span.what.clone(),
        begin_s: words::round3(timeline::seconds(span.begin)),
        end_s: span.end.map(|end| words::round3(timeline::seconds(end))),
        next_ack_ms: next_ack.map(words::millis),
        around: Around::of(timeline, span),
    }
}
