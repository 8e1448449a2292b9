//! What happens to one replica, from outside: the only way to change it.

use crate::answer::{Acks, Token};
use crate::clock::Tick;
use crate::config::PartitionConfig;
use crate::fetch::{Fetched, FollowerFetch, FollowerHeard};
use crate::isr_change::IsrAnswered;
use quipu_record::{Batch, BrokerEpoch, BrokerId, LeaderEpoch, Offset, PartitionEpoch, RecordsSummary};
use quipu_storage::{Corruption, FlushDone, LogConfig};
use std::sync::Arc;

/// One event. Each is complete in itself: it names the epoch it belongs to wherever one matters, so that a late or
/// repeated one is recognised and dropped.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Input {
    /// The metadata says that this replica leads, or that something about the partition it leads has changed. Said in
    /// the order of the metadata.
    Lead(Leadership),
    /// The metadata says that another replica leads.
    Follow(Followership),
    /// The metadata says that nobody leads, or this broker goes away.
    Resign(Resign),
    /// At the leader: a follower says where it stands. Answered in [`crate::Effects::fetches`].
    FollowerFetch(FollowerFetch),
    /// At the leader: a follower is alive, and stands where it stood.
    FollowerHeard(FollowerHeard),
    /// At the follower: the leader's word.
    Fetched(Fetched),
    /// At the leader: what became of [`crate::Effects::isr_proposal`].
    IsrAnswered(IsrAnswered),
    /// Batches to append, in order, with one write.
    Produce(Vec<Append>),
    /// A flush of what [`crate::Driver::take_flush`] gave has ended well.
    Flushed(FlushDone),
    /// A flush round failed: what it should have made durable may be lost. Final.
    DiskFailed {
        /// What was being done, and what the disk said.
        what: String,
    },
    /// A reader found bad bytes in the log, below what was flushed: the metadata must not count on this replica.
    Damaged(Corruption),
    /// Delete the records below an offset.
    DeleteRecords(DeleteRecords),
    /// House-keeping: retention, expiry of producers, memory. Every few minutes, and whenever the disk is nearly full.
    Retain,
    /// What [`crate::Driver::plan_cleaning`] gave has ended.
    Cleaned(CleanEnd),
    /// The topic's settings have changed.
    Config(Settings),
    /// The deadline that [`crate::Effects::deadline`] named has come.
    Tick,
}

/// How a cleaning ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CleanEnd {
    /// It did what it could: all there was, or until it was told to stop, or the disk was full.
    Done,
    /// It came upon bad bytes.
    Damaged(Corruption),
    /// The disk failed under it. Final.
    Failed {
        /// What was being done, and what the disk said.
        what: String,
    },
}

/// A topic's settings, as far as one replica needs them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// For agreement.
    pub partition: Arc<PartitionConfig>,
    /// For the log.
    pub log: LogConfig,
}

/// What a leader is told by the metadata.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leadership {
    /// The partition's record.
    pub record: LeaderRecord,
    /// The replicas that may come to be in sync, by what is known here: their brokers are unfenced and not shutting
    /// down. Each with the lifetime that it is registered in. That may change without the partition's record.
    pub eligible: Vec<(BrokerId, BrokerEpoch)>,
}

/// One partition's record in the metadata, as far as its leader needs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaderRecord {
    /// Counts the leaders.
    pub leader_epoch: LeaderEpoch,
    /// Counts the changes of this record.
    pub partition_epoch: PartitionEpoch,
    /// The brokers that hold a replica.
    pub replicas: Vec<BrokerId>,
    /// Some of them are still being added, and others may come in their place.
    pub growing: bool,
    /// The in-sync replicas, this one among them.
    pub isr: Vec<BrokerId>,
    /// `min.insync.replicas`, resolved as the topic was created.
    pub min_insync: u32,
}

/// One partition's record in the metadata, as far as a follower needs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Followership {
    /// Who leads.
    pub leader: BrokerId,
    /// Counts the leaders.
    pub leader_epoch: LeaderEpoch,
    /// Counts the changes of this record.
    pub partition_epoch: PartitionEpoch,
    /// Whether this replica may be elected: it is in sync, or an eligible leader replica. One that may be, and finds its
    /// log damaged, keeps what it has and copies nothing until the metadata has taken it off both lists: it could be
    /// elected with its log empty.
    pub electable: bool,
}

/// Leadership ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resign {
    /// The epoch in which somebody else leads, or nobody; or the epoch led until now, when the broker goes away.
    pub leader_epoch: LeaderEpoch,
}

/// One batch to append.
#[derive(Clone, Debug)]
pub struct Append {
    /// Comes back with the answer.
    pub token: Token,
    /// The batch, header and checksum checked.
    pub batch: Batch,
    /// What [`Batch::validate_records`] found in it.
    pub summary: RecordsSummary,
    /// When to answer.
    pub acks: Acks,
    /// Past this, the answer is that the outcome is unknown.
    pub deadline: Tick,
}

/// Records to delete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeleteRecords {
    /// Comes back with the answer.
    pub token: Token,
    /// Up to where.
    pub before: DeleteBefore,
}

/// Up to where records are deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeleteBefore {
    /// Everything below this offset.
    Offset(Offset),
    /// Everything committed.
    HighWatermark,
}
