//! One partition of `__consumer_offsets`, live.

use crate::{Effects, Expiring, GroupConfig, GroupError, GroupRecord, Input, Topics};
use quipu_record::{Tick, Timestamp};

/// The state of one partition of `__consumer_offsets`: all its groups.
#[derive(Debug)]
pub struct Coordinator {
    #[allow(dead_code, reason = "the bodies follow")]
    config: GroupConfig,
}

/// Why a stored record cannot be replayed: the load stops.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// Too large for any record.
    #[error("{len} bytes are more than a record of a group can have")]
    TooLarge {
        /// How large.
        len: usize,
    },
    /// Not a message.
    #[error("not a record of a group: {0}")]
    Malformed(String),
    /// Written by a newer version.
    #[error(
        "record type {kind}, version {version}, is not known to this version of Quipu: upgrade before serving groups"
    )]
    Unknown {
        /// Its type.
        kind: u32,
        /// The version of its layout.
        version: u32,
    },
    /// A field has a value that it cannot have.
    #[error("field {field} has a value that it cannot have")]
    Field {
        /// Which one.
        field: &'static str,
    },
}

impl Coordinator {
    /// Without groups.
    #[must_use]
    pub fn new(config: GroupConfig) -> Self {
        Self { config }
    }

    /// Takes a stored record, in the order of the log.
    ///
    /// # Errors
    /// [`ReplayError`]: stop, never skip.
    pub fn replay(&mut self, _key: &[u8], _value: Option<&[u8]>) -> Result<(), ReplayError> {
        Ok(())
    }

    /// Everything stored was replayed: from here on it is live. Every member gets a fresh session, every revocation a
    /// fresh deadline. Step with [`Input::TopicsChanged`] next.
    pub fn loaded(&mut self, _now: Tick, _wall: Timestamp) {}

    /// Decides and replays. What is to be done is added to `effects`.
    pub fn step(
        &mut self,
        input: Input,
        now: Tick,
        wall: Timestamp,
        topics: &dyn Topics,
        effects: &mut Effects,
    ) {
        let _ = (now, wall, topics);
        if let Input::Request(token, _) = input {
            effects.answers.push((token, Err(GroupError::UnknownGroup)));
        }
    }

    /// All of the state as records: replaying them makes it again.
    pub fn records(&self, _found: &mut dyn FnMut(GroupRecord)) {}

    /// Groups whose offsets expire soon, by name.
    #[must_use]
    pub fn expiring(&self, _wall: Timestamp) -> Vec<Expiring> {
        Vec::new()
    }
}
