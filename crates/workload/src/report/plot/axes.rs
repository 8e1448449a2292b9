//! Scales and their marks.

use crate::report::timeline::{Timeline, Write};

/// The logarithmic scale of latencies, in powers of ten of a nanosecond.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    lowest: i32,
    highest: i32,
}

/// Nothing is drawn below 10 µs or above 1,000 s.
const LOWEST: i32 = 4;
const HIGHEST: i32 = 12;
/// At least so many powers of ten: a flat line at an arbitrary height tells nothing.
const DECADES_MIN: i32 = 3;

impl Scale {
    pub(super) fn of(timeline: &Timeline) -> Self {
        let writes = || {
            let all = [&timeline.acknowledged, &timeline.failed, &timeline.unknown];
            all.into_iter().flatten().map(|write| power(*write))
        };
        let lowest = writes().min_by(f64::total_cmp).unwrap_or(6.0);
        let highest = writes().max_by(f64::total_cmp).unwrap_or(9.0);
        let lowest = whole(lowest.floor()).clamp(LOWEST, HIGHEST - DECADES_MIN);
        Self {
            lowest,
            highest: whole(highest.ceil()).clamp(lowest + DECADES_MIN, HIGHEST),
        }
    }

    /// The height of a power of ten: 0 at the bottom, 1 at the top.
    pub(super) fn height(self, power: f64) -> f64 {
        let height = (power - f64::from(self.lowest)) / f64::from(self.highest - self.lowest);
        height.clamp(0.0, 1.0)
    }

    /// The powers of ten with a label.
    pub(super) fn decades(self) -> impl Iterator<Item = (f64, String)> {
        (self.lowest..=self.highest).map(|power| (f64::from(power), name(power)))
    }

    /// Lines between them, at 2 and 5.
    pub(super) fn between(self) -> impl Iterator<Item = f64> {
        let powers = self.lowest..self.highest;
        powers.flat_map(|power| [2.0_f64, 5.0].map(|times| f64::from(power) + times.log10()))
    }
}

/// A write's latency as a power of ten of a nanosecond.
pub(super) fn power(write: Write) -> f64 {
    (write.took().as_secs_f64() * 1e9).max(1.0).log10()
}

#[allow(clippy::cast_possible_truncation, reason = "powers of ten are small")]
fn whole(value: f64) -> i32 {
    value as i32
}

fn name(power: i32) -> String {
    let (unit, below) = match power {
        ..=2 => ("ns", 0),
        3..=5 => ("µs", 3),
        6..=8 => ("ms", 6),
        _ => ("s", 9),
    };
    let times = 10_u64.pow(u32::try_from(power - below).unwrap_or(0));
    format!("{times} {unit}")
}

/// Seconds between the marks of a time axis of this length.
pub(super) fn step(seconds: f64) -> f64 {
    const STEPS: &[f64] = &[
        0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0,
    ];
    const MARKS: f64 = 16.0;
    let enough = STEPS.iter().find(|step| seconds / **step <= MARKS);
    enough.copied().unwrap_or(1800.0)
}

/// A moment as people say it.
pub(super) fn moment(seconds: f64, step: f64) -> String {
    if step < 1.0 {
        return format!("{seconds:.1} s");
    }
    if seconds < 120.0 {
        return format!("{seconds:.0} s");
    }
    let (minutes, rest) = ((seconds / 60.0).floor(), seconds % 60.0);
    format!("{minutes:.0}:{rest:02.0}")
}
