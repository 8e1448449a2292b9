//! The greatest value so far, as of every moment of a history.

use crate::history::EventId;

/// A value that only rises, with the events that raised it, in order.
#[derive(Clone, Debug)]
pub(crate) struct Rising<T> {
    steps: Vec<(EventId, T)>,
}

impl<T> Default for Rising<T> {
    fn default() -> Self {
        Self { steps: Vec::new() }
    }
}

impl<T: Copy + Ord> Rising<T> {
    /// It is at least this from this event on.
    pub(crate) fn raise(&mut self, event: EventId, value: T) {
        if self.steps.last().is_none_or(|(_, last)| *last < value) {
            self.steps.push((event, value));
        }
    }

    /// The greatest before an event, and what raised it to that.
    pub(crate) fn before(&self, event: EventId) -> Option<(EventId, T)> {
        let later = self.steps.partition_point(|(raised, _)| *raised < event);
        later.checked_sub(1).map(|at| self.steps[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_raised_it_first_is_known_from_then_on() {
        let mut rising = Rising::default();
        for (event, value) in [(1, 5), (2, 5), (4, 7), (5, 6), (6, 7)] {
            rising.raise(EventId(event), value);
        }
        for (event, expected) in [
            (0, None),
            (1, None),
            (2, Some((1, 5))),
            (4, Some((1, 5))),
            (5, Some((4, 7))),
            (9, Some((4, 7))),
        ] {
            let expected = expected.map(|(event, value)| (EventId(event), value));
            assert_eq!(rising.before(EventId(event)), expected, "before {event}");
        }
    }
}
