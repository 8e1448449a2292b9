//! Sharing partitions out.

mod balance;
mod range;
#[cfg(test)]
mod tests;
mod uniform;

use crate::{InstanceId, MemberId};
use quipu_record::{TopicId, TopicPartition};
use std::fmt;
use std::sync::Arc;

/// How partitions are shared out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Default)]
pub enum Assignor {
    /// Evenly, moving as little as possible; of equal choices those in a member's rack.
    #[default]
    Uniform,
    /// Of each topic a contiguous range to each member, so that topics with equal counts fall together.
    Range,
}

impl Assignor {
    /// By its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "uniform" => Some(Self::Uniform),
            "range" => Some(Self::Range),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }
}

impl fmt::Display for Assignor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A topic to share out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shape {
    pub(crate) topic: TopicId,
    pub(crate) partitions: u32,
}

/// A member to give to.
#[derive(Clone, Debug)]
pub(crate) struct Taker<'a> {
    pub(crate) member: &'a MemberId,
    pub(crate) instance: Option<&'a InstanceId>,
    pub(crate) rack: Option<&'a str>,
    /// Places in [`Problem::topics`], rising.
    pub(crate) topics: Vec<usize>,
    /// Its target until now.
    pub(crate) current: &'a [TopicPartition],
}

/// Who shall have what?
pub(crate) struct Problem<'a> {
    /// By id.
    pub(crate) topics: Vec<Shape>,
    /// By id.
    pub(crate) takers: Vec<Taker<'a>>,
    /// The racks of a partition.
    pub(crate) racks: &'a dyn Fn(TopicPartition) -> &'a [Arc<str>],
}

impl Problem<'_> {
    /// For each taker what it shall have, sorted. Every partition that anybody wants goes to exactly one.
    pub(crate) fn solve(&self, assignor: Assignor) -> Vec<Vec<TopicPartition>> {
        if self.takers.is_empty() {
            return Vec::new();
        }
        match assignor {
            Assignor::Uniform => uniform::solve(self),
            Assignor::Range => range::solve(self),
        }
    }
}
