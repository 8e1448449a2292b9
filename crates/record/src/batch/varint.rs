//! Zig-zag LEB128, as records use it: at most 5 bytes for 32 bits, 10 for 64.

/// The longest 32-bit varint.
pub(super) const VARINT_MAX: usize = 5;
/// The longest 64-bit varint.
pub(super) const VARLONG_MAX: usize = 10;

const CUT_OFF: &str = "a varint is cut off";
const TOO_LONG: &str = "a varint has more bits than its field";

pub(super) const fn zigzag32(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)).cast_unsigned()
}

pub(super) const fn zigzag64(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

const fn unzigzag32(raw: u32) -> i32 {
    (raw >> 1).cast_signed() ^ -((raw & 1).cast_signed())
}

const fn unzigzag64(raw: u64) -> i64 {
    (raw >> 1).cast_signed() ^ -((raw & 1).cast_signed())
}

/// Bits at most of a raw varint that is written. (Read are all that the format allows.)
pub(super) const ENCODED_BITS_MAX: u32 = 56;

/// A varint put together in a register, to be written with one store.
#[derive(Clone, Copy)]
pub(super) struct Encoded {
    /// Its bytes, lowest first, then zeros.
    pub(super) bytes: [u8; 8],
    /// How many of them count.
    pub(super) len: usize,
}

/// Encodes a raw (already zig-zagged) varint of at most [`ENCODED_BITS_MAX`] bits; of a longer one, the lowest.
#[inline(always)]
pub(super) fn encode(raw: u64) -> Encoded {
    let (bits, len) = if raw < 0x80 {
        (raw, 1)
    } else if raw < 0x4000 {
        (raw & 0x7f | 0x80 | raw >> 7 << 8, 2)
    } else {
        encode_long(raw)
    };
    Encoded {
        bytes: bits.to_le_bytes(),
        len,
    }
}

#[inline(never)]
fn encode_long(mut raw: u64) -> (u64, usize) {
    let (mut bits, mut len) = (0, 0);
    while raw >= 0x80 && len < 7 {
        bits |= (raw & 0x7f | 0x80) << (8 * len);
        raw >>= 7;
        len += 1;
    }
    (bits | (raw & 0x7f) << (8 * len), len + 1)
}
/// Puts a varint into `out` and returns the place after it.
#[inline(always)]
pub(super) fn put<const N: usize>(out: &mut [u8; N], at: usize, varint: Encoded) -> usize {
    out[at..at + 8].copy_from_slice(&varint.bytes);
    at + varint.len
}

/// Takes a 32-bit varint off the front.
#[inline(always)]
pub(super) fn take_i32(bytes: &mut &[u8]) -> Result<i32, &'static str> {
    match **bytes {
        [a, ref rest @ ..] if a < 0x80 => {
            *bytes = rest;
            Ok(unzigzag32(u32::from(a)))
        }
        [a, b, ref rest @ ..] if b < 0x80 => {
            *bytes = rest;
            Ok(unzigzag32(u32::from(a & 0x7f) | u32::from(b) << 7))
        }
        _ => take_raw(bytes, VARINT_MAX, 32).map(|raw| unzigzag32((raw & 0xffff_ffff) as u32)),
    }
}

/// Takes a 64-bit varint off the front.
#[inline(always)]
pub(super) fn take_i64(bytes: &mut &[u8]) -> Result<i64, &'static str> {
    match **bytes {
        [a, ref rest @ ..] if a < 0x80 => {
            *bytes = rest;
            Ok(unzigzag64(u64::from(a)))
        }
        [a, b, ref rest @ ..] if b < 0x80 => {
            *bytes = rest;
            Ok(unzigzag64(u64::from(a & 0x7f) | u64::from(b) << 7))
        }
        _ => take_raw(bytes, VARLONG_MAX, 64).map(unzigzag64),
    }
}

#[inline(always)]
fn take_raw(bytes: &mut &[u8], max_len: usize, bits: u32) -> Result<u64, &'static str> {
    if let Some((raw, len)) = bytes.first_chunk().and_then(front)
        && len <= max_len
        && (bits == u64::BITS || raw >> bits == 0)
    {
        *bytes = &bytes[len..];
        return Ok(raw);
    }
    take_bytewise(bytes, max_len, bits)
}

/// The varint at the front of eight bytes, and its length, without a loop; `None` if it is longer than they.
#[inline(always)]
const fn front(bytes: &[u8; 8]) -> Option<(u64, usize)> {
    let word = u64::from_le_bytes(*bytes);
    let ends = !word & 0x8080_8080_8080_8080;
    if ends == 0 {
        return None;
    }
    // What lies up to and with the first end, without the marks; then pairs of 7 bits, of 14, and of 28 close up.
    let x = word & (ends ^ (ends - 1)) & 0x7f7f_7f7f_7f7f_7f7f;
    let x = x & 0x007f_007f_007f_007f | (x & 0x7f00_7f00_7f00_7f00) >> 1;
    let x = x & 0x0000_3fff_0000_3fff | (x & 0x3fff_0000_3fff_0000) >> 2;
    let x = x & 0x0000_0000_0fff_ffff | (x & 0x0fff_ffff_0000_0000) >> 4;
    Some((x, ends.trailing_zeros() as usize / 8 + 1))
}

