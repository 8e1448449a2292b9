//! What all handles of a producer and its sender share.

use super::accumulator::{Appended, Builder, Slot, TopicState};
use super::config::ProducerConfig;
use super::core::{BatchId, Identity, LaneId};
use super::delivery::Delivery;
use super::error::{DeliveryError, FlushError, SendError};
use super::record::Record;
use super::sender::Event;
use crate::clock::wall_clock;
use crate::moment::Moment;
use crate::routing::{Cluster, Topic, lock};
use quipu_proto::Failure;
use quipu_record::{BatchBuilder, HEADER_LEN, PartitionId, partition_for_key};
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;
use tokio::sync::{Semaphore, mpsc};

/// What [`BatchBuilder::record_bound`] may be too much by: a record so close to the limit is left to the broker.
const BOUND_SLACK: usize = 64;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: ProducerConfig,
    pub(super) cluster: Arc<Cluster>,
    pub(super) first_identity: Option<Identity>,
    pub(super) counters: Counters,
    pub(super) losses: Mutex<Losses>,
    started: Instant,
    memory: Semaphore,
    events: mpsc::UnboundedSender<Event>,
    topics: RwLock<Topics>,
    next_batch: AtomicU64,
    closed: AtomicBool,
    fenced: OnceLock<Failure>,
    /// Builders whose buffers are used again, by their capacity.
    spare: Mutex<Spare>,
}

#[derive(Debug, Default)]
struct Topics {
    by_name: HashMap<Arc<str>, Arc<TopicState>>,
    lanes: usize,
}

#[derive(Debug, Default)]
struct Spare {
    by_capacity: HashMap<usize, Vec<Builder>>,
    bytes: usize,
}

/// Counted by the sender.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// In batches that were closed.
    pub(super) records: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) acknowledged: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) unknown: AtomicU64,
    pub(super) batches: AtomicU64,
    pub(super) retries: AtomicU64,
    pub(super) unacknowledged_batches: AtomicU64,
}

/// What was not stored since the last flush.
#[derive(Debug, Default)]
pub(super) struct Losses {
    failed: u64,
    unknown: u64,
    first: Option<DeliveryError>,
}

impl Losses {
    pub(super) fn add(&mut self, records: u32, error: &DeliveryError) {
        if error.outcome_unknown() {
            self.unknown += u64::from(records);
        } else {
            self.failed += u64::from(records);
        }
        self.first.get_or_insert_with(|| error.clone());
    }

    pub(super) fn take(&mut self) -> Result<(), FlushError> {
        let Self {
            failed,
            unknown,
            first,
        } = std::mem::take(self);
        first.map_or(Ok(()), |first| {
            Err(FlushError {
                failed,
                unknown,
                first,
            })
        })
    }
}

impl Shared {
    pub(super) fn new(
        config: ProducerConfig,
        cluster: Arc<Cluster>,
        first_identity: Option<Identity>,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        Self {
            memory: Semaphore::new(config.buffer_bytes),
            config,
            cluster,
            first_identity,
            counters: Counters::default(),
            losses: Mutex::default(),
            started: Instant::now(),
            events,
            topics: RwLock::default(),
            next_batch: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            fenced: OnceLock::new(),
            spare: Mutex::default(),
        }
    }

    pub(super) fn now(&self) -> Moment {
        Moment::new(self.started.elapsed())
    }

    pub(super) fn instant(&self, moment: Moment) -> Instant {
        moment.on_clock(self.started)
    }

    /// Tells the sender. If it is gone, so is the runtime, and nobody will be told anything any more.
    pub(super) fn tell(&self, event: Event) {
        let _ = self.events.send(event);
    }

    pub(super) fn next_batch_id(&self) -> BatchId {
        BatchId(self.next_batch.fetch_add(1, Ordering::Relaxed))
    }

    /// The id that no batch has yet: all that are closed are below.
    pub(super) fn batch_ids_end(&self) -> BatchId {
        BatchId(self.next_batch.load(Ordering::Relaxed))
    }

    /// Reserves memory if there is some.
    pub(super) fn reserve(&self, bytes: usize) -> bool {
        let Ok(bytes) = u32::try_from(bytes) else {
            return false;
        };
        self.memory
            .try_acquire_many(bytes)
            .map(tokio::sync::SemaphorePermit::forget)
            .is_ok()
    }

    pub(super) fn give_back(&self, bytes: usize) {
        self.memory.add_permits(bytes);
    }

    pub(super) fn buffered_bytes(&self) -> usize {
        self.config
            .buffer_bytes
            .saturating_sub(self.memory.available_permits())
    }

    /// A builder for a batch that is expected to grow to so many bytes.
    pub(super) fn builder(&self, expected: usize) -> Builder {
        let config = &self.config;
        if expected * 2 < config.batch_bytes {
            return Builder::new(config.codec, expected);
        }
        let mut capacity = config.batch_bytes;
        while capacity < expected {
            capacity = (capacity * 2).clamp(capacity + 1, config.batch_bytes_max.max(expected));
        }
        let mut spare = lock(&self.spare);
        if let Some(builder) = spare.by_capacity.get_mut(&capacity).and_then(Vec::pop) {
            spare.bytes -= capacity;
            return builder;
        }
        Builder::new(config.codec, capacity)
    }

    /// Keeps a builder whose batch is done with, if its buffer is a large one.
    pub(super) fn keep(&self, builder: Builder, batch_bytes: usize) {
        let capacity = builder.capacity;
        let mut spare = lock(&self.spare);
        let room = spare.bytes + capacity <= self.config.buffer_bytes / 4;
        if room && capacity >= self.config.batch_bytes && batch_bytes <= capacity {
            spare.bytes += capacity;
            spare.by_capacity.entry(capacity).or_default().push(builder);
        }
    }

