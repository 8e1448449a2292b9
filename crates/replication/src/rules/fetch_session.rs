//! The session between a follower and a leader, one for all partitions of the pair: only what is new is said.
//!
//! Requests and answers come in order or not at all: a gap ends the session, and the next one begins with everything.
//! But they pass each other, so that an answer may speak of a place where the follower no longer stands. It drops such
//! an answer; what was said in it counts as not said.

use crate::fetch::Position;
use crate::view::View;
use quipu_record::Offset;
use std::collections::{BTreeMap, BTreeSet};

/// The follower's end: what the leader was told of each partition `K`.
#[derive(Debug)]
pub struct FollowerSession<K> {
    epoch: u64,
    parts: BTreeMap<K, Position>,
    changed: BTreeSet<K>,
    forget: BTreeSet<K>,
}

/// The next request, as far as it is of partitions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NextRequest<K> {
    /// Counts the session's requests from 1.
    pub session_epoch: u64,
    /// Partitions that are new, or changed.
    pub positions: Vec<(K, Position)>,
    /// Partitions that leave the session.
    pub forget: Vec<K>,
}

impl<K> Default for FollowerSession<K> {
    fn default() -> Self {
        Self {
            epoch: 0,
            parts: BTreeMap::new(),
            changed: BTreeSet::new(),
            forget: BTreeSet::new(),
        }
    }
}

impl<K: Copy + Ord> FollowerSession<K> {
    /// A session begins anew: the leader knows nothing.
    pub fn begin(&mut self) {
        self.epoch = 0;
        self.changed = self.parts.keys().copied().collect();
        self.forget.clear();
    }

    /// Whether there is no partition in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Whether there is anything new to say.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        !self.changed.is_empty() || !self.forget.is_empty()
    }

    /// Where a partition stands. If that is where it stood before, it asks once more for what comes there.
    pub fn set(&mut self, at: K, position: Position) {
        self.parts.insert(at, position);
        self.forget.remove(&at);
        self.changed.insert(at);
    }

    /// A partition leaves.
    pub fn remove(&mut self, at: K) {
        self.changed.remove(&at);
        if self.parts.remove(&at).is_some() {
            self.forget.insert(at);
        }
    }

    /// What is new since the last request.
    pub fn next_request(&mut self) -> NextRequest<K> {
        self.epoch += 1;
        let changed = std::mem::take(&mut self.changed);
        NextRequest {
            session_epoch: self.epoch,
            positions: changed
                .into_iter()
                .filter_map(|at| Some((at, *self.parts.get(&at)?)))
                .collect(),
            forget: std::mem::take(&mut self.forget).into_iter().collect(),
        }
    }
}

/// What a follower is told beside batches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct News {
    /// Everything below is committed.
    pub high_watermark: Offset,
    /// Everything below was deleted.
    pub log_start: Offset,
}

impl News {
    /// What there is to be told of this view.
    #[must_use]
    pub const fn of(view: &View) -> Self {
        Self {
            high_watermark: view.high_watermark,
            log_start: view.log_start,
        }
    }
}

/// The leader's end, of one partition: where the follower stands, what it was told there, what is on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeaderPart {
    position: Position,
    told: Option<News>,
    /// It was told with batches: whoever has taken these in has heard it.
    told_with_batches: bool,
    /// The request in whose answer batches were sent that the follower has not taken in.
    sent: Option<u64>,
    /// Meanwhile it asked for the same once more: what was sent came to nothing.
    asked_again: bool,
}

impl LeaderPart {
    /// A partition that is new in the session.
    #[must_use]
    pub const fn new(position: Position) -> Self {
        Self {
            position,
            told: None,
            told_with_batches: false,
            sent: None,
            asked_again: false,
        }
    }

