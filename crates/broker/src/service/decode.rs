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

#[cfg(test)]
mod tests {
    use super::*;
    use quipu_record::{Batch, BatchBuilder, Codec, LeaderEpoch, Timestamp};

    const NO_LIMIT: Limits = Limits {
        frame_bytes: usize::MAX,
        payload_bytes: u64::MAX,
        records: u64::MAX,
    };

    fn batch(base: u64, values: &[&str], codec: Codec) -> StoredBatch {
        let mut builder = BatchBuilder::new(codec, 1024);
        for value in values {
            let time = Timestamp::new(1);
            builder
                .push(time, Some(b"k"), Some(value.as_bytes()), &[])
                .expect("it fits");
        }
        let bytes = builder.finish(None).expect("a batch");
        let batch = Batch::check(bytes, 1 << 20).expect("a batch");
        batch.stamp(Offset::new(base), LeaderEpoch::FIRST)
    }

    fn offsets(decoded: &Decoded) -> Vec<u64> {
        decoded.records.iter().map(|record| record.offset).collect()
    }

    #[test]
    fn begins_in_the_middle_of_a_batch_and_goes_on_in_the_next_frame() {
        for codec in [Codec::None, Codec::Zstd] {
            let batches = vec![
                batch(10, &["a", "b", "c"], codec),
                batch(13, &["d"], codec),
                batch(14, &["e", "f"], codec),
            ];
            let mut decoder = Decoder::new(Batches::Tail(batches), Offset::new(11)).expect("batches");
            let two = Limits {
                records: 2,
                ..NO_LIMIT
            };
            for (expected, next, done) in [
                (vec![11, 12], 13, false),
                (vec![13, 14], 15, false),
                (vec![15], 16, true),
            ] {
                let mut frame = Decoded::default();
                decoder.fill(&mut frame, two).expect("records");
                assert_eq!(offsets(&frame), expected);
                assert_eq!((decoder.next_offset().get(), decoder.is_done()), (next, done));
            }
        }
    }

    #[test]
    fn stored_bytes_and_the_tail_decode_alike() {
        let batches = vec![batch(0, &["a", "b"], Codec::None), batch(2, &["c"], Codec::Zstd)];
        let stored: Vec<u8> = batches
            .iter()
            .flat_map(|batch| batch.to_bytes().to_vec())
            .collect();
        let decode = |batches| {
            let mut frame = Decoded::default();
            let mut decoder = Decoder::new(batches, Offset::ZERO).expect("batches");
            decoder.fill(&mut frame, NO_LIMIT).expect("records");
            frame.records
        };
        assert_eq!(
            decode(Batches::Stored(stored.into())),
            decode(Batches::Tail(batches))
        );
    }

    #[test]
    fn one_record_is_given_whatever_its_size_and_no_other_passes_a_limit() {
        let batches = || Batches::Tail(vec![batch(0, &["12345", "12345", "12345"], Codec::None)]);
        for (limits, count) in [
            (
                Limits {
                    frame_bytes: 1,
                    ..NO_LIMIT
                },
                1,
            ),
            (
                Limits {
                    frame_bytes: 2 * (6 + RECORD_OVERHEAD),
                    ..NO_LIMIT
                },
                2,
            ),
            (
                Limits {
                    payload_bytes: 0,
                    ..NO_LIMIT
                },
                1,
            ),
            (
                Limits {
                    payload_bytes: 7,
                    ..NO_LIMIT
                },
                2,
            ),
            (
                Limits {
                    payload_bytes: 6,
                    ..NO_LIMIT
                },
                1,
            ),
        ] {
            let mut frame = Decoded::default();
            let mut decoder = Decoder::new(batches(), Offset::ZERO).expect("a batch");
            decoder.fill(&mut frame, limits).expect("records");
            assert_eq!(frame.records.len(), count, "{limits:?}");
            assert_eq!(frame.payload_bytes, 6 * count as u64);
        }
    }

    #[test]
    fn a_frame_is_never_larger_than_it_says() {
        use prost::Message;
        let values: Vec<String> = (0..100).map(|n| "v".repeat(n * 37 % 1000)).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let mut frame = Decoded::default();
        let batches = Batches::Tail(vec![batch(1 << 60, &values, Codec::None)]);
        let mut decoder = Decoder::new(batches, Offset::ZERO).expect("a batch");
        decoder.fill(&mut frame, NO_LIMIT).expect("records");
        let data = v1::PartitionData {
            records: frame.records,
            ..v1::PartitionData::default()
        };
        assert!(
            data.encoded_len() <= frame.frame_bytes,
            "{} > {}",
            data.encoded_len(),
            frame.frame_bytes
        );
    }
}
