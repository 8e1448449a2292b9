//! Where records become batches: one open batch per partition, appended to under a short lock by whoever sends.
//!
//! - A record is copied once, into the batch's buffer.
//! - Memory is reserved per batch, in steps, not per record; what is reserved is given back when the batch is resolved.
//! - A full batch is sealed (compressed, checksummed) by the sender that filled it, after the lock is released: others
//!   go on, on the next batch of the same partition too.

use super::core::{BatchId, Identity, LaneId};
use super::delivery::{BatchState, Delivery};
use super::record::Record;
use super::sender::Event;
use super::shared::Shared;
use crate::moment::Moment;
use crate::routing::lock;
use arc_swap::ArcSwap;
use bytes::Bytes;
use quipu_record::{
    BatchBuilder, BatchError, Codec, HEADER_LEN, PartitionId, ProducerStamp, Sequence, Timestamp, TopicId,
};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What a partition's first batch is expected to grow to.
const FIRST_ESTIMATE_BYTES: usize = 8 * 1024;

/// A topic that is sent to.
#[derive(Debug)]
pub(super) struct TopicState {
    pub(super) name: Arc<str>,
    pub(super) id: TopicId,
    pub(super) message_bytes_max: AtomicUsize,
    /// By partition; only ever grows.
    pub(super) slots: ArcSwap<Vec<Arc<Slot>>>,
    /// Where records without a key go until the next batch begins.
    sticky: AtomicUsize,
    /// The cluster says that it is gone, or another topic now.
    pub(super) gone: AtomicBool,
}

/// A partition that is sent to.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) lane: LaneId,
    pub(super) partition: PartitionId,
    /// It has a leader, as far as is known: records without a key go where there is one.
    pub(super) led: AtomicBool,
    /// Nothing can be sent to it now: its batch may grow.
    pub(super) busy: AtomicBool,
    open: Mutex<Open>,
}

/// The batch that records are appended to.
#[derive(Debug)]
struct Open {
    builder: Builder,
    /// There is one as soon as there is a record, or is about to be.
    batch: Option<Arc<BatchState>>,
    since: Moment,
    reserved: usize,
    /// A batch up to this size is neither full nor short of memory.
    room: usize,
    /// What the next batch is expected to grow to.
    estimate: usize,
    /// What the core will most likely want on the next batch; if not, the header is patched.
    identity: Option<Identity>,
    next_sequence: Sequence,
    /// Records in all batches closed so far.
    closed_records: u64,
    /// Counts batches, so that a lingering one is known to be still the same.
    number: u64,
}

/// A batch that was closed and is not sealed yet.
#[must_use = "its records would never be sent"]
pub(super) struct Unsealed {
    lane: LaneId,
    id: BatchId,
    builder: Builder,
    stamp: Option<ProducerStamp>,
}

/// A batch as the broker takes it.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) bytes: Result<Bytes, BatchError>,
    pub(super) stamp: Option<ProducerStamp>,
    /// Its buffer serves another batch once this one is resolved.
    pub(super) builder: Builder,
}

/// A batch in the making, and what its buffer was made for: one that stays within is never moved.
#[derive(Debug)]
pub(super) struct Builder {
    pub(super) batch: BatchBuilder,
    pub(super) capacity: usize,
}

impl Builder {
    pub(super) fn new(codec: Codec, capacity: usize) -> Self {
        Self {
            batch: BatchBuilder::new(codec, capacity),
            capacity,
        }
    }
}

/// What the sender is told when a batch is closed.
#[derive(Debug)]
pub(super) struct ClosedBatch {
    pub(super) lane: LaneId,
    pub(super) id: BatchId,
    pub(super) state: Arc<BatchState>,
    pub(super) records: u32,
    pub(super) since: Moment,
    pub(super) reserved: usize,
}

/// What became of an attempt to append.
pub(super) enum Appended {
    Done(Delivery),
    /// There is no memory left; so many bytes are needed.
    NeedsMemory(usize),
    /// It fits no batch at all.
    TooLarge,
    ProducerClosed,
}

impl TopicState {
    pub(super) fn new(name: &str, id: TopicId, slots: Vec<Arc<Slot>>, sticky: usize) -> Self {
        Self {
            name: name.into(),
            id,
            message_bytes_max: AtomicUsize::new(usize::MAX),
            slots: ArcSwap::from_pointee(slots),
            sticky: AtomicUsize::new(sticky),
            gone: AtomicBool::new(false),
        }
    }

