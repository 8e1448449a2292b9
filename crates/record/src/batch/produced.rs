//! A batch as a client sent it.

use super::error::BatchError;
use super::header::{BatchHeader, HEADER_LEN, TimestampType};
use super::records::Records;
use super::stored::StoredBatch;
use super::validate::{self, RecordsSummary};
use crate::{LeaderEpoch, Offset, Timestamp};
use bytes::{Bytes, BytesMut};

/// One batch from a producer, with a header that a producer may send and a checksum that matches. What the records
/// are is [`Batch::validate_records`]' to say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    header: BatchHeader,
    body: Bytes,
}

impl Batch {
    /// Checks what a client sent, which must be exactly one batch of at most `max_bytes`. Reads every byte once (the
    /// checksum), copies and decompresses none.
    ///
    /// # Errors
    /// [`BatchError`] names the fault.
    pub fn check(bytes: Bytes, max_bytes: usize) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(&bytes)?;
        let (size, have) = (header.size(), bytes.len());
        if size > max_bytes {
            return Err(BatchError::TooLarge {
                size,
                limit: max_bytes,
            });
        }
        if have < size {
            return Err(BatchError::Truncated { needed: size, have });
        }
        if have > size {
            return Err(BatchError::TrailingBytes { extra: have - size });
        }
        check_producers_header(&header)?;
        header.check_crc(&bytes[HEADER_LEN..])?;
        let body = bytes.slice(HEADER_LEN..);
        Ok(Self { header, body })
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The bytes after the header, as they came.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// Bytes of the whole batch.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a batch has a header at the least")]
    pub fn len(&self) -> usize {
        HEADER_LEN + self.body.len()
    }

    /// The batch in one piece, copied.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        join(&self.header, &self.body)
    }

    /// Walks every record, decompressing to at most `max_decoded` bytes, without an allocation per record: each is
    /// well formed, offsets count from 0, nothing is left over, and the header's maximum timestamp is the records'.
    ///
    /// # Errors
    /// [`BatchError`] names the record and the fault.
    pub fn validate_records(&self, max_decoded: usize) -> Result<RecordsSummary, BatchError> {
        validate::producers_records(&self.header, &self.body, max_decoded)
    }

    /// The records, decompressed to at most `max_decoded` bytes.
    ///
    /// # Errors
    /// [`BatchError`] if they do not decompress.
    pub fn records(&self, max_decoded: usize) -> Result<Records, BatchError> {
        Records::new(self.header, &self.body, max_decoded)
    }

    /// Gives every record the leader's time of appending (`message.timestamp.type=LogAppendTime`).
    #[must_use]
    pub fn with_append_time(mut self, now: Timestamp) -> Self {
        self.header = self.header.with_append_time(now, &self.body);
        self
    }

    /// Assigns offset and epoch. The checksum covers neither: no byte of the body is looked at.
    #[must_use]
    pub fn stamp(self, base_offset: Offset, leader_epoch: LeaderEpoch) -> StoredBatch {
        StoredBatch::assemble(self.header.stamped(base_offset, leader_epoch), self.body)
    }
}

pub(super) fn join(header: &BatchHeader, body: &[u8]) -> Bytes {
    let mut whole = BytesMut::with_capacity(HEADER_LEN + body.len());
    whole.extend_from_slice(header.as_bytes());
    whole.extend_from_slice(body);
    whole.freeze()
}

/// What a header may say if it comes from a producer, beyond what every header must.
fn check_producers_header(header: &BatchHeader) -> Result<(), BatchError> {
    let bad = |field, value, rule| Err(BatchError::BadHeader { field, value, rule });
    if header.is_control() {
        return Err(BatchError::NotForProducers {
            mark: "as a control batch",
            rule: "only brokers write those",
        });
    }
    if header.is_transactional() {
        return Err(BatchError::NotForProducers {
            mark: "as part of a transaction",
            rule: "Quipu has no transactions; produce without transactional.id",
        });
    }
    if header.has_delete_horizon() {
        return Err(BatchError::NotForProducers {
            mark: "with a delete horizon",
            rule: "only a broker's compaction sets one",
        });
    }
    if header.timestamp_type() == TimestampType::LogAppend {
        return Err(BatchError::NotForProducers {
            mark: "with log-append time",
            rule: "only the leader sets it; send create time",
        });
    }
    if header.base_offset() != Offset::ZERO {
        return bad(
            "baseOffset",
            header.base_offset().to_wire(),
            "a producer sends 0; the leader assigns it",
        );
    }
    let count = header.records_count();
    if count == 0 {
        return bad("recordsCount", 0, "a producer's batch has at least one record");
    }
    if header.last_offset_delta() != count - 1 {
        let value = i64::from(header.last_offset_delta());
        return bad(
            "lastOffsetDelta",
            value,
            "in a producer's batch it is recordsCount - 1",
        );
    }
    Ok(())
}
