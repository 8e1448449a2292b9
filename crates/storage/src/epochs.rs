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
        let after = self.entries.partition_point(|e| e.start <= offset);
        self.entries[..after].last().map(|e| e.epoch)
    }
}