    /// Where the follower stands.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// The follower says where it stands.
    pub fn stands(&mut self, now: Position) {
        let before = self.position;
        if before.fetch_offset != now.fetch_offset {
            // Whatever was on the way for the place before has come, or is of no use.
            self.sent = None;
        }
        let place = |at: &Position| (at.leader_epoch, at.fetch_offset, at.last_fetched_epoch);
        if place(&before) != place(&now) {
            let took_in = self.told_with_batches
                && before.leader_epoch == now.leader_epoch
                && before.fetch_offset < now.fetch_offset;
            if !took_in {
                // It may have moved on before it was told, and dropped that.
                self.told = None;
            }
            self.told_with_batches = false;
        }
        self.asked_again = self.sent.is_some() && before == now;
        self.position = now;
    }

    /// The follower has taken in the answer to this request. Says whether it is to be looked at once more.
    pub fn taken(&mut self, request: u64) -> bool {
        if self.sent != Some(request) {
            return false;
        }
        self.sent = None;
        std::mem::take(&mut self.asked_again)
    }

    /// Whether batches may be sent: none are on their way.
    #[must_use]
    pub const fn wants_batches(&self) -> bool {
        self.sent.is_none()
    }

    /// Whether the follower was not told this.
    #[must_use]
    pub fn is_new(&self, news: News) -> bool {
        self.told != Some(news)
    }

    /// This is said, in the answer to `with_batches` if batches go with it.
    pub fn say(&mut self, news: News, with_batches: Option<u64>) {
        self.told = Some(news);
        self.told_with_batches = with_batches.is_some();
        self.sent = with_batches.or(self.sent);
    }

