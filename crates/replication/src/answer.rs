//! What is asked of a batch, and what is answered.

use crate::error::ProduceError;
use quipu_record::{LeaderEpoch, Offset, Timestamp};

/// The caller's name for a request; comes back with its answer, and means nothing here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Token(pub u64);

/// When a batch is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub enum Acks {
    /// When every in-sync replica holds it as durably as the topic says.
    #[default]
    All,
    /// When the leader holds it; flushed, on a topic with `durability=fsync`.
    Leader,
    /// When the leader took it in; it may be lost.
    None,
}

/// What an acknowledgement is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Reached {
    /// Not yet on disk: `acks=none`, or `acks=leader` on a topic with `durability=replicated`.
    Received,
    /// In the memory of every in-sync replica.
    Replicated,
    /// Flushed to the leader's disk.
    FlushedLeader,
    /// Flushed to the disk of every in-sync replica.
    Flushed,
}

/// A batch that is in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    /// The offset of its first record.
    pub base_offset: Offset,
    /// The leader epoch it was appended in; of the first time, for a duplicate.
    pub leader_epoch: LeaderEpoch,
    /// What the acknowledgement is worth.
    pub reached: Reached,
    /// It had been appended before, and was not appended again.
    pub duplicate: bool,
    /// With `message.timestamp.type=LogAppendTime`, the time it was given.
    pub log_append_time: Option<Timestamp>,
}

/// The answer to one batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Whom it answers.
    pub token: Token,
    /// What became of it.
    pub result: Result<Appended, ProduceError>,
}
