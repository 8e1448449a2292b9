//! Numbers as people read them, and the summary for a terminal.

use super::{Outcome, Report};
use std::time::Duration;

/// Milliseconds, to the microsecond.
pub(super) fn millis(duration: Duration) -> f64 {
    round3(duration.as_secs_f64() * 1000.0)
}

/// Three decimals: more would be noise in a report.
pub(super) fn round3(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// A time with three significant digits or so, in the unit that suits it.
pub(super) fn time(millis: f64) -> String {
    match millis {
        ms if ms < 1.0 => format!("{:.0} µs", ms * 1000.0),
        ms if ms < 10.0 => format!("{ms:.2} ms"),
        ms if ms < 100.0 => format!("{ms:.1} ms"),
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.2} s", ms / 1000.0),
    }
}

/// `12,345`.
pub(super) fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// One and many.
pub(super) fn plural(number: usize, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

impl Outcome {
    /// What it means, in a sentence.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Clean => "Clean: nothing was found that may not happen.",
            Self::Found => "FOUND: something happened that may not happen.",
            Self::Vacuous => {
                "VACUOUS: nothing was found, but too little was exercised for that to mean anything."
            }
        }
    }
}

impl Report {
    /// The whole on a few lines, for a terminal.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut lines = vec![self.outcome.sentence().to_owned()];
        lines.extend(
            self.rows()
                .into_iter()
                .map(|(name, text)| format!("  {name:<14}{text}")),
        );
        lines.extend(self.vacuous.iter().map(|why| format!("  vacuous: {why}")));
        for (kind, found) in &self.found {
            lines.push(format!("  found: {} x {kind}", count(*found)));
        }
        for anomaly in &self.anomalies {
            lines.push(format!("\n{}: {}", anomaly.kind, anomaly.summary));
            lines.extend(anomaly.history.iter().map(|event| format!("    {event}")));
        }
        lines.join("\n") + "\n"
    }

    /// What both the summary and the Markdown have at their heads.
    pub(super) fn rows(&self) -> Vec<(&'static str, String)> {
        let commit = self
            .commit
            .as_deref()
            .map_or(String::new(), |commit| format!(" ({commit})"));
        let mut rows = vec![
            ("quipu", format!("{}{commit}", self.version)),
            ("nodes", self.nodes.to_string()),
        ];
        if let Some(machine) = &self.machine {
            rows.push(("machine", machine.clone()));
        }
        if let Some(seed) = self.seed {
            rows.push(("seed", seed.to_string()));
        }
        rows.push(("duration", format!("{:.1} s", self.seconds)));
        rows.push(("operations", self.operations_in_words()));
        rows.push(("records", self.records_in_words()));
        rows.push(("faults", self.faults_in_words()));
        if let Some(healing) = self.healing_in_words() {
            rows.push(("healing", healing));
        }
        if let Some(latency) = &self.latency {
            rows.push((
                "latency",
                format!(
                    "of acknowledged writes: p50 {}, p99 {}, p99.9 {}, worst {}",
                    time(latency.p50_ms),
                    time(latency.p99_ms),
                    time(latency.p999_ms),
                    time(latency.max_ms)
                ),
            ));
        }
        rows
    }

    fn operations_in_words(&self) -> String {
        let ended = &self.operations;
        format!(
            "{} ok, {} failed, {} unknown",
            count(ended.ok),
            count(ended.fail),
            count(ended.info)
        )
    }

    fn records_in_words(&self) -> String {
        let records = &self.records;
        let logs = match records.final_logs {
            0 => "no log was read to its end".to_owned(),
            logs => format!(
                "{} with {}",
                plural(logs, "final log", "final logs"),
                plural(records.final_records, "record", "records")
            ),
        };
        format!(
            "{} sent, {} acknowledged, {} read on {}; {logs}",
            count(records.sent),
            count(records.acknowledged),
            count(records.read),
            plural(self.partitions, "partition", "partitions"),
        )
    }

    fn faults_in_words(&self) -> String {
        if self.faults_by_kind.is_empty() {
            return "none".to_owned();
        }
        let kinds = self.faults_by_kind.iter();
        let kinds: Vec<String> = kinds.map(|(kind, times)| format!("{times} {kind}")).collect();
        format!("{}: {}", self.faults.len(), kinds.join(", "))
    }

    pub(super) fn healing_in_words(&self) -> Option<String> {
        let healing = &self.healing;
        let (median, worst) = (healing.median_ms?, healing.worst_ms?);
        let limit = healing
            .limit_ms
            .map_or(String::new(), |limit| format!(", limit {}", time(limit)));
        Some(format!(
            "next acknowledged write after {} (median of {}), {} (worst){limit}",
            time(median),
            healing.healings,
            time(worst)
        ))
    }
}
