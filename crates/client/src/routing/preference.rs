//! Which broker is asked first. Pure.
//!
//! Any broker can answer, but not equally well: one may be gone, one may be silent, and one may be cut off from the
//! controllers and tell what was true a while ago.

use std::collections::BTreeSet;

/// In which order addresses are asked.
#[derive(Clone, Debug)]
pub(super) struct Preference {
    /// Asked first: it answered last.
    favourite: String,
    /// They did not answer last time, and are asked after all others.
    failed: BTreeSet<String>,
}

impl Preference {
    pub(super) fn new(favourite: String) -> Self {
        Self {
            favourite,
            failed: BTreeSet::new(),
        }
    }

    /// Every address once, the best first.
    pub(super) fn order<'a>(&'a self, known: impl Iterator<Item = &'a str>) -> Vec<String> {
        let mut order: Vec<String> = Vec::new();
        for address in std::iter::once(self.favourite.as_str()).chain(known) {
            if !order.iter().any(|there| there == address) {
                order.push(address.to_owned());
            }
        }
        order.sort_by_key(|address| self.failed.contains(address));
        order
    }

    pub(super) fn answered(&mut self, address: &str) {
        self.failed.remove(address);
        if self.favourite != address {
            address.clone_into(&mut self.favourite);
        }
    }

    pub(super) fn failed(&mut self, address: &str) {
        self.failed.insert(address.to_owned());
    }

    /// It may be asked like all others.
    pub(super) fn well(&mut self, address: &str) {
        self.failed.remove(address);
    }

    /// One of those that did not fail last time, or of all if there is none: streams spread over the brokers.
    pub(super) fn any<'a>(&self, known: impl Iterator<Item = &'a str>, random: u64) -> Option<String> {
        let known: BTreeSet<&str> = known.collect();
        let (failed, well): (Vec<&str>, Vec<&str>) = known
            .into_iter()
            .partition(|address| self.failed.contains(*address));
        let among = if well.is_empty() { failed } else { well };
        let place = random.checked_rem(among.len() as u64)?;
        among
            .get(usize::try_from(place).ok()?)
            .map(|&address| address.to_owned())
    }

    /// It answered, with nothing that was not known: the next time another is asked. `known` are all in a stable order.
    pub(super) fn no_news<'a>(&mut self, known: impl Iterator<Item = &'a str>) {
        let known: Vec<&str> = known.filter(|address| !self.failed.contains(*address)).collect();
        let place = known.iter().position(|address| *address == self.favourite);
        let next = place.map_or(0, |place| place + 1);
        if let Some(next) = known.get(next % known.len().max(1)) {
            (*next).clone_into(&mut self.favourite);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["a", "b", "c", "a"];

    fn order(preference: &Preference) -> Vec<String> {
        preference.order(KNOWN.into_iter())
    }

    #[test]
    fn who_answered_is_asked_first_and_who_did_not_last() {
        let mut preference = Preference::new("b".into());
        assert_eq!(order(&preference), ["b", "a", "c"]);
        preference.failed("b");
        assert_eq!(order(&preference), ["a", "c", "b"]);
        preference.answered("c");
        assert_eq!(order(&preference), ["c", "a", "b"]);
        preference.answered("b");
        assert_eq!(order(&preference), ["b", "a", "c"]);
    }

    #[test]
    fn streams_spread_over_those_that_are_well() {
        let mut preference = Preference::new("a".into());
        let any = |preference: &Preference| -> BTreeSet<String> {
            (0..9)
                .filter_map(|random| preference.any(KNOWN.into_iter(), random))
                .collect()
        };
        assert_eq!(any(&preference).len(), 3);
        preference.failed("b");
        assert!(!any(&preference).contains("b"));
        preference.failed("a");
        preference.failed("c");
        assert_eq!(any(&preference).len(), 3, "nobody is better");
        preference.well("b");
        assert_eq!(any(&preference), BTreeSet::from(["b".to_owned()]));
        assert_eq!(preference.any(std::iter::empty(), 7), None);
    }

    #[test]
    fn who_has_no_news_is_not_asked_for_ever() {
        let mut preference = Preference::new("a".into());
        let mut first = Vec::new();
        for _ in 0..4 {
            preference.no_news(["a", "b", "c"].into_iter());
            first.push(order(&preference)[0].clone());
        }
        assert_eq!(first, ["b", "c", "a", "b"]);
        preference.failed("c");
        preference.no_news(["a", "b", "c"].into_iter());
        assert_eq!(order(&preference), ["a", "b", "c"], "who fails is passed over");
        preference.no_news(std::iter::empty());
        assert_eq!(order(&preference)[0], "a", "nobody else is known");
    }
}
