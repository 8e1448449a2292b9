//! A million operations are checked in less than two seconds on one core.
//!
//! `cargo bench -p quipu-checker --bench million`

#[path = "../tests/told/mod.rs"]
mod told;

use quipu_checker::{History, check};
use std::process::ExitCode;
use std::time::Instant;

const OPERATIONS: usize = 1_000_000;
const SECONDS: f64 = 2.0;

#[expect(
    clippy::disallowed_methods,
    reason = "a bench looks at the clock; what it measures does not"
)]
fn now() -> Instant {
    Instant::now()
}

fn main() -> ExitCode {
    // Two sends or one other operation an act.
    let events = told::story(1, OPERATIONS * 4 / 5);
    let told = events.len();
    let begun = now();
    let mut history = History::default();
    for event in events {
        history.push(event).expect("a history");
    }
    let taken = begun.elapsed().as_secs_f64();
    let verdict = check(&history);
    let seconds = begun.elapsed().as_secs_f64();
    let counts = &verdict.counts;
    let operations = counts.ok + counts.fail + counts.info;
    println!(
        "{operations} operations ({told} events, {} values sent, {} records read) checked in {seconds:.2} s, of which {taken:.2} s to take the events; {} anomalies",
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
