//! Sends records: batched per partition, pipelined, idempotent, in order.
//!
//! - [`accumulator`]: records become batches, in the caller's thread.
//! - [`sender`]: one task a producer; it feeds [`core`], the protocol, and does what that says.
//! - [`stream`]: one produce stream per broker.

mod accumulator;
mod answer;
mod body;
mod config;
mod core;
mod delivery;
mod error;
mod identity;
mod record;
mod sender;
mod shared;
mod stream;

pub use config::{Acks, ProducerConfig};
pub use delivery::{Delivered, Delivery, Durability};
pub use error::{DeliveryError, FlushError, SendError};
pub use record::Record;

use crate::routing::{Cluster, lock};
use accumulator::TopicState;
use sender::{Event, Sender};
use shared::{Refused, Shared};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::{mpsc, oneshot};

/// Sends records. Cheap to clone; all clones share batches and identity.
///
/// Dropping the last clone does not throw away what was sent: it goes on in the background, as long as the runtime
/// lives. [`Producer::close`] waits for it.
#[derive(Clone, Debug)]
pub struct Producer {
    handle: Arc<Handle>,
}

/// A topic as a producer sees it: looks up nothing per record.
#[derive(Clone, Debug)]
pub struct ProducerTopic {
    handle: Arc<Handle>,
    topic: Arc<TopicState>,
}

/// While there is one, somebody may send.
#[derive(Debug)]
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.tell(Event::End(None));
    }
}

/// What a producer has done since it began.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ProducerStats {
    /// Records taken.
    pub records: u64,
    /// Bytes of batches sent, as encoded, repetitions not counted.
    pub bytes: u64,
    /// Records acknowledged.
    pub acknowledged: u64,
    /// Records that certainly were not stored.
    pub failed: u64,
    /// Records of which nobody knows.
    pub unknown: u64,
    /// Batches sent, repetitions not counted.
    pub batches: u64,
    /// Batches sent again.
    pub retries: u64,
    /// Batches that are sent and not resolved now.
    pub unacknowledged_batches: u64,
    /// Bytes that wait or are in flight now.
    pub buffered_bytes: u64,
}

impl Producer {
    pub(crate) async fn start(cluster: Arc<Cluster>, config: ProducerConfig) -> Result<Self, SendError> {
        let config = config.checked()?;
        let identity = if config.idempotent {
            Some(identity::new_identity(&cluster).await?)
        } else {
            None
        };
        let (tell, events) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::new(config, cluster, identity, tell));
        tokio::spawn(Sender::new(shared.clone(), events).run());
        Ok(Self {
            handle: Arc::new(Handle(shared)),
        })
    }

    /// Looks a topic up once, to send to it without looking it up again.
    ///
    /// # Errors
    /// [`SendError::UnknownTopic`], or its routes could not be had in time.
    pub async fn topic(&self, name: &str) -> Result<ProducerTopic, SendError> {
        let shared = &self.handle.0;
        let topic = match shared.known_topic(name) {
            Some(topic) => topic,
            None => match shared.cluster.topic(name).await? {
                Some(news) if !news.partitions.is_empty() => shared.take_topic(name, &news),
                _ => {
                    let topic = name.to_owned();
                    return Err(SendError::UnknownTopic { topic });
                }
            },
        };
        Ok(ProducerTopic {
            handle: self.handle.clone(),
            topic,
        })
    }

    /// Takes a record: copies it into its partition's batch and returns a handle on what will become of it. Waits while
    /// the buffer is full. For many records to one topic, [`Producer::topic`] is quicker.
    ///
    /// # Errors
    /// [`SendError`]: the record was not taken.
    pub async fn send(&self, topic: &str, record: Record<'_>) -> Result<Delivery, SendError> {
        self.topic(topic).await?.send(record).await
    }

    /// Sends what was taken until now without waiting for more, and returns when all of it is resolved.
    ///
    /// # Errors
    /// Some records taken since the last flush were not stored, or nobody knows.
    pub async fn flush(&self) -> Result<(), FlushError> {
        let shared = &self.handle.0;
        let (done, flushed) = oneshot::channel();
        shared.tell(Event::Flush(done));
        // If the sender is gone, everything was resolved as it went.
        let _ = flushed.await;
        lock(&shared.losses).take()
    }

    /// Takes nothing more, from any clone; sends what was taken; returns when all of it is resolved.
    ///
    /// # Errors
    /// As [`Producer::flush`].
    pub async fn close(self) -> Result<(), FlushError> {
        let shared = &self.handle.0;
        let (done, ended) = oneshot::channel();
        shared.tell(Event::End(Some(done)));
        let _ = ended.await;
        lock(&shared.losses).take()
    }

    /// What it has done so far.
    #[must_use]
    pub fn stats(&self) -> ProducerStats {
        let shared = &self.handle.0;
        let counters = &shared.counters;
        ProducerStats {
            records: counters.records.load(Relaxed) + shared.open_records(),
            bytes: counters.bytes.load(Relaxed),
            acknowledged: counters.acknowledged.load(Relaxed),
            failed: counters.failed.load(Relaxed),
            unknown: counters.unknown.load(Relaxed),
            batches: counters.batches.load(Relaxed),
            retries: counters.retries.load(Relaxed),
            unacknowledged_batches: counters.unacknowledged_batches.load(Relaxed),
            buffered_bytes: shared.buffered_bytes() as u64,
        }
    }
}

impl ProducerTopic {
    /// The topic's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.topic.name
    }

    /// How many partitions it has.
    #[must_use]
    pub fn partitions(&self) -> u32 {
        u32::try_from(self.topic.slots.load().len()).unwrap_or(u32::MAX)
    }

    /// Takes a record, as [`Producer::send`].
    ///
    /// # Errors
    /// [`SendError`]: the record was not taken.
    #[inline]
    pub async fn send(&self, record: Record<'_>) -> Result<Delivery, SendError> {
        match self.handle.0.append(&self.topic, &record, 0) {
            Ok(delivery) => Ok(delivery),
            Err(refused) => Box::pin(self.send_when_there_is_room(record, refused)).await,
        }
    }

    /// Takes a record if there is room now.
    ///
    /// # Errors
    /// [`SendError::BufferFull`], or as [`ProducerTopic::send`]: the record was not taken.
    #[inline]
    pub fn try_send(&self, record: &Record<'_>) -> Result<Delivery, SendError> {
        self.handle
            .0
            .append(&self.topic, record, 0)
            .map_err(|refused| match refused {
                Refused::NeedsMemory(_) => SendError::BufferFull,
                Refused::Error(error) => *error,
            })
    }

    #[cold]
    async fn send_when_there_is_room(
        &self,
        record: Record<'_>,
        mut refused: Refused,
    ) -> Result<Delivery, SendError> {
        loop {
            let needed = match refused {
                Refused::NeedsMemory(needed) => needed,
                Refused::Error(error) => return Err(*error),
            };
            let granted = self.handle.0.wait_for(needed).await?;
            refused = match self.handle.0.append(&self.topic, &record, granted) {
                Ok(delivery) => return Ok(delivery),
                Err(refused) => refused,
            };
        }
    }
}