    fn topics(&self) -> RwLockReadGuard<'_, Topics> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn topics_mut(&self) -> RwLockWriteGuard<'_, Topics> {
        self.topics.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn known_topic(&self, name: &str) -> Option<Arc<TopicState>> {
        let topics = self.topics();
        topics
            .by_name
            .get(name)
            .filter(|topic| !topic.gone.load(Ordering::Relaxed))
            .cloned()
    }

    /// Records in batches that are open now.
    pub(super) fn open_records(&self) -> u64 {
        let topics = self.topics();
        let slots = topics
            .by_name
            .values()
            .flat_map(|topic| topic.slots.load_full().to_vec());
        slots.map(|slot| u64::from(slot.open_records())).sum()
    }

    pub(super) fn topic_names(&self) -> Vec<Arc<str>> {
        self.topics().by_name.keys().cloned().collect()
    }

    /// The topic as it is sent to, made or brought up to date from what the cluster says.
    pub(super) fn take_topic(&self, name: &str, news: &Topic) -> Arc<TopicState> {
        let mut topics = self.topics_mut();
        let known = topics.by_name.get(name).filter(|topic| topic.id == news.id);
        let topic = known.cloned().unwrap_or_else(|| {
            let sticky = usize::from(rand::random::<u16>());
            Arc::new(TopicState::new(name, news.id, Vec::new(), sticky))
        });
        topic
            .message_bytes_max
            .store(news.message_bytes_max, Ordering::Relaxed);
        let mut slots = topic.slots.load().to_vec();
        let new = news.partitions.iter().enumerate().skip(slots.len());
        for (partition, route) in new {
            let partition = PartitionId::new(u32::try_from(partition).unwrap_or(u32::MAX));
            let led = route.leader.is_some();
            let slot = Arc::new(Slot::new(self, LaneId(topics.lanes), partition, led));
            topics.lanes += 1;
            // Under the lock, so that lanes are told in their order.
            self.tell(Event::AddLane {
                topic: topic.clone(),
                slot: slot.clone(),
                route: *route,
            });
            slots.push(slot);
        }
        if slots.len() > topic.slots.load().len() {
            topic.slots.store(Arc::new(slots));
        }
        topics.by_name.insert(topic.name.clone(), topic.clone());
        topic
    }

    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Nothing is taken any more.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Another took the identity over: nothing is taken any more.
    pub(super) fn fence(&self, failure: Failure) {
        let _ = self.fenced.set(failure);
        self.close();
    }

    /// Appends a record, if there is room.
    #[inline]
    pub(super) fn append(
        &self,
        topic: &TopicState,
        record: &Record<'_>,
        granted: usize,
    ) -> Result<Delivery, Refused> {
        let slots = topic.slots.load();
        let place = match (record.partition, record.key) {
            (Some(partition), _) => partition.get() as usize,
            (None, Some(key)) => partition_of(key, slots.len()),
            (None, None) => topic.sticky(&slots),
        };
        let Some(slot) = slots.get(place) else {
            return Err(self.refused(granted, unknown_partition(topic, record, slots.len())));
        };
        let bound = HEADER_LEN + BatchBuilder::record_bound(record.key, record.value, record.headers);
        let limit = topic.message_bytes_max.load(Ordering::Relaxed);
        if bound > limit.saturating_add(BOUND_SLACK) || bound > self.config.buffer_bytes {
            return Err(self.refused(granted, self.too_large(topic, bound, limit)));
        }
        let time = record.timestamp.unwrap_or_else(wall_clock);
        match slot.append(self, topic, record, time, granted) {
            Appended::Done(delivery) => Ok(delivery),
            Appended::NeedsMemory(bytes) => Err(Refused::NeedsMemory(bytes)),
            Appended::ProducerClosed => Err(Refused::Error(Box::new(self.closed_because()))),
            Appended::TooLarge => Err(Refused::Error(Box::new(self.too_large(topic, bound, limit)))),
        }
    }

    /// Waits for so much memory; it is reserved then.
    pub(super) async fn wait_for(&self, bytes: usize) -> Result<usize, SendError> {
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        match self.memory.acquire_many(permits).await {
            Ok(granted) => {
                granted.forget();
                Ok(permits as usize)
            }
            Err(_) => Err(self.closed_because()),
        }
    }

    /// Nobody waits for memory any more.
    pub(super) fn stop_waiting(&self) {
        self.memory.close();
    }

    #[cold]
    fn refused(&self, granted: usize, error: SendError) -> Refused {
        self.give_back(granted);
        Refused::Error(Box::new(error))
    }

    #[cold]
    fn closed_because(&self) -> SendError {
        self.fenced
            .get()
            .map_or(SendError::Closed, |failure| SendError::Fenced(failure.clone()))
    }

    #[cold]
    fn too_large(&self, topic: &TopicState, size: usize, limit: usize) -> SendError {
        SendError::TooLarge {
            topic: topic.name.to_string(),
            size,
            limit: limit.min(self.config.buffer_bytes),
        }
    }
}

/// Why a record was not appended.
pub(super) enum Refused {
    NeedsMemory(usize),
    Error(Box<SendError>),
}

#[cold]
fn unknown_partition(topic: &TopicState, record: &Record<'_>, partitions: usize) -> SendError {
    SendError::UnknownPartition {
        topic: topic.name.to_string(),
        partition: record.partition.unwrap_or_default(),
        partitions: u32::try_from(partitions).unwrap_or(u32::MAX),
    }
}

fn partition_of(key: &[u8], partitions: usize) -> usize {
    let partitions = u32::try_from(partitions).ok().and_then(NonZeroU32::new);
    partitions.map_or(0, |partitions| partition_for_key(key, partitions).get() as usize)
}
