//! Sends records: batched per partition, pipelined, idempotent, in order.

mod config;
mod core;
mod delivery;
mod error;
mod record;

pub use config::{Acks, ProducerConfig};
pub use delivery::{Delivered, Delivery, Durability};
pub use error::{DeliveryError, FlushError, SendError};
pub use record::Record;

use std::sync::Arc;

/// Sends records. Cheap to clone; all clones share batches and identity.
///
/// Dropping the last clone does not throw away what was sent: it goes on in the background, as long as the runtime
/// lives. [`Producer::close`] waits for it.
#[derive(Clone, Debug)]
pub struct Producer {
    shared: Arc<ProducerConfig>,
}

/// A topic as a producer sees it: looks up nothing per record.
#[derive(Clone, Debug)]
pub struct ProducerTopic {
    shared: Arc<ProducerConfig>,
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
    /// Looks a topic up once, to send to it without looking it up again.
    ///
    /// # Errors
    /// [`SendError::UnknownTopic`], or its routes could not be had in time.
    pub async fn topic(&self, name: &str) -> Result<ProducerTopic, SendError> {
        let _ = (name, &self.shared);
        todo!("the next commit")
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
    #[expect(clippy::unused_async, reason = "the next commit")]
    pub async fn flush(&self) -> Result<(), FlushError> {
        todo!("the next commit")
    }

    /// Takes nothing more, flushes, and ends the producer.
    ///
    /// # Errors
    /// As [`Producer::flush`].
    pub async fn close(self) -> Result<(), FlushError> {
        self.flush().await
    }

    /// What it has done so far.
    #[must_use]
    pub fn stats(&self) -> ProducerStats {
        todo!("the next commit")
    }
}

impl ProducerTopic {
    /// The topic's name.
    #[must_use]
    pub fn name(&self) -> &str {
        todo!("the next commit")
    }

    /// How many partitions it has.
    #[must_use]
    pub fn partitions(&self) -> u32 {
        todo!("the next commit")
    }

    /// Takes a record, as [`Producer::send`].
    ///
    /// # Errors
    /// [`SendError`]: the record was not taken.
    #[expect(clippy::unused_async, reason = "the next commit")]
    pub async fn send(&self, record: Record<'_>) -> Result<Delivery, SendError> {
        let _ = (record, &self.shared);
        todo!("the next commit")
    }

    /// Takes a record if there is room now.
    ///
    /// # Errors
    /// [`SendError::BufferFull`], or as [`ProducerTopic::send`]: the record was not taken.
    pub fn try_send(&self, record: &Record<'_>) -> Result<Delivery, SendError> {
        let _ = (record, &self.shared);
        todo!("the next commit")
    }
}
