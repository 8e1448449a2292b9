//! What must hold of the readers in this crate for any bytes at all. Each body takes bytes as an enemy chose them and
//! panics if something does not hold: `fuzz/` runs them under a fuzzer, `tests/hostile.rs` as property tests.

use crate::{
    Batch, BatchBuilder, BatchError, Codec, HEADER_LEN, Header, LeaderEpoch, Offset, Records, StoredBatch,
    Timestamp, iter_batches,
};
use bytes::Bytes;

/// Bytes that a batch may have, and decompress to.
const LIMIT: usize = 1 << 16;

/// Panics if something does not hold for these bytes.
pub type Body = fn(&[u8]);

/// The bodies by the names of their fuzz targets.
pub const BODIES: &[(&str, Body)] = &[
    ("batch", batch),
    ("records", records),
    ("stored_batches", stored_batches),
    ("zstd", zstd),
];

/// A producer's batch: as it is, then with length, checksum and fixed fields put right, so that what lies behind those
/// checks is reached too.
pub fn batch(data: &[u8]) {
    if let Ok(batch) = Batch::check(Bytes::copy_from_slice(data), LIMIT) {
        assert_eq!(batch.to_bytes(), data, "a batch is the bytes that were sent");
        taken_by_the_leader(batch);
    }
    if let Some(mended) = mended(data)
        && let Ok(batch) = Batch::check(mended, LIMIT)
    {
        taken_by_the_leader(batch);
    }
}

fn taken_by_the_leader(batch: Batch) {
    let count = batch.header().records_count();
    let summary = batch.validate_records(LIMIT);
    let read = batch.records(LIMIT).and_then(|records| read(&records));
    if let Ok(summary) = summary {
        assert_eq!(summary.count, count);
        assert!(summary.keyless <= count);
        assert!(summary.decoded_bytes <= LIMIT);
        assert!(summary.min_timestamp <= summary.max_timestamp);
        assert_eq!(read, Ok(count as usize), "what was validated reads");
    }
    for batch in [batch.clone().with_append_time(Timestamp::new(-1)), batch] {
        let stored = batch.stamp(Offset::new(7), LeaderEpoch::FIRST);
        let parsed = StoredBatch::parse(&stored.to_bytes());
        assert_eq!(parsed.as_ref(), Ok(&stored), "what was stamped reads as stored");
        assert_eq!(stored.next_offset(), Offset::new(7).plus(u64::from(count)));
    }
}

/// Stored batches in a row: as they are, then cut in two and each put right.
pub fn stored_batches(data: &[u8]) {
    walk(Bytes::copy_from_slice(data));
    let Some((&at, rest)) = data.split_first() else {
        return;
    };
    let (one, two) = rest.split_at(rest.len() * usize::from(at) / 256);
    let stored = |bytes, base| {
        let batch = Batch::check(mended(bytes)?, LIMIT).ok()?;
        Some(batch.stamp(Offset::new(base), LeaderEpoch::FIRST).to_bytes())
    };
    let log: Vec<u8> = [stored(one, 0), stored(two, u64::from(at) << 8)]
        .into_iter()
        .flatten()
        .flatten()
        .collect();
    walk(log.into());
}

fn walk(log: Bytes) {
    let mut walk = iter_batches(log.clone());
    let mut next = Offset::ZERO;
    let mut at = 0;
    while let Some(batch) = walk.next() {
        let Ok(batch) = batch else {
            assert!(walk.next().is_none(), "a walk ends at its first error");
            break;
        };
        assert!(batch.base_offset() >= next && batch.next_offset() > batch.base_offset());
        next = batch.next_offset();
        assert_eq!(log[at..at + batch.len()], batch.to_bytes());
        at += batch.len();
        if let Ok(records) = batch.records(LIMIT) {
            let _ = read(&records);
        }
    }
    assert_eq!(walk.position(), at);
}

