//! Which entries there are, and where: the memory of the log. An entry is readable from the moment it is added, and its
//! frame's place follows once it is written.

use crate::entry::LogEntry;
use crate::wal::{LogPlace, Place};
use std::collections::{BTreeMap, VecDeque};

/// Bytes of written entries that are kept in memory: those about to be applied. Older ones are read back from the file.
const CACHE_BYTES: usize = 128 * 1024;

/// Where an entry stands in the files; 16 bytes, for there may be 20,000 of them.
#[derive(Clone, Copy, Debug)]
struct Slot {
    segment: u64,
    position: u32,
    len: u32,
}

/// No file has this number: the entry is not written yet, and is held in memory.
const UNWRITTEN: Slot = Slot {
    segment: 0,
    position: 0,
    len: 0,
};

#[derive(Debug)]
struct Cached {
    entry: LogEntry,
    bytes: usize,
    written: bool,
}

/// The entries of the log after the purged ones.
#[derive(Debug, Default)]
pub(crate) struct LogIndex {
    /// The index of the first slot; with no slot, of the next entry if one is known.
    first: u64,
    slots: VecDeque<Slot>,
    /// Who made the entries: (first index, term, leader), for each change of it.
    runs: VecDeque<(u64, u64, u64)>,
    purged: Option<LogPlace>,
    cache: BTreeMap<u64, Cached>,
    cached_bytes: usize,
}

/// Where to get an entry.
#[derive(Debug)]
pub(crate) enum Found {
    Memory(LogEntry),
    File(Place),
}

impl LogIndex {
    pub(crate) fn new(purged: Option<LogPlace>, entries: &[(LogPlace, Place)]) -> Self {
        let mut index = Self {
            purged,
            first: purged.map_or(0, |p| p.index + 1),
            ..Self::default()
        };
        for (log_place, place) in entries {
            index.push(log_place, slot_of(*place));
        }
        index
    }

    pub(crate) fn purged(&self) -> Option<LogPlace> {
        self.purged
    }

    /// The last entry, or the last purged one.
    pub(crate) fn last(&self) -> Option<LogPlace> {
        if self.slots.is_empty() {
            self.purged
        } else {
            self.place_of(self.next() - 1)
        }
    }

    /// The index after the last entry.
    pub(crate) fn next(&self) -> u64 {
        self.first + u64::try_from(self.slots.len()).unwrap_or(0)
    }

    /// The first index that is there.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    fn place_of(&self, index: u64) -> Option<LogPlace> {
        let run = self.runs.iter().rev().find(|(first, _, _)| *first <= index)?;
        Some(LogPlace {
            term: run.1,
            leader: run.2,
            index,
        })
    }

    fn push(&mut self, place: &LogPlace, slot: Slot) {
        if self.slots.is_empty() {
            self.first = place.index;
        }
        if self
            .runs
            .back()
            .is_none_or(|run| (run.1, run.2) != (place.term, place.leader))
        {
            self.runs.push_back((place.index, place.term, place.leader));
        }
        self.slots.push_back(slot);
    }

    /// Adds an entry that is about to be written; `false`: it does not follow the last one.
    #[must_use]
    pub(crate) fn add(&mut self, entry: LogEntry, bytes: usize) -> bool {
        let place = entry.place;
        if (!self.slots.is_empty() || self.purged.is_some()) && place.index != self.next() {
            return false;
        }
        self.push(&place, UNWRITTEN);
        self.cache.insert(
            place.index,
            Cached {
                entry,
                bytes,
                written: false,
            },
        );
        self.cached_bytes += bytes;
        true
    }

    /// An entry's frame was written, and stands here.
    pub(crate) fn written(&mut self, log_place: LogPlace, place: Place) {
        // It may be gone by now, and another may have come to its index.
        if self.place_of(log_place.index) != Some(log_place) || log_place.index >= self.next() {
            return;
        }
        let at = log_place
            .index
            .checked_sub(self.first)
            .and_then(|at| usize::try_from(at).ok());
        if let Some(slot) = at.and_then(|at| self.slots.get_mut(at)) {
            *slot = slot_of(place);
        }
        if let Some(cached) = self.cache.get_mut(&log_place.index) {
            cached.written = true;
        }
        while self.cached_bytes > CACHE_BYTES {
            match self.cache.first_entry() {
                Some(oldest) if oldest.get().written => self.cached_bytes -= oldest.remove().bytes,
                _ => break,
            }
        }
    }

    /// Drops the entries from `from` on.
    pub(crate) fn truncate(&mut self, from: u64) {
        let kept = usize::try_from(from.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.slots.truncate(kept);
        self.runs.retain(|(first, _, _)| *first < from);
        self.forget(|index| index >= from);
    }

    /// Drops the entries up to `purged`, which may lie beyond the last one.
    pub(crate) fn purge(&mut self, purged: LogPlace) {
        if self.purged.is_some_and(|before| before.index >= purged.index) {
            return;
        }
        self.purged = Some(purged);
        let next = purged.index + 1;
        let gone = usize::try_from(next.saturating_sub(self.first))
            .unwrap_or(usize::MAX)
            .min(self.slots.len());
        self.slots.drain(..gone);
        self.first = next;
        while self.runs.get(1).is_some_and(|second| second.0 <= next) {
            self.runs.pop_front();
        }
        if self.slots.is_empty() {
            self.runs.clear();
        }
        self.forget(|index| index < next);
    }

    fn forget(&mut self, gone: impl Fn(u64) -> bool) {
        let mut freed = 0;
        self.cache.retain(|index, cached| {
            let gone = gone(*index);
            freed += if gone { cached.bytes } else { 0 };
            !gone
        });
        self.cached_bytes -= freed;
    }

    pub(crate) fn find(&self, index: u64) -> Option<Found> {
        if let Some(cached) = self.cache.get(&index) {
            return Some(Found::Memory(cached.entry.clone()));
        }
        let at = usize::try_from(index.checked_sub(self.first)?).ok()?;
        let slot = self.slots.get(at)?;
        let (position, len) = (u64::from(slot.position), usize::try_from(slot.len).unwrap_or(0));
        Some(Found::File(Place {
            segment: slot.segment,
            position,
            len,
        }))
    }

    /// How many bytes the entry's frame has, or will have about.
    pub(crate) fn size(&self, index: u64) -> usize {
        let cached = self.cache.get(&index).map(|cached| cached.bytes);
        let at = index
            .checked_sub(self.first)
            .and_then(|at| usize::try_from(at).ok());
        let slot = || {
            at.and_then(|at| self.slots.get(at))
                .and_then(|slot| usize::try_from(slot.len).ok())
        };
        cached.or_else(slot).unwrap_or(0)
    }
}

