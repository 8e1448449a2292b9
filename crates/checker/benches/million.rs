//! A million operations are checked in less than two seconds on one core, whether or not something is found.
//!
//! `cargo bench -p quipu-checker --bench million`
//!
//! Counted is the processor time from a history's events in memory to the verdict: the rules of histories, the pairing
//! of operations, every property. Reading the events from JSON lines is told apart: it is the file's format that costs
//! there, and a harness checks what it has in memory.

#![expect(clippy::print_stdout, reason = "what a bench is for")]

#[path = "../tests/told/mod.rs"]
mod told;

use quipu_checker::{AnomalyKind, Event, History, Op, Verdict, check, from_line, to_line};
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

/// A sound history.
fn events() -> Vec<Event> {
    // Two sends or one other operation an act.
    told::story(1, OPERATIONS * 4 / 5)
}

/// Checks what is told, and tells what that took.
fn measure(name: &str, events: Vec<Event>) -> (Verdict, bool) {
    let told = events.len();
    let begun = taken();
    let history = History::of(events).expect("a history");
    let taken_in = taken() - begun;
    let verdict = check(&history);
    let seconds = taken() - begun;
    let counts = &verdict.counts;
    let operations = counts.ok + counts.fail + counts.info;
    println!(
        "{name}: {operations} operations ({told} events, {} values sent, {} records read, {} in final logs) in {seconds:.2} s of one core: {taken_in:.2} s for the rules of histories, {:.2} s to check; {} anomalies",
        counts.sent,
        counts.read,
        counts.final_records,
        seconds - taken_in,
        verdict.found.values().sum::<usize>()
    );
    let holds = operations >= OPERATIONS && seconds < SECONDS;
    if !holds {
        println!("  MISSED: at least {OPERATIONS} operations in less than {SECONDS} s");
    }
    (verdict, holds)
}

/// What reading the same events from JSON lines takes, some at a time.
fn measure_reading(events: &[Event]) {
    let (mut seconds, mut bytes) = (0.0, 0);
    for some in events.chunks(10_000) {
        let lines: Vec<String> = some.iter().map(to_line).collect();
        bytes += lines.iter().map(String::len).sum::<usize>();
        let begun = taken();
        let again: Vec<Event> = lines
            .iter()
            .map(|line| from_line(line).expect("its own line"))
            .collect();
        seconds += taken() - begun;
        assert_eq!(again, some);
    }
    println!(
        "not in that: reading them from {} MB of JSON lines, {seconds:.2} s",
        bytes >> 20
    );
}

/// A replica's final log without one record, or without any.
fn lose(events: &mut [Event], all: bool) {
    let last = events.iter_mut().rev().find_map(|event| match &mut event.op {
        Op::Final(last) => Some(last),
        _ => None,
    });
    let last = last.expect("a final log");
    if all {
        last.records.clear();
        last.batches.clear();
    } else {
        last.records.remove(last.records.len() / 2);
    }
}

fn main() -> ExitCode {
    let sound = events();
    measure_reading(&sound);
    let (verdict, mut holds) = measure("sound", sound);
    if !verdict.is_clean() {
        println!("{verdict}");
        holds = false;
    }
    for (name, all) in [("one record lost", false), ("a replica lost everything", true)] {
        let mut events = events();
        lose(&mut events, all);
        let (verdict, in_time) = measure(name, events);
        holds &= in_time;
        if !verdict.found.contains_key(&AnomalyKind::LostWrite) {
            println!("  MISSED: not found\n{verdict}");
            holds = false;
        }
    }
    if holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
