//! A follower's side: one session with each leader.

use super::Broker;
use crate::cluster::message::{
    Address, BrokerEvent, BrokerIndex, Message, PartitionIndex, ReplicateRequest, ReplicateResponse,
};
use crate::cluster::shared::Shared;
use quipu_record::LeaderEpoch;
use quipu_replication::{Input, Position, Tick};
use std::collections::BTreeMap;
use std::time::Duration;

/// An answer that has not come after so long is lost.
const PATIENCE: Duration = Duration::from_millis(350);

/// Whom this broker follows, and where it stands.
#[derive(Debug)]
pub(super) struct Following {
    leaders: Vec<Session>,
    places: BTreeMap<PartitionIndex, (BrokerIndex, LeaderEpoch)>,
}

#[derive(Debug, Default)]
struct Session {
    positions: BTreeMap<PartitionIndex, Position>,
    /// The last request, when it was sent, and whether its answer is still to come.
    number: u64,
    sent: Tick,
    waits: bool,
    /// Something changed since.
    changed: bool,
    answers: Answers,
}

/// Which of a leader's answers came. The leader says once what it has to say: what was in an answer that is lost it
/// says again only to a request that begins anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Answers {
    /// All did, up to the one to this request.
    Known { last: u64 },
    /// One may be lost, and the leader is to be told.
    #[default]
    Lost,
    /// It is being told, by every request from this one on, until one of them is answered.
    Anew { first: u64 },
}

impl Answers {
    /// A request goes out. Says whether it begins anew.
    fn asked(&mut self, number: u64) -> bool {
        if *self == Self::Lost {
            *self = Self::Anew { first: number };
        }
        matches!(self, Self::Anew { .. })
    }

    /// The answer to a request came, and which one the leader answered before.
    fn answered(&mut self, number: u64, after: u64) {
        match *self {
            Self::Known { last } if number > last => {
                *self = if after == last {
                    Self::Known { last: number }
                } else {
                    Self::Lost
                };
            }
            Self::Anew { first } if number >= first => *self = Self::Known { last: number },
            _ => {}
        }
    }
}

impl Following {
    pub(super) fn new(brokers: usize) -> Self {
        Self {
            leaders: (0..brokers).map(|_| Session::default()).collect(),
            places: BTreeMap::new(),
        }
    }

    pub(super) fn follow(
        &mut self,
        partition: PartitionIndex,
        leader: Option<BrokerIndex>,
        epoch: LeaderEpoch,
    ) {
        let Some(leader) = leader else { return };
        if self
            .places
            .get(&partition)
            .is_some_and(|(_, known)| *known >= epoch)
        {
            return;
        }
        self.leave(partition);
        self.places.insert(partition, (leader, epoch));
    }

    pub(super) fn leave(&mut self, partition: PartitionIndex) {
        if let Some((leader, _)) = self.places.remove(&partition) {
            self.leaders[leader].positions.remove(&partition);
        }
    }

    /// A replica stands here now.
    pub(super) fn stands(&mut self, partition: PartitionIndex, position: Position) {
        if let Some((leader, epoch)) = self.places.get(&partition)
            && *epoch == position.leader_epoch
        {
            let session = &mut self.leaders[*leader];
            session.changed |= session.positions.insert(partition, position) != Some(position);
        }
    }
}

impl Broker {
    /// Looks soon at what is to be said to other brokers.
    pub(super) fn plan_replicate(&mut self, shared: &mut Shared) {
        let Some(process) = &mut self.process else { return };
        if !process.replicate_planned {
            process.replicate_planned = true;
            let wait = shared.chance.between(Duration::ZERO, Duration::from_micros(300));
            self.plan(shared, wait, BrokerEvent::Replicate);
        }
    }

    pub(super) fn replicate(&mut self, shared: &mut Shared) {
        if let Some(process) = &mut self.process {
            process.replicate_planned = false;
        }
        self.ask_leaders(shared);
        self.answer_followers(shared);
    }

    fn ask_leaders(&mut self, shared: &mut Shared) {
        let (now, from) = (shared.schedule.now(), self.address());
        let Some(process) = &mut self.process else { return };
        let Some(broker_epoch) = process.lifecycle.epoch() else {
            return;
        };
        let mut wake = false;
        for (leader, session) in process.following.leaders.iter_mut().enumerate() {
            if session.positions.is_empty() {
                session.waits = false;
                continue;
            }
            let late = session.waits && now.since(session.sent) >= PATIENCE;
            if session.waits && !session.changed && !late {
                continue;
            }
            if late {
                session.answers = Answers::Lost;
            }
            session.number += 1;
            session.sent = now;
            session.waits = true;
            session.changed = false;
            let request = ReplicateRequest {
                broker_epoch,
                sent: now,
                number: session.number,
                anew: session.answers.asked(session.number),
                positions: session
                    .positions
                    .iter()
                    .map(|(at, position)| (*at, *position))
                    .collect(),
            };
            shared.send(from, Address::Broker(leader), Message::Replicate(request));
            wake = true;
        }
        if wake {
            self.plan(shared, PATIENCE, BrokerEvent::Replicate);
        }
    }

    /// A leader answered.
    pub(super) fn answered_by(
        &mut self,
        shared: &mut Shared,
        leader: BrokerIndex,
        response: ReplicateResponse,
    ) {
        let Some(process) = &mut self.process else { return };
        let session = &mut process.following.leaders[leader];
        if response.number == session.number {
            session.waits = false;
        }
        session.answers.answered(response.number, response.after);
        for (partition, fetched) in response.parts {
            self.step(shared, partition, Input::Fetched(fetched));
        }
        self.plan_replicate(shared);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_begins_anew_until_the_leader_has_answered_that() {
        let mut answers = Answers::default();
        // The first request is lost, and so is the second, which goes out because something changed.
        assert!(answers.asked(1));
        assert!(answers.asked(2));
        assert!(answers.asked(3));
        answers.answered(3, 0);
        assert!(!answers.asked(4));
        answers.answered(4, 3);
        assert!(!answers.asked(5));
    }

    #[test]
    fn a_lost_answer_begins_the_session_anew_though_others_come() {
        let mut answers = Answers::default();
        assert!(answers.asked(1));
        answers.answered(1, 0);
        assert!(!answers.asked(2));
        assert!(!answers.asked(3));
        // The second was answered, and that answer is lost.
        answers.answered(3, 2);
        assert!(answers.asked(4));
        // Late ones do not mend that.
        answers.answered(2, 1);
        assert!(answers.asked(5));
        answers.answered(5, 4);
        assert!(!answers.asked(6));
        // Twice the same is nothing new.
        answers.answered(5, 4);
        assert!(!answers.asked(7));
    }
}
