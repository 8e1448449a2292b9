//! What compaction leaves of a batch. Offsets, epoch and producer stay: only records go.

use super::compression;
use super::error::BatchError;
use super::header::{BatchHeader, Codec, TimestampType};
use super::records::{RecordView, Records, take_record};
use super::stored::StoredBatch;
use super::varint::{self, ENCODED_BITS_MAX, zigzag32, zigzag64};
use crate::Timestamp;
use bytes::Bytes;

/// What is left of a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rewritten {
    /// All of it, as it is.
    Whole,
    /// This.
    Part(StoredBatch),
    /// No record.
    Nothing,
}

impl StoredBatch {
    /// The batch without the records that `keep` does not want, its offsets as they are. With `horizon`, a batch that
    /// keeps a tombstone and has no delete horizon yet gets this one.
    ///
    /// # Errors
    /// [`BatchError`] if the records, decompressed to at most `max_decoded` bytes, are not what they must be.
    pub fn retain(
        &self,
        max_decoded: usize,
        horizon: Option<Timestamp>,
        mut keep: impl FnMut(&RecordView<'_>) -> bool,
    ) -> Result<Rewritten, BatchError> {
        let records = self.records(max_decoded)?;
        let mut kept = Vec::new();
        let (mut count, mut tombstones, mut total) = (0u32, false, 0u32);
        let mut max_timestamp = Timestamp::new(i64::MIN);
        let mut iter = records.iter();
        let mut position = 0;
        while let Some(record) = iter.next() {
            let record = record?;
            let end = records.bytes().len() - iter.bytes_left();
            total += 1;
            if keep(&record) {
                count += 1;
                tombstones |= record.key.is_some() && record.value.is_none();
                max_timestamp = max_timestamp.max(record.timestamp);
                push_span(&mut kept, position, end);
            }
            position = end;
        }
        if count == 0 {
            return Ok(Rewritten::Nothing);
        }
        let header = self.header();
        let horizon = horizon.filter(|_| tombstones && !header.has_delete_horizon());
        let moved = horizon.and_then(|horizon| {
            let plain = with_base(header, &records, &kept, horizon)?;
            Some((plain, horizon))
        });
        if count == total && moved.is_none() {
            return Ok(Rewritten::Whole);
        }
        let max_timestamp = match header.timestamp_type() {
            TimestampType::LogAppend => header.max_timestamp(),
            TimestampType::Create => max_timestamp,
        };
        let (plain, horizon) = match moved {
            Some((plain, horizon)) => (plain, Some(horizon)),
            None => (spans(&records, &kept), None),
        };
        let assemble = |body: &[u8]| {
            let header = header.rewritten(header.codec(), count, horizon, max_timestamp, body);
            Ok(Self::assemble(header, Bytes::copy_from_slice(body)))
        };
        let batch = match header.codec() {
            Codec::None => assemble(&plain),
            Codec::Zstd => compression::with_compressed(&plain, assemble),
        }?;
        Ok(Rewritten::Part(batch))
    }

    /// The batch without any record: its offsets, its producer and its time are all that it says.
    #[must_use]
    pub fn emptied(&self) -> Self {
        let header = self.header();
        let header = header.rewritten(Codec::None, 0, None, header.max_timestamp(), &[]);
        Self::assemble(header, Bytes::new())
    }
}

/// Records side by side are one span.
fn push_span(spans: &mut Vec<(usize, usize)>, from: usize, to: usize) {
    match spans.last_mut() {
        Some(last) if last.1 == from => last.1 = to,
        _ => spans.push((from, to)),
    }
}

fn spans(records: &Records, kept: &[(usize, usize)]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(kept.iter().map(|(from, to)| to - from).sum());
    for (from, to) in kept {
        plain.extend_from_slice(&records.bytes()[*from..*to]);
    }
    plain
}

/// The records with their times counted from `base`; `None` if one lies too far from it.
fn with_base(
    header: &BatchHeader,
    records: &Records,
    kept: &[(usize, usize)],
    base: Timestamp,
) -> Option<Vec<u8>> {
    let spans = spans(records, kept);
    if header.timestamp_type() == TimestampType::LogAppend {
        // Their times are the batch's.
        return Some(spans);
    }
    let mut plain = Vec::with_capacity(spans.len() + spans.len() / 8);
    let mut rest: &[u8] = &spans;
    while !rest.is_empty() {
        let before = rest;
        let record = take_record(&mut rest).ok()?;
        let whole = &before[..before.len() - rest.len()];
        let time = record.timestamp(header.base_timestamp()).ok()?;
        let delta = zigzag64(time.get().checked_sub(base.get())?);
        if delta >> ENCODED_BITS_MAX != 0 {
            return None;
        }
        let (time, offset) = (
            varint::encode(delta),
            varint::encode(u64::from(zigzag32(record.offset_delta))),
        );
        let fields = fields_after_offset(whole)?;
        let len = u64::try_from(1 + time.len + offset.len + fields.len()).ok()? << 1;
        let len = varint::encode(len);
        plain.extend_from_slice(&len.bytes[..len.len]);
        plain.push(0);
        plain.extend_from_slice(&time.bytes[..time.len]);
        plain.extend_from_slice(&offset.bytes[..offset.len]);
        plain.extend_from_slice(fields);
    }
    Some(plain)
}

/// What an encoded record has after its offset: key, value, headers.
fn fields_after_offset(mut record: &[u8]) -> Option<&[u8]> {
    varint::take_i32(&mut record).ok()?;
    let mut fields = record.split_first()?.1;
    varint::take_i64(&mut fields).ok()?;
    varint::take_i32(&mut fields).ok()?;
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Batch, BatchBuilder, LeaderEpoch, Offset, ProducerEpoch, ProducerId, ProducerStamp, Sequence,
    };

