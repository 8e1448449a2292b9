//! What a leader knows of its followers: how far each holds the log, heard in this very leader epoch, and since when it
//! has been behind.

use super::high_watermark::Progress;
use crate::clock::Tick;
use crate::config::Durability;
use quipu_record::{BrokerEpoch, BrokerId, Offset, PlantedBug};
use std::time::Duration;

/// One follower, heard in this leader epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Follower {
    /// Who.
    pub broker: BrokerId,
    /// In which lifetime.
    pub broker_epoch: BrokerEpoch,
    /// How far it holds the log.
    pub progress: Progress,
    /// When it last held all that there was; `None`: not yet.
    caught_up: Option<Tick>,
    /// A log end and when it was that: once the follower holds so much, it had caught up then.
    mark: (Tick, Offset),
}

/// All of them. Ends with the leader epoch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Followers {
    /// When the leader began: who was in sync then has until a lag's time later to be heard.
    since: Tick,
    heard: Vec<Follower>,
}

impl Followers {
    /// Nobody has been heard yet.
    #[must_use]
    pub const fn none_since(since: Tick) -> Self {
        Self {
            since,
            heard: Vec::new(),
        }
    }

    /// One that was heard in this epoch.
    #[must_use]
    pub fn get(&self, broker: BrokerId) -> Option<&Follower> {
        self.heard.iter().find(|follower| follower.broker == broker)
    }

    /// How far one holds the log that was heard in this epoch.
    #[must_use]
    pub fn progress(&self, broker: BrokerId) -> Option<Progress> {
        self.get(broker).map(|follower| follower.progress)
    }

    /// Whether a message of this lifetime may count: no newer one is known, neither by `registered` nor heard.
    #[must_use]
    pub fn is_current(
        &self,
        broker: BrokerId,
        broker_epoch: BrokerEpoch,
        registered: Option<BrokerEpoch>,
    ) -> bool {
        let heard = self.get(broker).map(|follower| follower.broker_epoch);
        heard.max(registered).is_none_or(|known| known <= broker_epoch)
            || PlantedBug::BrokerEpochUnchecked.planted()
    }

    /// Takes a follower's word, which was judged before.
    pub fn fetched(
        &mut self,
        now: Tick,
        (broker, broker_epoch): (BrokerId, BrokerEpoch),
        progress: Progress,
        log_end: Offset,
        durability: Durability,
    ) {
        let fresh = Follower {
            broker,
            broker_epoch,
            progress,
            caught_up: None,
            mark: (now, log_end),
        };
        let at = self.heard.iter().position(|follower| follower.broker == broker);
        let follower = match at {
            Some(at) => &mut self.heard[at],
            None => {
                self.heard.push(fresh);
                let last = self.heard.len() - 1;
                &mut self.heard[last]
            }
        };
        if follower.broker_epoch != broker_epoch {
            *follower = fresh;
        }
        follower.progress = progress;
        follower.note(now, log_end, durability);
    }

    /// A follower is alive, and stands where it stood.
    pub fn alive(
        &mut self,
        at: Tick,
        broker: (BrokerId, BrokerEpoch),
        log_end: Offset,
        durability: Durability,
    ) {
        let same = |follower: &&mut Follower| (follower.broker, follower.broker_epoch) == broker;
        if let Some(follower) = self.heard.iter_mut().find(same) {
            follower.note(at, log_end, durability);
        }
    }

    /// The log is about to grow beyond `log_end`: who holds all of it has caught up until now.
    pub fn about_to_append(&mut self, now: Tick, log_end: Offset, durability: Durability) {
        for follower in &mut self.heard {
            follower.note(now, log_end, durability);
        }
    }

    /// Since when a follower has been behind; `None`: it is not. One that was not heard in this epoch is behind since it
    /// began.
    #[must_use]
    pub fn behind_since(&self, broker: BrokerId, log_end: Offset, durability: Durability) -> Option<Tick> {
        match self.get(broker) {
            None => Some(self.since),
            Some(follower) if follower.holds(log_end, durability) => None,
            // In sync as this leader began, or it caught up since.
            Some(follower) => Some(follower.caught_up.unwrap_or(self.since)),
        }
    }

    /// Whether one that is not in sync keeps up: it held all there was a short while ago.
    #[must_use]
    pub fn keeps_up(
        &self,
        broker: BrokerId,
        now: Tick,
        lag_max: Duration,
        log_end: Offset,
        durability: Durability,
    ) -> bool {
        self.get(broker).is_some_and(|follower| {
            let lately = |at| now.since(at) < lag_max;
            follower.holds(log_end, durability) || follower.caught_up.is_some_and(lately)
        })
    }
}

impl Follower {
    fn holds(&self, log_end: Offset, durability: Durability) -> bool {
        self.progress.held(durability) >= log_end
    }

