//! A topic's configs: what is set on it, and what follows from the defaults.

mod parse;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use parse::majority;
pub use parse::{ConfigChange, ConfigMistake};
pub use table::{
    CONFIGS, CONFIGS_NOT_HERE, ConfigKey, ConfigKind, ConfigSpec, MAX_MESSAGE_BYTES_LIMIT, RATIO_ONE,
};

use quipu_record::TimestampType;
use std::sync::Arc;

/// The configs set on a topic, by key; the rest have the table's defaults. 16 bytes each, shared by clones.
///
/// `min.insync.replicas` is always set: stored resolved, so that no later change of brokers can move it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TopicConfig {
    set: Arc<[(ConfigKey, i64)]>,
}

/// The configs of the topic that groups keep their state in: the last word of each key stays, and is on disk wherever it
/// counts. Batches of a group's whole assignment are large; segments are small, so that compaction comes by often.
pub(crate) fn offsets_config(replicas: usize) -> TopicConfig {
    TopicConfig::from_raw(vec![
        (ConfigKey::CleanupPolicy, COMPACT),
        (ConfigKey::SegmentBytes, 16 << 20),
        (ConfigKey::MaxMessageBytes, MAX_MESSAGE_BYTES_LIMIT),
        (ConfigKey::MinInsyncReplicas, majority(replicas)),
        (ConfigKey::Durability, 0),
    ])
}

/// `cleanup.policy=compact` as stored.
const COMPACT: i64 = 1;

/// `cleanup.policy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CleanupPolicy {
    /// Old segments are deleted.
    Delete,
    /// The latest record of each key is kept.
    Compact,
    /// Both.
    CompactDelete,
}

impl CleanupPolicy {
    /// Whether only the latest record of a key is kept.
    #[must_use]
    pub const fn compacts(self) -> bool {
        matches!(self, Self::Compact | Self::CompactDelete)
    }

    /// Whether old segments are deleted.
    #[must_use]
    pub const fn deletes(self) -> bool {
        matches!(self, Self::Delete | Self::CompactDelete)
    }
}

/// `durability`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// Acknowledged means flushed on every in-sync replica.
    Fsync,
    /// Acknowledged means in the memory of every in-sync replica.
    Replicated,
}

/// One config as people read it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigEntry {
    /// Kafka's name.
    pub key: &'static str,
    /// The value in Kafka's notation.
    pub value: String,
    /// Not set on the topic: the table's default.
    pub is_default: bool,
}

impl TopicConfig {
    /// From stored pairs, in whatever order; the last of equal keys stays.
    #[must_use]
    pub fn from_raw(mut pairs: Vec<(ConfigKey, i64)>) -> Self {
        pairs.reverse();
        pairs.sort_by_key(|(key, _)| *key);
        pairs.dedup_by_key(|(key, _)| *key);
        Self { set: pairs.into() }
    }

    /// The stored pairs, by key.
    #[must_use]
    pub fn raw(&self) -> &[(ConfigKey, i64)] {
        &self.set
    }

    /// Whether the topic itself sets `key`.
    #[must_use]
    pub fn is_set(&self, key: ConfigKey) -> bool {
        self.set.iter().any(|(k, _)| *k == key)
    }

    /// The effective value as stored.
    #[must_use]
    pub fn value(&self, key: ConfigKey) -> i64 {
        let set = self.set.iter().find(|(k, _)| *k == key).map(|(_, v)| *v);
        set.or_else(|| key.spec().default_raw()).unwrap_or(1)
    }

    /// These configs with one set to this.
    pub(crate) fn with(&self, key: ConfigKey, value: i64) -> Self {
        Self::from_raw(self.set.iter().copied().chain([(key, value)]).collect())
    }

    fn unsigned(&self, key: ConfigKey) -> u64 {
        u64::try_from(self.value(key)).unwrap_or(0)
    }

    fn unsigned_or_unlimited(&self, key: ConfigKey) -> Option<u64> {
        u64::try_from(self.value(key)).ok()
    }

    /// `cleanup.policy`.
    #[must_use]
    pub fn cleanup_policy(&self) -> CleanupPolicy {
        match self.value(ConfigKey::CleanupPolicy) {
            1 => CleanupPolicy::Compact,
            2 => CleanupPolicy::CompactDelete,
            _ => CleanupPolicy::Delete,
        }
    }

