//! One file's bytes: what is durable lies on the medium, what is not lies over it in memory, block by block.

use crate::chance::Chance;
use crate::medium::Bytes;
use std::collections::BTreeMap;
use std::io;

pub(crate) const BLOCK: u64 = 4096;
const SECTOR: usize = 512;
const BLOCK_BYTES: usize = 4096;

/// A block of which something is not durable. Sectors are bits, the first one lowest.
#[derive(Debug)]
struct Block {
    bytes: Box<[u8; BLOCK_BYTES]>,
    /// Written and not synced.
    dirty: u8,
    /// Their sync failed: clean, live, and not durable until they are written again.
    forsaken: u8,
}

/// How many bytes of memory one block is counted as.
pub(crate) const BLOCK_COST: u64 = BLOCK;

#[derive(Debug)]
pub(crate) struct Contents<B> {
    durable: B,
    durable_len: u64,
    /// How far durable bytes are still visible: a cut that is not synced hides what lies beyond it.
    visible: u64,
    len: u64,
    blocks: BTreeMap<u64, Block>,
}

const fn block_of(position: u64) -> u64 {
    position / BLOCK
}

/// The part of a block that a range touches, as (from, to) within the block.
#[expect(clippy::cast_possible_truncation, reason = "both are at most a block")]
const fn part_of(block: u64, from: u64, to: u64) -> (usize, usize) {
    let begin = block * BLOCK;
    let start = from.saturating_sub(begin);
    let end = if to < begin + BLOCK { to - begin } else { BLOCK };
    (start as usize, end as usize)
}

/// The sectors that hold the bytes from `from` to `to` of a block.
const fn sectors(from: usize, to: usize) -> u8 {
    let mut bits = 0;
    let mut at = from / SECTOR;
    while at * SECTOR < to {
        bits |= 1 << at;
        at += 1;
    }
    bits
}

impl<B: Bytes> Contents<B> {
    pub(crate) const fn new(durable: B) -> Self {
        Self {
            durable,
            durable_len: 0,
            visible: 0,
            len: 0,
            blocks: BTreeMap::new(),
        }
    }

    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// Bytes of memory that this file holds.
    pub(crate) fn held(&self) -> u64 {
        self.blocks.len() as u64 * BLOCK_COST
    }

    /// Whether a sync would have something to do.
    pub(crate) fn is_dirty(&self) -> bool {
        self.len != self.durable_len
            || self.visible < self.durable_len
            || self.blocks.values().any(|block| block.dirty != 0)
    }

    /// What is durable of a block, as far as it is visible.
    fn below(&self, block: u64) -> io::Result<Box<[u8; BLOCK_BYTES]>> {
        let mut bytes = Box::new([0; BLOCK_BYTES]);
        let begin = block * BLOCK;
        if begin < self.visible {
            let (_, end) = part_of(block, begin, self.visible);
            self.durable.read(&mut bytes[..end], begin)?;
        }
        Ok(bytes)
    }

    /// At most `size` bytes from `position`.
    pub(crate) fn read(&self, position: u64, size: usize) -> io::Result<Vec<u8>> {
        let end = self.len.min(position.saturating_add(size as u64));
        if position >= end {
            return Ok(Vec::new());
        }
        let span = usize::try_from(end - position).map_err(io::Error::other)?;
        let mut bytes = vec![0; span];
        let seen =
            usize::try_from(end.min(self.visible).saturating_sub(position)).map_err(io::Error::other)?;
        self.durable.read(&mut bytes[..seen], position)?;
        for (at, block) in self.blocks.range(block_of(position)..=block_of(end - 1)) {
            let (from, to) = part_of(*at, position, end);
            let begin = at * BLOCK + from as u64 - position;
            let begin = usize::try_from(begin).map_err(io::Error::other)?;
            bytes[begin..begin + (to - from)].copy_from_slice(&block.bytes[from..to]);
        }
        Ok(bytes)
    }

