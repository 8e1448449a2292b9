//! All that a workload decides comes from a seed. (When it is decided depends on the cluster: a seed repeats the choices,
//! not the run.)

use std::time::Duration;

/// A stream of choices (`SplitMix64`: they need not be good, only different).
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The choices of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A stream of its own, so that one part's choices do not shift another's.
    #[must_use]
    pub const fn fork(&mut self) -> Self {
        Self::new(self.number())
    }

    /// One of `0..below`; 0 if that is empty.
    pub const fn below(&mut self, below: u64) -> u64 {
        match self.number().checked_rem(below) {
            Some(number) => number,
            None => 0,
        }
    }

    /// Once in `times`.
    pub const fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// A time between these two.
    pub fn between(&mut self, shortest: Duration, longest: Duration) -> Duration {
        let span = longest.saturating_sub(shortest);
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        shortest + Duration::from_micros(self.below(micros.saturating_add(1)))
    }

    /// A pause that is `mean` long on average, and at most twice that.
    pub fn around(&mut self, mean: Duration) -> Duration {
        self.between(Duration::ZERO, mean.saturating_mul(2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_choices_and_a_fork_has_its_own() {
        let draw = |seed: u64| {
            let mut chance = Chance::new(seed);
            let mut fork = chance.fork();
            (0..100)
                .map(|_| (chance.below(10), fork.below(10)))
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!(draw(7).iter().any(|(own, forked)| own != forked));
    }

    #[test]
    fn choices_stay_within_their_bounds() {
        let mut chance = Chance::new(3);
        let (least, most) = (Duration::from_millis(5), Duration::from_millis(9));
        for _ in 0..1000 {
            assert!((least..=most).contains(&chance.between(least, most)));
            assert!(chance.around(most) <= most * 2);
            assert_eq!(chance.below(0), 0);
        }
    }
}
