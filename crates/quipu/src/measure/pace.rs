//! When records are due: an open loop. A record's latency counts from when it was due, not from when there was room to
//! send it; otherwise a stall would hide the very latencies it causes (coordinated omission).

use std::time::Duration;

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// A steady rate, as a schedule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Records a second; `None`: as fast as it goes.
    per_second: Option<u64>,
}

impl Pace {
    /// `None` or 0: as fast as it goes.
    pub(crate) fn new(per_second: Option<u64>) -> Self {
        Self {
            per_second: per_second.filter(|rate| *rate > 0),
        }
    }

    /// When record `index` (from 0) is due, from the start; `None`: whenever there is room.
    pub(crate) fn due(self, index: u64) -> Option<Duration> {
        let nanos = u128::from(index) * NANOS_PER_SECOND / u128::from(self.per_second?);
        Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_due_at_a_steady_rate_whatever_happened() {
        let pace = Pace::new(Some(1000));
        assert_eq!(pace.due(0), Some(Duration::ZERO));
        assert_eq!(pace.due(1500), Some(Duration::from_millis(1500)));
    }

    #[test]
    fn without_a_rate_nothing_is_ever_due() {
        for pace in [Pace::new(None), Pace::new(Some(0))] {
            assert_eq!(pace.due(5), None);
        }
    }
}
