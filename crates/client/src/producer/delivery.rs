//! What became of a record: one outcome per batch, shared by the handles of its records.

use super::core::Outcome;
use super::error::DeliveryError;
use crate::routing::lock;
use quipu_proto::v1;
use quipu_record::{LeaderEpoch, Offset, PartitionId, Timestamp};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};

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

impl Durability {
    pub(super) const fn from_wire(durability: v1::Durability) -> Option<Self> {
        match durability {
            v1::Durability::Unspecified => None,
            v1::Durability::Received => Some(Self::Received),
            v1::Durability::Replicated => Some(Self::Replicated),
            v1::Durability::FlushedLeader => Some(Self::FlushedLeader),
            v1::Durability::Flushed => Some(Self::Flushed),
        }
    }
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

/// What became of one batch, and who waits for it.
#[derive(Debug)]
pub(super) struct BatchState {
    partition: PartitionId,
    /// Of the batch's first record.
    result: OnceLock<Result<Delivered, DeliveryError>>,
    wakers: Mutex<Vec<Waker>>,
}

impl BatchState {
    pub(super) const fn new(partition: PartitionId) -> Self {
        Self {
            partition,
            result: OnceLock::new(),
            wakers: Mutex::new(Vec::new()),
        }
    }

    /// Tells everybody, if nobody did before. `count` sees it first: who knows the outcome finds it in the counters.
    pub(super) fn resolve(&self, outcome: Outcome, count: impl FnOnce(&Result<Delivered, DeliveryError>)) {
        let result = match outcome {
            Outcome::Acked(acked) => Ok(Delivered {
                partition: self.partition,
                offset: acked.base_offset,
                leader_epoch: acked.leader_epoch,
                durability: acked.durability,
                duplicate: acked.duplicate,
                append_time: acked.append_time,
            }),
            Outcome::Rejected(failure) => Err(DeliveryError::Rejected(failure)),
            Outcome::Expired { last } => Err(DeliveryError::Expired { last }),
            Outcome::Unknown { last } => Err(DeliveryError::OutcomeUnknown { last }),
            Outcome::Closed => Err(DeliveryError::Closed),
        };
        if self.result.get().is_some() {
            return;
        }
        count(&result);
        if self.result.set(result).is_ok() {
            for waker in std::mem::take(&mut *lock(&self.wakers)) {
                waker.wake();
            }
        }
    }
}

/// A handle on what becomes of a record: a future, which may be dropped without effect on the record.
#[derive(Clone, Debug)]
#[must_use = "a delivery tells whether the record was stored; drop it with `drop` if flush() will tell"]
pub struct Delivery {
    batch: Arc<BatchState>,
    index: u32,
}

impl Delivery {
    #[inline]
    pub(super) fn new(batch: Arc<BatchState>, index: u32) -> Self {
        Self { batch, index }
    }

    /// The partition that the record goes to.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        self.batch.partition
    }

    /// What became of it, if that is known by now.
    #[must_use]
    pub fn try_get(&self) -> Option<Result<Delivered, DeliveryError>> {
        let batch = self.batch.result.get()?;
        Some(batch.clone().map(|first| Delivered {
            offset: first.offset.map(|base| base.plus(u64::from(self.index))),
            ..first
        }))
    }
}

impl Future for Delivery {
    type Output = Result<Delivered, DeliveryError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(result) = self.try_get() {
            return Poll::Ready(result);
        }
        let mut wakers = lock(&self.batch.wakers);
        // The result is set before the wakers are taken: whoever does not see it here is woken.
        if let Some(result) = self.try_get() {
            return Poll::Ready(result);
        }
        if !wakers.last().is_some_and(|last| last.will_wake(cx.waker())) {
            wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }
}
