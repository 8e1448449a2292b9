//! What a person is told of a few events.
#![allow(dead_code, reason = "each test takes what it needs of it")]

use quipu_checker::{FORMAT_LINE, Verdict, check, from_lines};

/// What is told of these events, one a second, without the counts.
pub(crate) fn told(events: &[&str]) -> String {
    let told: Vec<String> = verdict(events)
        .anomalies
        .iter()
        .map(ToString::to_string)
        .collect();
    told.join("\n")
}

pub(crate) fn verdict(events: &[&str]) -> Verdict {
    let line = |(second, event): (u32, &&str)| format!(r#"{{"time":{second}000000000,{event}}}"#);
    let lines: Vec<String> = (1..).zip(events).map(line).collect();
    let lines = std::iter::once(FORMAT_LINE).chain(lines.iter().map(String::as_str));
    check(&from_lines(lines).expect("a history"))
}

/// The same of a text: a line `P KIND WORDS` is an event of process `P`, or of the nemesis for `n`.
pub(crate) fn report(events: &str) -> String {
    let events = events_of(events);
    told(&events.iter().map(String::as_str).collect::<Vec<_>>())
}

#[track_caller]
pub(crate) fn tells(events: &str, expected: &str) {
    assert_eq!(report(events), expected);
}

pub(crate) fn verdict_of(events: &str) -> Verdict {
    let events = events_of(events);
    verdict(&events.iter().map(String::as_str).collect::<Vec<_>>())
}

fn events_of(text: &str) -> Vec<String> {
    let event = |line: &str| {
        let mut parts = line.trim().splitn(3, ' ');
        let mut next = || parts.next().expect("three parts");
        let (process, kind, words) = (next(), next(), next());
        let process = if process == "n" { r#""nemesis""# } else { process };
        format!(r#""process":{process},"type":"{kind}",{words}"#)
    };
    text.trim().lines().map(event).collect()
}