    pub(crate) fn write(&mut self, position: u64, bytes: &[u8]) -> io::Result<()> {
        let end = position
            .checked_add(bytes.len() as u64)
            .ok_or(io::ErrorKind::FileTooLarge)?;
        let mut rest = bytes;
        let mut at = position;
        while at < end {
            let number = block_of(at);
            let (from, to) = part_of(number, at, end);
            let (now, later) = rest.split_at(to - from);
            let bits = sectors(from, to);
            if !self.blocks.contains_key(&number) {
                let bytes = self.below(number)?;
                let (dirty, forsaken) = (0, 0);
                self.blocks.insert(
                    number,
                    Block {
                        bytes,
                        dirty,
                        forsaken,
                    },
                );
            }
            if let Some(block) = self.blocks.get_mut(&number) {
                block.bytes[from..to].copy_from_slice(now);
                block.dirty |= bits;
                block.forsaken &= !bits;
            }
            rest = later;
            at += now.len() as u64;
        }
        self.len = self.len.max(end);
        Ok(())
    }

    pub(crate) fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.visible = self.visible.min(len);
            drop(self.blocks.split_off(&len.div_ceil(BLOCK)));
            if let Some(block) = self.blocks.get_mut(&block_of(len)) {
                let (_, end) = part_of(block_of(len), len, len);
                block.bytes[end..].fill(0);
            }
        }
        self.len = len;
    }

    /// A sync without an error.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.settle_len(self.len)?;
        let mut written = Vec::new();
        for (number, block) in &mut self.blocks {
            put(&mut self.durable, *number, block, block.dirty, self.durable_len)?;
            block.dirty = 0;
            if block.forsaken == 0 {
                written.push(*number);
            }
        }
        for number in written {
            self.blocks.remove(&number);
        }
        Ok(())
    }

    /// A cut that waits becomes durable, and then the length `len`.
    fn settle_len(&mut self, len: u64) -> io::Result<()> {
        if self.visible < self.durable_len {
            self.durable.set_len(self.visible)?;
            self.durable_len = self.visible;
        }
        if self.durable_len != len {
            self.durable.set_len(len)?;
            self.durable_len = len;
        }
        self.visible = len;
        Ok(())
    }

    /// A sync that fails: what was dirty is clean and will never be durable unless it is written again. The length waits
    /// on, in the journal of a real file system.
    pub(crate) fn fail_sync(&mut self) {
        for block in self.blocks.values_mut() {
            block.forsaken |= std::mem::take(&mut block.dirty);
        }
    }

    /// The power goes, and takes all that was not synced. Gives the number of sectors lost.
    pub(crate) fn drop_unsynced(&mut self) -> u64 {
        let lost = self.blocks.values().map(|block| block.dirty | block.forsaken);
        let lost = lost.map(|bits| u64::from(bits.count_ones())).sum();
        self.blocks.clear();
        self.len = self.durable_len;
        self.visible = self.durable_len;
        lost
    }

    /// The power goes, and a random part of what was not synced survives. Gives the number of sectors lost.
    pub(crate) fn tear(&mut self, chance: &mut Chance) -> io::Result<u64> {
        let mut lost = 0;
        let synced = self.visible;
        if !self.is_dirty() {
            return Ok(self.drop_unsynced());
        }
        let fate = chance.below(8);
        if fate == 0 {
            return Ok(self.drop_unsynced());
        }
        let before = self.durable_len;
        let (short, long) = (self.len.min(before), self.len.max(before));
        let len = match chance.below(4) {
            _ if fate == 1 => self.len,
            0 => before,
            1 => short + chance.below(long - short + 1),
            _ => self.len,
        };
        // A cut that was overtaken by a longer length may itself be lost: the bytes under it come back.
        if self.visible < before && (len < before || chance.coin()) {
            self.settle_len(len.min(before))?;
        }
        if len != self.durable_len {
            self.durable.set_len(len)?;
        }
        self.durable_len = len;
        for (number, block) in &mut self.blocks {
            let keep = match chance.below(8) {
                _ if fate == 1 => u8::MAX,
                0..=3 => u8::MAX,
                4 => 0,
                5 if number * BLOCK >= synced => {
                    spoil(block, chance.next());
                    u8::MAX
                }
                _ => chance.next().to_le_bytes()[0],
            };
            let gone = block.forsaken | (block.dirty & !keep);
            lost += u64::from(gone.count_ones());
            put(&mut self.durable, *number, block, block.dirty & keep, len)?;
        }
        self.blocks.clear();
        self.len = len;
        self.visible = len;
        Ok(lost)
    }
}

