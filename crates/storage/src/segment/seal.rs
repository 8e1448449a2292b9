//! What is written beside a segment when it is complete: how long it is, how far it reaches, the checksum over the bytes
//! that batches' own checksums leave out. It is known as the last batch is appended; nothing is read again for it.

use super::boundary::{BOUNDARY_LEN, Boundary};
use bytes::{Buf, BufMut};
use quipu_record::{Offset, Timestamp};

const MAGIC: u32 = u32::from_be_bytes(*b"QSEG");
const VERSION: u16 = 1;
/// The size of a seal.
pub(crate) const SEAL_LEN: usize = 4 + 2 + 2 + 8 + BOUNDARY_LEN + 8 + 4 + 4;

/// A complete segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Seal {
    /// Its first offset.
    pub(crate) base: Offset,
    /// Its end.
    pub(crate) end: Boundary,
    /// When it was begun, by the broker's clock.
    pub(crate) created: Timestamp,
    /// How many entries its index has.
    pub(crate) index_entries: u32,
}

impl Seal {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SEAL_LEN);
        bytes.put_u32(MAGIC);
        bytes.put_u16(VERSION);
        bytes.put_u16(0);
        bytes.put_u64(self.base.get());
        self.end.encode(&mut bytes);
        bytes.put_i64(self.created.get());
        bytes.put_u32(self.index_entries);
        bytes.put_u32(crc32c::crc32c(&bytes));
        bytes
    }

    /// Reads a seal of the segment at `base`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn decode(bytes: &[u8], base: Offset) -> Result<Self, &'static str> {
        let Some((body, stored)) = bytes.split_last_chunk::<4>().filter(|_| bytes.len() == SEAL_LEN) else {
            return Err("the seal has the wrong length");
        };
        if crc32c::crc32c(body).to_be_bytes() != *stored {
            return Err("the seal's checksum does not match");
        }
        let mut body = body;
        if body.get_u32() != MAGIC || body.get_u16() != VERSION {
            return Err("the seal is of a version that is not known");
        }
        body.advance(2);
        let seal = Self {
            base: Offset::new(body.get_u64()),
            end: Boundary::decode(&mut body),
            created: Timestamp::new(body.get_i64()),
            index_entries: body.get_u32(),
        };
        if seal.base == base {
            Ok(seal)
        } else {
            Err("the seal is another segment's")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_reads_back_and_every_flipped_bit_and_cut_is_seen() {
        let seal = Seal {
            base: Offset::new(5),
            end: Boundary {
                position: 1234,
                next: Offset::new(99),
                max_timestamp: None,
                outside: 77,
            },
            created: Timestamp::new(-3),
            index_entries: 4,
        };
        let bytes = seal.encode();
        assert_eq!(bytes.len(), SEAL_LEN);
        assert_eq!(Seal::decode(&bytes, seal.base), Ok(seal));
        assert!(Seal::decode(&bytes, Offset::new(6)).is_err());
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Seal::decode(&bad, seal.base).is_err(), "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert!(Seal::decode(&bytes[..cut], seal.base).is_err(), "cut {cut}");
        }
    }
}