    /// Under load a follower never holds all that there is, and is in sync all the same: what counts is when there was
    /// no more than it holds now.
    fn note(&mut self, now: Tick, log_end: Offset, durability: Durability) {
        if self.holds(log_end, durability) {
            self.caught_up = self.caught_up.max(Some(now));
            self.mark = (now, log_end);
        } else if self.holds(self.mark.1, durability) {
            self.caught_up = self.caught_up.max(Some(self.mark.0));
            self.mark = (now, log_end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: BrokerId = BrokerId::new(2);
    const FSYNC: Durability = Durability::Fsync;

    fn at(log_end: u64, flushed: u64) -> Progress {
        Progress {
            log_end: Offset::new(log_end),
            flushed: Offset::new(flushed),
        }
    }

    fn second(n: u64) -> Tick {
        Tick::from_nanos(n * 1_000_000_000)
    }

    fn life(n: u64) -> BrokerEpoch {
        BrokerEpoch::new(n)
    }

    #[test]
    fn who_holds_everything_is_not_behind_however_long_it_is_silent() {
        let mut all = Followers::none_since(second(0));
        assert_eq!(all.behind_since(TWO, Offset::new(5), FSYNC), Some(second(0)));
        all.fetched(second(1), (TWO, life(7)), at(5, 5), Offset::new(5), FSYNC);
        assert_eq!(all.behind_since(TWO, Offset::new(5), FSYNC), None);
        all.about_to_append(second(100), Offset::new(5), FSYNC);
        assert_eq!(all.behind_since(TWO, Offset::new(6), FSYNC), Some(second(100)));
    }

    #[test]
    fn under_load_it_counts_when_there_was_no_more_than_it_holds_now() {
        let mut all = Followers::none_since(second(0));
        for n in 1..60 {
            // Always a hundred behind in memory and two hundred on disk: two seconds late.
            all.about_to_append(second(n), Offset::new(n * 100), FSYNC);
            let held = at(n * 100, (n - 1) * 100);
            all.fetched(second(n), (TWO, life(7)), held, Offset::new((n + 1) * 100), FSYNC);
            let since = all.behind_since(TWO, Offset::new((n + 1) * 100), FSYNC).unwrap();
            assert!(second(n).since(since) <= Duration::from_secs(5), "{n}: {since:?}");
        }
        assert!(all.keeps_up(
            TWO,
            second(60),
            Duration::from_secs(10),
            Offset::new(6_100),
            FSYNC
        ));
        assert!(!all.keeps_up(
            TWO,
            second(90),
            Duration::from_secs(10),
            Offset::new(6_100),
            FSYNC
        ));
    }

    #[test]
    fn one_that_catches_up_from_far_behind_does_not_keep_up_before_it_has() {
        let mut all = Followers::none_since(second(0));
        let lag = Duration::from_secs(10);
        all.fetched(second(1), (TWO, life(7)), at(0, 0), Offset::new(1000), FSYNC);
        assert!(!all.keeps_up(TWO, second(1), lag, Offset::new(1000), FSYNC));
        all.fetched(
            second(30),
            (TWO, life(7)),
            at(1000, 1000),
            Offset::new(2000),
            FSYNC,
        );
        assert!(!all.keeps_up(TWO, second(30), lag, Offset::new(2000), FSYNC));
        all.fetched(
            second(31),
            (TWO, life(7)),
            at(2000, 2000),
            Offset::new(2001),
            FSYNC,
        );
        assert!(all.keeps_up(TWO, second(31), lag, Offset::new(2001), FSYNC));
    }

    #[test]
    fn an_older_lifetime_does_not_count_and_a_newer_one_begins_anew() {
        let mut all = Followers::none_since(second(0));
        all.fetched(second(1), (TWO, life(7)), at(5, 5), Offset::new(5), FSYNC);
        assert!(all.is_current(TWO, life(7), None) && all.is_current(TWO, life(8), Some(life(7))));
        assert!(!all.is_current(TWO, life(6), None) && !all.is_current(TWO, life(7), Some(life(8))));
        all.fetched(second(2), (TWO, life(8)), at(1, 1), Offset::new(5), FSYNC);
        assert_eq!(all.progress(TWO), Some(at(1, 1)));
        assert!(!all.keeps_up(TWO, second(2), Duration::from_secs(10), Offset::new(5), FSYNC));
        all.alive(second(3), (TWO, life(7)), Offset::new(1), FSYNC);
        assert_eq!(
            all.get(TWO).map(|two| two.caught_up),
            Some(None),
            "an older lifetime was alive"
        );
        PlantedBug::BrokerEpochUnchecked.plant(|| assert!(all.is_current(TWO, life(7), None)));
    }
}
