//! The 61 bytes before a batch's records.

use super::error::BatchError;
use crate::{LeaderEpoch, Offset, PlantedBug, ProducerEpoch, ProducerId, Sequence, Timestamp};
use std::fmt;

/// The length of a batch's header.
pub const HEADER_LEN: usize = 61;

/// Where the field `batchLength` ends: it counts the bytes after it.
const LENGTH_END: usize = 12;
/// Where the bytes under the checksum begin.
const CRC_START: usize = 21;
/// From this many bytes on, moving a checksum past them costs less than computing it again.
const CRC_COMBINE_MIN: usize = 32 * 1024;

const ATTR_CODEC: u16 = 0b0000_0111;
const ATTR_APPEND_TIME: u16 = 1 << 3;
const ATTR_TRANSACTIONAL: u16 = 1 << 4;
const ATTR_CONTROL: u16 = 1 << 5;
const ATTR_DELETE_HORIZON: u16 = 1 << 6;
const ATTR_KNOWN: u16 =
    ATTR_CODEC | ATTR_APPEND_TIME | ATTR_TRANSACTIONAL | ATTR_CONTROL | ATTR_DELETE_HORIZON;

/// How a batch's records are compressed. Kafka's other codecs are refused by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub enum Codec {
    /// Not at all.
    #[default]
    None,
    /// One zstd stream over all records.
    Zstd,
}

impl Codec {
    /// Its number in the attributes.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Zstd => 4,
        }
    }

    /// Its name, as configs spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Zstd => "zstd",
        }
    }

    /// From the name that [`Codec::name`] gives.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "none" => Some(Self::None),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whose clock a batch's timestamps are from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum TimestampType {
    /// The producer's, record by record.
    Create,
    /// The leader's as it appended: one for all records of the batch, its maximum timestamp.
    LogAppend,
}

/// Which idempotent producer made a batch, and where the batch stands among its others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct ProducerStamp {
    /// The producer.
    pub id: ProducerId,
    /// Its life.
    pub epoch: ProducerEpoch,
    /// The sequence of the batch's first record.
    pub base_sequence: Sequence,
}

/// A batch's header: its 61 bytes, of which [`BatchHeader::parse`] has checked each field by itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BatchHeader([u8; HEADER_LEN]);

