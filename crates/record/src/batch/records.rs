//! A batch's records, read without a copy.

use super::error::BatchError;
use super::header::BatchHeader;
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
        let _ = (self.left, self.bytes);
        todo!("the next commit")
    }
}

/// The records of one batch, decompressed.
#[derive(Clone, Debug)]
pub struct Records {
    header: BatchHeader,
    bytes: Bytes,
}

impl Records {
    pub(super) fn new(_header: BatchHeader, _body: &Bytes, _max_decoded: usize) -> Result<Self, BatchError> {
        todo!("the next commit")
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

    /// Goes through the records.
    #[must_use]
    pub const fn iter(&self) -> RecordIter<'_> {
        RecordIter { records: self }
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
    records: &'a Records,
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<RecordView<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let _ = self.records;
        todo!("the next commit")
    }
}
