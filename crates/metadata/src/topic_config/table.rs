//! Every config a topic can have: name, type, default, limits and meaning, in one table.
//!
//! `docs/topic-configs.md` is this table for people; a test holds the two against each other. Changing a limit or adding
//! a key changes what `decide` answers, so it takes a new feature level (`since`).

use crate::FeatureLevel;

/// The configs by their stable numbers, which are what is stored. Never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
#[repr(u16)]
pub enum ConfigKey {
    /// `cleanup.policy`
    CleanupPolicy = 1,
    /// `retention.ms`
    RetentionMs = 2,
    /// `retention.bytes`
    RetentionBytes = 3,
    /// `segment.bytes`
    SegmentBytes = 4,
    /// `segment.ms`
    SegmentMs = 5,
    /// `max.message.bytes`
    MaxMessageBytes = 6,
    /// `message.timestamp.type`
    MessageTimestampType = 7,
    /// `message.timestamp.before.max.ms`
    MessageTimestampBeforeMaxMs = 8,
    /// `message.timestamp.after.max.ms`
    MessageTimestampAfterMaxMs = 9,
    /// `min.insync.replicas`
    MinInsyncReplicas = 10,
    /// `durability`
    Durability = 11,
    /// `unclean.leader.election.enable`
    UncleanLeaderElectionEnable = 12,
    /// `flush.ms`
    FlushMs = 13,
    /// `flush.bytes`
    FlushBytes = 14,
    /// `min.cleanable.dirty.ratio`
    MinCleanableDirtyRatio = 15,
    /// `min.compaction.lag.ms`
    MinCompactionLagMs = 16,
    /// `delete.retention.ms`
    DeleteRetentionMs = 17,
}

/// What kind of value a config takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConfigKind {
    /// A whole number within limits.
    Integer {
        /// The value when not set; `None`: worked out from the topic (see the meaning).
        default: Option<i64>,
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// `true` or `false`.
    Boolean {
        /// The value when not set.
        default: bool,
    },
    /// A decimal from 0 to 1; stored in [`RATIO_ONE`]ths.
    Ratio {
        /// The value when not set, as stored.
        default: i64,
    },
    /// One of some words; stored as the index into them, so words are only ever appended. A word that is a list is taken
    /// in whatever order.
    Word {
        /// The words that may be chosen.
        words: &'static [&'static str],
        /// The index of the default.
        default: usize,
        /// Kafka's words that are not available, and why.
        refused: &'static [(&'static str, &'static str)],
    },
}

/// One row of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConfigSpec {
    /// The key.
    pub key: ConfigKey,
    /// Kafka's name for it, where Kafka has one.
    pub name: &'static str,
    /// What it may be.
    pub kind: ConfigKind,
    /// Fixed when the topic is created.
    pub immutable: bool,
    /// The feature level it needs.
    pub since: FeatureLevel,
    /// What it means.
    pub meaning: &'static str,
}

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const MIB: i64 = 1024 * 1024;

/// What a ratio of 1 is stored as.
pub const RATIO_ONE: i64 = 1_000_000;

/// The greatest `max.message.bytes`: one batch, encoded or decoded.
pub const MAX_MESSAGE_BYTES_LIMIT: i64 = 8 * MIB;

const fn integer(
    key: ConfigKey,
    name: &'static str,
    default: i64,
    min: i64,
    max: i64,
    meaning: &'static str,
) -> ConfigSpec {
    let kind = ConfigKind::Integer {
        default: Some(default),
        min,
        max,
    };
    ConfigSpec {
        key,
        name,
        kind,
        immutable: false,
        since: FeatureLevel::V1,
        meaning,
    }
}

