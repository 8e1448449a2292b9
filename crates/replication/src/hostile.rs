//! What must hold of the readers in this crate for any bytes at all. Each body takes bytes as an enemy chose them and
//! panics if something does not hold: `fuzz/` runs them under a fuzzer, `tests/hostile.rs` as property tests.

use crate::rules::producers::snapshot::{decode, encode};
use quipu_record::Offset;

/// Panics if something does not hold for these bytes.
pub type Body = fn(&[u8]);

/// The bodies by the names of their fuzz targets.
pub const BODIES: &[(&str, Body)] = &[("producer_snapshot", producer_snapshot)];

/// A producer snapshot, as it is and with a right checksum: there is one encoding of a state, and no other is read.
pub fn producer_snapshot(data: &[u8]) {
    let mut mended = data.to_vec();
    if let Some(end) = data.len().checked_sub(4) {
        let crc = crc32c::crc32c(&data[..end]);
        mended[end..].copy_from_slice(&crc.to_be_bytes());
    }
    for bytes in [data, &mended] {
        // The place that it claims, so that the check of the place is passed.
        let claimed = bytes.get(4..12).and_then(|at| at.first_chunk().copied());
        let log_end = Offset::new(claimed.map_or(0, u64::from_be_bytes));
        if let Ok(producers) = decode(bytes, log_end) {
            assert_eq!(encode(&producers, log_end), bytes);
        }
    }
}
