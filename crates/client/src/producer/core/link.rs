//! The links to brokers, as far as the core cares: up, or when to try next.

use crate::backoff::{Backoff, BackoffLimits, Jitter};
use crate::moment::Moment;
use quipu_record::BrokerId;
use std::collections::HashMap;

#[derive(Debug, Default)]
pub(super) struct Links(HashMap<BrokerId, Link>);

#[derive(Debug, Default)]
struct Link {
    state: State,
    /// The broker asked for a pause.
    held_until: Moment,
    backoff: Backoff,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Down { until: Moment },
    Connecting,
    Up,
}

impl Default for State {
    fn default() -> Self {
        let until = Moment::default();
        Self::Down { until }
    }
}

impl Links {
    pub(super) fn is_up(&self, broker: BrokerId) -> bool {
        self.0.get(&broker).is_some_and(|link| link.state == State::Up)
    }

    /// When a link that is down may be tried again, or one that is held be used.
    pub(super) fn next_attempt(&self, broker: BrokerId) -> Option<Moment> {
        let link = self.0.get(&broker)?;
        match link.state {
            State::Down { until } => Some(until),
            State::Connecting => None,
            State::Up => Some(link.held_until),
        }
    }

    /// The broker asked for a pause.
    pub(super) fn hold(&mut self, broker: BrokerId, until: Moment) {
        let link = self.0.entry(broker).or_default();
        link.held_until = link.held_until.max(until);
    }

    pub(super) fn is_held(&self, now: Moment, broker: BrokerId) -> bool {
        self.0.get(&broker).is_some_and(|link| link.held_until > now)
    }

    /// Whether the caller is to connect now.
    pub(super) fn try_connect(&mut self, now: Moment, broker: BrokerId) -> bool {
        let link = self.0.entry(broker).or_default();
        let may = matches!(link.state, State::Down { until } if until <= now);
        if may {
            link.state = State::Connecting;
        }
        may
    }

    pub(super) fn up(&mut self, broker: BrokerId) {
        self.0.entry(broker).or_default().state = State::Up;
    }

    /// An answer came: not until then is it known to be worth anything.
    pub(super) fn works(&mut self, broker: BrokerId) {
        self.0.entry(broker).or_default().backoff.reset();
    }

    pub(super) fn down(&mut self, now: Moment, broker: BrokerId, limits: BackoffLimits, jitter: &mut Jitter) {
        let link = self.0.entry(broker).or_default();
        let until = now.after(link.backoff.next(limits, jitter));
        link.state = State::Down { until };
    }
}
