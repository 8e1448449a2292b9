//! Events about partitions: what is sent, read, deleted, and left in the end.

use super::names::Key;
use super::numbers::{broker, epoch, offset, optional_epoch, optional_offset};
use super::value::{ReadRecord, Value};
use quipu_record::{BrokerId, LeaderEpoch, Offset};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
    /// Where the producer keeps an order with several batches under way: the how-manieth this one is of what it sends to
    /// this partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// The offset of the first value; only once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_offset")]
    pub offset: Option<Offset>,
    /// The leader epoch it was appended in; only in an `ok`.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_epoch")]
    pub leader_epoch: Option<LeaderEpoch>,
}

impl Send {
    /// Values to be sent, under `acks=all`, by no idempotent producer.
    #[must_use]
    pub fn new(key: Key, values: Vec<Value>) -> Self {
        Self {
            key,
            values,
            acks: Acks::All,
            producer: None,
            sequence: None,
            offset: None,
            leader_epoch: None,
        }
    }
}

/// Records read from one partition.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PolledPartition {
    /// From where.
    pub key: Key,
    /// The offset asked for; of a group's member that only takes what comes, that of the first record.
    #[serde(with = "offset")]
    pub from: Offset,
    /// What came.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<ReadRecord>,
    /// Offsets that the answer declares to hold no value: control records.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub control: Vec<u64>,
    /// Whether offsets may be missing without a word: the topic is compacted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub compacted: bool,
    /// The high watermark that came with it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_offset")]
    pub high_watermark: Option<Offset>,
    /// The last stable offset that came with it, where only committed transactions were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_offset")]
    pub last_stable: Option<Offset>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
pub(super) const fn is_false(flag: &bool) -> bool {
    !*flag
}

impl PolledPartition {
    /// A partition to be read.
    #[must_use]
    pub const fn asked(key: Key, from: Offset) -> Self {
        Self {
            key,
            from,
            records: Vec::new(),
            control: Vec::new(),
            compacted: false,
            high_watermark: None,
            last_stable: None,
        }
    }
}

/// One read by a consumer.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Poll {
    /// Of which partitions, and what came. Invoked without any: of whatever the consumer has been given.
    pub partitions: Vec<PolledPartition>,
    /// Partitions that the consumer was given or lost while it read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rebalanced: Vec<Key>,
}

impl Poll {
    /// A read of these partitions.
    #[must_use]
    pub const fn of(partitions: Vec<PolledPartition>) -> Self {
        Self {
            partitions,
            rebalanced: Vec::new(),
        }
    }

    pub(super) fn is_completed_by(&self, got: &Self) -> bool {
        let places = |poll: &'_ Self| poll.partitions.len();
        let same = |(asked, got): (&PolledPartition, &PolledPartition)| {
            asked.key == got.key && asked.from == got.from
        };
        self.partitions.is_empty()
            || places(self) == places(got) && self.partitions.iter().zip(&got.partitions).all(same)
    }
}

/// A step of a transaction.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// It sends.
    Send(Send),
    /// It reads.
    Poll(Poll),
}

/// Sends and reads that happen together or not at all.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Txn {
    /// In order.
    pub steps: Vec<Step>,
}

impl Txn {
    pub(super) fn is_completed_by(&self, done: &Self) -> bool {
        let same = |(asked, done): (&Step, &Step)| match (asked, done) {
            (Step::Send(asked), Step::Send(done)) => asked.key == done.key && asked.values == done.values,
            (Step::Poll(asked), Step::Poll(done)) => asked.is_completed_by(done),
            _ => false,
        };
        self.steps.len() == done.steps.len() && self.steps.iter().zip(&done.steps).all(same)
    }
}

/// The linearizable question for a partition's high watermark (`ListOffsets(latest)`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Latest {
    /// Of what.
    pub key: Key,
    /// The answer; only in an `ok`.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_offset")]
    pub high_watermark: Option<Offset>,
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

/// A batch in a replica's final log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FinalBatch {
    /// The offset of its first record.
    #[serde(with = "offset")]
    pub base: Offset,
    /// The offset of its last record.
    #[serde(with = "offset")]
    pub last: Offset,
    /// The leader epoch it was appended in.
    #[serde(with = "epoch")]
    pub leader_epoch: LeaderEpoch,
    /// Its checksum, as it is stored.
    pub crc: u32,
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
    /// The high watermark as the replica knows it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_offset")]
    pub high_watermark: Option<Offset>,
    /// The leader epoch of the last batch.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_epoch")]
    pub leader_epoch: Option<LeaderEpoch>,
    /// Its committed records.
    pub records: Vec<ReadRecord>,
    /// Its batches, where they are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub batches: Vec<FinalBatch>,
    /// Of a compacted log: each record key that has a value, and the hash of the latest one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<BTreeMap<String, u32>>,
}

impl Final {
    /// What `replica` holds of a partition that is not compacted, without its batches.
    #[must_use]
    pub const fn new(replica: BrokerId, key: Key, log_start: Offset, records: Vec<ReadRecord>) -> Self {
        Self {
            replica,
            key,
            log_start,
            high_watermark: None,
            leader_epoch: None,
            records,
            batches: Vec::new(),
            latest: None,
        }
    }
}
