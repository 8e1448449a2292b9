//! Records as bytes. The key names the thing: its type, group, member or partition; the value is a message of our own in an
//! envelope with the version of its layout. No value deletes.
//!
//! What is not known stops the reader, never skipped, for the state after it would not be the state that was stored. Within
//! a version fields are never added: what is read must be, to the byte, what this version would have written.

mod message;
#[cfg(test)]
mod tests;

use crate::record::{Change, Info, Record};
use crate::{GroupId, GroupRecord, MemberId};
use bytes::Bytes;
use message::{CurrentMessage, EpochMessage, HeadMessage, InfoMessage, OffsetMessage, TargetMessage};
use prost::Message;
use quipu_record::{PartitionId, TopicId, TopicPartition};
use std::sync::Arc;

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

/// The largest key or value.
pub(crate) const RECORD_BYTES_MAX: usize = 4 * 1024 * 1024;
/// More of anything in a list is an error.
const LIST_MAX: usize = 250_000;

// Never reused. 2 is for groups of the classic protocol.
const OFFSET: u32 = 1;
const GROUP: u32 = 3;
const MEMBER: u32 = 5;
const TARGET_EPOCH: u32 = 6;
const TARGET: u32 = 7;
const CURRENT: u32 = 8;
const EXPIRED: u32 = 16;

/// The version of each layout, but for [`MEMBER_VERSION`].
const VERSION: u32 = 1;
/// Of members whose client counts its streams.
const MEMBER_VERSION: u32 = 2;

#[derive(Clone, PartialEq, Message)]
struct Key {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(string, tag = "2")]
    group: String,
    #[prost(string, optional, tag = "3")]
    member: Option<String>,
    #[prost(bytes = "vec", optional, tag = "4")]
    topic: Option<Vec<u8>>,
    #[prost(uint32, optional, tag = "5")]
    partition: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(bytes = "bytes", tag = "2")]
    body: Bytes,
}

fn seal(body: &impl Message) -> Bytes {
    seal_as(VERSION, body)
}

fn seal_as(version: u32, body: &impl Message) -> Bytes {
    let value = Value {
        version,
        body: body.encode_to_vec().into(),
    };
    value.encode_to_vec().into()
}

fn seal_member(body: &InfoMessage) -> Bytes {
    seal_as(body.version(), body)
}

impl Record {
    /// As stored.
    pub(crate) fn encode(&self) -> GroupRecord {
        let (kind, member, at, value) = match &self.change {
            Change::Offset(at, value) => (
                OFFSET,
                None,
                Some(at),
                value.as_ref().map(|v| seal(&OffsetMessage::from(v))),
            ),
            Change::Group(value) => (
                GROUP,
                None,
                None,
                value.as_ref().map(|v| seal(&HeadMessage::from(v))),
            ),
            Change::Member(member, value) => (
                MEMBER,
                Some(member),
                None,
                value.as_ref().map(|v| seal_member(&InfoMessage::from(&**v))),
            ),
            Change::TargetEpoch(value) => (
                TARGET_EPOCH,
                None,
                None,
                value.map(|epoch| seal(&EpochMessage { epoch: epoch.get() })),
            ),
            Change::Target(member, value) => (
                TARGET,
                Some(member),
                None,
                value.as_ref().map(|v| seal(&TargetMessage::from(&**v))),
            ),
            Change::Current(member, value) => (
                CURRENT,
                Some(member),
                None,
                value.as_ref().map(|v| seal(&CurrentMessage::from(v))),
            ),
            Change::Expired(at, value) => (
                EXPIRED,
                None,
                Some(at),
                value.as_ref().map(|v| seal(&OffsetMessage::from(v))),
            ),
        };
        let key = Key {
            kind,
            group: self.group.as_str().to_owned(),
            member: member.map(|member| member.as_str().to_owned()),
            topic: at.map(|at| at.topic.into_bytes().to_vec()),
            partition: at.map(|at| at.partition.get()),
        };
        GroupRecord {
            key: key.encode_to_vec().into(),
            value,
        }
    }

