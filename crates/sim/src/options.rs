//! How a seed is run.

use crate::report::Outcome;
use std::time::Duration;

/// Which world a seed is run in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum World {
    /// Brokers, controllers and a network between them; the controllers as one, that decides in order.
    #[default]
    Cluster,
    /// The same with three real controllers, and their Raft.
    Controllers,
    /// One broker and its disk.
    Alone,
    /// Consumer groups, their coordinators and the brokers that host their members.
    Groups,
}

/// How a seed is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// In which world.
    pub world: World,
    /// For how long clients begin new work and faults strike, in simulated time.
    pub duration: Duration,
    /// Whether everything that happens is told in words.
    pub tell: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            world: World::default(),
            duration: Duration::from_secs(10),
            tell: false,
        }
    }
}

/// Runs one seed from its beginning to its end, or to the first violation.
#[must_use]
pub fn run(seed: u64, options: Options) -> Outcome {
    match options.world {
        World::Cluster | World::Controllers => crate::cluster::run(seed, options),
        World::Alone => crate::alone::run(seed, options),
        World::Groups => crate::groups::run(seed, options),
    }
}
