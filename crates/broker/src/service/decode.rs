//! Stored batches as decoded records: a record at a time, so that a frame ends where it should, and the next one goes on
//! in the middle of a batch. Keys and values are slices of the batch's own memory.

use super::read::Batches;
use bytes::Bytes;
use quipu_metadata::MAX_MESSAGE_BYTES_LIMIT;
use quipu_proto::{Failure, v1};
use quipu_record::{BatchError, ErrorCode, Offset, RecordView, Records, StoredBatch, iter_batches};
use std::collections::VecDeque;

/// What a record adds to a frame beside key, value and headers, at most: tags, lengths, offset and timestamp.
const RECORD_OVERHEAD: usize = 48;
const HEADER_OVERHEAD: usize = 24;
/// Bytes of any batch once decompressed: what no topic's `max.message.bytes` can have exceeded as it was taken.
#[expect(clippy::cast_possible_truncation, reason = "8 MiB")]
const DECODED_BATCH_MAX: usize = MAX_MESSAGE_BYTES_LIMIT as usize;

/// How much to decode. What would pass a limit is left, except the very first record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Limits {
    /// Bytes of the frame.
    pub(crate) frame_bytes: usize,
    /// Bytes of keys, values and headers: reached, not passed, by all but the last record.
    pub(crate) payload_bytes: u64,
    /// Records.
    pub(crate) records: u64,
}

/// Decoded records of one frame.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    /// The records.
    pub(crate) records: Vec<v1::StoredRecord>,
    /// Bytes of their keys, values and headers.
    pub(crate) payload_bytes: u64,
    /// Bytes of the frame, estimated from above.
    pub(crate) frame_bytes: usize,
}

/// Batches that are being decoded, and how far that got.
#[derive(Debug)]
pub(crate) struct Decoder {
    batches: VecDeque<StoredBatch>,
    /// The first batch, decompressed, and how many of its records are behind.
    current: Option<(Records, usize)>,
    /// The next offset wanted.
    next: Offset,
}

impl Decoder {
    /// Decodes `batches` from the offset `from` on.
    pub(crate) fn new(batches: Batches, from: Offset) -> Result<Self, Failure> {
        let batches = match batches {
            Batches::Tail(batches) => batches.into(),
            Batches::Stored(bytes) => iter_batches(bytes)
                .collect::<Result<_, _>>()
                .map_err(|error| bad(&error))?,
        };
        Ok(Self {
            batches,
            current: None,
            next: from,
        })
    }

    /// Where to read on after what was decoded so far.
    pub(crate) fn next_offset(&self) -> Offset {
        self.next
    }

    /// Whether there is nothing left.
    pub(crate) fn is_done(&self) -> bool {
        self.current.is_none() && self.batches.is_empty()
    }

    /// Decodes into `frame` until a limit is reached or nothing is left.
    pub(crate) fn fill(&mut self, frame: &mut Decoded, limits: Limits) -> Result<(), Failure> {
        loop {
            let (records, behind) = match &mut self.current {
                Some(current) => current,
                None => {
                    let Some(batch) = self.batches.pop_front() else {
                        return Ok(());
                    };
                    let records = batch.records(DECODED_BATCH_MAX).map_err(|error| bad(&error))?;
                    self.current.insert((records, 0))
                }
            };
            let memory = records.bytes();
            for record in records.iter().skip(*behind) {
                let record = record.map_err(|error| bad(&error))?;
                if record.offset >= self.next {
                    if !frame.take(memory, &record, limits) {
                        return Ok(());
                    }
                    self.next = record.offset.next();
                }
                *behind += 1;
            }
            self.next = self.next.max(records.header().next_offset());
            self.current = None;
        }
    }
}

impl Decoded {
    /// Adds a record; false if it must wait for the next frame.
    fn take(&mut self, memory: &Bytes, record: &RecordView<'_>, limits: Limits) -> bool {
        let len = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let headers = record.headers().fold((0, 0), |(payload, overhead), header| {
            let bytes = header.key.len() + len(header.value);
            (payload + bytes, overhead + HEADER_OVERHEAD)
        });
        let payload = len(record.key) + len(record.value) + headers.0;
        let frame_bytes = payload + headers.1 + RECORD_OVERHEAD;
        let full = self.frame_bytes + frame_bytes > limits.frame_bytes
            || self.payload_bytes >= limits.payload_bytes
            || self.records.len() as u64 >= limits.records;
        if full && !self.records.is_empty() {
            return false;
        }
        self.payload_bytes += payload as u64;
        self.frame_bytes += frame_bytes;
        self.records.push(stored_record(memory, record));
        true
    }
}

fn stored_record(memory: &Bytes, record: &RecordView<'_>) -> v1::StoredRecord {
    let slice = |bytes: &[u8]| memory.slice_ref(bytes);
    let headers = record.headers().map(|header| v1::Header {
        key: header.key.to_owned(),
        value: header.value.map(slice),
    });
    v1::StoredRecord {
        offset: record.offset.get(),
        record: Some(v1::Record {
            key: record.key.map(slice),
            value: record.value.map(slice),
            headers: headers.collect(),
            timestamp_ms: Some(record.timestamp.get()),
        }),
    }
}

fn bad(error: &BatchError) -> Failure {
    Failure::new(
        ErrorCode::CorruptLog,
        format!("a stored batch cannot be decoded; consume encoded batches to pass it: {error}"),
    )
}