fn slot_of(place: Place) -> Slot {
    Slot {
        segment: place.segment,
        position: u32::try_from(place.position).unwrap_or(u32::MAX),
        len: u32::try_from(place.len).unwrap_or(u32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Payload;

    fn place(term: u64, index: u64) -> LogPlace {
        LogPlace {
            term,
            leader: 1,
            index,
        }
    }

    fn entry(term: u64, index: u64) -> LogEntry {
        LogEntry {
            place: place(term, index),
            payload: Payload::Blank,
        }
    }

    fn at(position: u64) -> Place {
        Place {
            segment: 1,
            position,
            len: 32,
        }
    }

    #[test]
    fn an_entry_is_readable_before_it_is_written_and_after() {
        let mut index = LogIndex::default();
        assert!(index.add(entry(1, 0), 32));
        assert!(matches!(index.find(0), Some(Found::Memory(_))));
        index.written(place(1, 0), at(64));
        assert!(matches!(index.find(0), Some(Found::Memory(_))));
        assert!(index.add(entry(1, 1), 2 * CACHE_BYTES));
        index.written(place(1, 1), at(96));
        assert!(matches!(index.find(0), Some(Found::File(p)) if p == at(64)));
        assert!(matches!(index.find(1), Some(Found::File(p)) if p == at(96)));
        assert_eq!(index.last(), Some(place(1, 1)));
        assert!(index.find(2).is_none());
    }

    #[test]
    fn there_are_no_holes() {
        let mut index = LogIndex::default();
        assert!(index.add(entry(1, 3), 32));
        assert!(!index.add(entry(1, 5), 32));
        assert!(index.add(entry(1, 4), 32));
        index.purge(place(1, 9));
        assert!(!index.add(entry(1, 5), 32));
        assert!(index.add(entry(2, 10), 32));
        assert_eq!((index.first(), index.next()), (10, 11));
    }

    #[test]
    fn a_late_place_of_an_entry_that_was_replaced_is_not_taken() {
        let mut index = LogIndex::default();
        assert!(index.add(entry(1, 0), 32));
        index.truncate(0);
        assert!(index.add(entry(2, 0), 32));
        index.written(place(1, 0), at(64));
        assert!(matches!(index.find(0), Some(Found::Memory(e)) if e.place.term == 2));
        assert_eq!(index.size(0), 32);
        assert!(!index.cache[&0].written);
    }

    #[test]
    fn terms_survive_truncation_and_purge() {
        let mut index = LogIndex::default();
        for (term, i) in [(1, 0), (1, 1), (2, 2), (2, 3), (3, 4)] {
            assert!(index.add(entry(term, i), 32));
        }
        index.truncate(4);
        assert_eq!(index.last(), Some(place(2, 3)));
        index.purge(place(1, 1));
        assert_eq!(
            (index.purged(), index.last()),
            (Some(place(1, 1)), Some(place(2, 3)))
        );
        index.purge(place(2, 3));
        assert_eq!(index.last(), Some(place(2, 3)));
        index.purge(place(1, 1));
        assert_eq!(index.purged(), Some(place(2, 3)));
    }

    #[test]
    fn the_cache_is_bounded_and_never_drops_what_is_not_written() {
        let mut index = LogIndex::default();
        for i in 0..10 {
            assert!(index.add(entry(1, i), CACHE_BYTES / 2));
        }
        assert_eq!(index.cache.len(), 10);
        for i in 0..10 {
            index.written(place(1, i), at(i));
        }
        assert!(index.cached_bytes <= CACHE_BYTES);
        assert!(matches!(index.find(0), Some(Found::File(_))));
    }
}
