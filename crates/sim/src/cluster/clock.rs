//! A machine's clocks: the world's time, moved, and at a pace of their own.

use quipu_record::Timestamp;
use quipu_replication::{Now, Tick};

/// 2026-01-01, in milliseconds.
const EPOCH_MILLIS: i64 = 1_767_225_600_000;

const MILLION: u64 = 1_000_000;

/// The clocks of one machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Clock {
    /// What the monotonic clock said as the world began.
    pub(crate) begun: u64,
    /// How far it runs ahead in a million nanoseconds; below a million it runs slow.
    pub(crate) pace: u64,
    /// How far the wall clock is off, in milliseconds.
    pub(crate) jump: i64,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            begun: 0,
            pace: MILLION,
            jump: 0,
        }
    }
}

impl Clock {
    /// What the clocks say at a moment of the world.
    pub(crate) fn now(&self, world: Tick) -> Now {
        let millis = i64::try_from(world.nanos() / MILLION).unwrap_or(i64::MAX);
        Now {
            wall: Timestamp::new(EPOCH_MILLIS + self.jump).plus_millis(millis),
            mono: Tick::from_nanos(self.begun + self.paced(world.nanos())),
        }
    }

    /// When, in the world, the monotonic clock has reached this.
    pub(crate) fn when(&self, mono: Tick) -> Tick {
        let own = mono.nanos().saturating_sub(self.begun);
        let (whole, rest) = (own / self.pace, own % self.pace);
        Tick::from_nanos(whole * MILLION + (rest * MILLION).div_ceil(self.pace) + 1)
    }

    fn paced(&self, nanos: u64) -> u64 {
        nanos / MILLION * self.pace + nanos % MILLION * self.pace / MILLION
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_has_come_by_the_time_it_is_planned_for() {
        for pace in [950_000, MILLION, 1_050_000] {
            let clock = Clock {
                begun: 77_777,
                pace,
                jump: 0,
            };
            for nanos in [0, 1, 999_999, 1_000_001, 123_456_789_123] {
                let mono = Tick::from_nanos(77_777 + nanos);
                assert!(clock.now(clock.when(mono)).mono >= mono, "{pace} {nanos}");
            }
        }
    }
}
