//! Which leader epoch began at which offset.

use quipu_record::{LeaderEpoch, Offset};

/// A leader epoch and the offset at which it begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochEntry {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// The offset of its first record, or where that will stand.
    pub start: Offset,
}

/// The leader epochs of a log, oldest first: epochs and starts both rise (KIP-101, KIP-320).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EpochCache {
    entries: Vec<EpochEntry>,
}

impl EpochCache {
    /// The entries, oldest first.
    #[must_use]
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// The newest epoch.
    #[must_use]
    pub fn latest(&self) -> Option<EpochEntry> {
        self.entries.last().copied()
    }

    /// The greatest epoch not above `epoch`, and where it ends: at the start of the next one, or at `log_end`.
    #[must_use]
    pub fn floor(&self, epoch: LeaderEpoch, log_end: Offset) -> Option<(LeaderEpoch, Offset)> {
        let after = self.entries.partition_point(|e| e.epoch <= epoch);
        let found = self.entries[..after].last()?;
        let end = self.entries.get(after).map_or(log_end, |next| next.start);
        Some((found.epoch, end))
    }

    /// The epoch that a batch at `offset` must carry.
    #[must_use]
    pub fn at(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.range_at(offset).map(|(epoch, ..)| epoch)
    }

    /// The epoch at `offset`, and the offsets from and to which it holds.
    pub(crate) fn range_at(&self, offset: Offset) -> Option<(LeaderEpoch, Offset, Offset)> {
        let after = self.entries.partition_point(|e| e.start <= offset);
        let found = self.entries[..after].last()?;
        let end = self.entries.get(after).map_or(Offset::MAX, |next| next.start);
        Some((found.epoch, found.start, end))
    }

    /// Notes that an epoch begins. Earlier ones that would begin there or above have no records, and go.
    pub(crate) fn begin(&mut self, entry: EpochEntry) {
        self.truncate(entry.start);
        self.entries.push(entry);
    }

    /// Drops epochs that begin at `end` or above: none has a record.
    pub(crate) fn truncate(&mut self, end: Offset) {
        let keep = self.entries.partition_point(|e| e.start < end);
        self.entries.truncate(keep);
    }

    /// Drops epochs that end at or below `log_start`; the one that covers it begins there from now on, and stays even
    /// if there is no record left in it.
    pub(crate) fn clamp(&mut self, log_start: Offset) {
        let covering = self.entries.partition_point(|e| e.start <= log_start);
        if covering > 0 {
            self.entries.drain(..covering - 1);
            self.entries[0].start = log_start;
        }
        self.entries.shrink_to_fit();
    }
}

/// The entries as a leader after another would have noted them: an epoch gives way to a later one that begins no higher.
impl FromIterator<EpochEntry> for EpochCache {
    fn from_iter<I: IntoIterator<Item = EpochEntry>>(entries: I) -> Self {
        let mut cache = Self::default();
        for entry in entries {
            cache.begin(entry);
        }
        cache
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry((epoch, start): (u32, u64)) -> EpochEntry {
        EpochEntry {
            epoch: LeaderEpoch::new(epoch),
            start: Offset::new(start),
        }
    }

    fn cache(entries: &[(u32, u64)]) -> EpochCache {
        let mut cache = EpochCache::default();
        for one in entries {
            cache.begin(entry(*one));
        }
        cache
    }

    fn is(cache: &EpochCache, entries: &[(u32, u64)]) {
        let expected: Vec<_> = entries.iter().copied().map(entry).collect();
        assert_eq!(cache.entries(), expected);
    }

    #[test]
    fn floor_and_assignment() {
        let cache = cache(&[(1, 0), (3, 10), (4, 20)]);
        let floor = |epoch| {
            let found = cache.floor(LeaderEpoch::new(epoch), Offset::new(25));
            found.map(|(epoch, end)| (epoch.get(), end.get()))
        };
        assert_eq!(floor(0), None);
        assert_eq!(floor(1), Some((1, 10)));
        assert_eq!(floor(2), Some((1, 10)));
        assert_eq!(floor(3), Some((3, 20)));
        assert_eq!(floor(9), Some((4, 25)));
        assert_eq!(cache.at(Offset::new(9)), Some(LeaderEpoch::new(1)));
        assert_eq!(cache.at(Offset::new(10)), Some(LeaderEpoch::new(3)));
        assert_eq!(EpochCache::default().at(Offset::ZERO), None);
    }

    #[test]
    fn an_epoch_without_records_gives_way() {
        is(&cache(&[(1, 0), (2, 10), (3, 10)]), &[(1, 0), (3, 10)]);
        let mut cut = cache(&[(1, 0), (2, 10), (3, 20)]);
        cut.truncate(Offset::new(20));
        is(&cut, &[(1, 0), (2, 10)]);
        cut.truncate(Offset::new(15));
        is(&cut, &[(1, 0), (2, 10)]);
    }

    #[test]
    fn the_epoch_that_covers_the_log_start_is_clamped_and_never_dropped() {
        let mut all = cache(&[(1, 0), (2, 10), (3, 20)]);
        all.clamp(Offset::new(15));
        is(&all, &[(2, 15), (3, 20)]);
        all.clamp(Offset::new(20));
        is(&all, &[(3, 20)]);
        all.clamp(Offset::new(99));
        is(&all, &[(3, 99)]);
        let mut none = cache(&[(1, 10)]);
        none.clamp(Offset::new(5));
        is(&none, &[(1, 10)]);
    }
}
