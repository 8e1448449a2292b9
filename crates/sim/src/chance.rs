//! All chance comes from the seed.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::Duration;

/// A stream of choices.
#[derive(Clone, Debug)]
pub(crate) struct Chance(StdRng);

impl Chance {
    /// The choices of this seed.
    #[must_use]
    pub(crate) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// A stream of its own, so that one part's choices do not shift another's.
    #[must_use]
    pub(crate) fn fork(&mut self) -> Self {
        Self::new(self.seed())
    }

    /// A seed for something else.
    pub(crate) fn seed(&mut self) -> u64 {
        self.0.random()
    }

    /// One of `0..below`, which is not empty.
    pub(crate) fn below(&mut self, below: usize) -> usize {
        self.0.random_range(0..below)
    }

    /// Once in `times`.
    pub(crate) fn one_in(&mut self, times: usize) -> bool {
        self.below(times.max(1)) == 0
    }

    /// A time between these two.
    pub(crate) fn between(&mut self, shortest: Duration, longest: Duration) -> Duration {
        let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(
            self.0
                .random_range(micros(shortest)..=micros(longest).max(micros(shortest))),
        )
    }

    /// A time of so many milliseconds at most, and at least one.
    pub(crate) fn millis(&mut self, longest: u64) -> Duration {
        self.between(Duration::from_millis(1), Duration::from_millis(longest))
    }
}