/// The table, by name.
pub const CONFIGS: &[ConfigSpec] = &[
    ConfigSpec {
        key: ConfigKey::CleanupPolicy,
        name: "cleanup.policy",
        kind: ConfigKind::Word {
            words: &["delete", "compact", "compact,delete"],
            default: 0,
            refused: &[],
        },
        immutable: false,
        since: FeatureLevel::V1,
        meaning: "How old records go: `delete` removes whole segments past `retention.ms` or `retention.bytes`; `compact` \
                  keeps the latest record of each key and takes no records without one; `compact,delete` does both.",
    },
    integer(
        ConfigKey::DeleteRetentionMs,
        "delete.retention.ms",
        DAY_MS,
        0,
        i64::MAX,
        "With compaction: how long a tombstone (a record without a value) is kept after it was first cleaned, in \
         milliseconds. It stays beyond that until every assigned replica has flushed it.",
    ),
    ConfigSpec {
        key: ConfigKey::Durability,
        name: "durability",
        kind: ConfigKind::Word {
            words: &["fsync", "replicated"],
            default: 0,
            refused: &[],
        },
        immutable: true,
        since: FeatureLevel::V1,
        meaning: "What an acknowledgement is worth: `fsync` means flushed to disk on every in-sync replica; `replicated` \
                  means in the memory of every in-sync replica, and flushed in the background. Fixed at creation.",
    },
    integer(
        ConfigKey::FlushBytes,
        "flush.bytes",
        64 * MIB,
        1,
        i64::MAX,
        "With `durability=replicated`: flush in the background after so many bytes. No effect with `fsync`.",
    ),
    integer(
        ConfigKey::FlushMs,
        "flush.ms",
        1000,
        1,
        i64::MAX,
        "With `durability=replicated`: flush in the background after so many milliseconds. No effect with `fsync`.",
    ),
    integer(
        ConfigKey::MaxMessageBytes,
        "max.message.bytes",
        MIB,
        1024,
        MAX_MESSAGE_BYTES_LIMIT,
        "The largest batch of records taken, in bytes: as sent, and also decoded.",
    ),
    integer(
        ConfigKey::MessageTimestampAfterMaxMs,
        "message.timestamp.after.max.ms",
        60 * 60 * 1000,
        0,
        i64::MAX,
        "How far a record's timestamp may lie after the broker's clock, in milliseconds. Not looked at with \
         `message.timestamp.type=LogAppendTime`.",
    ),
    integer(
        ConfigKey::MessageTimestampBeforeMaxMs,
        "message.timestamp.before.max.ms",
        i64::MAX,
        0,
        i64::MAX,
        "How far a record's timestamp may lie before the broker's clock, in milliseconds. Not looked at with \
         `message.timestamp.type=LogAppendTime`.",
    ),
    ConfigSpec {
        key: ConfigKey::MessageTimestampType,
        name: "message.timestamp.type",
        kind: ConfigKind::Word {
            words: &["CreateTime", "LogAppendTime"],
            default: 0,
            refused: &[],
        },
        immutable: false,
        since: FeatureLevel::V1,
        meaning: "Whose clock stamps a record: the producer's (`CreateTime`) or the leader's (`LogAppendTime`).",
    },
    ConfigSpec {
        key: ConfigKey::MinCleanableDirtyRatio,
        name: "min.cleanable.dirty.ratio",
        kind: ConfigKind::Ratio {
            default: RATIO_ONE / 2,
        },
        immutable: false,
        since: FeatureLevel::V1,
        meaning: "With compaction: a partition is cleaned once this part of its bytes was not cleaned yet.",
    },
    integer(
        ConfigKey::MinCompactionLagMs,
        "min.compaction.lag.ms",
        0,
        0,
        i64::MAX,
        "With compaction: how long a record is certain to stay uncompacted, in milliseconds by its segment's newest \
         timestamp.",
    ),
    ConfigSpec {
        key: ConfigKey::MinInsyncReplicas,
        name: "min.insync.replicas",
        kind: ConfigKind::Integer {
            default: None,
            min: 1,
            max: 255,
        },
        immutable: false,
        since: FeatureLevel::V1,
        meaning: "In-sync replicas needed to acknowledge a record. When not given: half of the replication factor, rounded \
                  down, plus one; resolved when the topic is created. At most the replication factor.",
    },
    integer(
        ConfigKey::RetentionBytes,
        "retention.bytes",
        -1,
        -1,
        i64::MAX,
        "How many bytes of a partition are kept; -1: no limit. Whole segments go, so up to one segment more is kept.",
    ),
    integer(
        ConfigKey::RetentionMs,
        "retention.ms",
        7 * DAY_MS,
        -1,
        i64::MAX,
        "How long records are kept, in milliseconds by their timestamps; -1: for ever. Whole segments go, once their newest \
         record is older.",
    ),
    integer(
        ConfigKey::SegmentBytes,
        "segment.bytes",
        1024 * MIB,
        64 * 1024,
        2048 * MIB - 1,
        "The size at which a new segment file is begun, in bytes.",
    ),
    integer(
        ConfigKey::SegmentMs,
        "segment.ms",
        7 * DAY_MS,
        1000,
        i64::MAX,
        "The age at which a new segment file is begun, in milliseconds, so that retention can take the old one.",
    ),
    ConfigSpec {
        key: ConfigKey::UncleanLeaderElectionEnable,
        name: "unclean.leader.election.enable",
        kind: ConfigKind::Boolean { default: false },
        immutable: false,
        since: FeatureLevel::V1,
        meaning: "Whether a replica that may lack acknowledged records is elected when no other is left: availability for \
                  loss.",
    },
];

/// Kafka's configs that Quipu knows of and does not have, and what to do instead.
pub const CONFIGS_NOT_HERE: &[(&str, &str)] = &[
    (
        "compression.type",
        "batches are stored as the producer compressed them; set it on the producer",
    ),
    ("file.delete.delay.ms", "files are deleted once nobody reads them"),
    ("flush.messages", "use flush.bytes, with durability=replicated"),
    ("index.interval.bytes", "the indexes have a fixed interval"),
    (
        "max.compaction.lag.ms",
        "how much is not cleaned yet decides: see min.cleanable.dirty.ratio, which may be 0",
    ),
    ("preallocate", "segments are not preallocated"),
    ("remote.storage.enable", "there is no tiered storage"),
    ("segment.index.bytes", "indexes grow as they need"),
    ("segment.jitter.ms", "segments roll by their own size and age"),
];

impl ConfigKey {
    /// Its row of the table.
    #[must_use]
    pub fn spec(self) -> &'static ConfigSpec {
        // The table has a row for each key: a test says so.
        CONFIGS
            .iter()
            .find(|spec| spec.key == self)
            .unwrap_or(&CONFIGS[0])
    }

    /// Kafka's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.spec().name
    }

    /// The stable number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// From the stable number.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        CONFIGS
            .iter()
            .map(|spec| spec.key)
            .find(|key| key.number() == number)
    }

    /// From Kafka's name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        CONFIGS.iter().find(|spec| spec.name == name).map(|spec| spec.key)
    }
}

impl ConfigSpec {
    /// The value when not set, as stored; `None`: worked out from the topic.
    #[must_use]
    pub fn default_raw(&self) -> Option<i64> {
        match self.kind {
            ConfigKind::Integer { default, .. } => default,
            ConfigKind::Boolean { default } => Some(i64::from(default)),
            ConfigKind::Ratio { default } => Some(default),
            ConfigKind::Word { default, .. } => i64::try_from(default).ok(),
        }
    }
}
