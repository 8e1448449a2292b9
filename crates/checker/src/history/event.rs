//! One event, and everything it may tell.

use quipu_record::{BrokerId, LeaderEpoch, Offset};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

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

/// A partition by name, as in `orders/3`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key(Arc<str>);

impl Key {
    /// A partition's name: `topic/partition`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Key {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Ok(Self::new(&text))
    }
}

/// A value's name, unique in its history.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ValueId(pub u64);

impl fmt::Display for ValueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A value as it was sent or read: its name, and a hash of all its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(from = "(u64, u32)", into = "(u64, u32)")]
pub struct Value {
    /// Its name.
    pub id: ValueId,
    /// Of its bytes (CRC-32C, say: the same function for sender and reader).
    pub hash: u32,
}

impl From<(u64, u32)> for Value {
    fn from((id, hash): (u64, u32)) -> Self {
        let id = ValueId(id);
        Self { id, hash }
    }
}

impl From<Value> for (u64, u32) {
    fn from(value: Value) -> Self {
        (value.id.0, value.hash)
    }
}

/// When a send was to be acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Acks {
    /// By every in-sync replica: an `ok` is a promise.
    #[default]
    All,
    /// By the leader: an `ok` may be taken back when it dies.
    Leader,
    /// By nobody: an `ok` means nothing.
    None,
}

/// Values sent to one partition, in one batch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Send {
    /// To where.
    pub key: Key,
    /// What, in order.
    pub values: Vec<Value>,
    /// When it is `ok`.
    #[serde(default)]
    pub acks: Acks,
    /// The idempotent producer; without one, a value may come to be stored more than once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub producer: Option<u64>,
    /// The offset of the first value; only in an `ok`.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_offset")]
    pub offset: Option<Offset>,
}

/// A record as it was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(from = "(u64, Option<u64>, u32)", into = "(u64, Option<u64>, u32)")]
pub struct ReadRecord {
    /// Its place.
    pub offset: Offset,
    /// The value; `None`: its bytes name none.
    pub value: Option<ValueId>,
    /// A hash of its bytes.
    pub hash: u32,
}

impl From<(u64, Option<u64>, u32)> for ReadRecord {
    fn from((offset, value, hash): (u64, Option<u64>, u32)) -> Self {
        Self {
            offset: Offset::new(offset),
            value: value.map(ValueId),
            hash,
        }
    }
}

impl From<ReadRecord> for (u64, Option<u64>, u32) {
    fn from(record: ReadRecord) -> Self {
        (record.offset.get(), record.value.map(|v| v.0), record.hash)
    }
}

/// Records read from one partition.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PolledPartition {
    /// From where.
    pub key: Key,
    /// The offset asked for.
    #[serde(with = "offset")]
    pub from: Offset,
    /// What came.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<ReadRecord>,
    /// The high watermark that came with it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_offset")]
    pub high_watermark: Option<Offset>,
}

/// One read by a consumer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Poll {
    /// Of which partitions, and what came.
    pub partitions: Vec<PolledPartition>,
}

/// Records below an offset were deleted: by request (a client's operation) or by retention (told by the nemesis).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Trim {
    /// Where.
    pub key: Key,
    /// Everything below.
    #[serde(with = "offset")]
    pub before: Offset,
}

/// All that one replica holds of one partition when everything has come to rest: told by the nemesis. A large log may
/// be told in pieces.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Final {
    /// Whose.
    #[serde(with = "broker")]
    pub replica: BrokerId,
    /// Of what.
    pub key: Key,
    /// Everything below was deleted.
    #[serde(with = "offset")]
    pub log_start: Offset,
    /// The leader epoch of the last batch.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_epoch")]
    pub leader_epoch: Option<LeaderEpoch>,
    /// Its committed records.
    pub records: Vec<ReadRecord>,
}

/// What an event is about.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "f", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Op {
    /// A producer sends.
    Send(Send),
    /// A consumer reads.
    Poll(Poll),
    /// Records are deleted.
    Trim(Trim),
    /// The end of the story.
    Final(Final),
    /// A fault, or its end.
    Fault {
        /// In words.
        what: String,
    },
}

impl Op {
    /// Whether `completion` can be this operation's.
    pub(super) fn is_completed_by(&self, completion: &Self) -> bool {
        match (self, completion) {
            (Self::Send(sent), Self::Send(done)) => sent.key == done.key && sent.values == done.values,
            (Self::Poll(asked), Self::Poll(got)) => {
                let place = |p: &PolledPartition| (p.key.clone(), p.from);
                asked
                    .partitions
                    .iter()
                    .map(place)
                    .eq(got.partitions.iter().map(place))
            }
            (Self::Trim(asked), Self::Trim(done)) => asked == done,
            _ => false,
        }
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

/// Our integer types as JSON numbers.
macro_rules! as_number {
    ($module:ident, $optional:ident, $name:ident, $int:ty) => {
        mod $module {
            use quipu_record::$name;
            use serde::{Deserialize, Deserializer, Serialize, Serializer};

            pub(super) fn serialize<S: Serializer>(value: &$name, serializer: S) -> Result<S::Ok, S::Error> {
                value.get().serialize(serializer)
            }

            pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                <$int>::deserialize(deserializer).map($name::new)
            }
        }
        as_number!(@optional $optional, $name, $int);
    };
    (@optional none, $name:ident, $int:ty) => {};
    (@optional $optional:ident, $name:ident, $int:ty) => {
        mod $optional {
            use quipu_record::$name;
            use serde::{Deserialize, Deserializer, Serialize, Serializer};

            pub(super) fn serialize<S: Serializer>(
                value: &Option<$name>,
                serializer: S,
            ) -> Result<S::Ok, S::Error> {
                value.map($name::get).serialize(serializer)
            }

            pub(super) fn deserialize<'de, D: Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Option<$name>, D::Error> {
                Ok(Option::<$int>::deserialize(deserializer)?.map($name::new))
            }
        }
    };
}

as_number!(offset, optional_offset, Offset, u64);
as_number!(broker, none, BrokerId, u32);
as_number!(@optional optional_epoch, LeaderEpoch, u32);