#[inline(never)]
fn take_bytewise(bytes: &mut &[u8], max_len: usize, bits: u32) -> Result<u64, &'static str> {
    let mut raw = 0u64;
    let mut shift = 0;
    for (i, &byte) in bytes.iter().take(max_len).enumerate() {
        let part = u64::from(byte & 0x7f);
        if shift + 7 > bits && part >> (bits - shift) != 0 {
            return Err(TOO_LONG);
        }
        raw |= part << shift;
        shift += 7;
        if byte < 0x80 {
            *bytes = &bytes[i + 1..];
            return Ok(raw);
        }
    }
    Err(if bytes.len() < max_len { CUT_OFF } else { TOO_LONG })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As written bit by bit, of any length.
    fn plain(mut raw: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while raw >= 0x80 {
            bytes.push((raw & 0x7f) as u8 | 0x80);
            raw >>= 7;
        }
        bytes.push((raw & 0x7f) as u8);
        bytes
    }

    fn check_64(value: i64) {
        let raw = zigzag64(value);
        let bytes = plain(raw);
        let mut rest = bytes.as_slice();
        assert_eq!(take_i64(&mut rest), Ok(value));
        assert!(rest.is_empty());
        let followed = [&bytes[..], &[0xff; 9]].concat();
        let mut rest = followed.as_slice();
        assert_eq!(take_i64(&mut rest), Ok(value));
        assert_eq!(rest, [0xff; 9]);
        if raw >> ENCODED_BITS_MAX == 0 {
            let encoded = encode(raw);
            assert_eq!(encoded.bytes[..encoded.len], bytes);
            assert!(encoded.bytes[encoded.len..].iter().all(|byte| *byte == 0));
        }
    }

    fn check_32(value: i64) {
        let value = (zigzag64(value) & 0xffff_ffff) as u32;
        let value = unzigzag32(value);
        let bytes = plain(u64::from(zigzag32(value)));
        let mut rest = bytes.as_slice();
        assert_eq!(take_i32(&mut rest), Ok(value));
        assert!(rest.is_empty());
        let followed = [&bytes[..], &[0; 9]].concat();
        let mut rest = followed.as_slice();
        assert_eq!(take_i32(&mut rest), Ok(value));
        assert_eq!(rest, [0; 9]);
        assert!(bytes.len() <= VARINT_MAX);
    }

    proptest! {
        #[test]
        fn round_trips(value: i64, shift in 0u32..64) {
            check_64(value >> shift);
            check_32(value >> shift);
        }
    }

    #[test]
    fn extremes() {
        for bits in 0..64 {
            let power = i64::MIN >> bits;
            for value in [
                power - i64::from(bits != 0),
                power,
                power + 1,
                !power,
                -(power + 1),
            ] {
                check_64(value);
                check_32(value);
            }
        }
        assert_eq!(plain(zigzag64(i64::MIN)).len(), VARLONG_MAX);
        assert_eq!(plain(u64::from(zigzag32(i32::MIN))).len(), VARINT_MAX);
    }

    #[test]
    fn of_a_varint_too_long_to_write_the_lowest_bits_are_written() {
        for raw in [1 << ENCODED_BITS_MAX, 0x1234_5678_9abc_def0, u64::MAX] {
            let encoded = encode(raw);
            assert_eq!(encoded.len, encoded.bytes.len());
            let lowest = raw & ((1 << ENCODED_BITS_MAX) - 1);
            assert_eq!(take_raw(&mut &encoded.bytes[..], VARLONG_MAX, 64), Ok(lowest));
        }
    }

    #[test]
    fn refuses_what_does_not_fit() {
        assert_eq!(take_i32(&mut &[][..]), Err(CUT_OFF));
        assert_eq!(take_i32(&mut &[0x80, 0x80][..]), Err(CUT_OFF));
        assert_eq!(take_i32(&mut &[0x80; 4][..]), Err(CUT_OFF));
        assert_eq!(take_i32(&mut &[0x80; 5][..]), Err(TOO_LONG));
        assert_eq!(take_i32(&mut &[0xff, 0xff, 0xff, 0xff, 0x1f][..]), Err(TOO_LONG));
        assert_eq!(
            take_i32(&mut &[0x80, 0x80, 0x80, 0x80, 0x80, 0][..]),
            Err(TOO_LONG)
        );
        // Whatever follows, and however few bits it has.
        for long in [
            &[0x80, 0x80, 0x80, 0x80, 0x80, 0][..],
            &[0x80; 7],
            &[0xff, 0xff, 0xff, 0xff, 0x1f],
        ] {
            let followed = [long, &[0; 9]].concat();
            assert_eq!(take_i32(&mut &followed[..]), Err(TOO_LONG));
        }
        assert_eq!(take_i64(&mut &[0xff; 10][..]), Err(TOO_LONG));
        let mut ten = [0xff; 10];
        ten[9] = 2;
        assert_eq!(take_i64(&mut &ten[..]), Err(TOO_LONG));
        ten[9] = 1;
        assert_eq!(take_i64(&mut &ten[..]), Ok(i64::MIN));
    }
}
