//! Makes batches: the SDK's hot path.

use super::compression;
use super::error::BatchError;
use super::header::{BatchHeader, Codec, HEADER_LEN, ProducerStamp};
use super::records::Header;
use super::varint::{self, VARINT_MAX, VARLONG_MAX, zigzag32, zigzag64};
use crate::{ErrorCode, Timestamp};
use bytes::{Bytes, BytesMut};
use thiserror::Error;

/// Bytes at most of one batch: `batchLength` is a positive 32-bit integer.
const BATCH_MAX: usize = i32::MAX as usize;

/// What stands before a record's key: length, attributes, timestamp, offset, length of the key; rounded up.
const LEAD_MAX: usize = 32;
const _: () = assert!(3 * VARINT_MAX + VARLONG_MAX < LEAD_MAX);

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
    buffer: BytesMut,
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
            buffer: BytesMut::new(),
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
        let delta = time.checked_sub(self.base_timestamp).ok_or(PushError::Full)?;
        let offset = i32::try_from(self.count).map_err(|_| PushError::Full)?;
        if bound > BATCH_MAX - self.buffer.len() || offset == i32::MAX {
            return Err(PushError::Full);
        }
        self.buffer.reserve(bound);
        self.encode(zigzag64(delta), u64::from(zigzag32(offset)), key, value, headers);
        self.count += 1;
        self.max_timestamp = self.max_timestamp.max(time);
        Ok(())
    }

    #[inline(never)]
    fn begin(&mut self, time: i64, bound: usize) {
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
        let (key_len, value_len) = (raw_len(key), raw_len(value));
        let (key, value) = (key.unwrap_or_default(), value.unwrap_or_default());
        let body = 1
            + varint::len(timestamp)
            + varint::len(offset)
            + varint::len(key_len)
            + key.len()
            + varint::len(value_len)
            + value.len()
            + headers_len(headers);
        let mut lead = [0; LEAD_MAX];
        let mut at = varint::put(&mut lead, 0, raw_of(body));
        // The attributes, of which none is defined.
        at += 1;
        at = varint::put(&mut lead, at, timestamp);
        at = varint::put(&mut lead, at, offset);
        at = varint::put(&mut lead, at, key_len);
        self.put_short(&lead, at);
        self.buffer.extend_from_slice(key);
        self.put_varint(value_len);
        self.buffer.extend_from_slice(value);
        self.put_varint(raw_of(headers.len()));
        for header in headers {
            self.put_varint(raw_of(header.key.len()));
            self.buffer.extend_from_slice(header.key.as_bytes());
            self.put_varint(raw_len(header.value));
            self.buffer.extend_from_slice(header.value.unwrap_or_default());
        }
    }

    #[inline(always)]
    fn put_varint(&mut self, raw: u64) {
        let mut bytes = [0; 8];
        let len = varint::put(&mut bytes, 0, raw);
        self.put_short(&bytes, len);
    }

    /// Appends the first `len` bytes: all of them, then back. A copy of fixed length is two moves, not a call.
    #[inline(always)]
    fn put_short<const N: usize>(&mut self, bytes: &[u8; N], len: usize) {
        let end = self.buffer.len() + len;
        self.buffer.extend_from_slice(bytes);
        self.buffer.truncate(end);
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
        let mut plain = self.buffer.split();
        let header = |body: &[u8]| {
            let base = Timestamp::new(self.base_timestamp);
            let max = Timestamp::new(self.max_timestamp);
            BatchHeader::produced(self.codec, count, base, max, producer, body)
        };
        match self.codec {
            Codec::None => {
                let header = header(&plain[HEADER_LEN..]);
                plain[..HEADER_LEN].copy_from_slice(header.as_bytes());
                Ok(plain.freeze())
            }
            Codec::Zstd => compression::with_compressed(&plain[HEADER_LEN..], |body| {
                Ok(super::produced::join(&header(body), body))
            }),
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

#[inline(always)]
fn headers_len(headers: &[Header<'_>]) -> usize {
    let count = varint::len(raw_of(headers.len()));
    headers.iter().fold(count, |sum, header| {
        let (key, value) = (header.key.len(), header.value.map_or(0, <[u8]>::len));
        sum + varint::len(raw_of(key)) + key + varint::len(raw_len(header.value)) + value
    })
}