    const MAX: usize = 1 << 20;

    fn stored(codec: Codec, records: &[(&str, Option<&str>, i64)]) -> StoredBatch {
        let mut builder = BatchBuilder::new(codec, 512);
        for (key, value, time) in records {
            let header = super::super::records::Header {
                key: "h",
                value: None,
            };
            builder
                .push(
                    Timestamp::new(*time),
                    Some(key.as_bytes()),
                    value.map(str::as_bytes),
                    &[header],
                )
                .unwrap();
        }
        let stamp = ProducerStamp {
            id: ProducerId::new(7),
            epoch: ProducerEpoch::new(1),
            base_sequence: Sequence::new(40),
        };
        let batch = Batch::check(builder.finish(Some(stamp)).unwrap(), MAX).unwrap();
        batch.stamp(Offset::new(100), LeaderEpoch::new(3))
    }

    fn seen(batch: &StoredBatch) -> Vec<(u64, i64, String, Option<String>, usize)> {
        let parsed = StoredBatch::parse(&batch.to_bytes()).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let records = parsed.records(MAX).unwrap();
        let read = records.iter().map(|record| {
            let record = record.unwrap();
            let key = text(record.key.unwrap());
            (
                record.offset.get(),
                record.timestamp.get(),
                key,
                record.value.map(text),
                record.headers().len(),
            )
        });
        read.collect()
    }

    #[test]
    fn records_go_and_offsets_times_and_producer_stay() {
        for codec in [Codec::None, Codec::Zstd] {
            let batch = stored(
                codec,
                &[("a", Some("1"), 50), ("b", None, 90), ("c", Some("3"), 70)],
            );
            let all = seen(&batch);
            assert_eq!(batch.retain(MAX, None, |_| true), Ok(Rewritten::Whole));
            assert_eq!(batch.retain(MAX, None, |_| false), Ok(Rewritten::Nothing));
            for kept in 1..7u64 {
                let part = batch
                    .retain(MAX, None, |it| kept >> (it.offset.get() - 100) & 1 == 1)
                    .unwrap();
                let Rewritten::Part(part) = part else {
                    panic!("{part:?}")
                };
                let wanted: Vec<_> = all
                    .iter()
                    .filter(|it| kept >> (it.0 - 100) & 1 == 1)
                    .cloned()
                    .collect();
                assert_eq!(seen(&part), wanted);
                assert_eq!(
                    (part.base_offset(), part.next_offset()),
                    (batch.base_offset(), batch.next_offset())
                );
                assert_eq!(part.header().producer(), batch.header().producer());
                assert_eq!(part.leader_epoch(), batch.leader_epoch());
                assert_eq!(
                    Some(part.header().max_timestamp().get()),
                    wanted.iter().map(|it| it.1).max()
                );
            }
        }
    }

    #[test]
    fn a_batch_with_a_tombstone_gets_a_delete_horizon_once() {
        for codec in [Codec::None, Codec::Zstd] {
            let batch = stored(codec, &[("a", Some("1"), 50), ("b", None, 90)]);
            let horizon = Timestamp::new(1_700_000_000_000);
            let Ok(Rewritten::Part(part)) = batch.retain(MAX, Some(horizon), |_| true) else {
                panic!()
            };
            assert_eq!(seen(&part), seen(&batch));
            assert!(part.header().has_delete_horizon());
            assert_eq!(part.header().base_timestamp(), horizon);
            let later = Some(horizon.plus_millis(5));
            assert_eq!(part.retain(MAX, later, |_| true), Ok(Rewritten::Whole));
            let Ok(Rewritten::Part(rest)) = part.retain(MAX, later, |it| it.value.is_none()) else {
                panic!()
            };
            assert_eq!(seen(&rest), seen(&batch)[1..]);
            assert_eq!(rest.header().base_timestamp(), horizon);
            let none = stored(codec, &[("a", Some("1"), 50)]);
            assert_eq!(none.retain(MAX, Some(horizon), |_| true), Ok(Rewritten::Whole));
            let far = stored(codec, &[("a", None, i64::MIN + 1)]);
            assert_eq!(far.retain(MAX, Some(horizon), |_| true), Ok(Rewritten::Whole));
        }
    }

    #[test]
    fn an_emptied_batch_says_where_it_stood_and_whose_it_was() {
        let batch = stored(Codec::Zstd, &[("a", Some("1"), 50), ("b", None, 90)]);
        let empty = StoredBatch::parse(&batch.emptied().to_bytes()).unwrap();
        assert_eq!(
            (empty.base_offset(), empty.next_offset()),
            (batch.base_offset(), batch.next_offset())
        );
        assert_eq!(empty.header().producer(), batch.header().producer());
        assert_eq!(empty.header().max_timestamp(), batch.header().max_timestamp());
        assert_eq!((empty.len(), empty.header().records_count()), (61, 0));
        assert_eq!(seen(&empty), []);
    }
}
