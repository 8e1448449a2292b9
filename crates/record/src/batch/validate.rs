//! The walk over every record of a batch from a producer: the broker's hot path.

use super::compression;
use super::error::BatchError;
use super::header::{BatchHeader, Codec, TimestampType};
use super::records::{left_over, take_record};
use crate::Timestamp;

/// The least a record takes: six varints of a byte each and its attributes.
const RECORD_MIN: usize = 7;

/// What a walk over a batch's records found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordsSummary {
    /// How many records.
    pub count: u32,
    /// How many of them have no key; a compacted topic takes none such.
    pub keyless: u32,
    /// The earliest timestamp.
    pub min_timestamp: Timestamp,
    /// The latest timestamp.
    pub max_timestamp: Timestamp,
    /// Bytes of the records once decompressed.
    pub decoded_bytes: usize,
}

pub(super) fn producers_records(
    header: &BatchHeader,
    body: &[u8],
    max_decoded: usize,
) -> Result<RecordsSummary, BatchError> {
    let summary = match header.codec() {
        Codec::None if body.len() > max_decoded => {
            return Err(BatchError::DecodedTooLarge { limit: max_decoded });
        }
        Codec::None => walk(header, body)?,
        Codec::Zstd => compression::with_decompressed(body, max_decoded, |plain| walk(header, plain))?,
    };
    match header.timestamp_type() {
        TimestampType::LogAppend => Ok(RecordsSummary {
            min_timestamp: header.max_timestamp(),
            max_timestamp: header.max_timestamp(),
            ..summary
        }),
        TimestampType::Create if header.max_timestamp() == summary.max_timestamp => Ok(summary),
        TimestampType::Create => Err(BatchError::WrongMaxTimestamp {
            claimed: header.max_timestamp(),
            actual: summary.max_timestamp,
        }),
    }
}

fn walk(header: &BatchHeader, plain: &[u8]) -> Result<RecordsSummary, BatchError> {
    let count = header.records_count();
    if plain.len() / RECORD_MIN < count as usize {
        return Err(BatchError::WrongCount {
            claimed: count,
            bytes: plain.len(),
            fault: "have no room for so many",
        });
    }
    let base = header.base_timestamp();
    let mut rest = plain;
    let mut keyless = 0;
    let mut min_timestamp = Timestamp::new(i64::MAX);
    let mut max_timestamp = Timestamp::new(i64::MIN);
    for index in 0..count {
        let bad = |fault| BatchError::BadRecord { index, fault };
        let record = take_record(&mut rest).map_err(bad)?;
        if i64::from(record.offset_delta) != i64::from(index) {
            return Err(bad("its offset is not its place in the batch"));
        }
        let timestamp = record.timestamp(base).map_err(bad)?;
        min_timestamp = min_timestamp.min(timestamp);
        max_timestamp = max_timestamp.max(timestamp);
        keyless += u32::from(record.key.is_none());
    }
    if !rest.is_empty() {
        return Err(left_over(header, plain.len()));
    }
    Ok(RecordsSummary {
        count,
        keyless,
        min_timestamp,
        max_timestamp,
        decoded_bytes: plain.len(),
    })
}
