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
