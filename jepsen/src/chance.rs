//! Chance from a seed: the same seed draws the same faults.

use std::time::Duration;

/// Where everything that is drawn comes from.
pub(crate) struct Chance(quipu_workload::Chance);

impl Chance {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(quipu_workload::Chance::new(seed))
    }

    /// A stream of its own, for clients.
    pub(crate) const fn fork(&mut self) -> quipu_workload::Chance {
        self.0.fork()
    }

    /// One of `0..below`; 0 if there is none.
    pub(crate) fn below(&mut self, below: usize) -> usize {
        usize::try_from(self.0.below(below as u64)).unwrap_or_default()
    }

    /// From `least` to `most`, both included.
    pub(crate) const fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.0.below(most.saturating_sub(least).saturating_add(1))
    }

    /// A time from `least` to `most`, in whole milliseconds.
    pub(crate) fn time(&mut self, least: Duration, most: Duration) -> Duration {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.between(millis(least), millis(most)))
    }

    /// Heads or tails.
    pub(crate) const fn flip(&mut self) -> bool {
        self.0.one_in(2)
    }

    /// One of them, if there is any.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.below(from.len())])
    }

    /// All of them in any order.
    pub(crate) fn shuffled<T>(&mut self, mut all: Vec<T>) -> Vec<T> {
        for last in (1..all.len()).rev() {
            let at = self.below(last + 1);
            all.swap(last, at);
        }
        all
    }

    /// So many of them, in any order; all, if there are fewer.
    pub(crate) fn some<T>(&mut self, all: Vec<T>, count: usize) -> Vec<T> {
        let mut all = self.shuffled(all);
        all.truncate(count);
        all
    }
}
