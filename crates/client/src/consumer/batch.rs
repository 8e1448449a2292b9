//! A batch of records as a consumer gets it.

use quipu_record::{BatchError, LeaderEpoch, Offset, PartitionId, RecordIter, RecordView, Records, TopicId};
use std::sync::Arc;

/// Records of one partition, in order. Keys and values lie in memory that the batch shares, and are borrowed from it.
#[derive(Clone, Debug)]
pub struct FetchedBatch {
    pub(super) topic: Arc<str>,
    pub(super) topic_id: TopicId,
    pub(super) partition: PartitionId,
    pub(super) high_watermark: Offset,
    pub(super) from: Offset,
    pub(super) records: Records,
}

impl FetchedBatch {
    /// The topic's name.
    #[must_use]
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// The topic's id.
    #[must_use]
    pub fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    /// The partition.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        self.partition
    }

    /// The leader epoch that the batch was appended in.
    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.records.header().leader_epoch().unwrap_or_default()
    }

    /// Everything below is readable, as of when this was read.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// The offset after this batch: where reading goes on.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.records.header().next_offset()
    }

    /// The records, those below the offset asked for left out. An error is a batch that is malformed inside; none of the
    /// records after it can be read.
    #[must_use]
    pub fn iter(&self) -> FetchedIter<'_> {
        FetchedIter {
            records: self.records.iter(),
            from: self.from,
        }
    }

    /// The encoded records; `slice_ref` makes a key or a value `Bytes` of its own without a copy.
    #[must_use]
    pub fn bytes(&self) -> &bytes::Bytes {
        self.records.bytes()
    }
}

impl<'a> IntoIterator for &'a FetchedBatch {
    type Item = Result<RecordView<'a>, BatchError>;
    type IntoIter = FetchedIter<'a>;

    fn into_iter(self) -> FetchedIter<'a> {
        self.iter()
    }
}

/// The iterator over a [`FetchedBatch`].
#[derive(Clone, Debug)]
pub struct FetchedIter<'a> {
    records: RecordIter<'a>,
    from: Offset,
}

impl<'a> Iterator for FetchedIter<'a> {
    type Item = Result<RecordView<'a>, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.records.next()? {
                Ok(record) if record.offset < self.from => {}
                read => return Some(read),
            }
        }
    }
}
