//! A batch as it stands in a log.

use super::error::BatchError;
use super::header::{BatchHeader, HEADER_LEN};
use super::produced::join;
use super::records::Records;
use crate::{LeaderEpoch, Offset};
use bytes::Bytes;
use std::io::IoSlice;

/// A batch with its offset and leader epoch. Head and body are apart, so that stamping copies nothing; one vectored
/// write joins them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredBatch {
    header: BatchHeader,
    body: Bytes,
}

impl StoredBatch {
    /// Only for header and body of one batch, checked before.
    pub(super) const fn assemble(header: BatchHeader, body: Bytes) -> Self {
        Self { header, body }
    }

    /// Reads the batch at the beginning of `bytes`, which may go on after it. Checks the header, that all bytes are
    /// there, and the checksum; copies nothing.
    ///
    /// # Errors
    /// [`BatchError`]; [`BatchError::Truncated`] if the bytes end before the batch does.
    pub fn parse(bytes: &Bytes) -> Result<Self, BatchError> {
        let header = Self::parse_header(bytes)?;
        let (needed, have) = (header.size(), bytes.len());
        if have < needed {
            return Err(BatchError::Truncated { needed, have });
        }
        let body = bytes.slice(HEADER_LEN..needed);
        header.check_crc(&body)?;
        Ok(Self { header, body })
    }

    /// Reads the header of a batch in a log: what [`BatchHeader::parse`] checks, and that it was stamped by a leader.
    ///
    /// # Errors
    /// [`BatchError`] names the field at fault.
    pub fn parse_header(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let header = BatchHeader::parse(bytes)?;
        let bad = |field, value, rule| Err(BatchError::BadHeader { field, value, rule });
        if header.leader_epoch().is_none() {
            let value = i64::from(i32::from_be_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]));
            return bad(
                "partitionLeaderEpoch",
                value,
                "a stored batch has the epoch of its leader",
            );
        }
        let delta = header.last_offset_delta();
        if header.records_count() > 0 && delta < header.records_count() - 1 {
            return bad(
                "lastOffsetDelta",
                i64::from(delta),
                "it is at least recordsCount - 1",
            );
        }
        if header.base_offset().since(Offset::ZERO) + u64::from(delta) >= Offset::MAX.get() {
            let value = header.base_offset().to_wire();
            return bad("baseOffset", value, "the offset after the batch must fit 63 bits");
        }
        Ok(header)
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The header's bytes.
    #[must_use]
    pub const fn head(&self) -> &[u8; HEADER_LEN] {
        self.header.as_bytes()
    }

    /// The bytes after the header.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// The offset of the first record.
    #[must_use]
    pub fn base_offset(&self) -> Offset {
        self.header.base_offset()
    }

    /// The offset after the batch.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.header.next_offset()
    }

    /// The epoch of the leader that appended it.
    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.header.leader_epoch().unwrap_or_default()
    }

    /// Bytes of the whole batch.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a batch has a header at the least")]
    pub fn len(&self) -> usize {
        HEADER_LEN + self.body.len()
    }

    /// Head and body for a vectored write.
    #[must_use]
    pub fn io_slices(&self) -> [IoSlice<'_>; 2] {
        [IoSlice::new(self.head()), IoSlice::new(&self.body)]
    }

    /// The batch in one piece, copied.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        join(&self.header, &self.body)
    }

    /// The records, decompressed to at most `max_decoded` bytes.
    ///
    /// # Errors
    /// [`BatchError`] if they do not decompress.
    pub fn records(&self, max_decoded: usize) -> Result<Records, BatchError> {
        Records::new(self.header, &self.body, max_decoded)
    }
}

/// Walks stored batches that follow each other in `bytes`. Offsets must rise, and may leave gaps.
#[must_use]
pub fn iter_batches(bytes: Bytes) -> StoredBatches {
    StoredBatches {
        rest: bytes,
        position: 0,
        next: Offset::ZERO,
    }
}

/// The iterator of [`iter_batches`]: each batch checked as by [`StoredBatch::parse`]. It ends after the first error.
#[derive(Clone, Debug)]
pub struct StoredBatches {
    rest: Bytes,
    position: usize,
    next: Offset,
}

impl StoredBatches {
    /// Where the next batch, or the one in error, begins in the bytes.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.position
    }

    fn read(&mut self) -> Result<StoredBatch, BatchError> {
        let batch = StoredBatch::parse(&self.rest)?;
        if batch.base_offset() < self.next {
            return Err(BatchError::BadHeader {
                field: "baseOffset",
                value: batch.base_offset().to_wire(),
                rule: "it lies below the offset after the batch before",
            });
        }
        self.next = batch.next_offset();
        self.position += batch.len();
        self.rest = self.rest.slice(batch.len()..);
        Ok(batch)
    }
}

impl Iterator for StoredBatches {
    type Item = Result<StoredBatch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.rest = Bytes::new();
        }
        Some(read)
    }
}
