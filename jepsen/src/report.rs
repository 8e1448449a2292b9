//! What a run comes to: the report in its directory, its sum on standard output, and the exit code.

use crate::Result;
use crate::cli::Plan;
use crate::load::Load;
use crate::output::{CLEAN, FOUND, VACUOUS, say};
use crate::planted::Planted;
use quipu_checker::Verdict;
use quipu_workload::report::{About, Floors, Outcome, Report};
use std::process::ExitCode;

/// Tells it. What was in `vain` makes it vacuous.
pub(crate) fn tell(plan: &Plan, load: &Load, incidents: &[String], vain: Vec<String>) -> Result<ExitCode> {
    let verdict = load.recorder.verdict();
    let about = About {
        title: format!("Real processes under faults: {} nodes", plan.nodes),
        command: plan.command.clone(),
        seed: Some(plan.seed),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: plan.commit.clone(),
        nodes: plan.nodes,
        machine: None,
        kinds_requested: plan.kinds.iter().map(|kind| kind.name.to_owned()).collect(),
        not_exercised: Vec::new(),
        incidents: incidents.to_vec(),
        incomplete: vain,
        floors: Floors {
            acknowledged: Some(plan.floor_acked),
            faults: Some(plan.floor_faults),
            heal_limit: Some(plan.heal_limit),
            ..Floors::default()
        },
    };
    let report = load.recorder.with_history(|history| {
        let report = Report::new(about, history, &verdict);
        report.write(&plan.out, history).map(|()| report)
    })?;
    say(&report.summary());
    say(&format!(
        "report: {0}/report.md, plot: {0}/latency.svg",
        plan.out.display()
    ));
    let code = match (plan.settings.plant, report.outcome()) {
        (Some(bug), _) => of_planted(bug, &verdict),
        (None, Outcome::Found) => FOUND,
        (None, Outcome::Vacuous) => VACUOUS,
        (None, Outcome::Clean) => CLEAN,
    };
    Ok(ExitCode::from(code))
}

/// Whatever else went wrong, a planted bug has to be found by what it does.
fn of_planted(bug: &Planted, verdict: &Verdict) -> u8 {
    let (name, seen) = (bug.name, bug.seen_in(verdict));
    if seen.is_empty() {
        let wanted = bug.would_show_as();
        say(&format!("the planted bug {name} was NOT found: none of {wanted}"));
        return VACUOUS;
    }
    say(&format!("the planted bug {name} was found: {}", seen.join(", ")));
    CLEAN
}
