//! From each healing to the next acknowledged write.

use super::timeline::{Timeline, quantile};
use super::words;
use quipu_checker::Time;
use serde::Serialize;
use std::time::Duration;

/// How soon writes are acknowledged again once all is healed. (One that takes too long is for the checker to find.)
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct Healing {
    /// Healings that an acknowledged write followed.
    pub healings: usize,
    /// The median.
    pub median_ms: Option<f64>,
    /// The worst.
    pub worst_ms: Option<f64>,
    /// What is allowed.
    pub limit_ms: Option<f64>,
}

impl Healing {
    pub(super) fn of(timeline: &Timeline, limit: Option<Duration>) -> Self {
        let mut took: Vec<Duration> = (timeline.healed.iter())
            .filter_map(|healed| next_ack(timeline, *healed))
            .collect();
        took.sort_unstable();
        Self {
            healings: took.len(),
            median_ms: quantile(&took, 500).map(words::millis),
            worst_ms: took.last().copied().map(words::millis),
            limit_ms: limit.map(words::millis),
        }
    }
}

/// From this moment to the next acknowledged write.
pub(super) fn next_ack(timeline: &Timeline, healed: Time) -> Option<Duration> {
    let next = timeline.next_acknowledged(healed)?;
    Some(Duration::from_nanos(next.0.saturating_sub(healed.0)))
}
