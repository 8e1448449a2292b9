//! What clients do, one kind of work a file. To add one: a file here, a line in [`NAMES`] and one in [`named`].

mod append;
pub(crate) mod commits;
mod groups;
mod members;
pub(crate) mod read;
mod topics;

pub use append::Append;
pub use commits::Commits;
pub use groups::Groups;
pub use read::Read;
pub use topics::Topics;

use crate::chance::Chance;
use crate::site::Site;
use crate::tasks::Tasks;
use std::fmt;

/// The names of all of them.
pub const NAMES: &[&str] = &["append", "read", "groups", "commits", "topics"];

/// A kind of work.
pub trait Workload: fmt::Debug + Send + Sync {
    /// Its name, as in [`NAMES`].
    fn name(&self) -> &'static str;

    /// Puts its clients to work, as tasks that go on until they are asked to stop. A cluster that does not answer is no
    /// reason to end.
    fn spawn(&self, site: &Site, chance: Chance, tasks: &mut Tasks);
}

/// The workload of this name, as it is by default.
#[must_use]
pub fn named(name: &str) -> Option<Box<dyn Workload>> {
    Some(match name {
        "append" => Box::new(Append::default()),
        "read" => Box::new(Read::default()),
        "groups" => Box::new(Groups::default()),
        "commits" => Box::new(Commits::default()),
        "topics" => Box::new(Topics::default()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_is_found_by_its_name() {
        for name in NAMES {
            assert_eq!(named(name).map(|workload| workload.name()), Some(*name));
        }
        assert!(named("nothing").is_none());
    }
}