/// The records of a batch, of which the bytes after the first two are the encoding and those two the number.
pub fn records(data: &[u8]) {
    let Some((count, body)) = data.split_first_chunk() else {
        return;
    };
    let count = u32::from(u16::from_be_bytes(*count)) + 1;
    let batch = Batch::check(around(Codec::None, count, body), LIMIT);
    let Ok(batch) = batch else { return };
    let records = batch.records(LIMIT).expect("nothing is compressed");
    let validated = batch.validate_records(LIMIT);
    if read(&records).is_ok() && !matches!(validated, Err(BatchError::WrongMaxTimestamp { .. })) {
        assert_eq!(
            validated.map(|summary| summary.count),
            Ok(count),
            "as many rising offsets as there are places leave no gap"
        );
    }
    built_again(&records);
}

/// Records that read are the same after a builder encoded them.
fn built_again(records: &Records) {
    let mut builder = BatchBuilder::new(Codec::None, 0);
    let mut pushed = Vec::new();
    for record in records.iter().map_while(Result::ok) {
        let headers: Vec<Header<'_>> = record.headers().collect();
        if builder
            .push(record.timestamp, record.key, record.value, &headers)
            .is_err()
        {
            break;
        }
        pushed.push(record);
    }
    let Ok(bytes) = builder.finish(None) else { return };
    let batch = Batch::check(bytes, usize::MAX).expect("a builder's batch is sound");
    batch.validate_records(usize::MAX).expect("and its records are");
    let again = batch.records(usize::MAX).expect("nothing is compressed");
    assert_eq!(again.iter().count(), pushed.len());
    for (record, again) in pushed.into_iter().zip(&again) {
        let again = again.expect("they were validated");
        assert_eq!(
            (record.timestamp, record.key, record.value),
            (again.timestamp, again.key, again.value)
        );
        assert!(record.headers().eq(again.headers()));
    }
}

/// zstd: no frame makes more than the limit, and what it makes is read as records.
pub fn zstd(data: &[u8]) {
    let Ok(batch) = Batch::check(around(Codec::Zstd, 1, data), LIMIT) else {
        return;
    };
    for limit in [100, LIMIT] {
        if let Ok(records) = batch.records(limit) {
            assert!(records.bytes().len() <= limit);
        }
    }
    taken_by_the_leader(batch);
}

/// Goes through all of every record, and says how many there are.
fn read(records: &Records) -> Result<usize, BatchError> {
    let mut count = 0;
    let mut least = records.header().base_offset();
    for record in records {
        let record = record?;
        assert!(record.offset >= least && record.offset <= records.header().last_offset());
        least = record.offset.next();
        assert_eq!(
            record.headers().count(),
            record.headers().len(),
            "headers were checked with their record"
        );
        count += 1;
    }
    assert_eq!(count, records.header().records_count());
    Ok(count as usize)
}

/// `data` as a batch whose header holds what it must; `None` if it is too short.
fn mended(data: &[u8]) -> Option<Bytes> {
    let head = data.first_chunk::<HEADER_LEN>()?;
    // One of the two codecs that are read, and no more records than a fuzzer can hope to write.
    let codec = if head[22] & 4 == 0 {
        Codec::None
    } else {
        Codec::Zstd
    };
    let count = u32::from(head[60]) + 1;
    let mut bytes = around(codec, count, &data[HEADER_LEN..]).to_vec();
    bytes[27..57].copy_from_slice(&head[27..57]);
    Some(with_right_checksum(bytes))
}

/// A producer's batch around encoded records.
fn around(codec: Codec, count: u32, body: &[u8]) -> Bytes {
    let mut bytes = vec![0; HEADER_LEN];
    bytes.extend_from_slice(body);
    let length = u32::try_from(bytes.len() - 12).expect("a fuzzer's input is short");
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[16] = 2;
    bytes[22] = codec.number();
    bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
    bytes[43..57].fill(0xff);
    bytes[57..61].copy_from_slice(&count.to_be_bytes());
    with_right_checksum(bytes)
}

fn with_right_checksum(mut bytes: Vec<u8>) -> Bytes {
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}
