//! A batch's records, read without a copy.

use super::compression;
use super::error::BatchError;
use super::header::{BatchHeader, Codec, TimestampType};
use super::varint;
use crate::{Offset, Timestamp};
use bytes::Bytes;

/// One header of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header<'a> {
    /// Its key.
    pub key: &'a str,
    /// Its value; `None` is Kafka's null.
    pub value: Option<&'a [u8]>,
}

/// One record, borrowed from [`Records`]. A whole record was checked before it is handed out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordView<'a> {
    /// Its place in the partition.
    pub offset: Offset,
    /// Its time.
    pub timestamp: Timestamp,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    headers: Headers<'a>,
}

impl<'a> RecordView<'a> {
    /// Its headers, in order.
    #[must_use]
    pub const fn headers(&self) -> Headers<'a> {
        self.headers
    }
}

/// The headers of a record; an iterator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Headers<'a> {
    left: u32,
    bytes: &'a [u8],
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        self.left = self.left.checked_sub(1)?;
        // Never an error: the record was checked.
        take_header(&mut self.bytes).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for Headers<'_> {}

/// The records of one batch, decompressed.
#[derive(Clone, Debug)]
pub struct Records {
    header: BatchHeader,
    bytes: Bytes,
}

impl Records {
    pub(super) fn new(header: BatchHeader, body: &Bytes, max_decoded: usize) -> Result<Self, BatchError> {
        let bytes = match header.codec() {
            Codec::None => body.clone(),
            Codec::Zstd => compression::decompressed(body, max_decoded)?,
        };
        Ok(Self { header, bytes })
    }

    /// The header of their batch.
    #[must_use]
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The encoded records. Keys and values of a [`RecordView`] lie in here: `slice_ref` makes them `Bytes` of their
    /// own without a copy.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Goes through the records. Their offsets rise, with gaps where compaction left some.
    #[must_use]
    pub fn iter(&self) -> RecordIter<'_> {
        let append_time = match self.header.timestamp_type() {
            TimestampType::Create => None,
            TimestampType::LogAppend => Some(self.header.max_timestamp()),
        };
        RecordIter {
            header: &self.header,
            append_time,
            rest: &self.bytes,
            decoded_bytes: self.bytes.len(),
            index: 0,
            least_delta: 0,
            ended: false,
        }
    }
}

impl<'a> IntoIterator for &'a Records {
    type Item = Result<RecordView<'a>, BatchError>;
    type IntoIter = RecordIter<'a>;

    fn into_iter(self) -> RecordIter<'a> {
        self.iter()
    }
}

/// The iterator over [`Records`]. It ends after the first error.
#[derive(Clone, Debug)]
pub struct RecordIter<'a> {
    header: &'a BatchHeader,
    append_time: Option<Timestamp>,
    rest: &'a [u8],
    decoded_bytes: usize,
    index: u32,
    /// The least offset delta that the next record may have.
    least_delta: u32,
    ended: bool,
}

impl<'a> RecordIter<'a> {
    /// Bytes of the records that are still to come.
    pub(super) const fn bytes_left(&self) -> usize {
        self.rest.len()
    }

    fn read(&mut self) -> Result<RecordView<'a>, BatchError> {
        let index = self.index;
        let bad = |fault| BatchError::BadRecord { index, fault };
        let record = take_record(&mut self.rest).map_err(bad)?;
        let delta = u32::try_from(record.offset_delta)
            .ok()
            .filter(|delta| (self.least_delta..=self.header.last_offset_delta()).contains(delta))
            .ok_or_else(|| bad("its offset is not above the record before it and within the batch"))?;
        let timestamp = match self.append_time {
            Some(time) => time,
            None => record.timestamp(self.header.base_timestamp()).map_err(bad)?,
        };
        self.index += 1;
        // No overflow: at most i32::MAX + 1.
        self.least_delta = delta + 1;
        Ok(RecordView {
            offset: self.header.base_offset().plus(u64::from(delta)),
            timestamp,
            key: record.key,
            value: record.value,
            headers: record.headers,
        })
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<RecordView<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        if self.index < self.header.records_count() {
            let read = self.read();
            self.ended = read.is_err();
            return Some(read);
        }
        self.ended = true;
        (!self.rest.is_empty()).then(|| Err(left_over(self.header, self.decoded_bytes)))
    }
}

