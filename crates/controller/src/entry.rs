//! A log entry, independent of openraft: what is stored, cached and, one day, sent.

use crate::wal::{CommandsMessage, EntryMessage, LogPlace, MembershipMessage};
use prost::Message;
use quipu_metadata::{Command, DecodeError};
use std::sync::Arc;

/// A log entry. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LogEntry {
    pub(crate) place: LogPlace,
    pub(crate) payload: Payload,
}

/// What an entry says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Payload {
    /// A new leader's first word.
    Blank,
    /// Commands, in order.
    Commands(Arc<[Command]>),
    /// Who is in the group.
    Membership(Arc<MembershipMessage>),
}

/// Why stored bytes are not an entry.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum EntryError {
    #[error("not an entry: {0}")]
    Malformed(String),
    #[error("command {index} of entry {entry}: {source}")]
    Command {
        entry: u64,
        index: usize,
        source: DecodeError,
    },
}

impl LogEntry {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut message = EntryMessage {
            place: Some(self.place),
            commands: None,
            membership: None,
        };
        match &self.payload {
            Payload::Blank => {}
            Payload::Commands(commands) => {
                let commands = commands.iter().map(|command| command.encode().into()).collect();
                message.commands = Some(CommandsMessage { commands });
            }
            Payload::Membership(membership) => {
                message.membership = Some(MembershipMessage::clone(membership))
            }
        }
        message.encode_to_vec()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        let malformed = |what: &str| EntryError::Malformed(what.to_owned());
        let message = EntryMessage::decode(bytes).map_err(|error| malformed(&error.to_string()))?;
        let place = message.place.ok_or_else(|| malformed("no place"))?;
        let payload = match (message.commands, message.membership) {
            (None, None) => Payload::Blank,
            (Some(commands), None) => {
                let decode = |(index, bytes): (usize, &bytes::Bytes)| {
                    Command::decode(bytes).map_err(|source| EntryError::Command {
                        entry: place.index,
                        index,
                        source,
                    })
                };
                let commands: Result<Vec<_>, _> = commands.commands.iter().enumerate().map(decode).collect();
                Payload::Commands(commands?.into())
            }
            (None, Some(membership)) => Payload::Membership(Arc::new(membership)),
            (Some(_), Some(_)) => return Err(malformed("both commands and membership")),
        };
        Ok(Self { place, payload })
    }
}
