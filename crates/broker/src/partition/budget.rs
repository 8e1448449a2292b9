//! Bytes that clients may have waiting in the broker, over all streams: back-pressure first, a refusal past it.
//!
//! A batch is charged from the moment it is taken off its stream until its answer has been handed to the network.
//! Small batches are charged for what they cost beside their bytes, so that a flood of tiny ones is bounded as well.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

/// What a waiting batch costs beside its own bytes, roughly: its place in queues, its answer.
const OVERHEAD: usize = 512;

/// A number of bytes shared by all who produce.
#[derive(Debug)]
pub(crate) struct ByteBudget {
    free: Semaphore,
    limit: usize,
    /// Requests held back now.
    waiting: AtomicUsize,
    waiting_limit: usize,
}

/// Too much is waiting already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Exhausted;

impl ByteBudget {
    /// A budget of `limit` bytes; more than `waiting_limit` requests waiting for some are refused at once.
    pub(crate) fn new(limit: usize, waiting_limit: usize) -> Arc<Self> {
        let limit = limit.clamp(OVERHEAD, u32::MAX as usize);
        Arc::new(Self {
            free: Semaphore::new(limit),
            limit,
            waiting: AtomicUsize::new(0),
            waiting_limit,
        })
    }

    /// Takes `bytes` (and the overhead), waiting in line for at most `patience`. What is larger than the whole
    /// budget is charged as the whole budget: it passes alone.
    pub(crate) async fn take(
        self: &Arc<Self>,
        bytes: usize,
        patience: Duration,
    ) -> Result<Charge, Exhausted> {
        let charged = bytes.saturating_add(OVERHEAD).min(self.limit);
        let permits = u32::try_from(charged).unwrap_or(u32::MAX);
        if let Ok(permit) = self.free.try_acquire_many(permits) {
            permit.forget();
            return Ok(self.charge(charged));
        }
        let _held = Held::enter(self)?;
        match tokio::time::timeout(patience, self.free.acquire_many(permits)).await {
            Ok(Ok(permit)) => {
                permit.forget();
                Ok(self.charge(charged))
            }
            Ok(Err(_)) | Err(_) => Err(Exhausted),
        }
    }

    /// Bytes charged now.
    pub(crate) fn in_use(&self) -> usize {
        self.limit - self.free.available_permits().min(self.limit)
    }

    fn charge(self: &Arc<Self>, bytes: usize) -> Charge {
        Charge {
            budget: Arc::clone(self),
            bytes,
        }
    }
}

/// A place among those held back.
struct Held<'a>(&'a ByteBudget);

impl<'a> Held<'a> {
    fn enter(budget: &'a ByteBudget) -> Result<Self, Exhausted> {
        if budget.waiting.fetch_add(1, Ordering::Relaxed) >= budget.waiting_limit {
            budget.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Exhausted);
        }
        Ok(Self(budget))
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bytes taken from a budget; dropping gives them back.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<ByteBudget>,
    bytes: usize,
}

impl Charge {
    /// How many bytes.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.free.add_permits(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(5);
    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn gives_until_it_is_used_up_and_takes_back() {
        let budget = ByteBudget::new(10_000, 8);
        let first = budget.take(6_000, SOON).await.expect("there is room");
        assert_eq!(budget.in_use(), 6_000 + OVERHEAD);
        assert_eq!(budget.take(6_000, SOON).await.unwrap_err(), Exhausted);
        drop(first);
        assert_eq!(budget.in_use(), 0);
        budget.take(6_000, SOON).await.expect("it came back");
    }

    #[tokio::test]
    async fn holds_back_before_it_refuses() {
        let budget = ByteBudget::new(10_000, 8);
        let first = budget.take(9_000, LONG).await.expect("room");
        let second = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move { budget.take(9_000, LONG).await.map(|charge| charge.bytes()) }
        });
        while budget.waiting.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        drop(first);
        assert_eq!(second.await.expect("no panic"), Ok(9_000 + OVERHEAD));
    }

    #[tokio::test]
    async fn refuses_at_once_when_too_many_are_held_back() {
        let budget = ByteBudget::new(10_000, 0);
        let _all = budget.take(10_000, LONG).await.expect("room");
        assert_eq!(budget.take(1, LONG).await.unwrap_err(), Exhausted);
    }

    #[tokio::test]
    async fn what_exceeds_the_whole_budget_passes_alone() {
        let budget = ByteBudget::new(10_000, 8);
        let big = budget.take(1 << 40, SOON).await.expect("alone it passes");
        assert_eq!(big.bytes(), 10_000);
        assert!(budget.take(1, SOON).await.is_err());
    }

    #[tokio::test]
    async fn tiny_batches_are_charged_their_overhead() {
        let budget = ByteBudget::new(10 * (OVERHEAD + 1), 0);
        let held: Vec<_> = {
            let mut held = Vec::new();
            while let Ok(charge) = budget.take(1, SOON).await {
                held.push(charge);
            }
            held
        };
        assert_eq!(held.len(), 10);
    }
}