    /// The partition for a record without a key.
    pub(super) fn sticky(&self, slots: &[Arc<Slot>]) -> usize {
        self.sticky.load(Ordering::Relaxed) % slots.len()
    }

    /// A batch of this partition was closed: if it was the sticky one, the next that has a leader is.
    fn leave(&self, slot: &Slot) {
        let slots = self.slots.load();
        let place = slot.partition.get() as usize;
        if self.sticky(&slots) == place {
            let others = (1..slots.len()).map(|step| (place + step) % slots.len());
            let led = others
                .clone()
                .find(|&other| slots[other].led.load(Ordering::Relaxed));
            let next = led.or(others.clone().next()).unwrap_or(place);
            self.sticky.store(next, Ordering::Relaxed);
        }
    }
}

impl Slot {
    pub(super) fn new(shared: &Shared, lane: LaneId, partition: PartitionId, led: bool) -> Self {
        let estimate = FIRST_ESTIMATE_BYTES.min(shared.config.batch_bytes);
        Self {
            lane,
            partition,
            led: AtomicBool::new(led),
            busy: AtomicBool::new(false),
            open: Mutex::new(Open {
                builder: Builder::new(shared.config.codec, 0),
                batch: None,
                since: Moment::default(),
                reserved: 0,
                room: 0,
                estimate,
                identity: shared.first_identity,
                next_sequence: Sequence::FIRST,
                closed_records: 0,
                number: 0,
            }),
        }
    }

    /// Appends a record to the open batch, closing it if it is full then. `granted` bytes of memory were reserved for it
    /// already.
    #[inline]
    pub(super) fn append(
        &self,
        shared: &Shared,
        topic: &TopicState,
        record: &Record<'_>,
        time: Timestamp,
        granted: usize,
    ) -> Appended {
        let bound = BatchBuilder::record_bound(record.key, record.value, record.headers);
        let mut open = lock(&self.open);
        // By far the most common: it fits, and another one would.
        if granted == 0
            && open.builder.batch.size() + 2 * bound <= open.room
            && !shared.is_closed()
            && let Some(delivery) = open.push(record, time)
        {
            return Appended::Done(delivery);
        }
        let mut full = [None, None];
        let appended = self.append_anyhow(&mut open, &mut full, shared, topic, record, time, granted);
        drop(open);
        for unsealed in full.into_iter().flatten() {
            unsealed.seal(shared);
        }
        appended
    }

    #[cold]
    #[expect(clippy::too_many_arguments, reason = "what append has, and what is open")]
    fn append_anyhow(
        &self,
        open: &mut Open,
        full: &mut [Option<Unsealed>; 2],
        shared: &Shared,
        topic: &TopicState,
        record: &Record<'_>,
        time: Timestamp,
        granted: usize,
    ) -> Appended {
        // Under the lock: once the sender has closed this slot for the last time, nothing comes after.
        if shared.is_closed() {
            shared.give_back(granted);
            return Appended::ProducerClosed;
        }
        let bound = BatchBuilder::record_bound(record.key, record.value, record.headers);
        let limit = self.limit(shared, topic);
        if open.builder.batch.size() + bound > limit {
            full[0] = self.close(open, shared, topic);
        }
        open.reserved += granted;
        for last_attempt in [false, true] {
            let needed = open.builder.batch.size() + bound;
            if let Err(lacking) = open.reserve(shared, needed, limit) {
                // Somebody has to give memory back: this batch can.
                full[1] = self.close(open, shared, topic);
                return Appended::NeedsMemory(lacking);
            }
            if open.batch.is_none() {
                self.begin(open, shared, needed);
            }
            if let Some(delivery) = open.push(record, time) {
                open.room = open.reserved.min(limit);
                if open.builder.batch.size() + bound > limit {
                    full[1] = self.close(open, shared, topic);
                }
                return Appended::Done(delivery);
            }
            if !last_attempt {
                // Times too far apart for one batch, say.
                if let Some(closed) = self.close(open, shared, topic) {
                    full[0] = Some(closed);
                }
            }
        }
        // There is nothing in it, and nobody is to wait for it.
        open.batch = None;
        Appended::TooLarge
    }

    /// What a batch may grow to now.
    #[inline]
    fn limit(&self, shared: &Shared, topic: &TopicState) -> usize {
        let config = &shared.config;
        let wanted = if self.busy.load(Ordering::Relaxed) {
            config.batch_bytes_max
        } else {
            config.batch_bytes
        };
        wanted.min(topic.message_bytes_max.load(Ordering::Relaxed))
    }

