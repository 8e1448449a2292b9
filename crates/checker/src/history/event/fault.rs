//! Events about the world around: faults, their ends, and the quiet after them.

use serde::{Deserialize, Serialize};

/// Which end of a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It begins.
    Begin,
    /// It is over.
    End,
}

/// A fault, or its end.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fault {
    /// In words.
    pub what: String,
    /// A short name that stays the same from run to run, as in `kill`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Which end of it; absent: it has none, as a kill whose process is started again by somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
}

impl Fault {
    /// A fault in words only.
    #[must_use]
    pub const fn told(what: String) -> Self {
        Self {
            what,
            kind: None,
            phase: None,
        }
    }

    /// One end of a fault of a kind.
    #[must_use]
    pub fn of(kind: &str, phase: Phase, what: String) -> Self {
        Self {
            what,
            kind: Some(kind.to_owned()),
            phase: Some(phase),
        }
    }
}
