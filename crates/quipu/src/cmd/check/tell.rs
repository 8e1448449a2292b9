//! The report.

use super::plan::Plan;
use crate::cli::Session;
use crate::output::{Ending, Failure, Outcome, Output, print};
use quipu_workload::Recorder;
use quipu_workload::report::{About, Report};
use serde::Serialize;
use std::sync::Arc;

/// A course of events that has ended.
pub(super) struct Done {
    pub(super) recorder: Arc<Recorder>,
    pub(super) nodes: u32,
    /// Of the brokers.
    pub(super) version: String,
    pub(super) not_exercised: Vec<String>,
    /// What was seen that may not happen, and that no history tells.
    pub(super) incidents: Vec<String>,
    /// Why it did not come to its end, if it did not.
    pub(super) incomplete: Vec<String>,
}

/// What `-o json` says: `report.json`, and where it is.
#[derive(Serialize)]
struct CheckJson<'a> {
    directory: String,
    #[serde(flatten)]
    report: &'a Report,
}

/// Says what is about to be done.
pub(super) fn say_begin(plan: &Plan, nodes: u32, out: Output) -> Result<(), Failure> {
    if out.is_json() {
        return Ok(());
    }
    let brokers = if nodes == 1 { "broker" } else { "brokers" };
    let kinds: Vec<&str> = plan.faults.iter().map(|kind| kind.name()).collect();
    let whose = match (plan.local, kinds.is_empty()) {
        (false, _) => "running; nothing is broken".to_owned(),
        (true, true) => "of its own; nothing is broken".to_owned(),
        (true, false) => format!("of its own; faults: {}", kinds.join(", ")),
    };
    print(&format!(
        "Quipu check: {nodes} {brokers} {whose}\n\n  \
         topic         {}: {} partitions, deleted at the end{}\n  \
         clients       {}; {} records a second for {} s\n  \
         seed          {}\n",
        plan.topic,
        plan.partitions,
        if plan.keep { " (not: --keep)" } else { "" },
        plan.workloads.join(", "),
        plan.rate,
        plan.seconds,
        plan.seed
    ))
}

/// Checks, writes the report, and says what came of it.
pub(super) fn tell(plan: &Plan, done: Done, session: &Session) -> Outcome {
    let title = if plan.local {
        format!("quipu check, {} local brokers", plan.brokers)
    } else {
        "quipu check, a running cluster".to_owned()
    };
    let about = About {
        title,
        command: plan.command(&session.bootstrap()),
        seed: Some(plan.seed),
        version: done.version,
        nodes: done.nodes,
        kinds_requested: plan.faults.iter().map(|kind| kind.name().to_owned()).collect(),
        not_exercised: done.not_exercised,
        incidents: done.incidents,
        incomplete: done.incomplete,
        ..About::default()
    };
    let verdict = done.recorder.verdict();
    let report = done.recorder.with_history(|history| {
        let report = Report::new(about, history, &verdict);
        report.write(&plan.out, history).map(|()| report)
    });
    let report = report.map_err(|error| {
        Failure::new(format_args!("cannot write the report: {error}"))
            .next("--out DIR writes it somewhere else")
    })?;
    let directory = plan.out.display().to_string();
    let json = CheckJson {
        directory,
        report: &report,
    };
    session.output().result(&json, |json| {
        format!(
            "\n{}\n  report        {2}{1}report.md (to attach to a ticket), {2}{1}latency.svg, report.json, history.jsonl, history.edn\n",
            json.report.summary(),
            std::path::MAIN_SEPARATOR,
            json.directory
        )
    })?;
    Ok(if report.is_clean() {
        Ending::Done
    } else {
        Ending::Unproven
    })
}
