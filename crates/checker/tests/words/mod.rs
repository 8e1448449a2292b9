//! What a person is told of a few events.

use quipu_checker::{FORMAT_LINE, check, from_lines};

/// What is told of these events, without the counts.
pub(crate) fn told(events: &[&str]) -> String {
    let line = |(second, event): (u32, &&str)| format!(r#"{{"time":{second}000000000,{event}}}"#);
    let lines: Vec<String> = (1..).zip(events).map(line).collect();
    let lines = std::iter::once(FORMAT_LINE).chain(lines.iter().map(String::as_str));
    let verdict = check(&from_lines(lines).expect("a history"));
    let told: Vec<String> = verdict.anomalies.iter().map(ToString::to_string).collect();
    told.join("\n")
}