    /// `min.cleanable.dirty.ratio`, in [`RATIO_ONE`]ths.
    #[must_use]
    pub fn min_cleanable_dirty_ratio(&self) -> u64 {
        self.unsigned(ConfigKey::MinCleanableDirtyRatio)
    }

    /// `min.compaction.lag.ms`.
    #[must_use]
    pub fn min_compaction_lag_ms(&self) -> u64 {
        self.unsigned(ConfigKey::MinCompactionLagMs)
    }

    /// `delete.retention.ms`.
    #[must_use]
    pub fn delete_retention_ms(&self) -> u64 {
        self.unsigned(ConfigKey::DeleteRetentionMs)
    }

    /// `retention.ms`; `None`: for ever.
    #[must_use]
    pub fn retention_ms(&self) -> Option<u64> {
        self.unsigned_or_unlimited(ConfigKey::RetentionMs)
    }

    /// `retention.bytes`; `None`: no limit.
    #[must_use]
    pub fn retention_bytes(&self) -> Option<u64> {
        self.unsigned_or_unlimited(ConfigKey::RetentionBytes)
    }

    /// `segment.bytes`.
    #[must_use]
    pub fn segment_bytes(&self) -> u32 {
        u32::try_from(self.value(ConfigKey::SegmentBytes)).unwrap_or(u32::MAX)
    }

    /// `segment.ms`.
    #[must_use]
    pub fn segment_ms(&self) -> u64 {
        self.unsigned(ConfigKey::SegmentMs)
    }

    /// `max.message.bytes`: a batch as sent, and also decoded.
    #[must_use]
    pub fn max_message_bytes(&self) -> u32 {
        u32::try_from(self.value(ConfigKey::MaxMessageBytes)).unwrap_or(0)
    }

    /// `message.timestamp.type`.
    #[must_use]
    pub fn timestamp_type(&self) -> TimestampType {
        match self.value(ConfigKey::MessageTimestampType) {
            1 => TimestampType::LogAppend,
            _ => TimestampType::Create,
        }
    }

    /// `message.timestamp.before.max.ms`.
    #[must_use]
    pub fn timestamp_before_max_ms(&self) -> u64 {
        self.unsigned(ConfigKey::MessageTimestampBeforeMaxMs)
    }

    /// `message.timestamp.after.max.ms`.
    #[must_use]
    pub fn timestamp_after_max_ms(&self) -> u64 {
        self.unsigned(ConfigKey::MessageTimestampAfterMaxMs)
    }

    /// `min.insync.replicas`. What a leader must go by is the copy in [`crate::Partition`].
    #[must_use]
    pub fn min_insync_replicas(&self) -> u8 {
        u8::try_from(self.value(ConfigKey::MinInsyncReplicas)).unwrap_or(u8::MAX)
    }

    /// `durability`.
    #[must_use]
    pub fn durability(&self) -> Durability {
        match self.value(ConfigKey::Durability) {
            1 => Durability::Replicated,
            _ => Durability::Fsync,
        }
    }

    /// `unclean.leader.election.enable`.
    #[must_use]
    pub fn unclean_leader_election(&self) -> bool {
        self.value(ConfigKey::UncleanLeaderElectionEnable) != 0
    }

    /// `flush.ms`: in the background, with `durability=replicated`.
    #[must_use]
    pub fn flush_ms(&self) -> u64 {
        self.unsigned(ConfigKey::FlushMs)
    }

    /// `flush.bytes`: in the background, with `durability=replicated`.
    #[must_use]
    pub fn flush_bytes(&self) -> u64 {
        self.unsigned(ConfigKey::FlushBytes)
    }

    /// Every config, by name.
    #[must_use]
    pub fn entries(&self) -> Vec<ConfigEntry> {
        let entry = |spec: &ConfigSpec| ConfigEntry {
            key: spec.name,
            value: parse::display(spec, self.value(spec.key)),
            is_default: !self.is_set(spec.key),
        };
        CONFIGS.iter().map(entry).collect()
    }
}
