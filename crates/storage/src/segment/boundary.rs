//! What is known where one batch ends and the next begins.

use bytes::{Buf, BufMut};
use quipu_record::{BatchHeader, Offset, Timestamp};

/// The bytes at the start of a batch that its own checksum does not cover: base offset, length, epoch, magic.
const OUTSIDE_LEN: usize = 17;
/// The size of an encoded boundary.
pub(crate) const BOUNDARY_LEN: usize = 24;

/// A place between two batches of a segment, and what the batches before it add up to. A scan goes on from one as if it
/// had come from the segment's beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Boundary {
    /// Bytes before it.
    pub(crate) position: u32,
    /// The offset that comes next.
    pub(crate) next: Offset,
    /// The latest timestamp before it.
    pub(crate) max_timestamp: Option<Timestamp>,
    /// CRC-32C over the bytes before it that batches' own checksums do not cover.
    pub(crate) outside: u32,
}

impl Boundary {
    /// The beginning of a segment.
    pub(crate) const fn start(base: Offset) -> Self {
        Self {
            position: 0,
            next: base,
            max_timestamp: None,
            outside: 0,
        }
    }

    /// The boundary after a batch that begins at this one.
    pub(crate) fn after(&self, batch: &BatchHeader) -> Self {
        let size = u32::try_from(batch.size()).unwrap_or(u32::MAX);
        Self {
            position: self.position.saturating_add(size),
            next: batch.next_offset(),
            max_timestamp: self.max_timestamp.max(Some(batch.max_timestamp())),
            outside: crc32c::crc32c_append(self.outside, &batch.as_bytes()[..OUTSIDE_LEN]),
        }
    }

    pub(crate) fn encode(&self, into: &mut impl BufMut) {
        into.put_u64(self.next.get());
        into.put_u32(self.position);
        into.put_i64(self.max_timestamp.map_or(i64::MIN, Timestamp::get));
        into.put_u32(self.outside);
    }

    /// From [`BOUNDARY_LEN`] bytes, which a checksum vouches for.
    pub(crate) fn decode(from: &mut impl Buf) -> Self {
        let next = Offset::new(from.get_u64());
        let position = from.get_u32();
        let max_timestamp = Some(from.get_i64()).filter(|time| *time != i64::MIN);
        Self {
            position,
            next,
            max_timestamp: max_timestamp.map(Timestamp::new),
            outside: from.get_u32(),
        }
    }
}
