//! One frame of the write-ahead log: header, checksum, payload. Pure.
//!
//! ```text
//!  0  magic      4  "QWAL"
//!  4  length     4  of the payload, little-endian like everything here
//!  8  checksum   4  CRC-32C of segment number, position, and the bytes from 12 to the end of the payload
//! 12  kind       4  what the payload is
//! 16  synced     8  position in this segment below which everything was durable before this frame was written
//! 24  payload       then zeros up to a multiple of 8
//! ```
//! The checksum covers the frame's own place, so a frame is valid nowhere else. `synced` is how a later frame testifies
//! about an earlier one: bad bytes below it were once durable, and are corruption; bad bytes that no valid frame
//! testifies about are a torn tail.

/// Bytes before the payload.
pub(crate) const HEADER: usize = 24;
/// Every frame begins at a multiple of this.
const ALIGNMENT: usize = 8;
/// The largest payload: a coalesced entry of the largest commands fits.
pub(crate) const PAYLOAD_MAX: usize = 16 * 1024 * 1024;

const MAGIC: [u8; 4] = *b"QWAL";

/// What a payload is. The numbers are stable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(crate) enum Kind {
    /// The beginning of a segment, and the state that holds there.
    Begin = 1,
    /// A vote.
    Vote = 2,
    /// A log entry.
    Entry = 3,
    /// Entries from an index on are gone.
    Truncate = 4,
    /// Entries up to a log id are purged.
    Purge = 5,
    /// Entries up to a log id are committed: a hint, not synced for its own sake.
    Committed = 6,
}

impl Kind {
    fn from_number(number: u32) -> Option<Self> {
        let all = [
            Self::Begin,
            Self::Vote,
            Self::Entry,
            Self::Truncate,
            Self::Purge,
            Self::Committed,
        ];
        all.into_iter().find(|kind| *kind as u32 == number)
    }
}

/// A frame as read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: Kind,
    pub(crate) synced: u64,
    pub(crate) payload: &'a [u8],
}

/// Why there is no frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum BadFrame {
    /// Nothing but zeros, as preallocated: the log ends here.
    Blank,
    /// Bytes that are no frame.
    Bad(&'static str),
    /// A frame, intact, of a kind that this version does not know.
    Unknown(u32),
}

/// The length of a frame with a payload of `payload` bytes.
pub(crate) const fn framed_len(payload: usize) -> usize {
    (HEADER + payload).next_multiple_of(ALIGNMENT)
}

/// Appends a frame to `out`. It will stand at `position` of segment `segment`.
///
/// The payload must be at most [`PAYLOAD_MAX`].
pub(crate) fn put(out: &mut Vec<u8>, segment: u64, position: u64, kind: Kind, synced: u64, payload: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&MAGIC);
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(kind as u32).to_le_bytes());
    out.extend_from_slice(&synced.to_le_bytes());
    out.extend_from_slice(payload);
    let checksum = checksum(segment, position, length, &out[start + 12..]);
    out[start + 8..start + 12].copy_from_slice(&checksum.to_le_bytes());
    out.resize(start + framed_len(payload.len()), 0);
}

/// Reads the frame at the beginning of `bytes`, which is `position` of segment `segment`.
pub(crate) fn read(bytes: &[u8], segment: u64, position: u64) -> Result<(Frame<'_>, usize), BadFrame> {
    let Some(header) = bytes.get(..HEADER) else {
        return Err(if bytes.iter().all(|b| *b == 0) {
            BadFrame::Blank
        } else {
            BadFrame::Bad("half a header")
        });
    };
    if header[..4] != MAGIC {
        let blank = header.iter().all(|b| *b == 0);
        return Err(if blank {
            BadFrame::Blank
        } else {
            BadFrame::Bad("no frame begins here")
        });
    }
    let length = word(header, 4);
    let payload_len = usize::try_from(length).unwrap_or(usize::MAX);
    if payload_len > PAYLOAD_MAX {
        return Err(BadFrame::Bad("the length is impossible"));
    }
    let Some(checked) = bytes.get(12..HEADER + payload_len) else {
        return Err(BadFrame::Bad("the frame goes past the end of the file"));
    };
    if word(header, 8) != checksum(segment, position, length, checked) {
        return Err(BadFrame::Bad("the checksum does not match"));
    }
    let number = word(header, 12);
    let kind = Kind::from_number(number).ok_or(BadFrame::Unknown(number))?;
    let mut synced = [0; 8];
    synced.copy_from_slice(&header[16..24]);
    let frame = Frame {
        kind,
        synced: u64::from_le_bytes(synced),
        payload: &checked[12..],
    };
    Ok((frame, framed_len(payload_len).min(bytes.len())))
}

