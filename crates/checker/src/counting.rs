//! A map from numbers that mostly count up from nought: an array as far as they do, a hash map for the others.

use crate::numbered::small;
use std::collections::HashMap;

/// In the array: nothing is here.
const ABSENT: u32 = u32::MAX;

/// From numbers to places in somebody's list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counting {
    near: Vec<u32>,
    far: HashMap<u64, u32>,
    len: usize,
}

impl Counting {
    /// The place that was put down for this number.
    pub(crate) fn get(&self, number: u64) -> Option<usize> {
        let near = usize::try_from(number).ok().and_then(|at| self.near.get(at));
        match near {
            Some(place) if *place != ABSENT => Some(*place as usize),
            _ if self.far.is_empty() => None,
            _ => self.far.get(&number).map(|place| *place as usize),
        }
    }

    /// Puts down a place for a number that has none.
    pub(crate) fn insert(&mut self, number: u64, place: usize) {
        let place = small(place);
        self.len += 1;
        // The array may be three quarters empty, no more.
        let near = usize::try_from(number)
            .ok()
            .filter(|at| *at < 4 * self.len + 4096);
        let Some(at) = near else {
            self.far.insert(number, place);
            return;
        };
        if at >= self.near.len() {
            self.near.resize(at + 1, ABSENT);
        }
        self.near[at] = place;
    }

    /// Forgets a number.
    pub(crate) fn remove(&mut self, number: u64) {
        let near = usize::try_from(number).ok().and_then(|at| self.near.get_mut(at));
        if let Some(place) = near {
            *place = ABSENT;
        }
        self.far.remove(&number);
    }

    /// The numbers, in order.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        let near = (0_u64..).zip(&self.near);
        let mut numbers: Vec<u64> = near
            .filter(|(_, place)| **place != ABSENT)
            .map(|(number, _)| number)
            .collect();
        if !self.far.is_empty() {
            numbers.extend(self.far.keys());
            numbers.sort_unstable();
        }
        numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_and_far_numbers_are_found_and_forgotten() {
        let mut counting = Counting::default();
        for (place, number) in [5, u64::MAX, 0, 1 << 40, 7_000].into_iter().enumerate() {
            assert_eq!(counting.get(number), None);
            counting.insert(number, place);
            assert_eq!(counting.get(number), Some(place));
        }
        assert_eq!(counting.numbers(), [0, 5, 7_000, 1 << 40, u64::MAX]);
        counting.remove(5);
        counting.remove(1 << 40);
        assert_eq!(counting.numbers(), [0, 7_000, u64::MAX]);
    }

    #[test]
    fn the_array_is_no_longer_than_what_is_in_it_is_worth() {
        let mut counting = Counting::default();
        for (number, array) in [(4_100, 0), (4_103, 4_104), (1 << 20, 4_104), (4_112, 4_104)] {
            counting.insert(number, 7);
            assert_eq!(counting.near.len(), array, "{number}");
            assert_eq!(counting.get(number), Some(7));
        }
        assert_eq!(counting.numbers(), [4_100, 4_103, 4_112, 1 << 20]);
    }
}
