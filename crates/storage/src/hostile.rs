//! What must hold of the readers in this crate for any bytes at all. Each body takes bytes as an enemy chose them and
//! panics if something does not hold: `fuzz/` runs them under a fuzzer, `tests/hostile.rs` as property tests.
//!
//! Where a checksum guards bytes, a body also mends it, so that what lies behind the check is reached.

mod data_dir;

use crate::compact::{CleanState, Intent};
use crate::log::epoch_file::{self, EpochFile};
use crate::segment::{self, Boundary, Entries, SEAL_LEN, Seal};
use quipu_record::{Offset, Timestamp};

pub use data_dir::{data_dir, flush_marks};

/// Panics if something does not hold for these bytes.
pub type Body = fn(&[u8]);

/// The bodies by the names of their fuzz targets.
pub const BODIES: &[(&str, Body)] = &[
    ("compaction_state", compaction_state),
    ("compaction_swap", compaction_swap),
    ("data_dir", data_dir),
    ("epoch_checkpoint", epoch_checkpoint),
    ("flush_marks", flush_marks),
    ("segment_index", segment_index),
    ("segment_seal", segment_seal),
];

/// A segment's index: what is believed of it rises, and look-ups find nothing past what they seek.
pub fn segment_index(data: &[u8]) {
    let Some((base, bytes)) = data.split_first_chunk() else {
        return;
    };
    let base = Offset::new(u64::from_be_bytes(*base) & i64::MAX.cast_unsigned());
    look_up(base, bytes);
    let mut mended = bytes.to_vec();
    for (number, entry) in mended.chunks_exact_mut(segment::ENTRY_LEN).enumerate() {
        let (fields, stored) = entry.split_at_mut(segment::ENTRY_LEN - 4);
        stored.copy_from_slice(&in_place(base.get(), number, fields));
    }
    look_up(base, &mended);
    let entries = Entries::new(base, &mended);
    assert!(
        (0..entries.len()).all(|number| entries.get(number).is_ok()),
        "checksums were mended"
    );
}

fn look_up(base: Offset, bytes: &[u8]) {
    let entries = Entries::new(base, bytes);
    let end = Boundary {
        position: u32::MAX,
        next: Offset::MAX,
        max_timestamp: None,
        outside: 0,
    };
    let valid = entries.valid_to(&end);
    assert!(valid.is_sorted_by(|a, b| a.next < b.next && a.position < b.position));
    for entry in &valid {
        let found = Entries::new(base, &bytes[..valid.len() * segment::ENTRY_LEN]).before_offset(entry.next);
        assert_eq!(found, Ok(Some(*entry)), "what is valid is found");
    }
    for seek in [base, base.next(), Offset::MAX] {
        if let Ok(Some(found)) = entries.before_offset(seek) {
            assert!(found.next <= seek);
        }
    }
    for time in [i64::MIN, 0, i64::MAX] {
        if let Ok(Some(found)) = entries.before_time(Timestamp::new(time)) {
            assert!(found.max_timestamp < Some(Timestamp::new(time)));
        }
    }
}

/// A segment's seal: there is one encoding of it, and no other is read.
pub fn segment_seal(data: &[u8]) {
    let mut mended = data.to_vec();
    if let Some((fields, stored)) = mended.split_at_mut_checked(SEAL_LEN - 4)
        && let Some(stored) = stored.first_chunk_mut()
    {
        *stored = crc32c::crc32c(fields).to_be_bytes();
    }
    for bytes in [data, &mended] {
        let claimed = bytes.get(8..16).and_then(|base| base.first_chunk().copied());
        let base = Offset::new(claimed.map_or(0, u64::from_be_bytes));
        if let Ok(seal) = Seal::decode(bytes, base) {
            assert_eq!(Seal::decode(&seal.encode(), base), Ok(seal));
        }
    }
}

/// What a log remembers of its compaction: there is one encoding of it, and no other is read.
pub fn compaction_state(data: &[u8]) {
    let mut right = data.to_vec();
    right.splice(..data.len().min(4), 1_u32.to_be_bytes());
    for bytes in [data, &right] {
        if let Some(state) = CleanState::decode(bytes) {
            assert_eq!(state.encode(), bytes);
            assert!(state.compacted_to <= Offset::MAX && state.purged_to <= Offset::MAX);
        }
    }
}

/// What compaction is about to replace: there is one encoding of it, and no other is read. It never names a segment twice,
/// nor one that lies before the cleaned one.
pub fn compaction_swap(data: &[u8]) {
    let mut right = data.to_vec();
    right.splice(..data.len().min(4), 1_u32.to_be_bytes());
    let mut counted = right.clone();
    let others = u32::try_from(data.len().saturating_sub(16) / 8).unwrap_or(u32::MAX);
    if let Some(count) = counted.get_mut(4..8) {
        count.copy_from_slice(&others.to_be_bytes());
    }
    for bytes in [data, &right, &counted] {
        if let Some(intent) = Intent::decode(bytes) {
            assert_eq!(intent.encode(), bytes);
            let all: Vec<_> = [intent.base].iter().chain(&intent.others).copied().collect();
            assert!(all.is_sorted_by(|a, b| a < b) && all.last() <= Some(&Offset::MAX));
        }
    }
}

/// The checkpoint of leader epochs: what is believed of its journal encodes to the same bytes, and adds up to epochs that
/// rise with their offsets.
pub fn epoch_checkpoint(data: &[u8]) {
    epochs(data);
    let mut mended = data.to_vec();
    let Some((head, entries)) = mended.split_at_mut_checked(epoch_file::HEADER_LEN) else {
        return;
    };
    let (fields, stored) = head.split_at_mut(epoch_file::HEADER_LEN - 4);
    stored.copy_from_slice(&crc32c::crc32c(fields).to_be_bytes());
    let incarnation = fields[8..16].first_chunk().copied().map_or(0, u64::from_be_bytes);
    for (number, entry) in entries.chunks_exact_mut(epoch_file::ENTRY_LEN).enumerate() {
        let (fields, stored) = entry.split_at_mut(epoch_file::ENTRY_LEN - 4);
        stored.copy_from_slice(&in_place(incarnation, number, fields));
    }
    let whole = entries.len() / epoch_file::ENTRY_LEN;
    let read = epochs(&mended);
    assert!(
        read.is_none_or(|entries| entries == whole),
        "checksums were mended"
    );
}

fn epochs(bytes: &[u8]) -> Option<usize> {
    let file = EpochFile::decode(bytes)?;
    let again = EpochFile::decode(&EpochFile::encode(file.incarnation, &file.journal))?;
    assert_eq!((&again.journal, again.bad), (&file.journal, None));
    let cache = file.cache();
    assert!(cache.entries().is_sorted_by(|a, b| a.start < b.start));
    for entry in cache.entries() {
        assert_eq!(cache.at(entry.start), Some(entry.epoch));
    }
    Some(file.journal.len())
}

/// The checksum of entry `number` of a file known by `of`.
fn in_place(of: u64, number: usize, fields: &[u8]) -> [u8; 4] {
    let place = crc32c::crc32c_append(crc32c::crc32c(&of.to_be_bytes()), &(number as u64).to_be_bytes());
    crc32c::crc32c_append(place, fields).to_be_bytes()
}
