//! The words that the producer's core speaks.

use quipu_proto::Failure;
use quipu_record::{
    BrokerId, ErrorCode, LeaderEpoch, Offset, ProducerEpoch, ProducerId, ProducerStamp, Timestamp,
};
use std::time::Duration;

use crate::backoff::BackoffLimits;
use crate::moment::Moment;
use crate::producer::delivery::Durability;

/// A batch, numbered in the order of closing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub(crate) struct BatchId(pub(crate) u64);

/// One sending of a batch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub(crate) struct RequestId(pub(crate) u64);

/// One partition's line of batches, by its place in the core.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub(crate) struct LaneId(pub(crate) usize);

/// Who a producer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Identity {
    pub(crate) id: ProducerId,
    pub(crate) epoch: ProducerEpoch,
}

/// What does not change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Batches of one partition in flight at most.
    pub(crate) window: usize,
    /// An answer that takes longer is not waited for: the link is given up.
    pub(crate) answer_within: Duration,
    pub(crate) backoff: BackoffLimits,
}

/// A batch that was closed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closed {
    pub(crate) id: BatchId,
    pub(crate) records: u32,
    /// Given up at this time.
    pub(crate) deadline: Moment,
    /// Its bytes are there; else [`super::Core::sealed`] will tell.
    pub(crate) sealed: bool,
}

/// What is to be done, in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Effect {
    /// Send this batch on the link to this broker. `stamp` is what it must carry.
    Send {
        broker: BrokerId,
        request: RequestId,
        batch: BatchId,
        lane: LaneId,
        stamp: Option<ProducerStamp>,
        /// It was sent before.
        again: bool,
    },
    /// Tell everybody who holds a handle. Said exactly once of each batch.
    Resolve {
        batch: BatchId,
        lane: LaneId,
        outcome: Outcome,
    },
    /// Close the lane's open batch, if there is one: it can be sent at once.
    Close { lane: LaneId },
    /// Open a link; then [`super::Core::link_up`] or [`super::Core::link_down`].
    Connect { broker: BrokerId },
    /// Drop the link, for the core has given it up.
    Disconnect { broker: BrokerId },
    /// Ask where partitions are led; then [`super::Core::routed`] for each that changed, and [`super::Core::refreshed`].
    Refresh,
    /// Have the epoch raised; then [`super::Core::identified`] or [`super::Core::not_identified`].
    Identify { previous: Identity },
}

/// What became of a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// It is stored.
    Acked(Acked),
    /// It is certainly not stored.
    Rejected(Failure),
    /// It is certainly not stored: there was no time left to send it.
    Expired { last: String },
    /// Nobody knows.
    Unknown { last: String },
    /// It was not sent, for the producer ended.
    Closed,
}

/// An acknowledgement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Acked {
    pub(crate) base_offset: Option<Offset>,
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) durability: Option<Durability>,
    pub(crate) duplicate: bool,
    pub(crate) append_time: Option<Timestamp>,
}

/// Whether this answer to one sending means that this sending did not append, and no copy of it will.
pub(super) const fn certainly_not_appended(code: ErrorCode) -> bool {
    match code {
        // Refused for what the request is.
        ErrorCode::InvalidRequest
        | ErrorCode::CorruptBatch
        | ErrorCode::BatchTooLarge
        | ErrorCode::UnsupportedCodec
        | ErrorCode::InvalidTimestamp
        | ErrorCode::InvalidTopic
        | ErrorCode::UnknownTopicOrPartition
        | ErrorCode::UnknownTopicId
        | ErrorCode::InternalTopic
        | ErrorCode::Unauthorized
        // Refused before the append.
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::StorageFull
        | ErrorCode::Throttled
        | ErrorCode::NotReady
        | ErrorCode::InvalidProducerEpoch
        | ErrorCode::OutOfOrderSequence
        | ErrorCode::UnknownProducer => true,
        // Waiters hear these too, after the append: not leader any more, time ran out, shutting down, the disk failed.
        _ => false,
    }
}

/// Whether an error says that the leader is, or may be, elsewhere.
pub(super) const fn is_elsewhere(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotLeader
            | ErrorCode::LeaderNotAvailable
            | ErrorCode::FencedLeaderEpoch
            | ErrorCode::UnknownLeaderEpoch
            | ErrorCode::ShuttingDown
            | ErrorCode::StorageFailed
            | ErrorCode::NotReady
    )
}
