//! A follower: whom it follows, and what it last told the leader.

use crate::clock::Tick;
use crate::config::Durability;
use crate::fetch::{Fetched, Position};
use crate::input::Followership;
use quipu_record::{BrokerId, LeaderEpoch, PlantedBug};
use std::time::Duration;

/// A refused position is named again after so long: the leader may not have its metadata yet.
pub const REFUSED_PAUSE: Duration = Duration::from_millis(50);
/// What could not be stored is asked for again after so long.
pub const FULL_PAUSE: Duration = Duration::from_secs(1);

/// The follower's part of a replica's state. It ends with its epoch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Follower {
    follows: Followership,
    /// What the leader was last told; `None`: nothing yet.
    told: Option<Position>,
    /// When the same is to be told again.
    again: Option<Tick>,
}

impl Follower {
    /// Begins to follow: the leader is to be told at once.
    #[must_use]
    pub const fn begin(follows: Followership) -> Self {
        Self {
            follows,
            told: None,
            again: None,
        }
    }

    /// The leader's epoch.
    #[must_use]
    pub const fn epoch(&self) -> LeaderEpoch {
        self.follows.leader_epoch
    }

    /// The leader.
    #[must_use]
    pub const fn leader(&self) -> BrokerId {
        self.follows.leader
    }

    /// Whether this replica may be elected.
    #[must_use]
    pub const fn electable(&self) -> bool {
        self.follows.electable
    }

    /// Takes over a newer version of the partition's record, of the same leader.
    pub fn adopt(&mut self, follows: Followership) {
        if follows.partition_epoch > self.follows.partition_epoch {
            self.follows = follows;
        }
    }

    /// Whether an answer is to the position as it is. Any other is late, and what it says may no longer be true.
    #[must_use]
    pub fn is_answered_by(&self, fetched: &Fetched, position: &Position) -> bool {
        let same_leader =
            fetched.leader_epoch == self.follows.leader_epoch || PlantedBug::NoEpochCheckOnFetch.planted();
        same_leader
            && fetched.fetch_offset == position.fetch_offset
            && fetched.last_fetched_epoch == position.last_fetched_epoch
    }

    /// The position is to be told again, changed or not: what was sent for it was dealt with.
    pub fn tell_again(&mut self) {
        self.told = None;
        self.again = None;
    }

    /// The same, later.
    pub fn tell_again_at(&mut self, at: Tick) {
        self.again = Some(at);
    }

    /// When it has something to tell though nothing happens.
    #[must_use]
    pub const fn deadline(&self) -> Option<Tick> {
        self.again
    }

    /// What to tell the leader now. Where an acknowledgement does not wait for it, a flush alone is nothing to tell.
    pub fn tell(&mut self, now: Tick, position: Position, durability: Durability) -> Option<Position> {
        if self.again.is_some_and(|at| at <= now) {
            self.tell_again();
        }
        let same = self.told.is_some_and(|told| {
            let flushed = match durability {
                Durability::Fsync => position.flushed,
                Durability::Replicated => told.flushed,
            };
            told == Position { flushed, ..position }
        });
        if same {
            return None;
        }
        self.told = Some(position);
        Some(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quipu_record::{Offset, PartitionEpoch};

    fn follower() -> Follower {
        Follower::begin(Followership {
            leader: BrokerId::new(1),
            leader_epoch: LeaderEpoch::new(4),
            partition_epoch: PartitionEpoch::new(9),
            electable: true,
        })
    }

    fn position(at: u64, flushed: u64) -> Position {
        Position {
            leader_epoch: LeaderEpoch::new(4),
            fetch_offset: Offset::new(at),
            last_fetched_epoch: Some(LeaderEpoch::new(3)),
            flushed: Offset::new(flushed),
            log_start: Offset::ZERO,
        }
    }

    const NOW: Tick = Tick::from_nanos(1);

    #[test]
    fn it_tells_what_is_new_and_once() {
        let mut follower = follower();
        let (a, b) = (position(5, 3), position(5, 5));
        assert_eq!(follower.tell(NOW, a, Durability::Fsync), Some(a));
        assert_eq!(follower.tell(NOW, a, Durability::Fsync), None);
        assert_eq!(
            follower.tell(NOW, b, Durability::Replicated),
            None,
            "nobody waits for it"
        );
        assert_eq!(follower.tell(NOW, b, Durability::Fsync), Some(b));
        follower.tell_again();
        assert_eq!(follower.tell(NOW, b, Durability::Fsync), Some(b));
    }

    #[test]
    fn what_was_refused_it_tells_again_later() {
        let mut follower = follower();
        let a = position(5, 5);
        follower.tell(NOW, a, Durability::Fsync);
        let later = NOW.after(REFUSED_PAUSE);
        follower.tell_again_at(later);
        assert_eq!(follower.tell(NOW, a, Durability::Fsync), None);
        assert_eq!(follower.deadline(), Some(later));
        assert_eq!(follower.tell(later, a, Durability::Fsync), Some(a));
        assert_eq!(follower.deadline(), None);
    }

    #[test]
    fn an_answer_to_another_position_is_late() {
        let fetched = |at, last| Fetched {
            leader_epoch: LeaderEpoch::new(4),
            fetch_offset: Offset::new(at),
            last_fetched_epoch: Some(LeaderEpoch::new(last)),
            result: crate::FetchResult::OutOfRange {
                log_start: Offset::ZERO,
            },
        };
        let (follower, now) = (follower(), position(5, 5));
        assert!(follower.is_answered_by(&fetched(5, 3), &now));
        assert!(!follower.is_answered_by(&fetched(4, 3), &now));
        assert!(!follower.is_answered_by(&fetched(5, 4), &now));
    }
}
