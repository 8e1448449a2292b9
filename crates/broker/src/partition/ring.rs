//! The tail ring: the newest batches of each partition in memory, the very bytes that came in, so that who reads the
//! tail reads no file.
//!
//! A [`Tail`] belongs to one partition and is empty, without memory of its own, until something is appended. The
//! bound is on the sum: each partition thread keeps one [`Ring`] for all its partitions and drops the oldest batch of
//! any of them first. Oldest first over all partitions, and not by partition, because batches that came in together
//! share one buffer of the network's: it is freed when the last of them goes.
//!
//! Invariant: a tail has no gaps; what does not follow on empties it first.

use quipu_record::{Offset, StoredBatch};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a batch costs in memory beside its bytes.
const OVERHEAD: usize = 160;
/// Batches that a reader takes at most while it holds the lock that the partition's thread wants.
const READ_BATCHES: usize = 256;

/// The newest batches of one partition. Written by its thread alone, read by whoever reads the tail.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    batches: Mutex<Batches>,
}

#[derive(Debug, Default)]
struct Batches {
    /// The number of the first one here, counting all that were ever pushed.
    first: u64,
    queue: VecDeque<StoredBatch>,
}

impl Batches {
    fn end(&self) -> u64 {
        self.first + self.queue.len() as u64
    }

    fn clear(&mut self) {
        self.first = self.end();
        self.queue = VecDeque::new();
    }
}

impl Tail {
    /// The batches from the one that holds `from` on which lie wholly below `below`, until `bytes_max` is reached; at
    /// least one if there is any. `None`: `from` is not (or no longer) in memory.
    pub(crate) fn read(&self, from: Offset, below: Offset, bytes_max: usize) -> Option<Vec<StoredBatch>> {
        let batches = self.lock();
        let queue = &batches.queue;
        let begin = queue.partition_point(|batch| batch.next_offset() <= from);
        if queue.get(begin)?.base_offset() > from {
            return None;
        }
        let mut bytes = 0;
        let taken = queue.range(begin..).take(READ_BATCHES).take_while(|batch| {
            let wanted = batch.next_offset() <= below && (bytes == 0 || bytes + batch.len() <= bytes_max);
            bytes += batch.len();
            wanted
        });
        Some(taken.cloned().collect())
    }

    /// Forgets everything: the log was truncated, or is no longer ours.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// How many batches there are.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.lock().queue.len()
    }

    /// Appends, and returns the number after the last.
    fn push(&self, new: &mut Vec<StoredBatch>) -> u64 {
        let mut batches = self.lock();
        for batch in new.drain(..) {
            let follows = batches.queue.back().map(StoredBatch::next_offset);
            if follows.is_some_and(|next| next != batch.base_offset()) {
                batches.clear();
            }
            batches.queue.push_back(batch);
        }
        batches.end()
    }

    /// Drops the batches before the one of this number.
    fn drop_before(&self, end: u64) {
        let mut batches = self.lock();
        while batches.first < end && batches.queue.pop_front().is_some() {
            batches.first += 1;
        }
        if batches.queue.is_empty() {
            batches.queue = VecDeque::new();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Batches> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whatever leads to a partition's tail.
pub(crate) trait HasTail {
    /// The tail.
    fn tail(&self) -> &Tail;
}

/// One thread's share of the memory for tails: in which order its partitions' batches came. `P` finds a partition.
#[derive(Debug)]
pub(crate) struct Ring<P> {
    pushed: VecDeque<Pushed<P>>,
    bytes: usize,
    limit: usize,
    /// How many were here when the clock last struck: what is still here at the next stroke is old.
    aged: usize,
}

#[derive(Debug)]
struct Pushed<P> {
    partition: P,
    /// The number after its last batch in its tail.
    end: u64,
    bytes: usize,
}

impl<P: HasTail> Ring<P> {
    /// A ring for `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            pushed: VecDeque::new(),
            bytes: 0,
            limit,
            aged: 0,
        }
    }

    /// Keeps what was just appended to a partition (and empties `new`, leaving its memory), and drops the oldest of
    /// all where there is too much.
    pub(crate) fn push(&mut self, partition: P, new: &mut Vec<StoredBatch>) {
        let bytes = new.iter().map(|batch| batch.len() + OVERHEAD).sum();
        let end = partition.tail().push(new);
        self.bytes += bytes;
        self.pushed.push_back(Pushed {
            partition,
            end,
            bytes,
        });
        while self.bytes > self.limit {
            self.drop_oldest();
        }
    }

    /// A stroke of a coarse clock: what was here at the last one already is dropped. What is hot stays, since it is
    /// new; what nobody writes to gives its memory back.
    pub(crate) fn age(&mut self) {
        for _ in 0..self.aged {
            self.drop_oldest();
        }
        self.aged = self.pushed.len();
        if self.pushed.is_empty() {
            self.pushed = VecDeque::new();
        }
    }

    /// Whether there is nothing that could age.
    pub(crate) fn is_empty(&self) -> bool {
        self.pushed.is_empty()
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.pushed.pop_front() {
            oldest.partition.tail().drop_before(oldest.end);
            self.bytes -= oldest.bytes;
            self.aged = self.aged.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests;
