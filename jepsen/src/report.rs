//! What a run comes to: the history in its directory, the sum on standard output, and the exit code.

use crate::Result;
use crate::cli::Plan;
use crate::load::Load;
use crate::output::{CLEAN, FOUND, VACUOUS, say};
use quipu_checker::{FORMAT_LINE, Op, Phase};
use quipu_workload::write_lines;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::process::ExitCode;

/// Tells it.
pub(crate) fn tell(plan: &Plan, load: &Load, incidents: &[String]) -> Result<ExitCode> {
    let mut out = BufWriter::new(File::create(plan.out.join("history.jsonl"))?);
    writeln!(out, "{FORMAT_LINE}")?;
    write_lines(&load.recorder, &mut 0, &mut out)?;
    out.flush()?;
    let verdict = load.recorder.verdict();
    say(&format!(
        "seed {}, commit {}\n{verdict}",
        plan.seed,
        plan.commit.as_deref().unwrap_or("unknown")
    ));
    for incident in incidents {
        say(&format!("incident: {incident}"));
    }
    let injected = injected(load);
    say(&format!("faults: {injected:?}"));
    let missed = missed(plan, load, &injected);
    for missed in &missed {
        say(&format!("too little: {missed}"));
    }
    let found = !verdict.is_clean() || !incidents.is_empty();
    let code = match (&plan.settings.plant, found) {
        (Some(bug), true) => {
            say(&format!("the planted bug {bug} was found"));
            CLEAN
        }
        (Some(bug), false) => {
            say(&format!("the planted bug {bug} was NOT found"));
            VACUOUS
        }
        (None, true) => FOUND,
        (None, false) if !missed.is_empty() => VACUOUS,
        (None, false) => CLEAN,
    };
    Ok(ExitCode::from(code))
}

/// How often each kind was injected.
fn injected(load: &Load) -> BTreeMap<String, u64> {
    let mut injected = BTreeMap::new();
    load.recorder.with_history(|history| {
        for event in history.events() {
            if let Op::Fault(fault) = &event.op
                && let (Some(kind), Some(Phase::End)) = (&fault.kind, fault.phase)
            {
                *injected.entry(kind.clone()).or_default() += 1;
            }
        }
    });
    injected
}

/// Why the run proves nothing, if it does not.
fn missed(plan: &Plan, load: &Load, injected: &BTreeMap<String, u64>) -> Vec<String> {
    let mut missed = Vec::new();
    let never = plan.kinds.iter().filter(|kind| !injected.contains_key(kind.name));
    missed.extend(never.map(|kind| format!("{} never came", kind.name)));
    let live = load.recorder.live();
    if live.ok * 2 < live.invoked {
        missed.push(format!("{} of {} operations were ok", live.ok, live.invoked));
    }
    if live.acked < plan.floor_acked {
        missed.push(format!(
            "{} records acknowledged, not {}",
            live.acked, plan.floor_acked
        ));
    }
    let faults: u64 = injected.values().sum();
    if faults < plan.floor_faults {
        missed.push(format!("{faults} faults, not {}", plan.floor_faults));
    }
    missed
}
