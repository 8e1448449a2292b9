//! Makes batches: the SDK's hot path.

use super::error::BatchError;
use super::header::{Codec, ProducerStamp};
use super::records::Header;
use crate::{ErrorCode, Timestamp};
use bytes::Bytes;
use thiserror::Error;

/// Why a record does not go into a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum PushError {
    /// A record of this size fits no batch at all.
    #[error("the record is too large: a batch holds at most 2147483647 bytes")]
    TooLarge,
    /// The batch cannot take this one; a new batch can.
    #[error(
        "the batch is full: it has as many records or bytes as the format allows, or times too far apart"
    )]
    Full,
}

impl PushError {
    /// The code that tells a client.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        ErrorCode::BatchTooLarge
    }
}

/// Encodes records straight into its buffer and makes batches of them. The buffer is used again for the next batch as
/// soon as nothing holds the last one any more.
#[derive(Debug)]
pub struct BatchBuilder {
    codec: Codec,
    count: u32,
}

impl BatchBuilder {
    /// An empty batch. `capacity` is what a batch is expected to grow to, in bytes before compression; it is reserved
    /// at the first record.
    #[must_use]
    pub fn new(codec: Codec, capacity: usize) -> Self {
        let _ = capacity;
        Self { codec, count: 0 }
    }

    /// Bytes at most that a record adds, before compression.
    #[must_use]
    pub fn record_bound(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header<'_>]) -> usize {
        let _ = (key, value, headers);
        todo!("the next commit")
    }

    /// Adds a record. The first one's timestamp is the batch's base.
    ///
    /// # Errors
    /// [`PushError`]; the batch is then as it was.
    pub fn push(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> Result<(), PushError> {
        let _ = (timestamp, key, value, headers, self.codec);
        todo!("the next commit")
    }

    /// How many records there are.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the batch so far, header included, before compression.
    #[must_use]
    pub fn size(&self) -> usize {
        todo!("the next commit")
    }

    /// Throws away what was pushed.
    pub fn clear(&mut self) {
        todo!("the next commit")
    }

    /// Completes the batch (compresses it, computes the checksum) and begins an empty one.
    ///
    /// # Errors
    /// [`BatchError`] if there are no records, or zstd fails for want of memory. What was pushed is then gone.
    pub fn finish(&mut self, producer: Option<ProducerStamp>) -> Result<Bytes, BatchError> {
        let _ = producer;
        todo!("the next commit")
    }
}
