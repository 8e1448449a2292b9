//! The report as Markdown: for a ticket, or for `docs/reports/`.

use super::{FaultReport, Percentiles, Report, words};
use quipu_checker::Outcomes;
use std::fmt::Write;

/// The name of the picture beside it.
pub(super) const PICTURE: &str = "latency.svg";

impl Report {
    /// The whole report.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = format!("# {}\n\n**{}**\n\n", self.title, self.outcome.sentence());
        self.tell_vacuous(&mut out);
        put(
            &mut out,
            format_args!("```text\n{}\n```\n\n| | |\n|---|---|\n", self.command),
        );
        for (name, text) in self.rows() {
            put(&mut out, format_args!("| {name} | {} |\n", cell(&text)));
        }
        self.tell_found(&mut out);
        self.tell_operations(&mut out);
        self.tell_faults(&mut out);
        self.tell_latency(&mut out);
        self.tell_not_exercised(&mut out);
        out
    }

    fn tell_vacuous(&self, out: &mut String) {
        for why in &self.vacuous {
            put(out, format_args!("- vacuous: {why}\n"));
        }
        if !self.vacuous.is_empty() {
            out.push('\n');
        }
    }

    fn tell_found(&self, out: &mut String) {
        out.push_str("\n## What was found\n\n");
        if self.found.is_empty() {
            out.push_str("Nothing.\n");
            return;
        }
        out.push_str("| anomaly | times |\n|---|--:|\n");
        for (kind, times) in &self.found {
            put(
                out,
                format_args!("| {} | {} |\n", cell(kind), words::count(*times)),
            );
        }
        for anomaly in &self.anomalies {
            put(out, format_args!("\n**{}**: {}\n", anomaly.kind, anomaly.summary));
            if anomaly.history.is_empty() {
                continue;
            }
            out.push_str("\n```text\n");
            for event in &anomaly.history {
                put(out, format_args!("{event}\n"));
            }
            out.push_str("```\n");
        }
    }

    fn tell_operations(&self, out: &mut String) {
        out.push_str("\n## Operations\n\n| operation | ok | failed | unknown |\n|---|--:|--:|--:|\n");
        for (name, outcomes) in &self.operations_by_name {
            let Outcomes { ok, fail, info } = *outcomes;
            put(
                out,
                format_args!(
                    "| {name} | {} | {} | {} |\n",
                    words::count(ok),
                    words::count(fail),
                    words::count(info)
                ),
            );
        }
    }

    fn tell_faults(&self, out: &mut String) {
        out.push_str("\n## Faults\n\n");
        if self.faults_by_kind.is_empty() {
            out.push_str("None were injected.\n");
            return;
        }
        out.push_str("| kind | times |\n|---|--:|\n");
        for (kind, times) in &self.faults_by_kind {
            put(out, format_args!("| {} | {times} |\n", cell(kind)));
        }
        if let Some(healing) = self.healing_in_words() {
            put(out, format_args!("\nAfter a healing: {healing}.\n"));
        }
        out.push_str(
            "\nEach of them, with the median and the worst latency of acknowledged writes sent in the five seconds \
             before it, while it lasted, and in the five seconds after its healing:\n\n\
             | kind | what | began | lasted | next ack after healing | before | during | after |\n\
             |---|---|--:|--:|--:|--:|--:|--:|\n",
        );
        for fault in &self.faults {
            tell_fault(fault, out);
        }
    }

    fn tell_latency(&self, out: &mut String) {
        out.push_str("\n## Latency of acknowledged writes\n\n");
        let Some(latency) = &self.latency else {
            out.push_str("No write was acknowledged.\n");
            return;
        };
        put(
            out,
            format_args!(
                "![Latency of acknowledged writes over time, faults shaded]({PICTURE})\n\n\
                 | writes | p50 | p95 | p99 | p99.9 | worst |\n|--:|--:|--:|--:|--:|--:|\n\
                 | {} | {} | {} | {} | {} | {} |\n",
                words::count(latency.writes),
                words::time(latency.p50_ms),
                words::time(latency.p95_ms),
                words::time(latency.p99_ms),
                words::time(latency.p999_ms),
                words::time(latency.max_ms)
            ),
        );
    }

    fn tell_not_exercised(&self, out: &mut String) {
        out.push_str("\n## What was not exercised\n\n");
        if self.not_exercised.is_empty() {
            out.push_str("Every property had something to look at.\n");
        }
        for what in &self.not_exercised {
            put(out, format_args!("- {what}\n"));
        }
    }
}

fn tell_fault(fault: &FaultReport, out: &mut String) {
    let lasted = fault.end_s.map_or("to the end".to_owned(), |end| {
        format!("{:.2} s", end - fault.begin_s)
    });
    let next = fault.next_ack_ms.map_or("-".to_owned(), words::time);
    put(
        out,
        format_args!(
            "| {} | {} | {:.2} s | {lasted} | {next} | {} | {} | {} |\n",
            cell(&fault.kind),
            cell(&fault.what),
            fault.begin_s,
            middle_and_worst(fault.around.before),
            middle_and_worst(fault.around.during),
            middle_and_worst(fault.around.after)
        ),
    );
}

fn middle_and_worst(latency: Option<Percentiles>) -> String {
    latency.map_or("-".to_owned(), |latency| {
        format!(
            "{} / {}",
            words::time(latency.p50_ms),
            words::time(latency.max_ms)
        )
    })
}

/// Text within a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // A string takes everything.
    let _ = out.write_fmt(text);
}
