//! What one topic asks of its partitions, as far as agreement goes. The log's own settings are `quipu_storage::LogConfig`.

use quipu_record::{MESSAGE_BYTES_DEFAULT, TimestampType};
use std::time::Duration;

/// What an acknowledgement is worth on a topic (`durability`). Fixed when the topic is created.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub enum Durability {
    /// Flushed to disk on every in-sync replica.
    #[default]
    Fsync,
    /// In the memory of every in-sync replica; flushed in the background.
    Replicated,
}

/// One topic's settings, shared by its partitions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionConfig {
    /// `durability`.
    pub durability: Durability,
    /// `message.timestamp.type`: the producer's time or the leader's.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how far a record's time may lie behind the broker's. `None`: any.
    pub timestamp_before_max: Option<Duration>,
    /// `message.timestamp.after.max.ms`: how far it may lie ahead. `None`: any.
    pub timestamp_after_max: Option<Duration>,
    /// `cleanup.policy` has `compact`: every record must have a key.
    pub compacted: bool,
    /// `max.message.bytes`: the largest batch, in bytes as sent.
    pub max_message_bytes: usize,
    /// `flush.ms`: with [`Durability::Replicated`], how long appended bytes may wait for a flush.
    pub flush_interval: Duration,
    /// `flush.bytes`: with [`Durability::Replicated`], how many appended bytes may wait for a flush.
    pub flush_bytes: u64,
    /// `producer.id.expiration.ms`: how long a silent producer is remembered, by the broker's clock.
    pub producer_expiry: Duration,
    /// `replication.lag.max.ms`: how long an in-sync replica may be behind.
    pub replica_lag_max: Duration,
}

impl Default for PartitionConfig {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            timestamp_type: TimestampType::Create,
            timestamp_before_max: None,
            timestamp_after_max: Some(Duration::from_secs(3600)),
            compacted: false,
            max_message_bytes: MESSAGE_BYTES_DEFAULT,
            flush_interval: Duration::from_secs(1),
            flush_bytes: 64 << 20,
            producer_expiry: Duration::from_secs(7 * 24 * 3600),
            replica_lag_max: Duration::from_secs(10),
        }
    }
}
