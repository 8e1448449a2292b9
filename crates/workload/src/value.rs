//! Values: bytes that name themselves, and a hash that sender and reader share.

use quipu_checker::{ReadRecord, Value, ValueId};
use quipu_client::{FetchedBatch, Offset, RecordView};

/// The bytes before the filler: the value's name.
const NAME_BYTES: usize = 8;

/// FNV-1a: any function will do that sender and reader share.
fn hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

/// A value's bytes: its name, and filler that differs from value to value. `bytes` long, or as long as the name if that
/// is longer.
#[must_use]
pub fn value_bytes(id: ValueId, bytes: usize) -> Vec<u8> {
    let mut value = id.0.to_be_bytes().to_vec();
    value.resize(bytes.max(NAME_BYTES), id.0.to_le_bytes()[0]);
    value
}

/// A value as the history knows it.
#[must_use]
pub fn value_of(id: ValueId, bytes: &[u8]) -> Value {
    Value {
        id,
        hash: hash(bytes),
    }
}

fn read_record(record: &RecordView<'_>) -> ReadRecord {
    let bytes = record.value.unwrap_or_default();
    let name = bytes.first_chunk::<NAME_BYTES>();
    ReadRecord {
        offset: record.offset,
        value: name.map(|name| ValueId(u64::from_be_bytes(*name))),
        hash: hash(bytes),
    }
}

/// A batch as the history knows it. Where it is malformed inside, a record stands that names no value: its checksum was
/// right, so that nobody but the sender can have made it so.
#[must_use]
pub fn read_records(batch: &FetchedBatch) -> Vec<ReadRecord> {
    let mut next = batch.next_offset();
    let records = batch.iter().map(|record| match record {
        Ok(record) => {
            next = record.offset.next();
            read_record(&record)
        }
        Err(_) => damaged_at(next),
    });
    records.collect()
}

/// What stands in the history where no value can be told.
pub(crate) const fn damaged_at(offset: Offset) -> ReadRecord {
    ReadRecord {
        offset,
        value: None,
        hash: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_names_itself_whatever_its_length() {
        for (id, length) in [(0, 0), (1, 8), (u64::MAX, 300)] {
            let bytes = value_bytes(ValueId(id), length);
            assert_eq!(bytes.len(), length.max(NAME_BYTES));
            assert_eq!(bytes[..NAME_BYTES], id.to_be_bytes());
        }
        let (one, other) = (value_bytes(ValueId(1), 20), value_bytes(ValueId(1), 21));
        assert_ne!(value_of(ValueId(1), &one).hash, value_of(ValueId(1), &other).hash);
    }
}