/// New room holds whatever lay on the disk there before.
fn spoil(block: &mut Block, old: u64) {
    for part in block.bytes.chunks_exact_mut(8) {
        part.copy_from_slice(&old.to_le_bytes());
    }
    block.dirty |= block.forsaken;
    block.forsaken = 0;
}

/// Writes some sectors of a block, as far as the file reaches.
fn put<B: Bytes>(durable: &mut B, number: u64, block: &Block, bits: u8, len: u64) -> io::Result<()> {
    let begin = number * BLOCK;
    if begin >= len {
        return Ok(());
    }
    let (_, end) = part_of(number, begin, len);
    if bits == u8::MAX {
        return durable.write(&block.bytes[..end], begin);
    }
    for at in (0..8).filter(|at| bits & (1 << at) != 0) {
        let (from, to) = (at * SECTOR, ((at + 1) * SECTOR).min(end));
        if from < to {
            durable.write(&block.bytes[from..to], begin + from as u64)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn synced(bytes: &[u8]) -> Contents<Vec<u8>> {
        let mut all = Contents::new(Vec::new());
        all.write(0, bytes).unwrap();
        all.sync().unwrap();
        all
    }

    #[test]
    fn a_power_cut_takes_what_was_not_synced_and_nothing_else() {
        let mut all = synced(&[1; 5000]);
        all.write(4000, &[2; 9000]).unwrap();
        assert_eq!(all.read(3999, 3).unwrap(), [1, 2, 2]);
        assert_eq!(all.len(), 13_000);
        all.drop_unsynced();
        assert_eq!(all.read(0, 20_000).unwrap(), [1; 5000]);
        assert_eq!(all.held(), 0);
    }

    #[test]
    fn a_cut_hides_the_bytes_under_it_and_a_power_cut_brings_them_back() {
        let mut all = synced(&[1; 5000]);
        all.set_len(10);
        all.set_len(6000);
        assert_eq!(all.read(8, 4).unwrap(), [1, 1, 0, 0]);
        all.drop_unsynced();
        assert_eq!(all.read(0, 9000).unwrap(), [1; 5000]);
        all.set_len(10);
        all.set_len(6000);
        all.sync().unwrap();
        all.drop_unsynced();
        assert_eq!(all.read(8, 4).unwrap(), [1, 1, 0, 0]);
        assert_eq!(all.len(), 6000);
    }

    #[test]
    fn after_a_failed_sync_the_next_says_yes_and_does_nothing() {
        let mut all = synced(&[1; 4096]);
        all.write(0, &[2; 512]).unwrap();
        all.fail_sync();
        assert!(!all.is_dirty());
        all.sync().unwrap();
        assert_eq!(all.read(0, 1).unwrap(), [2]);
        all.write(512, &[3; 512]).unwrap();
        all.sync().unwrap();
        all.drop_unsynced();
        assert_eq!(all.read(0, 1).unwrap(), [1]);
        assert_eq!(all.read(512, 1).unwrap(), [3]);
    }

    #[test]
    fn a_tear_keeps_what_was_synced_whatever_else_it_does() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..500 {
            let mut all = synced(&[1; 6144]);
            all.write(6144, &[2; 20_000]).unwrap();
            all.tear(&mut Chance::new(seed)).unwrap();
            let bytes = all.read(0, 30_000).unwrap();
            assert!(bytes.starts_with(&[1; 6144]), "seed {seed}");
            seen.insert(bytes.iter().filter(|byte| **byte == 2).count());
        }
        assert!(
            seen.len() > 20 && seen.contains(&0) && seen.contains(&20_000),
            "{seen:?}"
        );
    }
}
