//! Small numbers for what a history has many of, and hash maps of these and of names. Nobody chooses them to make them
//! collide, so the hash need only be fast.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Events, operations, values and partitions are counted in four bytes.
pub(crate) fn small(number: usize) -> u32 {
    u32::try_from(number)
        .unwrap_or_else(|_| unreachable!("a history of four thousand million things fits into no memory"))
}

/// A hash map with a fast hash.
pub(crate) type FastMap<K, V> = HashMap<K, V, BuildHasherDefault<Mixer>>;

/// Multiplies, and folds the upper half of the product onto the lower one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mixer(u64);

/// An odd number without a pattern: the golden ratio's digits.
const FACTOR: u128 = 0x9E37_79B9_7F4A_7C15;

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..piece.len()].copy_from_slice(piece);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.write_u64(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        // One more, or nought would leave nought as it is.
        let product = (u128::from(self.0 ^ number) + 1) * FACTOR;
        let [low, high] = [product, product >> 64].map(|half| half & u128::from(u64::MAX));
        self.0 = u64::try_from(low ^ high).unwrap_or_default();
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::hash::{BuildHasher, Hash};

    fn hash(of: impl Hash) -> u64 {
        BuildHasherDefault::<Mixer>::default().hash_one(of)
    }

    #[test]
    fn near_numbers_and_names_hash_far_apart() {
        let low_bits = |hash: u64| hash & 0xfff;
        let numbers: HashSet<u64> = (0..1_000_u64)
            .map(|number| low_bits(hash((number, 3_u32))))
            .collect();
        assert!(numbers.len() > 800, "{} of 1000 differ", numbers.len());
        let names: HashSet<u64> = (0..1_000)
            .map(|number| low_bits(hash(format!("orders/{number}"))))
            .collect();
        assert!(names.len() > 800, "{} of 1000 differ", names.len());
    }

    #[test]
    fn hashes_differ_at_both_ends_whichever_bits_of_the_numbers_do() {
        for shift in [0, 20, 40, 50] {
            let hashes = (0..1_000_u64).map(|number| hash(number << shift));
            let ends: HashSet<(bool, u64)> = hashes
                .flat_map(|hash| [(false, hash >> 57), (true, hash & 0xfff)])
                .collect();
            let upper = ends.iter().filter(|(is_low, _)| !is_low).count();
            assert!(upper > 120, "{upper} of 128, of numbers times two to the {shift}");
            let low = ends.len() - upper;
            assert!(low > 800, "{low} of 1000, of numbers times two to the {shift}");
        }
    }

    #[test]
    fn how_many_noughts_there_are_counts() {
        let hashes = [hash(0_u64), hash((0_u64, 0_u64)), hash((0_u64, 0_u64, 0_u64))];
        assert_eq!(HashSet::from(hashes).len(), 3);
    }

    #[test]
    fn each_part_of_a_key_counts() {
        let keys = [
            (0_u8, 0_u32, 0_u64, 0_usize, "ab"),
            (1, 0, 0, 0, "ab"),
            (0, 1, 0, 0, "ab"),
            (0, 0, 1, 0, "ab"),
            (0, 0, 0, 1, "ab"),
            (0, 0, 0, 0, "ac"),
        ];
        let hashes: HashSet<u64> = keys.into_iter().map(hash).collect();
        assert_eq!(hashes.len(), keys.len());
    }
}
