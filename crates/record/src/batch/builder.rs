//! Makes batches: the SDK's hot path.

use super::compression;
use super::error::BatchError;
use super::header::{BatchHeader, Codec, HEADER_LEN, ProducerStamp};
use super::records::Header;
use super::varint::{self, ENCODED_BITS_MAX, Encoded, VARINT_MAX, zigzag32, zigzag64};
use crate::{ErrorCode, Timestamp};
use bytes::Bytes;
use thiserror::Error;

/// Bytes at most of one batch: `batchLength` is a positive 32-bit integer.
const BATCH_MAX: usize = i32::MAX as usize;

/// What stands before a record's key: length, attributes, timestamp, offset, length of the key; rounded up.
const LEAD_MAX: usize = 32;
const _: () = assert!(2 * VARINT_MAX + 1 + 8 + 8 <= LEAD_MAX);

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
    capacity: usize,
    /// Room for the header, then the records so far. Empty while there are none.
    buffer: Vec<u8>,
    /// The last batch, whose memory is taken back once nothing else holds it.
    last: Bytes,
    count: u32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl BatchBuilder {
    /// An empty batch. `capacity` is what a batch is expected to grow to, in bytes before compression; it is reserved
    /// at the first record.
    #[must_use]
    pub fn new(codec: Codec, capacity: usize) -> Self {
        Self {
            codec,
            capacity,
            buffer: Vec::new(),
            last: Bytes::new(),
            count: 0,
            base_timestamp: 0,
            max_timestamp: 0,
        }
    }

    /// Bytes at most that a record adds, before compression.
    #[must_use]
    #[inline]
    pub fn record_bound(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header<'_>]) -> usize {
        let fields = key
            .map_or(0, <[u8]>::len)
            .saturating_add(value.map_or(0, <[u8]>::len));
        let headers = headers.iter().fold(0usize, |sum, header| {
            let value = header.value.map_or(0, <[u8]>::len);
            sum.saturating_add(2 * VARINT_MAX + header.key.len())
                .saturating_add(value)
        });
        fields
            .saturating_add(headers)
            .saturating_add(LEAD_MAX + 2 * VARINT_MAX)
    }

    /// Adds a record. The first one's timestamp is the batch's base.
    ///
    /// # Errors
    /// [`PushError`]; the batch is then as it was.
    #[inline]
    pub fn push(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> Result<(), PushError> {
        let bound = Self::record_bound(key, value, headers);
        if bound > BATCH_MAX - HEADER_LEN {
            return Err(PushError::TooLarge);
        }
        let time = timestamp.get();
        if self.count == 0 {
            self.begin(time, bound);
        }
        let delta = time.checked_sub(self.base_timestamp).map_or(u64::MAX, zigzag64);
        let offset = i32::try_from(self.count).map_err(|_| PushError::Full)?;
        let room = BATCH_MAX - self.buffer.len();
        if bound > room || offset == i32::MAX || delta >> ENCODED_BITS_MAX != 0 {
            return Err(PushError::Full);
        }
        self.buffer.reserve(bound);
        self.encode(delta, u64::from(zigzag32(offset)), key, value, headers);
        self.count += 1;
        self.max_timestamp = self.max_timestamp.max(time);
        Ok(())
    }

    #[inline(never)]
    fn begin(&mut self, time: i64, bound: usize) {
        if self.buffer.capacity() == 0
            && let Ok(last) = std::mem::take(&mut self.last).try_into_mut()
        {
            self.buffer = last.into();
        }
        self.buffer.clear();
        self.buffer.reserve(self.capacity.max(HEADER_LEN + bound));
        self.buffer.resize(HEADER_LEN, 0);
        self.base_timestamp = time;
        self.max_timestamp = time;
    }

    /// Writes a record; there is room for it, and all lengths fit 31 bits.
    #[inline(always)]
    fn encode(
        &mut self,
        timestamp: u64,
        offset: u64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) {
        let timestamp = varint::encode(timestamp);
        let offset = varint::encode(offset);
        let key_len = varint::encode(raw_len(key));
        let value_len = varint::encode(raw_len(value));
        let headers_count = varint::encode(raw_of(headers.len()));
        let (key, value) = (key.unwrap_or_default(), value.unwrap_or_default());
        let fields = 1 + timestamp.len + offset.len + key_len.len + value_len.len + headers_count.len;
        let body = fields + key.len() + value.len() + headers_len(headers);
        self.put_short(|lead: &mut [u8; LEAD_MAX]| {
            // After the length stand the attributes, of which none is defined.
            let at = varint::put(lead, 0, varint::encode(raw_of(body))) + 1;
            let at = varint::put(lead, at, timestamp);
            let at = varint::put(lead, at, offset);
            varint::put(lead, at, key_len)
        });
        self.buffer.extend_from_slice(key);
        self.put_varint(value_len);
        self.buffer.extend_from_slice(value);
        self.put_varint(headers_count);
        for header in headers {
            self.put_varint(varint::encode(raw_of(header.key.len())));
            self.buffer.extend_from_slice(header.key.as_bytes());
            self.put_varint(varint::encode(raw_len(header.value)));
            self.buffer.extend_from_slice(header.value.unwrap_or_default());
        }
    }

    #[inline(always)]
    fn put_varint(&mut self, varint: Encoded) {
        self.put_short(|bytes: &mut [u8; 8]| {
            *bytes = varint.bytes;
            varint.len
        });
    }

    /// Appends what `write` leaves in `N` bytes, which are 0 before, up to the end that it returns. It writes in place:
    /// bytes put together elsewhere and then copied would stall the processor, which cannot forward narrow stores to a
    /// wide load.
    #[inline(always)]
    fn put_short<const N: usize>(&mut self, write: impl FnOnce(&mut [u8; N]) -> usize) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; N]);
        if let Some(bytes) = self.buffer[start..].first_chunk_mut() {
            let len = write(bytes);
            self.buffer.truncate(start + len);
        }
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
        self.buffer.len().max(HEADER_LEN)
    }

    /// Throws away what was pushed.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.count = 0;
    }

    /// Completes the batch (compresses it, computes the checksum) and begins an empty one.
    ///
    /// # Errors
    /// [`BatchError`] if there are no records, or zstd fails for want of memory. What was pushed is then gone.
    pub fn finish(&mut self, producer: Option<ProducerStamp>) -> Result<Bytes, BatchError> {
        let count = std::mem::take(&mut self.count);
        if count == 0 {
            return Err(BatchError::BadHeader {
                field: "recordsCount",
                value: 0,
                rule: "a producer's batch has at least one record",
            });
        }
        let base = Timestamp::new(self.base_timestamp);
        let max = Timestamp::new(self.max_timestamp);
        let header = |body: &[u8]| BatchHeader::produced(self.codec, count, base, max, producer, body);
        match self.codec {
            Codec::None => {
                let header = header(&self.buffer[HEADER_LEN..]);
                self.buffer[..HEADER_LEN].copy_from_slice(header.as_bytes());
                self.last = std::mem::take(&mut self.buffer).into();
                Ok(self.last.clone())
            }
            Codec::Zstd => {
                let batch = compression::with_compressed(&self.buffer[HEADER_LEN..], |body| {
                    Ok(super::produced::join(&header(body), body))
                });
                self.buffer.clear();
                batch
            }
        }
    }
}

#[inline(always)]
fn raw_of(len: usize) -> u64 {
    // A length that fits 31 bits, zig-zagged.
    (len as u64) << 1
}

#[inline(always)]
fn raw_len(bytes: Option<&[u8]>) -> u64 {
    // -1 zig-zagged is 1.
    bytes.map_or(1, |bytes| raw_of(bytes.len()))
}

/// Bytes of the headers after their count.
#[inline(always)]
fn headers_len(headers: &[Header<'_>]) -> usize {
    headers.iter().fold(0, |sum, header| {
        let (key, value) = (header.key.len(), header.value.map_or(0, <[u8]>::len));
        let lengths = varint::encode(raw_of(key)).len + varint::encode(raw_len(header.value)).len;
        sum + lengths + key + value
    })
}