    /// From what [`Record::encode`] wrote.
    pub(crate) fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Self, ReplayError> {
        let key: Key = strict(key)?;
        let known = [OFFSET, GROUP, MEMBER, TARGET_EPOCH, TARGET, CURRENT, EXPIRED];
        if !known.contains(&key.kind) {
            return Err(ReplayError::Unknown {
                kind: key.kind,
                version: 0,
            });
        }
        let group = GroupId::new(&key.group).map_err(|_| ReplayError::Field { field: "group" })?;
        let value = value.map(|bytes| open(key.kind, bytes)).transpose()?;
        let change = change(&key, value.as_ref())?;
        Ok(Self { group, change })
    }
}

fn change(key: &Key, value: Option<&Value>) -> Result<Change, ReplayError> {
    let of_member = || {
        let member = key.member.as_deref().and_then(|text| MemberId::new(text).ok());
        field(
            "member",
            member.filter(|_| key.topic.is_none() && key.partition.is_none()),
        )
    };
    let of_partition = || {
        let topic = key
            .topic
            .as_deref()
            .and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
        let at = topic.zip(key.partition).map(|(topic, partition)| TopicPartition {
            topic: TopicId::from_bytes(topic),
            partition: PartitionId::new(partition),
        });
        field("partition", at.filter(|_| key.member.is_none()))
    };
    let of_group = || {
        let alone = key.member.is_none() && key.topic.is_none() && key.partition.is_none();
        field("key", alone.then_some(()))
    };
    Ok(match key.kind {
        OFFSET => Change::Offset(of_partition()?, read::<OffsetMessage, _>(value)?),
        EXPIRED => Change::Expired(of_partition()?, read::<OffsetMessage, _>(value)?),
        GROUP => {
            of_group()?;
            Change::Group(read::<HeadMessage, _>(value)?)
        }
        TARGET_EPOCH => {
            of_group()?;
            Change::TargetEpoch(read::<EpochMessage, _>(value)?)
        }
        MEMBER => {
            let member = of_member()?;
            Change::Member(member, value.map(read_member).transpose()?)
        }
        TARGET => Change::Target(of_member()?, read::<TargetMessage, _>(value)?),
        CURRENT => Change::Current(of_member()?, read::<CurrentMessage, _>(value)?),
        kind => return Err(ReplayError::Unknown { kind, version: 0 }),
    })
}

/// A message that is, to the byte, what it would be written as: a field that is not known is an error as well.
fn strict<M: Message + Default>(bytes: &[u8]) -> Result<M, ReplayError> {
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(ReplayError::TooLarge { len: bytes.len() });
    }
    let message = M::decode(bytes).map_err(|error| ReplayError::Malformed(error.to_string()))?;
    if message.encode_to_vec() == bytes {
        Ok(message)
    } else {
        Err(ReplayError::Malformed(
            "fields that are not known, or not in order".to_owned(),
        ))
    }
}

fn open(kind: u32, bytes: &[u8]) -> Result<Value, ReplayError> {
    let value: Value = strict(bytes)?;
    let last = if kind == MEMBER { MEMBER_VERSION } else { VERSION };
    if !(VERSION..=last).contains(&value.version) {
        return Err(ReplayError::Unknown {
            kind,
            version: value.version,
        });
    }
    Ok(value)
}

fn read<M, T>(value: Option<&Value>) -> Result<Option<T>, ReplayError>
where
    M: Message + Default,
    T: TryFrom<M, Error = ReplayError>,
{
    value
        .map(|value| strict::<M>(&value.body)?.try_into())
        .transpose()
}

fn read_member(value: &Value) -> Result<Arc<Info>, ReplayError> {
    let message: InfoMessage = strict(&value.body)?;
    field("version", (message.version() == value.version).then_some(()))?;
    message.try_into()
}

fn field<T>(field: &'static str, value: Option<T>) -> Result<T, ReplayError> {
    value.ok_or(ReplayError::Field { field })
}