impl BatchHeader {
    /// Reads a header from the first 61 bytes. What holds for every batch, sent or stored, is checked here; that the
    /// body is there and matches the checksum is not.
    ///
    /// # Errors
    /// [`BatchError`] names the field at fault.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let Some(head) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(BatchError::Truncated {
                needed: HEADER_LEN,
                have: bytes.len(),
            });
        };
        let header = Self(*head);
        header.check_fields()?;
        Ok(header)
    }

    fn check_fields(&self) -> Result<(), BatchError> {
        let magic = i8::from_be_bytes(self.get(16));
        if magic != 2 {
            return Err(BatchError::UnsupportedMagic { magic });
        }
        let length = self.i32_at(8);
        at_least(
            "batchLength",
            i64::from(length),
            49,
            "the header alone has 49 bytes after it",
        )?;
        at_least("baseOffset", self.i64_at(0), 0, "an offset is not negative")?;
        let attributes = self.attributes();
        if attributes & !ATTR_KNOWN != 0 {
            return Err(BatchError::BadHeader {
                field: "attributes",
                value: i64::from(attributes),
                rule: "bits 7 to 15 are not used and must be 0",
            });
        }
        check_codec((attributes & ATTR_CODEC) as u8)?;
        at_least(
            "lastOffsetDelta",
            i64::from(self.i32_at(23)),
            0,
            "it is not negative",
        )?;
        at_least(
            "recordsCount",
            i64::from(self.i32_at(57)),
            0,
            "a batch has 0 to 2147483647 records",
        )?;
        if self.has_producer() {
            let rule = "a batch with a producerId has it too, not negative";
            at_least(
                "producerEpoch",
                i64::from(i16::from_be_bytes(self.get(51))),
                0,
                rule,
            )?;
            at_least("baseSequence", i64::from(self.i32_at(53)), 0, rule)?;
        }
        Ok(())
    }

    /// The offset of the first record; 0 in what producers send.
    #[must_use]
    pub fn base_offset(&self) -> Offset {
        Offset::new(u64::from_be_bytes(self.get(0)))
    }

    /// The offset of the last record. After compaction that record may be gone; its offset is still the batch's.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        self.base_offset().plus(u64::from(self.last_offset_delta()))
    }

    /// The offset after the batch.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.last_offset().next()
    }

    /// Bytes of the whole batch, header included.
    #[must_use]
    pub fn size(&self) -> usize {
        LENGTH_END + u32::from_be_bytes(self.get(8)) as usize
    }

    /// Bytes after the header.
    #[must_use]
    pub fn body_len(&self) -> usize {
        self.size() - HEADER_LEN
    }

    /// The epoch of the leader that appended the batch; `None` in what producers send (they write -1, some 0).
    #[must_use]
    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        u32::try_from(self.i32_at(12)).ok().map(LeaderEpoch::new)
    }

    /// The CRC-32C of everything from the attributes on, as the header states it.
    #[must_use]
    pub fn crc(&self) -> u32 {
        u32::from_be_bytes(self.get(17))
    }

    /// How the records are compressed.
    #[must_use]
    pub fn codec(&self) -> Codec {
        if self.attributes() & ATTR_CODEC == 0 {
            Codec::None
        } else {
            Codec::Zstd
        }
    }

    /// Whose clock the timestamps are from.
    #[must_use]
    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes() & ATTR_APPEND_TIME == 0 {
            TimestampType::Create
        } else {
            TimestampType::LogAppend
        }
    }

    /// Whether it is part of a transaction.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.attributes() & ATTR_TRANSACTIONAL != 0
    }

    /// Whether it holds a marker for brokers and not records.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.attributes() & ATTR_CONTROL != 0
    }

    /// Whether the base timestamp is in truth the time from which compaction may drop the batch's tombstones.
    #[must_use]
    pub fn has_delete_horizon(&self) -> bool {
        self.attributes() & ATTR_DELETE_HORIZON != 0
    }

    /// The distance from the first record's offset to the last one's.
    #[must_use]
    pub fn last_offset_delta(&self) -> u32 {
        u32::from_be_bytes(self.get(23))
    }

    /// What the records' timestamps count from.
    #[must_use]
    pub fn base_timestamp(&self) -> Timestamp {
        Timestamp::new(self.i64_at(27))
    }

    /// The latest timestamp of the records.
    #[must_use]
    pub fn max_timestamp(&self) -> Timestamp {
        Timestamp::new(self.i64_at(35))
    }

    /// Whether the producer's fields mean something. A negative `producerId` alone says that they do not: clients
    /// differ in what they write into the epoch and the sequence then. A control batch names the producer whose
    /// transaction it ends, and has no sequence.
    fn has_producer(&self) -> bool {
        self.i64_at(43) >= 0 && !self.is_control()
    }

    /// The idempotent producer, if one made the batch.
    #[must_use]
    pub fn producer(&self) -> Option<ProducerStamp> {
        self.has_producer().then(|| ProducerStamp {
            id: ProducerId::new(u64::from_be_bytes(self.get(43))),
            epoch: ProducerEpoch::new(u16::from_be_bytes(self.get(51))),
            base_sequence: Sequence::new(u32::from_be_bytes(self.get(53))),
        })
    }

    /// How many records there are.
    #[must_use]
    pub fn records_count(&self) -> u32 {
        u32::from_be_bytes(self.get(57))
    }

    /// The bytes of the header.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; HEADER_LEN] {
        &self.0
    }

    /// Compares the checksum with these bytes of the records (the batch's, without the header).
    ///
    /// # Errors
    /// [`BatchError::CrcMismatch`].
    pub fn check_crc(&self, body: &[u8]) -> Result<(), BatchError> {
        if PlantedBug::CrcUnchecked.planted() {
            return Ok(());
        }
        let computed = crc32c::crc32c_append(self.crc_of_head(), body);
        let stored = self.crc();
        if computed == stored {
            Ok(())
        } else {
            Err(BatchError::CrcMismatch { stored, computed })
        }
    }

    /// The header of a new batch from a producer, whose records are `body`.
    pub(super) fn produced(
        codec: Codec,
        count: u32,
        base_timestamp: Timestamp,
        max_timestamp: Timestamp,
        producer: Option<ProducerStamp>,
        body: &[u8],
    ) -> Self {
        let mut header = Self([0; HEADER_LEN]);
        let length = HEADER_LEN - LENGTH_END + body.len();
        header.put(8, u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        // No leader has appended it yet: -1.
        header.put(12, u32::MAX.to_be_bytes());
        header.put(16, [2]);
        header.put(21, u16::from(codec.number()).to_be_bytes());
        header.put(23, (count - 1).to_be_bytes());
        header.put(27, base_timestamp.get().to_be_bytes());
        header.put(35, max_timestamp.get().to_be_bytes());
        header.put_producer(producer);
        header.put(57, count.to_be_bytes());
        let crc = crc32c::crc32c_append(header.crc_of_head(), body);
        header.put(17, crc.to_be_bytes());
        header
    }

    /// The header after compaction left `count` records, which are `body`. Without a new horizon times count from where
    /// they did.
    pub(super) fn rewritten(
        mut self,
        codec: Codec,
        count: u32,
        horizon: Option<Timestamp>,
        max_timestamp: Timestamp,
        body: &[u8],
    ) -> Self {
        let mut attributes = self.attributes() & !ATTR_CODEC | u16::from(codec.number());
        if let Some(horizon) = horizon {
            attributes |= ATTR_DELETE_HORIZON;
            self.put(27, horizon.get().to_be_bytes());
        }
        let length = HEADER_LEN - LENGTH_END + body.len();
        self.put(8, u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        self.put(21, attributes.to_be_bytes());
        self.put(35, max_timestamp.get().to_be_bytes());
        self.put(57, count.to_be_bytes());
        let crc = crc32c::crc32c_append(self.crc_of_head(), body);
        self.put(17, crc.to_be_bytes());
        self
    }

    /// Sets what the leader assigns. Both lie outside the checksum.
    #[must_use]
    pub fn stamped(mut self, base_offset: Offset, leader_epoch: LeaderEpoch) -> Self {
        self.put(0, base_offset.get().to_be_bytes());
        self.put(12, leader_epoch.get().to_be_bytes());
        self
    }

    /// Sets all timestamps to the leader's. The checksum is moved by the difference that the header makes: had the
    /// body been damaged since it was checked, the checksum would still say so.
    #[must_use]
    pub fn with_append_time(self, now: Timestamp, body: &[u8]) -> Self {
        self.patched_under_crc(body, |head| {
            let attributes = head.attributes() | ATTR_APPEND_TIME;
            head.put(21, attributes.to_be_bytes());
            head.put(35, now.get().to_be_bytes());
        })
    }

    /// Sets the producer's fields; `None` makes the batch an ordinary one. The checksum moves along.
    #[must_use]
    pub fn with_producer(self, producer: Option<ProducerStamp>, body: &[u8]) -> Self {
        self.patched_under_crc(body, |head| head.put_producer(producer))
    }

    fn patched_under_crc(mut self, body: &[u8], patch: impl FnOnce(&mut Self)) -> Self {
        let before = self.crc_of_head();
        patch(&mut self);
        let after = self.crc_of_head();
        // CRCs are linear: the difference of two heads, moved past the body, is the difference of the whole. Moving it
        // takes some microseconds for any body; going over a short one twice takes less.
        let crc = if body.len() < CRC_COMBINE_MIN {
            self.crc() ^ crc32c::crc32c_append(before, body) ^ crc32c::crc32c_append(after, body)
        } else {
            crc32c::crc32c_combine(before ^ after, self.crc(), body.len())
        };
        self.put(17, crc.to_be_bytes());
        self
    }

    fn put_producer(&mut self, producer: Option<ProducerStamp>) {
        let (id, epoch, sequence) = match producer {
            Some(p) => (p.id.get(), p.epoch.get(), p.base_sequence.get()),
            None => (u64::MAX, u16::MAX, u32::MAX),
        };
        self.put(43, id.to_be_bytes());
        self.put(51, epoch.to_be_bytes());
        self.put(53, sequence.to_be_bytes());
    }

    fn crc_of_head(&self) -> u32 {
        crc32c::crc32c(&self.0[CRC_START..])
    }

    fn attributes(&self) -> u16 {
        u16::from_be_bytes(self.get(21))
    }

    fn i32_at(&self, at: usize) -> i32 {
        i32::from_be_bytes(self.get(at))
    }

    fn i64_at(&self, at: usize) -> i64 {
        i64::from_be_bytes(self.get(at))
    }

    #[inline(always)]
    fn get<const N: usize>(&self, at: usize) -> [u8; N] {
        std::array::from_fn(|i| self.0[at + i])
    }

    fn put<const N: usize>(&mut self, at: usize, value: [u8; N]) {
        self.0[at..at + N].copy_from_slice(&value);
    }
}

impl fmt::Debug for BatchHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchHeader")
            .field("base_offset", &self.base_offset())
            .field("size", &self.size())
            .field("leader_epoch", &self.leader_epoch())
            .field("crc", &format_args!("{:08x}", self.crc()))
            .field("codec", &self.codec())
            .field("timestamp_type", &self.timestamp_type())
            .field("transactional", &self.is_transactional())
            .field("control", &self.is_control())
            .field("last_offset_delta", &self.last_offset_delta())
            .field("base_timestamp", &self.base_timestamp())
            .field("max_timestamp", &self.max_timestamp())
            .field("producer", &self.producer())
            .field("records_count", &self.records_count())
            .finish()
    }
}

fn at_least(field: &'static str, value: i64, least: i64, rule: &'static str) -> Result<(), BatchError> {
    if value < least {
        return Err(BatchError::BadHeader { field, value, rule });
    }
    Ok(())
}

fn check_codec(codec: u8) -> Result<(), BatchError> {
    let name = match codec {
        0 | 4 => return Ok(()),
        1 => "gzip",
        2 => "snappy",
        3 => "lz4",
        _ => "a codec nobody defines",
    };
    Err(BatchError::UnsupportedCodec { name, codec })
}
