//! Time as the pure parts know it.

use std::time::Duration;

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

    pub(crate) const fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time))
    }
}
