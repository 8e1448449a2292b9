//! Pauses between retries: doubling, bounded, jittered. Pure: the randomness is a seed.

use std::time::Duration;

/// A small generator of numbers that need not be good, only different (`SplitMix64`).
#[derive(Clone, Debug)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// How the pauses grow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BackoffLimits {
    pub(crate) min: Duration,
    pub(crate) max: Duration,
}

/// The pauses of one thing that is tried again and again.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// After one more failure: a pause between half and all of `min * 2^failures`, at most `max`.
    pub(crate) fn next(&mut self, limits: BackoffLimits, jitter: &mut Jitter) -> Duration {
        let doubled = limits.min.saturating_mul(1 << self.failures.min(20));
        self.failures = self.failures.saturating_add(1);
        let whole = doubled.min(limits.max);
        // Eight bits of randomness spread the clients well enough, and cannot overflow.
        let part = u32::from(jitter.next().to_le_bytes()[0]);
        whole / 2 + whole / 512 * part
    }

    /// It worked: the next pause is short again.
    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: BackoffLimits = BackoffLimits {
        min: Duration::from_millis(50),
        max: Duration::from_secs(1),
    };

    #[test]
    fn pauses_double_up_to_the_limit_and_begin_again() {
        let (mut backoff, mut jitter) = (Backoff::default(), Jitter::new(7));
        let mut whole = LIMITS.min;
        for _ in 0..40 {
            let pause = backoff.next(LIMITS, &mut jitter);
            assert!(pause >= whole / 2 && pause <= whole, "{pause:?} of {whole:?}");
            whole = (whole * 2).min(LIMITS.max);
        }
        backoff.reset();
        assert!(backoff.next(LIMITS, &mut jitter) <= LIMITS.min);
    }

    #[test]
    fn two_clients_differ() {
        let pause = |seed| Backoff { failures: 9 }.next(LIMITS, &mut Jitter::new(seed));
        assert!((1..20).any(|seed| pause(seed) != pause(0)));
    }
}
