//! Time as the pure parts know it.

use std::time::{Duration, Instant};

/// "Never", for all that a clock can say.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// A point in time: since its producer or consumer began.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Moment(Duration);

impl Moment {
    pub(crate) const fn new(since_start: Duration) -> Self {
        Self(since_start)
    }

    pub(crate) const fn since_start(self) -> Duration {
        self.0
    }

    /// On the clock of whoever began at `start`. What lies beyond all clocks is thirty years away.
    pub(crate) fn on_clock(self, start: Instant) -> Instant {
        start.checked_add(self.0).unwrap_or_else(|| start + FAR)
    }

    pub(crate) const fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time))
    }
}