/// Whether any intact frame in `bytes`, which begin at `position` of segment `segment`, says that what lies at `bad` was
/// durable once.
pub(crate) fn testified(bytes: &[u8], segment: u64, position: u64, bad: u64) -> bool {
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= HEADER) {
        if rest[..4] == MAGIC {
            let here = position + u64::try_from(at).unwrap_or(u64::MAX);
            match read(rest, segment, here) {
                Ok((frame, _)) if frame.synced > bad => return true,
                _ => {}
            }
        }
        at += ALIGNMENT;
    }
    false
}

fn word(header: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&header[at..at + 4]);
    u32::from_le_bytes(word)
}

fn checksum(segment: u64, position: u64, length: u32, rest: &[u8]) -> u32 {
    let place = crc32c::crc32c(&segment.to_le_bytes());
    let place = crc32c::crc32c_append(place, &position.to_le_bytes());
    let place = crc32c::crc32c_append(place, &length.to_le_bytes());
    crc32c::crc32c_append(place, rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn framed(payload: &[u8], synced: u64) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, 7, 64, Kind::Entry, synced, payload);
        out
    }

    proptest! {
        #[test]
        fn what_is_put_is_read(payload in prop::collection::vec(any::<u8>(), 0..300), synced in any::<u64>()) {
            let bytes = framed(&payload, synced);
            prop_assert_eq!(bytes.len() % 8, 0);
            let (frame, len) = read(&bytes, 7, 64).expect("intact");
            prop_assert_eq!(frame, Frame { kind: Kind::Entry, synced, payload: &payload });
            prop_assert_eq!(len, bytes.len());
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), magic in any::<bool>()) {
            let mut bytes = bytes;
            if magic && bytes.len() >= 4 {
                bytes[..4].copy_from_slice(&MAGIC);
            }
            let _ = read(&bytes, 1, 0);
            let _ = testified(&bytes, 1, 0, 0);
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_seen() {
        let bytes = framed(b"the vote of term 9", 56);
        let padding = HEADER + b"the vote of term 9".len();
        for bit in 0..padding * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&flipped, 7, 64).is_err(), "bit {bit}");
        }
        for len in 0..padding {
            assert!(read(&bytes[..len], 7, 64).is_err(), "cut to {len}");
        }
    }

    #[test]
    fn a_frame_is_valid_only_where_it_was_put() {
        let bytes = framed(b"x", 0);
        assert!(read(&bytes, 7, 64).is_ok());
        assert!(read(&bytes, 7, 72).is_err());
        assert!(read(&bytes, 8, 64).is_err());
    }

    #[test]
    fn zeros_are_the_end_and_not_damage() {
        assert_eq!(read(&[0; 64], 1, 0), Err(BadFrame::Blank));
        assert_eq!(read(&[0; 5], 1, 0), Err(BadFrame::Blank));
        assert_eq!(read(&[1; 5], 1, 0), Err(BadFrame::Bad("half a header")));
    }

    #[test]
    fn a_later_frame_testifies_about_an_earlier_place() {
        let mut bytes = vec![0xaa; 32];
        put(&mut bytes, 3, 1032, Kind::Vote, 1000, b"v");
        assert!(!testified(&bytes, 3, 1000, 1000));
        let mut bytes = vec![0xaa; 32];
        put(&mut bytes, 3, 1032, Kind::Vote, 1001, b"v");
        assert!(testified(&bytes, 3, 1000, 1000));
    }
}
