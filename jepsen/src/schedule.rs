//! Which fault comes next: from the seed, each kind as often as the others.

use crate::chance::Chance;
use crate::faults::Kind;
use std::time::Duration;

/// A fault to come.
#[derive(Clone, Copy)]
pub(crate) struct Next {
    pub(crate) kind: Kind,
    /// How long it lasts.
    pub(crate) hold: Duration,
}

/// Faults without end: a deck with each kind once, shuffled, and again when it is used up.
pub(crate) struct Schedule {
    kinds: Vec<Kind>,
    deck: Vec<Kind>,
    hold: (Duration, Duration),
    dealt: usize,
}

impl Schedule {
    pub(crate) fn new(kinds: &[Kind], hold: (Duration, Duration)) -> Self {
        Self {
            kinds: kinds.to_vec(),
            deck: Vec::new(),
            hold,
            dealt: 0,
        }
    }

    /// The next one, if there is any kind at all.
    pub(crate) fn next(&mut self, chance: &mut Chance) -> Option<Next> {
        if self.deck.is_empty() {
            self.deck = chance.shuffled(self.kinds.clone());
        }
        let kind = self.deck.pop()?;
        self.dealt += 1;
        let hold = chance.time(self.hold.0, self.hold.1);
        Some(Next { kind, hold })
    }

    /// Whether every kind has come at least once.
    pub(crate) fn is_complete(&self) -> bool {
        self.dealt >= self.kinds.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::KINDS;
    use std::collections::BTreeMap;

    fn dealt(seed: u64, count: usize) -> Vec<(&'static str, Duration)> {
        let mut chance = Chance::new(seed);
        let hold = (Duration::from_secs(2), Duration::from_secs(4));
        let mut schedule = Schedule::new(KINDS, hold);
        let next = (0..count).filter_map(|_| schedule.next(&mut chance));
        next.map(|next| (next.kind.name, next.hold)).collect()
    }

    #[test]
    fn a_seed_repeats_its_faults() {
        assert_eq!(dealt(1, 50), dealt(1, 50));
        assert_ne!(dealt(1, 50), dealt(2, 50));
    }

    #[test]
    fn each_kind_comes_as_often_as_the_others() {
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        for (name, hold) in dealt(3, KINDS.len() * 4) {
            *times.entry(name).or_default() += 1;
            assert!((2000..=4000).contains(&hold.as_millis()));
        }
        assert_eq!(times.len(), KINDS.len());
        assert!(times.values().all(|times| *times == 4), "{times:?}");
    }
}
