//! What became of a record: one outcome per batch, shared by the handles of its records.

use super::error::DeliveryError;
use quipu_record::{LeaderEpoch, Offset, PartitionId, Timestamp};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// How much an acknowledgement is worth.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Durability {
    /// Not yet on disk.
    Received,
    /// In the memory of every in-sync replica.
    Replicated,
    /// On the leader's disk only.
    FlushedLeader,
    /// On the disk of every in-sync replica.
    Flushed,
}

/// An acknowledged record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delivered {
    /// Where it is.
    pub partition: PartitionId,
    /// Its offset; `None` with [`Acks::None`](super::Acks::None), or if it was stored long ago and the broker no longer
    /// remembers where.
    pub offset: Option<Offset>,
    /// The leader epoch that it was appended in.
    pub leader_epoch: LeaderEpoch,
    /// What the acknowledgement is worth; `None` if the broker does not say.
    pub durability: Option<Durability>,
    /// An earlier attempt had stored it already.
    pub duplicate: bool,
    /// The time that the broker gave it (`message.timestamp.type=LogAppendTime`).
    pub append_time: Option<Timestamp>,
}

/// A handle on what becomes of a record: a future, which may be dropped without effect on the record.
#[derive(Clone, Debug)]
#[must_use = "a delivery tells whether the record was stored; drop it with `let _ =` if flush() will tell"]
pub struct Delivery {
    outcome: Arc<()>,
    index: u32,
}

impl Delivery {
    /// The partition that the record goes to.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        let _ = (&self.outcome, self.index);
        todo!("the next commit")
    }

    /// What became of it, if that is known by now.
    #[must_use]
    pub fn try_get(&self) -> Option<Result<Delivered, DeliveryError>> {
        todo!("the next commit")
    }
}

impl Future for Delivery {
    type Output = Result<Delivered, DeliveryError>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        todo!("the next commit")
    }
}
