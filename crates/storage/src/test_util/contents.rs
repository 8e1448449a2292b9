//! A file's bytes, live and durable, and what a crash leaves of them.

use super::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};

/// What a crash does to the unsynced pages of one file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// All written.
    Kept,
    /// None written.
    Dropped,
    /// Each page for itself: written, not written, half of it, or something else altogether.
    Torn,
}

/// Live and durable bytes. A page is dirty from a write until a sync.
#[derive(Clone, Debug)]
pub(super) struct Contents {
    page: usize,
    live: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
    length_dirty: bool,
    /// Pages that have bytes of nothing but a write behind its caller, by its number: a sync of less leaves them.
    behind: BTreeMap<usize, u64>,
}

impl Contents {
    pub(super) const fn new(page: usize) -> Self {
        Self {
            page,
            live: Vec::new(),
            durable: Vec::new(),
            dirty: BTreeSet::new(),
            length_dirty: false,
            behind: BTreeMap::new(),
        }
    }

    /// The same bytes, all durable.
    pub(super) fn copy(&self) -> Self {
        Self {
            live: self.live.clone(),
            durable: self.live.clone(),
            ..Self::new(self.page)
        }
    }

    pub(super) fn live(&self) -> &[u8] {
        &self.live
    }

    pub(super) fn live_mut(&mut self) -> &mut Vec<u8> {
        &mut self.live
    }

    pub(super) fn durable_mut(&mut self) -> &mut Vec<u8> {
        &mut self.durable
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.length_dirty || !self.dirty.is_empty()
    }

    fn touch(&mut self, from: usize, to: usize) {
        if from < to {
            self.dirty.extend(from / self.page..=(to - 1) / self.page);
        }
    }

    pub(super) fn write(&mut self, position: usize, bytes: &[u8]) {
        let end = position + bytes.len();
        let before = self.live.len();
        if end > before {
            self.live.resize(end, 0);
            self.length_dirty = true;
            self.touch(before.min(position), end);
        }
        self.live[position..end].copy_from_slice(bytes);
        self.touch(position, end);
    }

    /// The same by a write behind.
    pub(super) fn write_behind(&mut self, position: usize, bytes: &[u8], number: u64) {
        self.write(position, bytes);
        let pages = position.div_ceil(self.page)..(position + bytes.len()).div_ceil(self.page);
        self.behind.extend(pages.map(|page| (page, number)));
    }

    pub(super) fn set_len(&mut self, len: usize) {
        let before = self.live.len();
        // It waits for the writes behind.
        self.behind.clear();
        if len == before {
            return;
        }
        self.live.resize(len, 0);
        self.length_dirty = true;
        self.touch(before.min(len), before.max(len));
    }

    /// A sync without an error.
    pub(super) fn sync(&mut self) {
        self.sync_before(u64::MAX);
    }

    /// A sync that waited for the writes behind of lower numbers, and for no others.
    pub(super) fn sync_before(&mut self, number: u64) {
        self.behind.retain(|_, behind| *behind >= number);
        if self.length_dirty {
            let first_left = self.behind.first_key_value().map(|(page, _)| page * self.page);
            let reach = first_left.map_or(usize::MAX, |first| first.max(self.durable.len()));
            self.durable.resize(self.live.len().min(reach), 0);
        }
        self.length_dirty &= !self.behind.is_empty();
        for page in std::mem::take(&mut self.dirty) {
            if self.behind.contains_key(&page) {
                self.dirty.insert(page);
                continue;
            }
            // A page that is written takes the length along, had an earlier write-back failed to.
            let reach = self.live.len().min((page + 1) * self.page);
            if self.durable.len() < reach {
                self.durable.resize(reach, 0);
            }
            Self::write_back(&self.live, &mut self.durable, page, self.page);
        }
    }

    /// Write-back fails: some pages are durable, the others are dropped, and all are clean. What is live stays so. A cut is
    /// in the journal of the file system and waits there.
    pub(super) fn fail_write_back(&mut self, rng: &mut Rng) {
        let all = !rng.one_in(4);
        self.behind.clear();
        if self.length_dirty && rng.one_in(2) {
            self.durable.resize(self.live.len(), 0);
        }
        for page in std::mem::take(&mut self.dirty) {
            if !all && rng.one_in(2) {
                Self::write_back(&self.live, &mut self.durable, page, self.page);
            }
        }
        self.length_dirty = self.live.len() < self.durable.len();
    }

    /// One page, as far as the durable file reaches.
    fn write_back(live: &[u8], durable: &mut [u8], page: usize, size: usize) {
        let from = page * size;
        let to = (from + size).min(durable.len());
        copy(live, durable, from, to);
    }

    /// The process dies: what was taken behind it and is not written, each page for itself, nobody will write.
    pub(super) fn kill(&mut self, written: u64, rng: &mut Rng) {
        let behind = std::mem::take(&mut self.behind);
        let mut lost = BTreeSet::new();
        for (page, _) in behind.into_iter().filter(|(_, number)| *number >= written) {
            if rng.one_in(2) {
                let end = self.live.len().min((page + 1) * self.page);
                self.live[page * self.page..end].fill(0);
                lost.insert(page);
            }
        }
        // Where nothing comes after it the file ends before.
        while let Some(last) = self.live.len().checked_sub(1)
            && lost.contains(&(last / self.page))
        {
            self.live.truncate(last / self.page * self.page);
        }
    }

