//! Sharing partitions out.

use std::fmt;

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
