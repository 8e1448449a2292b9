//! Who and what: topics, partitions, brokers, producers.

use crate::newtype::int_newtype;
use std::fmt;
use uuid::Uuid;

int_newtype! {
    /// The index of a partition within its topic, from 0.
    PartitionId(u32)
}
int_newtype! {
    /// A broker of the cluster; configured, or a StatefulSet's ordinal.
    BrokerId(u32)
}
int_newtype! {
    /// An idempotent producer, unique for ever within a cluster; handed out by the controller. At most `i64::MAX`.
    ProducerId(u64)
}
int_newtype! {
    /// One life of a producer id; a newer one fences the older. At most `i16::MAX` on the wire.
    ProducerEpoch(u16)
}
int_newtype! {
    /// Counts a producer's records within one partition; wraps from `i32::MAX` to 0 as Kafka's does.
    Sequence(u32)
}

impl ProducerEpoch {
    /// The epoch of a new producer id.
    pub const FIRST: Self = Self::new(0);
}

impl Sequence {
    /// The sequence of a producer's first record in a partition.
    pub const FIRST: Self = Self::new(0);

    /// The sequence `records` further on, wrapped into 31 bits.
    #[must_use]
    pub const fn plus(self, records: u32) -> Self {
        Self::new(self.get().wrapping_add(records) & (i32::MAX as u32))
    }
}

/// A topic for ever: a name may be deleted and created again, an id never returns (KIP-516).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(Uuid);

impl TopicId {
    /// From the 128 bits of a UUID.
    #[must_use]
    pub const fn from_u128(bits: u128) -> Self {
        Self(Uuid::from_u128(bits))
    }

    /// The 128 bits of the UUID.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0.as_u128()
    }

    /// From its 16 bytes in network order.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Its 16 bytes in network order.
    #[must_use]
    pub const fn into_bytes(self) -> [u8; 16] {
        self.0.into_bytes()
    }

    /// Reads the hyphenated form that [`fmt::Display`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self)
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicId({})", self.0.as_hyphenated())
    }
}

/// One partition of one topic.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicId,
    /// The partition's index in it.
    pub partition: PartitionId,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}