    /// The first record of a batch is about to be pushed.
    #[cold]
    fn begin(&self, open: &mut Open, shared: &Shared, needed: usize) {
        let expected = open.estimate.max(needed);
        open.builder = shared.builder(expected);
        open.batch = Some(Arc::new(BatchState::new(self.partition)));
        open.since = shared.now();
        shared.tell(Event::Opened {
            lane: self.lane,
            number: open.number,
            since: open.since,
        });
    }

    /// Closes the open batch, if there is one; it is then to be sealed, outside the lock.
    #[cold]
    fn close(&self, open: &mut Open, shared: &Shared, topic: &TopicState) -> Option<Unsealed> {
        open.room = 0;
        if open.builder.batch.is_empty() {
            return None;
        }
        let state = open.batch.take()?;
        let estimate = open.builder.batch.size();
        let builder = std::mem::replace(&mut open.builder, Builder::new(shared.config.codec, 0));
        open.number += 1;
        open.estimate = estimate;
        let stamp = open.identity.map(|identity| ProducerStamp {
            id: identity.id,
            epoch: identity.epoch,
            base_sequence: open.next_sequence,
        });
        let records = builder.batch.count();
        open.next_sequence = open.next_sequence.plus(records);
        open.closed_records += u64::from(records);
        let id = shared.next_batch_id();
        // Under the lock, so that batches of a partition are told in the order of their ids.
        shared.tell(Event::Closed(ClosedBatch {
            lane: self.lane,
            id,
            state,
            records,
            since: open.since,
            reserved: std::mem::take(&mut open.reserved),
        }));
        topic.leave(self);
        Some(Unsealed {
            lane: self.lane,
            id,
            builder,
            stamp,
        })
    }

    /// Closes the open batch, if there is one.
    pub(super) fn close_now(&self, shared: &Shared, topic: &TopicState) -> Option<Unsealed> {
        self.close(&mut lock(&self.open), shared, topic)
    }

    /// Closes the open batch if it has grown to so many bytes.
    pub(super) fn close_grown(&self, shared: &Shared, topic: &TopicState, bytes: usize) -> Option<Unsealed> {
        let mut open = lock(&self.open);
        if open.builder.batch.size() < bytes {
            return None;
        }
        self.close(&mut open, shared, topic)
    }

    /// Whether the open batch is still this one.
    pub(super) fn is_open(&self, number: u64) -> bool {
        let open = lock(&self.open);
        open.number == number && open.batch.is_some()
    }

    /// Records in batches not yet closed.
    pub(super) fn open_records(&self) -> u32 {
        lock(&self.open).builder.batch.count()
    }

    /// What the core will want: this stamp, after so many records had been closed.
    pub(super) fn expect(&self, stamp: Option<ProducerStamp>, after_records: u64) {
        let mut open = lock(&self.open);
        open.identity = stamp.map(|stamp| Identity {
            id: stamp.id,
            epoch: stamp.epoch,
        });
        if let Some(stamp) = stamp {
            let between = open.closed_records.wrapping_sub(after_records) & 0x7fff_ffff;
            open.next_sequence = stamp.base_sequence.plus(u32::try_from(between).unwrap_or(0));
        }
    }
}

impl Open {
    /// Pushes a record; `None` if the batch does not take it.
    #[inline]
    fn push(&mut self, record: &Record<'_>, time: Timestamp) -> Option<Delivery> {
        let batch = self.batch.as_ref()?;
        let builder = &mut self.builder.batch;
        builder
            .push(time, record.key, record.value, record.headers)
            .ok()?;
        Some(Delivery::new(Arc::clone(batch), builder.count() - 1))
    }

    /// Reserves what the batch needs to grow to `needed` bytes, and more, since more records will come.
    fn reserve(&mut self, shared: &Shared, needed: usize, limit: usize) -> Result<(), usize> {
        if needed <= self.reserved {
            return Ok(());
        }
        let comfortable = (self.reserved * 2).max(self.estimate).min(limit).max(needed);
        for target in [comfortable, needed] {
            if shared.reserve(target - self.reserved) {
                self.reserved = target;
                return Ok(());
            }
        }
        // A new batch would need at least its header and this record.
        Err(needed - self.builder.batch.size() + HEADER_LEN)
    }
}

impl Unsealed {
    /// Compresses, computes the checksum, and hands the batch over.
    pub(super) fn seal(mut self, shared: &Shared) {
        let bytes = self.builder.batch.finish(self.stamp);
        shared.tell(Event::Sealed {
            lane: self.lane,
            id: self.id,
            sealed: Sealed {
                bytes,
                stamp: self.stamp,
                builder: self.builder,
            },
        });
    }
}
