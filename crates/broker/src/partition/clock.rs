//! The two clocks, read in one place: below this, time is an argument.

use quipu_record::Timestamp;
use quipu_replication::{Now, Tick};
use std::time::{Duration, Instant, SystemTime};

/// The process's clocks. Ticks count from its making.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// Begins at tick zero.
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// What both say.
    pub(crate) fn now(&self) -> Now {
        Now {
            wall: wall(),
            mono: self.tick(Instant::now()),
        }
    }

    /// A moment as a tick.
    pub(crate) fn tick(&self, at: Instant) -> Tick {
        Tick::from_nanos(nanos(at.saturating_duration_since(self.start)))
    }

    /// How long until `tick`; zero if it has come.
    pub(crate) fn until(&self, tick: Tick) -> Duration {
        tick.since(self.tick(Instant::now()))
    }
}

/// The wall clock.
pub(crate) fn wall() -> Timestamp {
    let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    Timestamp::new(match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => millis(since),
        Err(before) => -millis(before.duration()),
    })
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
