//! A million operations are checked in less than two seconds on one core.
//!
//! `cargo bench -p quipu-checker --bench million`

#![expect(clippy::print_stdout, reason = "what a bench is for")]

#[path = "../tests/told/mod.rs"]
mod told;

use quipu_checker::{History, check};
use std::process::ExitCode;

const OPERATIONS: usize = 1_000_000;
const SECONDS: f64 = 2.0;

/// The processor time that this thread has had, in seconds: on a busy machine the clock on the wall tells of others.
#[expect(
    clippy::disallowed_methods,
    reason = "a bench looks at its own time; what it measures does not"
)]
fn taken() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells it");
    let nanoseconds = text.split(' ').next().and_then(|text| text.parse::<f64>().ok());
    nanoseconds.expect("a number") / 1e9
}

fn main() -> ExitCode {
    // Two sends or one other operation an act.
    let events = told::story(1, OPERATIONS * 4 / 5);
    let told = events.len();
    let begun = taken();
    let mut history = History::default();
    for event in events {
        history.push(event).expect("a history");
    }
    let pushed = taken() - begun;
    let verdict = check(&history);
    let seconds = taken() - begun;
    let counts = &verdict.counts;
    let operations = counts.ok + counts.fail + counts.info;
    println!(
        "{operations} operations ({told} events, {} values sent, {} records read) checked in {seconds:.2} s of one core, of which {pushed:.2} s to take the events; {} anomalies",
        counts.sent,
        counts.read,
        verdict.found.len()
    );
    let holds = operations >= OPERATIONS && seconds < SECONDS && verdict.is_clean();
    if !holds {
        println!("{verdict}\nat least {OPERATIONS} operations must be clean in less than {SECONDS} s");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
