//! Values as bytes and back: a value is its number and a filling that follows from it, so that damage shows.

use bytes::Bytes;
use quipu_checker::{ReadRecord, Value, ValueId};
use quipu_record::{BatchBuilder, Codec, ProducerStamp, StoredBatch, Timestamp};

/// More than any batch of the simulation decodes to.
pub(crate) const DECODED_MAX: usize = 1 << 20;

/// The bytes of a value.
fn bytes_of(id: ValueId) -> Vec<u8> {
    let filling = usize::try_from(id.0 % 97).unwrap_or_default();
    let mut bytes = id.0.to_be_bytes().to_vec();
    let pattern = id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    bytes.extend(pattern.iter().cycle().take(filling));
    bytes
}

/// A value as the history knows it.
pub(crate) fn value(id: ValueId) -> Value {
    let hash = crc32c::crc32c(&bytes_of(id));
    Value { id, hash }
}

/// One batch with these values, as a client sends it.
pub(crate) fn batch(values: &[Value], time: Timestamp, stamp: Option<ProducerStamp>) -> Bytes {
    let codec = if values.len() > 2 {
        Codec::Zstd
    } else {
        Codec::None
    };
    let mut builder = BatchBuilder::new(codec, 256);
    for value in values {
        builder
            .push(time, None, Some(&bytes_of(value.id)), &[])
            .unwrap_or_else(|error| unreachable!("a small record: {error}"));
    }
    builder
        .finish(stamp)
        .unwrap_or_else(|error| unreachable!("a small batch: {error}"))
}

/// The values of a stored batch, as a consumer sees them.
///
/// # Errors
/// What is wrong with the records.
pub(crate) fn read(batch: &StoredBatch, into: &mut Vec<ReadRecord>) -> Result<(), quipu_record::BatchError> {
    for record in &batch.records(DECODED_MAX)? {
        let record = record?;
        let bytes = record.value.unwrap_or_default();
        let id = bytes
            .first_chunk::<8>()
            .map(|id| ValueId(u64::from_be_bytes(*id)));
        into.push(ReadRecord {
            offset: record.offset,
            value: id,
            hash: crc32c::crc32c(bytes),
        });
    }
    Ok(())
}
