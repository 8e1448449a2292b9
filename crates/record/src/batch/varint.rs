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

/// Writes a raw (already zig-zagged) varint into `out` and returns the place after it. `out` has room.
#[inline(always)]
pub(super) fn put<const N: usize>(out: &mut [u8; N], mut at: usize, mut raw: u64) -> usize {
    while raw >= 0x80 {
        out[at] = (raw & 0x7f) as u8 | 0x80;
        raw >>= 7;
        at += 1;
    }
    out[at] = (raw & 0x7f) as u8;
    at + 1
}

/// How many bytes a raw varint takes.
#[inline(always)]
pub(super) const fn len(raw: u64) -> usize {
    // 1 + floor(log2(raw | 1) / 7), without a division.
    ((63 - (raw | 1).leading_zeros()) * 9 + 73) as usize / 64
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

fn take_raw(bytes: &mut &[u8], max_len: usize, bits: u32) -> Result<u64, &'static str> {
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

    fn encoded(raw: u64) -> Vec<u8> {
        let mut out = [0; VARLONG_MAX];
        let end = put(&mut out, 0, raw);
        out[..end].to_vec()
    }

    proptest! {
        #[test]
        fn round_trips_64(value: i64, shift in 0u32..64) {
            let value = value >> shift;
            let bytes = encoded(zigzag64(value));
            prop_assert_eq!(bytes.len(), len(zigzag64(value)));
            let mut rest = bytes.as_slice();
            prop_assert_eq!(take_i64(&mut rest), Ok(value));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn round_trips_32(value: i32, shift in 0u32..32) {
            let value = value >> shift;
            let bytes = encoded(u64::from(zigzag32(value)));
            prop_assert!(bytes.len() <= VARINT_MAX);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(take_i32(&mut rest), Ok(value));
            prop_assert!(rest.is_empty());
        }
    }

    #[test]
    fn extremes() {
        for value in [0, -1, 1, 63, -64, 64, i64::MIN, i64::MAX] {
            let bytes = encoded(zigzag64(value));
            assert_eq!(take_i64(&mut bytes.as_slice()), Ok(value));
            assert_eq!(bytes.len(), len(zigzag64(value)));
        }
        assert_eq!(encoded(zigzag64(i64::MIN)).len(), VARLONG_MAX);
        assert_eq!(encoded(u64::from(zigzag32(i32::MIN))).len(), VARINT_MAX);
    }

    #[test]
    fn refuses_what_does_not_fit() {
        assert_eq!(take_i32(&mut &[][..]), Err(CUT_OFF));
        assert_eq!(take_i32(&mut &[0x80, 0x80][..]), Err(CUT_OFF));
        assert_eq!(take_i32(&mut &[0xff, 0xff, 0xff, 0xff, 0x1f][..]), Err(TOO_LONG));
        assert_eq!(
            take_i32(&mut &[0x80, 0x80, 0x80, 0x80, 0x80, 0][..]),
            Err(TOO_LONG)
        );
        assert_eq!(take_i64(&mut &[0xff; 10][..]), Err(TOO_LONG));
        let mut ten = [0xff; 10];
        ten[9] = 2;
        assert_eq!(take_i64(&mut &ten[..]), Err(TOO_LONG));
        ten[9] = 1;
        assert_eq!(take_i64(&mut &ten[..]), Ok(i64::MIN));
    }
}