    /// The follower is told something that it must act upon: what it was told before may not outlast that.
    pub const fn tell_off(&mut self) {
        self.told = None;
        self.told_with_batches = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use quipu_record::LeaderEpoch;
    use std::collections::VecDeque;

    fn position(epoch: u32, at: u64) -> Position {
        Position {
            leader_epoch: LeaderEpoch::new(epoch),
            fetch_offset: Offset::new(at),
            last_fetched_epoch: (at > 0).then_some(LeaderEpoch::new(1)),
            flushed: Offset::ZERO,
            log_start: Offset::ZERO,
        }
    }

    fn news(high_watermark: u64) -> News {
        News {
            high_watermark: Offset::new(high_watermark),
            log_start: Offset::ZERO,
        }
    }

    #[test]
    fn what_was_told_at_a_place_that_the_follower_left_is_told_again() {
        let mut part = LeaderPart::new(position(1, 5));
        part.say(news(5), Some(1));
        // Batches are on their way, others commit, and the follower hears of that where it no longer stands.
        part.say(news(7), None);
        part.stands(position(1, 8));
        assert!(part.is_new(news(7)));
    }

    #[test]
    fn what_came_with_batches_is_not_told_again_where_they_end() {
        let mut part = LeaderPart::new(position(1, 5));
        part.say(news(5), Some(1));
        assert!(!part.wants_batches());
        part.stands(position(1, 8));
        assert!(!part.is_new(news(5)) && part.wants_batches());
    }

    #[test]
    fn who_asked_again_while_batches_were_on_their_way_is_looked_at_once_more_when_they_are_taken_in() {
        let mut part = LeaderPart::new(position(1, 5));
        part.say(news(5), Some(1));
        part.stands(position(1, 5));
        assert!(!part.taken(2) && !part.wants_batches(), "another answer");
        assert!(part.taken(1) && part.wants_batches());
        assert!(!part.taken(1), "once");
        part.say(news(5), Some(3));
        assert!(!part.taken(3) && part.wants_batches(), "it did not ask again");
    }

    #[test]
    fn what_was_told_under_an_epoch_before_is_told_again() {
        let mut part = LeaderPart::new(position(1, 5));
        part.say(news(5), None);
        part.stands(position(2, 5));
        assert!(part.is_new(news(5)));
        part.say(news(5), Some(3));
        part.stands(position(3, 8));
        assert!(part.is_new(news(5)));
    }

    #[test]
    fn a_session_that_begins_anew_names_everything() {
        let mut session = FollowerSession::default();
        session.set('a', position(1, 1));
        session.set('b', position(1, 2));
        assert_eq!(session.next_request().positions.len(), 2);
        session.set('a', position(1, 3));
        session.remove('b');
        let next = session.next_request();
        assert_eq!(
            (next.session_epoch, next.positions, next.forget),
            (2, vec![('a', position(1, 3))], vec!['b'])
        );
        assert!(!session.has_changes());
        session.begin();
        let first = session.next_request();
        assert_eq!((first.session_epoch, first.positions.len()), (1, 1));
    }

    /// One partition between two brokers; offsets only.
    struct Pair {
        log_end: u64,
        committed: u64,
        part: Option<LeaderPart>,
        asked: Option<u64>,
        requests: VecDeque<(NextRequest<()>, u64)>,
        answers: VecDeque<Answer>,
        session: FollowerSession<()>,
        holds: u64,
        knows: u64,
        unanswered: usize,
        taken: u64,
        taken_sent: u64,
    }

    /// The request, and what was said: the place, the high watermark, where the batches end.
    type Answer = (u64, Option<(u64, u64, Option<u64>)>);

    impl Pair {
        fn new() -> Self {
            let mut pair = Self {
                log_end: 0,
                committed: 0,
                part: None,
                asked: None,
                requests: VecDeque::new(),
                answers: VecDeque::new(),
                session: FollowerSession::default(),
                holds: 0,
                knows: 0,
                unanswered: 0,
                taken: 0,
                taken_sent: 0,
            };
            pair.session.set((), position(1, 0));
            pair.ask();
            pair
        }

        fn ask(&mut self) {
            let news = self.session.has_changes() || self.taken != self.taken_sent;
            if self.unanswered >= 4 || (self.unanswered > 0 && !news) {
                return;
            }
            self.requests.push_back((self.session.next_request(), self.taken));
            self.taken_sent = self.taken;
            self.unanswered += 1;
        }

        fn leader_hears(&mut self) {
            let Some((request, taken)) = self.requests.pop_front() else {
                return;
            };
            self.answers.extend(
                self.asked
                    .replace(request.session_epoch)
                    .map(|asked| (asked, None)),
            );
            for ((), position) in request.positions {
                match &mut self.part {
                    Some(part) => part.stands(position),
                    None => self.part = Some(LeaderPart::new(position)),
                }
            }
            if let Some(part) = &mut self.part {
                for before in 0..=taken {
                    part.taken(before);
                }
            }
        }

        fn leader_says(&mut self, most: u64) {
            let (Some(request), Some(part)) = (self.asked, &mut self.part) else {
                return;
            };
            let from = part.position().fetch_offset.get();
            let end = (part.wants_batches() && from < self.log_end).then(|| self.log_end.min(from + most));
            if end.is_none() && !part.is_new(news(self.committed)) {
                return;
            }
            part.say(news(self.committed), end.map(|_| request));
            self.asked = None;
            self.answers
                .push_back((request, Some((from, self.committed, end))));
        }

        fn follower_hears(&mut self) {
            let Some((request, said)) = self.answers.pop_front() else {
                return;
            };
            self.unanswered -= 1;
            if let Some((from, committed, end)) = said {
                if from == self.holds {
                    if let Some(end) = end {
                        self.holds = end;
                        self.session.set((), position(1, end));
                    }
                    self.knows = self.knows.max(committed.min(self.holds));
                }
                if end.is_some() {
                    self.taken = request;
                }
            }
            self.ask();
        }
    }

    proptest! {
        #[test]
        fn in_the_end_a_follower_holds_everything_and_knows_what_is_committed(
            steps in prop::collection::vec((0..5_u8, 1..5_u64), 200..300)
        ) {
            let mut pair = Pair::new();
            for (step, many) in steps {
                match step {
                    0 => pair.log_end += many,
                    1 => pair.committed = pair.log_end.min(pair.committed + many),
                    2 => pair.leader_hears(),
                    3 => pair.leader_says(many),
                    _ => pair.follower_hears(),
                }
            }
            for _ in 0..2000 {
                pair.leader_hears();
                pair.leader_says(1);
                pair.follower_hears();
            }
            prop_assert_eq!((pair.holds, pair.knows), (pair.log_end, pair.committed));
        }
    }
}
