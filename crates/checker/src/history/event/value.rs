//! Values, as they are sent and as they are read.

use quipu_record::Offset;
use serde::{Deserialize, Serialize};
use std::fmt;

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
