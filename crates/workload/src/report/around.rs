//! Latency around one fault.

use super::timeline::{FaultSpan, Percentiles, Timeline};
use quipu_checker::Time;
use serde::Serialize;

/// How long before and after a fault is looked at.
const BESIDE_NANOS: u64 = 5_000_000_000;

/// Latency of acknowledged writes by when they were sent; `None`: none were.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Around {
    /// In the five seconds before the fault.
    pub before: Option<Percentiles>,
    /// While it lasted.
    pub during: Option<Percentiles>,
    /// In the five seconds after its healing.
    pub after: Option<Percentiles>,
}

impl Around {
    pub(super) fn of(timeline: &Timeline, span: &FaultSpan) -> Self {
        let end = span.end.unwrap_or(Time(timeline.end));
        let within = |from: u64, to: u64| Percentiles::of(timeline.begun_within(Time(from), Time(to)));
        Self {
            before: within(span.begin.0.saturating_sub(BESIDE_NANOS), span.begin.0),
            during: within(span.begin.0, end.0),
            after: span
                .end
                .and_then(|end| within(end.0, end.0.saturating_add(BESIDE_NANOS))),
        }
    }
}