pub(super) fn left_over(header: &BatchHeader, decoded_bytes: usize) -> BatchError {
    BatchError::WrongCount {
        claimed: header.records_count(),
        bytes: decoded_bytes,
        fault: "go on after the last one",
    }
}

/// One record as it is encoded, its lengths checked.
pub(super) struct RawRecord<'a> {
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i32,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: Headers<'a>,
}

impl RawRecord<'_> {
    #[inline(always)]
    pub(super) fn timestamp(&self, base: Timestamp) -> Result<Timestamp, &'static str> {
        match base.get().checked_add(self.timestamp_delta) {
            Some(time) => Ok(Timestamp::new(time)),
            None => Err("its timestamp does not fit 64 bits"),
        }
    }
}

/// Takes one record off the front, checking all of it.
#[inline(always)]
pub(super) fn take_record<'a>(rest: &mut &'a [u8]) -> Result<RawRecord<'a>, &'static str> {
    let len = varint::take_i32(rest)?;
    let len = usize::try_from(len).map_err(|_| "its length is negative")?;
    let Some((mut record, after)) = rest.split_at_checked(len) else {
        return Err("its length passes the end of the batch");
    };
    *rest = after;
    let Some((&attributes, fields)) = record.split_first() else {
        return Err("its length is 0");
    };
    if attributes != 0 {
        return Err("its attributes are not 0");
    }
    record = fields;
    let timestamp_delta = varint::take_i64(&mut record)?;
    let offset_delta = varint::take_i32(&mut record)?;
    let key = take_bytes(&mut record, "its key passes its end")?;
    let value = take_bytes(&mut record, "its value passes its end")?;
    let headers = take_headers(record)?;
    Ok(RawRecord {
        timestamp_delta,
        offset_delta,
        key,
        value,
        headers,
    })
}

/// Kafka's length of what is null.
const NULL_LEN: i32 = -1;

/// Bytes after their length.
#[inline(always)]
fn take_bytes<'a>(bytes: &mut &'a [u8], past_end: &'static str) -> Result<Option<&'a [u8]>, &'static str> {
    let len = varint::take_i32(bytes)?;
    let Ok(len) = usize::try_from(len) else {
        return if len == NULL_LEN {
            Ok(None)
        } else {
            Err("a length is below -1")
        };
    };
    let Some((taken, rest)) = bytes.split_at_checked(len) else {
        return Err(past_end);
    };
    *bytes = rest;
    Ok(Some(taken))
}

/// The headers, which take all that is left of the record.
#[inline(always)]
fn take_headers(bytes: &[u8]) -> Result<Headers<'_>, &'static str> {
    // By far the most common: none.
    if bytes == [0] {
        return Ok(Headers { left: 0, bytes: &[] });
    }
    take_some_headers(bytes)
}

#[inline(never)]
fn take_some_headers(mut bytes: &[u8]) -> Result<Headers<'_>, &'static str> {
    let count = varint::take_i32(&mut bytes)?;
    let left = u32::try_from(count).map_err(|_| "its number of headers is negative")?;
    // Each takes two bytes or more.
    if left as usize > bytes.len() / 2 {
        return Err("it has more headers than its bytes can hold");
    }
    let headers = Headers { left, bytes };
    for _ in 0..left {
        take_header(&mut bytes)?;
    }
    if !bytes.is_empty() {
        return Err("its length is greater than its fields");
    }
    Ok(headers)
}

fn take_header<'a>(bytes: &mut &'a [u8]) -> Result<Header<'a>, &'static str> {
    let key = take_bytes(bytes, "a header's key passes its end")?.ok_or("a header has no key")?;
    let key = std::str::from_utf8(key).map_err(|_| "a header's key is not UTF-8")?;
    let value = take_bytes(bytes, "a header's value passes its end")?;
    Ok(Header { key, value })
}
