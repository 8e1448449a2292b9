//! Batches for tests, made by hand where their records do not matter.

use bytes::{BufMut, Bytes, BytesMut};
use quipu_record::{HEADER_LEN, StoredBatch};

/// A stored batch at `base` of `count` records that are no records, of `size` bytes in all.
pub(crate) fn stored(base: u64, count: u32, size: usize) -> StoredBatch {
    let mut bytes = BytesMut::with_capacity(size);
    bytes.put_u64(base);
    bytes.put_u32(u32::try_from(size - 12).expect("small"));
    bytes.put_u32(0);
    bytes.put_u8(2);
    bytes.put_u32(0);
    bytes.put_u16(0);
    bytes.put_u32(count - 1);
    bytes.put_i64(0);
    bytes.put_i64(0);
    bytes.put_i64(-1);
    bytes.put_i16(-1);
    bytes.put_i32(-1);
    bytes.put_u32(count);
    assert_eq!(bytes.len(), HEADER_LEN);
    bytes.resize(size, b'x');
    let crc = crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    StoredBatch::parse(&Bytes::from(bytes)).expect("a batch")
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
        })
    })
}
