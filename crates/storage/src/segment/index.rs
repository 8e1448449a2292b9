//! The sparse index of a segment: every few kilobytes a [`Boundary`]. Offsets, positions and times all rise in it, so
//! that one file serves look-ups by offset and by time, and a scan resumes from any of its entries.
//!
//! Each entry has a checksum over itself, its number and its segment. An index is never needed, only quick: one that is
//! wrong is made anew from the segment.

use super::boundary::{BOUNDARY_LEN, Boundary};
use bytes::BufMut;
use quipu_record::{Offset, Timestamp};

/// The size of an entry.
pub(crate) const ENTRY_LEN: usize = BOUNDARY_LEN + 4;

/// An entry of an index does not match its checksum, or does not follow the one before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BadEntry {
    /// Its number.
    pub(crate) number: usize,
}

fn checksum(base: Offset, number: usize, entry: &[u8]) -> u32 {
    let place = crc32c::crc32c(&base.get().to_be_bytes());
    let place = crc32c::crc32c_append(place, &(number as u64).to_be_bytes());
    crc32c::crc32c_append(place, entry)
}

/// Encodes entry `number` of the segment at `base`.
pub(crate) fn encode(base: Offset, number: usize, entry: &Boundary, into: &mut Vec<u8>) {
    let begin = into.len();
    entry.encode(into);
    into.put_u32(checksum(base, number, &into[begin..]));
}

/// The entries of an index file, as bytes in a map or a buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entries<'b> {
    base: Offset,
    bytes: &'b [u8],
}

impl<'b> Entries<'b> {
    pub(crate) const fn new(base: Offset, bytes: &'b [u8]) -> Self {
        Self { base, bytes }
    }

    pub(crate) const fn len(&self) -> usize {
        self.bytes.len() / ENTRY_LEN
    }

    pub(crate) fn get(&self, number: usize) -> Result<Boundary, BadEntry> {
        let bad = BadEntry { number };
        let begin = number * ENTRY_LEN;
        let bytes = self.bytes.get(begin..begin + ENTRY_LEN).ok_or(bad)?;
        let (entry, stored) = bytes.split_at(BOUNDARY_LEN);
        if checksum(self.base, number, entry).to_be_bytes() != stored {
            return Err(bad);
        }
        Ok(Boundary::decode(&mut &*entry))
    }

    /// The last entry for which `below` holds; it holds for a first part of them.
    fn last(&self, below: impl Fn(&Boundary) -> bool) -> Result<Option<Boundary>, BadEntry> {
        let count = self.count(below)?;
        count.checked_sub(1).map(|number| self.get(number)).transpose()
    }

    /// How many entries there are for which `below` holds.
    fn count(&self, below: impl Fn(&Boundary) -> bool) -> Result<usize, BadEntry> {
        let (mut from, mut to) = (0, self.len());
        while from < to {
            let middle = from + (to - from) / 2;
            if below(&self.get(middle)?) {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        Ok(from)
    }

    /// The first entry at or after a position.
    pub(crate) fn at_or_after(&self, position: u32) -> Result<Option<Boundary>, BadEntry> {
        let before = self.count(|entry| entry.position < position)?;
        (before < self.len()).then(|| self.get(before)).transpose()
    }

    /// The last entry at or below an offset.
    pub(crate) fn before_offset(&self, offset: Offset) -> Result<Option<Boundary>, BadEntry> {
        self.last(|entry| entry.next <= offset)
    }

    /// The last entry before which all timestamps are earlier than `time`.
    pub(crate) fn before_time(&self, time: Timestamp) -> Result<Option<Boundary>, BadEntry> {
        self.last(|entry| entry.max_timestamp < Some(time))
    }

    /// The entries from the first on, as far as each is right, follows the one before it, and lies at or below `end`.
    pub(crate) fn valid_to(&self, end: &Boundary) -> Vec<Boundary> {
        let mut valid = Vec::new();
        let mut last = Boundary::start(self.base);
        for number in 0..self.len() {
            match self.get(number) {
                Ok(entry)
                    if entry.next > last.next
                        && entry.position > last.position
                        && entry.max_timestamp >= last.max_timestamp
                        && entry.next <= end.next
                        && entry.position <= end.position =>
                {
                    valid.push(entry);
                    last = entry;
                }
                _ => break,
            }
        }
        valid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boundary(at: u32) -> Boundary {
        Boundary {
            position: at * 100,
            next: Offset::new(1000 + u64::from(at) * 7),
            max_timestamp: Some(Timestamp::new(i64::from(at / 2))),
            outside: at,
        }
    }

    fn encoded(count: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        for at in 1..=count {
            let number = usize::try_from(at - 1).unwrap();
            encode(Offset::new(1000), number, &boundary(at), &mut bytes);
        }
        bytes
    }

    #[test]
    fn look_ups_find_the_last_entry_that_is_not_past_what_is_sought() {
        let bytes = encoded(9);
        let entries = Entries::new(Offset::new(1000), &bytes);
        let position = |found: Result<Option<Boundary>, _>| found.unwrap().map(|entry| entry.position);
        assert_eq!(position(entries.before_offset(Offset::new(1006))), None);
        assert_eq!(position(entries.before_offset(Offset::new(1007))), Some(100));
        assert_eq!(position(entries.before_offset(Offset::new(1013))), Some(100));
        assert_eq!(position(entries.before_offset(Offset::new(9999))), Some(900));
        assert_eq!(position(entries.before_time(Timestamp::new(0))), None);
        assert_eq!(position(entries.before_time(Timestamp::new(1))), Some(100));
        assert_eq!(position(entries.before_time(Timestamp::new(2))), Some(300));
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let good = encoded(3);
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let entries = Entries::new(Offset::new(1000), &bytes);
            let number = bit / 8 / ENTRY_LEN;
            assert_eq!(entries.get(number), Err(BadEntry { number }), "bit {bit}");
            assert_eq!(entries.valid_to(&boundary(9)).len(), number);
        }
    }

    #[test]
    fn an_entry_belongs_to_its_segment_and_place() {
        let bytes = encoded(2);
        assert!(Entries::new(Offset::new(1001), &bytes).get(0).is_err());
        assert!(
            Entries::new(Offset::new(1000), &bytes[ENTRY_LEN..])
                .get(0)
                .is_err()
        );
        assert_eq!(
            Entries::new(Offset::new(1000), &bytes)
                .valid_to(&boundary(1))
                .len(),
            1
        );
    }
}