    /// The power goes. Afterwards live and durable are one.
    pub(super) fn crash(&mut self, fate: Fate, rng: &mut Rng) {
        self.behind.clear();
        match fate {
            Fate::Kept => self.sync(),
            Fate::Dropped => {
                self.dirty.clear();
                self.length_dirty = false;
            }
            Fate::Torn => self.tear(rng),
        }
        self.live.clone_from(&self.durable);
    }

    fn tear(&mut self, rng: &mut Rng) {
        let synced = self.durable.len();
        if self.length_dirty {
            let (short, long) = (self.live.len().min(synced), self.live.len().max(synced));
            let len = match rng.below(4) {
                0 => synced,
                1 => short + rng.index(long - short + 1),
                _ => self.live.len(),
            };
            self.durable.resize(len, 0);
            self.length_dirty = false;
        }
        for page in std::mem::take(&mut self.dirty) {
            match rng.below(8) {
                0..=3 => Self::write_back(&self.live, &mut self.durable, page, self.page),
                4 | 5 => {}
                6 if page * self.page >= synced => self.spoil_page(page, rng),
                _ => self.tear_page(page, rng),
            }
        }
    }

    /// The first part of the page is written and the rest is not.
    fn tear_page(&mut self, page: usize, rng: &mut Rng) {
        let from = page * self.page;
        let to = (from + rng.index(self.page)).min(self.durable.len());
        copy(&self.live, &mut self.durable, from, to);
    }

    /// A page that was never durable holds whatever was on the disk there.
    fn spoil_page(&mut self, page: usize, rng: &mut Rng) {
        let from = page * self.page;
        let old = rng.next_u64().to_le_bytes();
        for at in from..(from + self.page).min(self.durable.len()) {
            self.durable[at] = old[at % old.len()];
        }
    }
}

/// Copies bytes from one place to the same place; beyond the end of `live` there are zeros.
fn copy(live: &[u8], durable: &mut [u8], from: usize, to: usize) {
    let Some(part) = durable.get_mut(from..to) else {
        return;
    };
    let there = live.len().clamp(from, to) - from;
    let (first, rest) = part.split_at_mut(there);
    first.copy_from_slice(live.get(from..from + there).unwrap_or_default());
    rest.fill(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(durable: &[u8], then: &[u8]) -> Contents {
        let mut all = Contents::new(4);
        all.write(0, durable);
        all.sync();
        all.write(durable.len(), then);
        all
    }

    #[test]
    fn a_crash_keeps_what_was_synced_whatever_else_it_does() {
        for seed in 0..500 {
            let mut all = contents(b"abcdefgh", b"ijklmnopqrst");
            all.crash(Fate::Torn, &mut Rng::new(seed));
            assert!(all.live().starts_with(b"abcdefgh"), "seed {seed}");
        }
        let mut all = contents(b"abcdefgh", b"ijkl");
        all.crash(Fate::Dropped, &mut Rng::new(0));
        assert_eq!(all.live(), b"abcdefgh");
        let mut all = contents(b"abcdefgh", b"ijkl");
        all.crash(Fate::Kept, &mut Rng::new(0));
        assert_eq!(all.live(), b"abcdefghijkl");
    }

    #[test]
    fn a_sync_leaves_what_was_written_behind_since() {
        let mut all = contents(b"abcd", b"");
        all.write_behind(4, b"efghij", 0);
        all.write_behind(10, b"klmnop", 1);
        let crashed = |all: &Contents| {
            let mut all = all.clone();
            all.crash(Fate::Dropped, &mut Rng::new(0));
            all.live().to_vec()
        };
        assert_eq!(crashed(&all), b"abcd");
        all.sync_before(0);
        assert_eq!(crashed(&all), b"abcd");
        all.sync_before(1);
        assert_eq!(
            crashed(&all),
            b"abcdefghijkl",
            "with the page that the next one began in"
        );
        assert!(all.is_dirty());
        all.sync_before(2);
        assert_eq!(crashed(&all), b"abcdefghijklmnop");
        assert!(!all.is_dirty());
    }

    #[test]
    fn a_kill_may_lose_what_was_not_written_behind_the_process() {
        let seen: BTreeSet<Vec<u8>> = (0..200)
            .map(|seed| {
                let mut all = contents(b"abcd", b"");
                all.write_behind(4, b"efgh", 0);
                all.write_behind(8, b"ijkl", 1);
                all.write_behind(12, b"mnop", 2);
                all.kill(1, &mut Rng::new(seed));
                all.live().to_vec()
            })
            .collect();
        let expected = [
            &b"abcdefgh"[..],
            b"abcdefghijkl",
            b"abcdefgh\0\0\0\0mnop",
            b"abcdefghijklmnop",
        ];
        assert_eq!(seen, expected.iter().map(|it| it.to_vec()).collect());
    }

    #[test]
    fn a_crash_may_undo_a_truncation_that_was_not_synced() {
        let seen: BTreeSet<usize> = (0..200)
            .map(|seed| {
                let mut all = contents(b"abcdefgh", b"");
                all.set_len(3);
                all.crash(Fate::Torn, &mut Rng::new(seed));
                assert!(all.live().starts_with(b"abc"));
                all.live().len()
            })
            .collect();
        assert!(
            seen.contains(&3) && seen.contains(&8) && seen.len() > 2,
            "{seen:?}"
        );
    }

    #[test]
    fn after_a_failed_write_back_a_sync_says_yes_and_does_nothing() {
        let mut all = contents(b"abcd", b"efgh");
        all.fail_write_back(&mut Rng::new(1));
        assert!(!all.is_dirty());
        assert_eq!(all.live(), b"abcdefgh");
        all.sync();
        all.crash(Fate::Kept, &mut Rng::new(2));
        assert!(all.live() != b"abcdefgh");
    }
}
