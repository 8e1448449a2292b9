//! Answers of one partition in the order of its requests, whatever the order in which they became known.
//!
//! A lane is one partition on one produce stream. The stream's reader gives each request its lane and its number in
//! it; the writer holds an answer back until those before it in its lane are out. Reader and writer share nothing:
//! the numbers say it all.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// A request's place among those of its partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// The partition, as the stream counts them.
    pub(crate) lane: u32,
    /// The request's number in it.
    pub(crate) number: u64,
}

/// The reader's side: gives out places.
#[derive(Debug)]
pub(crate) struct Lanes<K> {
    lanes: HashMap<K, (u32, u64)>,
}

impl<K> Default for Lanes<K> {
    fn default() -> Self {
        Self {
            lanes: HashMap::new(),
        }
    }
}

impl<K: Eq + Hash> Lanes<K> {
    /// The next place in the lane of `key`.
    pub(crate) fn next(&mut self, key: K) -> Place {
        let new = u32::try_from(self.lanes.len()).unwrap_or(u32::MAX);
        let (lane, count) = self.lanes.entry(key).or_insert((new, 0));
        let place = Place {
            lane: *lane,
            number: *count,
        };
        *count += 1;
        place
    }
}

/// The writer's side: holds back what came too early.
#[derive(Debug)]
pub(crate) struct InOrder<T> {
    lanes: Vec<Lane<T>>,
    ready: VecDeque<T>,
}

#[derive(Debug)]
struct Lane<T> {
    /// The number that goes out next.
    next: u64,
    /// Answers from `next` on that came early.
    early: VecDeque<Option<T>>,
}

impl<T> Default for InOrder<T> {
    fn default() -> Self {
        Self {
            lanes: Vec::new(),
            ready: VecDeque::new(),
        }
    }
}

impl<T> InOrder<T> {
    /// Takes an answer; it and what it held back come out of [`InOrder::pop`].
    pub(crate) fn push(&mut self, place: Place, answer: T) {
        let at = place.lane as usize;
        while self.lanes.len() <= at {
            self.lanes.push(Lane {
                next: 0,
                early: VecDeque::new(),
            });
        }
        let lane = &mut self.lanes[at];
        let Some(ahead) = place.number.checked_sub(lane.next) else {
            return;
        };
        if ahead == 0 && lane.early.is_empty() {
            lane.next += 1;
            self.ready.push_back(answer);
            return;
        }
        let ahead = usize::try_from(ahead).unwrap_or(usize::MAX);
        while lane.early.len() <= ahead {
            lane.early.push_back(None);
        }
        lane.early[ahead] = Some(answer);
        while let Some(Some(_)) = lane.early.front() {
            lane.next += 1;
            self.ready.extend(lane.early.pop_front().flatten());
        }
    }

    /// Whether an answer may go out.
    pub(crate) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The next answer that may go out.
    pub(crate) fn pop(&mut self) -> Option<T> {
        self.ready.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(out: &mut InOrder<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| out.pop()).collect()
    }

    #[test]
    fn an_early_answer_waits_for_those_before_it_in_its_lane() {
        let mut lanes = Lanes::default();
        let [a0, a1, b0, a2] = ["a", "a", "b", "a"].map(|key| lanes.next(key));
        let mut out = InOrder::default();
        out.push(a2, "a2");
        out.push(a1, "a1");
        assert_eq!(drain(&mut out), [""; 0]);
        out.push(b0, "b0");
        assert_eq!(drain(&mut out), ["b0"], "another lane does not wait");
        out.push(a0, "a0");
        assert_eq!(drain(&mut out), ["a0", "a1", "a2"]);
    }

    #[test]
    fn what_comes_in_order_passes_through() {
        let mut lanes = Lanes::default();
        let mut out = InOrder::default();
        for answer in ["0", "1", "2"] {
            out.push(lanes.next(()), answer);
            assert_eq!(drain(&mut out), [answer]);
        }
    }

    #[test]
    fn an_answer_given_twice_is_dropped() {
        let mut lanes = Lanes::default();
        let place = lanes.next(());
        let mut out = InOrder::default();
        out.push(place, "first");
        out.push(place, "again");
        assert_eq!(drain(&mut out), ["first"]);
    }
}
