//! Where the latest record of each key stands, in a fixed amount of memory: open addressing, 24 bytes a slot, of which
//! three in four are used. A key is its hash alone. What does not fit is for the next pass.

use super::hash::HashSeed;
use quipu_record::Offset;

/// Bytes of a slot: a hash of 16 and an offset of 8.
pub(crate) const SLOT_LEN: usize = 24;

/// Offsets of the latest records by key.
#[derive(Debug, Default)]
pub(crate) struct OffsetMap {
    seed: HashSeed,
    /// The hash, and the offset plus one; 0 where there is nothing.
    slots: Vec<[u64; 3]>,
    used: usize,
}

impl OffsetMap {
    /// A map for `keys` keys, if so many fit `budget` bytes, or for as many as do; and for `least` in any case.
    pub(crate) fn new(seed: HashSeed, budget: usize, keys: u64, least: usize) -> Self {
        let keys = usize::try_from(keys).unwrap_or(usize::MAX);
        let most = (budget / SLOT_LEN).max(4);
        let wanted = keys.saturating_add(keys / 3).saturating_add(4).min(most);
        let slots = wanted.max(least + least / 3 + 4);
        Self {
            seed,
            slots: vec![[0; 3]; slots],
            used: 0,
        }
    }

    /// How many more keys it takes.
    pub(crate) fn room(&self) -> usize {
        (self.slots.len() / 4 * 3 + self.slots.len() % 4).min(self.slots.len() - 1) - self.used
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Notes a record of a key, later than all before. There is room.
    pub(crate) fn put(&mut self, key: &[u8], offset: Offset) {
        let (at, hash) = self.find(key);
        let Some(slot) = self.slots.get_mut(at) else {
            return;
        };
        self.used += usize::from(slot[2] == 0);
        *slot = [hash[0], hash[1], offset.get() + 1];
    }

    /// The latest offset of a key.
    pub(crate) fn latest(&self, key: &[u8]) -> Option<Offset> {
        let (at, _) = self.find(key);
        let stored = self.slots.get(at).map_or(0, |slot| slot[2]);
        stored.checked_sub(1).map(Offset::new)
    }

    /// The slot of a key, or the free one where it would go.
    fn find(&self, key: &[u8]) -> (usize, [u64; 2]) {
        let hash = self.seed.hash(key);
        let len = self.slots.len();
        if len == 0 {
            return (0, hash);
        }
        let scaled = (u128::from(hash[0]) * len as u128) >> 64;
        let mut at = usize::try_from(scaled).unwrap_or(0);
        while self.slots[at][2] != 0 && self.slots[at][..2] != hash {
            at = if at + 1 == len { 0 } else { at + 1 };
        }
        (at, hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_util::Rng;
    use std::collections::HashMap;

    #[test]
    fn it_is_a_map_as_far_as_there_is_room() {
        for seed in 0..50 {
            let mut rng = Rng::new(seed);
            let budget = SLOT_LEN * (1 + rng.index(200));
            let mut map = OffsetMap::new(HashSeed::new(seed, 1), budget, rng.below(300), rng.index(3));
            assert!(map.is_empty() && map.latest(b"nothing").is_none());
            let mut model = HashMap::new();
            for offset in 0..500 {
                let key = format!("{}", rng.below(100));
                if map.room() == 0 {
                    break;
                }
                map.put(key.as_bytes(), Offset::new(offset));
                model.insert(key, Offset::new(offset));
            }
            for key in 0..100 {
                let key = format!("{key}");
                assert_eq!(
                    map.latest(key.as_bytes()),
                    model.get(&key).copied(),
                    "seed {seed}"
                );
            }
            assert!(model.len() < map.slots.len());
        }
    }

    #[test]
    fn it_takes_no_more_than_its_budget_and_no_more_than_it_needs() {
        let large = OffsetMap::new(HashSeed::default(), 32 << 20, u64::MAX, 1);
        assert!(large.slots.len() * SLOT_LEN <= 32 << 20 && large.room() > 1_000_000);
        assert!(OffsetMap::new(HashSeed::default(), 32 << 20, 90, 1).slots.len() < 130);
    }
}
