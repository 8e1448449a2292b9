//! One event, and everything it may tell.

mod fault;
mod group;
mod log;
mod metadata;
mod names;
mod numbers;
mod value;

pub use fault::{Fault, Phase};
pub use group::{
    Advanced, Assign, Commit, CommitId, Committed, Committer, FoundCommit, GroupEpoch, MemberEpoch, Owned,
    Released, Subscribe,
};
pub use log::{Acks, Final, FinalBatch, Latest, Poll, PolledPartition, Send, Step, Trim, Txn};
pub use metadata::{MetadataRead, MetadataWrite};
pub use names::{Group, Key, Member, Topic};
pub use value::{ReadRecord, Value, ValueId};

use serde::{Deserialize, Serialize};
use std::fmt;

/// Nanoseconds of the history's one clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(pub u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:06} s",
            self.0 / 1_000_000_000,
            self.0 % 1_000_000_000 / 1_000
        )
    }
}

/// Who did it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Process {
    /// A client's thread of work.
    Client(u64),
    /// Whoever injects faults, and looks at replicas from outside. Its events need no pairing.
    #[serde(with = "nemesis")]
    Nemesis,
}

mod nemesis {
    use serde::{Deserialize, Deserializer, Serializer, de};

    const NAME: &str = "nemesis";

    pub(super) fn serialize<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(NAME)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        if text == NAME {
            return Ok(());
        }
        Err(de::Error::custom("a process is a number, or \"nemesis\""))
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(number) => write!(f, "process {number}"),
            Self::Nemesis => f.write_str("nemesis"),
        }
    }
}

/// What an event is to its operation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It begins.
    Invoke,
    /// It happened.
    Ok,
    /// It certainly did not happen.
    Fail,
    /// Nobody knows.
    Info,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Invoke => "invoke",
            Self::Ok => "ok",
            Self::Fail => "fail",
            Self::Info => "info",
        })
    }
}

/// What an event is about.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "f", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Op {
    /// A producer sends.
    Send(Send),
    /// A consumer reads.
    Poll(Poll),
    /// A transaction.
    Txn(Txn),
    /// A consumer is told which partitions to read.
    Assign(Assign),
    /// A consumer joins a group.
    Subscribe(Subscribe),
    /// The client is dropped, and its process ends: it completes with an `info`.
    Crash,
    /// The high watermark is asked for.
    Latest(Latest),
    /// An offset is committed.
    Commit(Commit),
    /// The committed offset is asked for.
    Committed(Committed),
    /// A topic is created or deleted.
    MetadataWrite(MetadataWrite),
    /// The topics are asked for.
    MetadataRead(MetadataRead),
    /// Records are deleted.
    Trim(Trim),
    /// A member gets a partition.
    Owned(Owned),
    /// A member has a partition no more.
    Released(Released),
    /// A member moves to a later epoch.
    Advanced(Advanced),
    /// The end of the story.
    Final(Final),
    /// A fault, or its end.
    Fault(Fault),
    /// A majority is up and the network whole, from now until the next fault begins.
    Healed {
        /// In words.
        what: String,
    },
    /// From now on nothing is sent, nothing is broken, and each partition is polled to its end.
    FinalPolls,
}

impl Op {
    /// Whether it is a mark: a moment that a client tells of, at any time, and no operation. It is told as an `info`.
    #[must_use]
    pub const fn is_mark(&self) -> bool {
        matches!(self, Self::Owned(_) | Self::Released(_) | Self::Advanced(_))
    }

    /// Whether `completion` can be this operation's.
    pub(super) fn is_completed_by(&self, completion: &Self) -> bool {
        match (self, completion) {
            (Self::Send(sent), Self::Send(done)) => sent.key == done.key && sent.values == done.values,
            (Self::Poll(asked), Self::Poll(got)) => asked.is_completed_by(got),
            (Self::Txn(asked), Self::Txn(done)) => asked.is_completed_by(done),
            (Self::Assign(asked), Self::Assign(done)) => asked == done,
            (Self::Subscribe(asked), Self::Subscribe(done)) => asked == done,
            (Self::Crash, Self::Crash) => true,
            (Self::Latest(asked), Self::Latest(got)) => asked.key == got.key,
            (Self::Commit(asked), Self::Commit(done)) => asked.id == done.id && asked.key == done.key,
            (Self::Committed(asked), Self::Committed(got)) => {
                asked.group == got.group && asked.key == got.key
            }
            (Self::MetadataWrite(asked), Self::MetadataWrite(done)) => {
                asked.topic == done.topic && asked.partitions == done.partitions
            }
            (Self::MetadataRead(asked), Self::MetadataRead(got)) => asked.linearizable == got.linearizable,
            (Self::Trim(asked), Self::Trim(done)) => asked == done,
            _ => false,
        }
    }

    /// What it sends: one batch, or each of a transaction.
    pub(crate) fn sends(&self) -> impl Iterator<Item = &Send> {
        let (one, steps) = match self {
            Self::Send(send) => (Some(send), [].as_slice()),
            Self::Txn(txn) => (None, txn.steps.as_slice()),
            _ => (None, [].as_slice()),
        };
        one.into_iter().chain(steps.iter().filter_map(|step| match step {
            Step::Send(send) => Some(send),
            Step::Poll(_) => None,
        }))
    }

    /// What it reads: one poll, or each of a transaction.
    pub(crate) fn polls(&self) -> impl Iterator<Item = &Poll> {
        let (one, steps) = match self {
            Self::Poll(poll) => (Some(poll), [].as_slice()),
            Self::Txn(txn) => (None, txn.steps.as_slice()),
            _ => (None, [].as_slice()),
        };
        one.into_iter().chain(steps.iter().filter_map(|step| match step {
            Step::Poll(poll) => Some(poll),
            Step::Send(_) => None,
        }))
    }
}

/// One event.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub time: Time,
    /// Who.
    pub process: Process,
    /// What it is to its operation.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// What it is about.
    #[serde(flatten)]
    pub op: Op,
}
