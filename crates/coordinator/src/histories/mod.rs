//! Random lives of a group, from a seed: members that join, leave, die and come back, hosts whose streams break, answers
//! that are lost, heartbeats that come twice or much too late, coordinators that fail over with records cut off, topics that
//! come, grow and go. After every step the invariants are checked (I16, I17); at the end everything heals and the group must
//! become stable, with every partition owned.

mod check;
mod host;
mod life;
mod net;
mod ops;
mod world;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

/// What did not hold, and how to see it again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// The history: [`run`] it again.
    pub seed: u64,
    /// How many operations it had done.
    pub operation: usize,
    /// What did not hold.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "history {} after {} operations: {}",
            self.seed, self.operation, self.what
        )
    }
}

/// How often each kind of thing was done, by its name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Histories.
    pub histories: u64,
    /// Operations of all kinds.
    pub operations: u64,
    /// By kind.
    pub kinds: BTreeMap<&'static str, u64>,
}

impl Counts {
    fn add(&mut self, kind: &'static str) {
        *self.kinds.entry(kind).or_default() += 1;
    }

    /// Takes in what another one counted.
    pub fn merge(&mut self, other: &Self) {
        self.histories += other.histories;
        self.operations += other.operations;
        for (kind, count) in &other.kinds {
            *self.kinds.entry(kind).or_default() += count;
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} histories, {} operations:", self.histories, self.operations)?;
        self.kinds
            .iter()
            .try_for_each(|(kind, count)| write!(f, " {kind} {count}"))
    }
}

/// Operations of one history before it heals.
pub const OPERATIONS: usize = 120;

/// Runs histories one after another.
///
/// # Errors
/// The first [`Violation`].
pub fn histories(seeds: Range<u64>) -> Result<Counts, Violation> {
    let mut all = Counts::default();
    for seed in seeds {
        all.merge(&run(seed)?);
    }
    Ok(all)
}

/// Runs one history.
///
/// # Errors
/// What did not hold.
pub fn run(seed: u64) -> Result<Counts, Violation> {
    let mut world = world::World::new(seed);
    let told = |(operation, what)| Violation {
        seed,
        operation,
        what,
    };
    world.live(OPERATIONS).map_err(told)?;
    let mut counts = world.counts;
    counts.histories = 1;
    Ok(counts)
}

/// SplitMix64: small, and the same everywhere.
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `end`; 0 if there is nothing below.
    fn below(&mut self, end: usize) -> usize {
        let end = end.max(1) as u64;
        usize::try_from(self.next() % end).unwrap_or(0)
    }

    /// One time in so many.
    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}
