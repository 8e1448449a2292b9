//! What happens when: the only clock of the world.

use quipu_replication::Tick;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Events in order of their time; of one time, in the order in which they were planned.
#[derive(Debug)]
pub(crate) struct Schedule<E> {
    now: Tick,
    planned: BinaryHeap<Reverse<Planned<E>>>,
    count: u64,
}

#[derive(Debug)]
struct Planned<E> {
    at: Tick,
    order: u64,
    event: E,
}

impl<E> PartialEq for Planned<E> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl<E> Eq for Planned<E> {}

impl<E> PartialOrd for Planned<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Planned<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl<E> Default for Schedule<E> {
    fn default() -> Self {
        Self {
            now: Tick::default(),
            planned: BinaryHeap::new(),
            count: 0,
        }
    }
}

impl<E> Schedule<E> {
    /// The time.
    #[must_use]
    pub(crate) fn now(&self) -> Tick {
        self.now
    }

    /// Plans an event at a time; not before now.
    pub(crate) fn at(&mut self, at: Tick, event: E) {
        self.count += 1;
        self.planned.push(Reverse(Planned {
            at: at.max(self.now),
            order: self.count,
            event,
        }));
    }

    /// Plans an event in a while.
    pub(crate) fn after(&mut self, wait: Duration, event: E) {
        self.at(self.now.after(wait), event);
    }

    /// The next event; the time becomes its time.
    pub(crate) fn next(&mut self) -> Option<E> {
        let Reverse(planned) = self.planned.pop()?;
        self.now = planned.at;
        Some(planned.event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_orders_events_and_planning_orders_those_of_one_time() {
        let mut schedule = Schedule::default();
        schedule.after(Duration::from_millis(2), "c");
        schedule.after(Duration::from_millis(1), "a");
        schedule.after(Duration::from_millis(1), "b");
        let told: Vec<_> = std::iter::from_fn(|| schedule.next()).collect();
        assert_eq!(told, ["a", "b", "c"]);
        assert_eq!(schedule.now(), Tick::from_nanos(2_000_000));
        schedule.at(Tick::default(), "late");
        schedule.next();
        assert_eq!(
            schedule.now(),
            Tick::from_nanos(2_000_000),
            "time does not go back"
        );
    }
}
