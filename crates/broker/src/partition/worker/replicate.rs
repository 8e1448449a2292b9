//! A partition thread between brokers: as the follower of some partitions, as the leader of others.

use super::Worker;
use crate::partition::exchange::{FollowedData, FollowerPositions, Link, Verdicts};
use crate::partition::watch::Heard;
use quipu_record::{ErrorCode, TopicPartition};
use quipu_replication::{FetchResult, FollowerHeard, Followership, Input, Now, Resign, Tick, Verdict, View};

impl From<Heard> for FollowerHeard {
    fn from(heard: Heard) -> Self {
        Self {
            broker: heard.broker,
            broker_epoch: heard.broker_epoch,
            leader_epoch: heard.leader_epoch,
            at: heard.at,
        }
    }
}

impl Worker {
    /// Follows a leader. Its session hears of the position by the effects of this very step, if it is a new one.
    pub(super) fn follow(&mut self, now: Now, at: TopicPartition, followership: Followership, link: Link) {
        // What came before is told under the old link.
        self.append(now, at);
        let Some(owned) = self.owned.get_mut(&at) else {
            return;
        };
        let leader = followership.leader;
        let old = owned.link.replace(link);
        self.step(now, at, Input::Follow(followership));
        let Some(owned) = self.owned.get_mut(&at) else {
            return;
        };
        if owned.driver.view().following.map(|following| following.leader) == Some(leader) {
            if let (Some(old), Some(link)) = (old, &owned.link)
                && !old.is(link)
            {
                self.outbox.position(&old, at, None);
            }
        } else {
            // It was old news.
            owned.link = old;
            self.linked(at);
        }
    }

    /// Leads no more, and follows nobody.
    pub(super) fn resign(&mut self, now: Now, at: TopicPartition, resign: Resign) {
        self.step(now, at, Input::Resign(resign));
        self.linked(at);
    }

    /// The session with its leader, if any, is told that the partition has left it.
    pub(super) fn unlink(&mut self, at: TopicPartition) {
        if let Some(link) = self.owned.get_mut(&at).and_then(|owned| owned.link.take()) {
            self.outbox.position(&link, at, None);
        }
    }

    /// Who does not follow (it resigned, it leads, what it was told was old news) is in no session.
    pub(super) fn linked(&mut self, at: TopicPartition) {
        let owned = self.owned.get(&at);
        if owned.is_none_or(|owned| owned.driver.view().following.is_none()) {
            self.unlink(at);
        }
    }

    /// Takes in what a leader sent.
    pub(super) fn fetched(&mut self, now: Now, data: FollowedData) {
        let FollowedData { link, number, parts } = data;
        for (at, fetched) in parts {
            if let FetchResult::Accepted { high_watermark, .. } = &fetched.result
                && self.parts.offline.contains(at)
            {
                self.behind.insert(at, *high_watermark);
            }
            self.step(now, at, Input::Fetched(fetched));
            self.caught_up(at);
        }
        self.outbox.taken(&link, number);
    }

    /// A replica that was set aside and copied again serves as others do once it has all that is committed.
    pub(super) fn caught_up(&mut self, at: TopicPartition) {
        let Some(committed) = self.behind.get(&at) else {
            return;
        };
        let whole = self.owned.get(&at).is_some_and(|owned| {
            owned.driver.log().damage().is_none() && owned.driver.view().flushed >= *committed
        });
        if whole {
            self.behind.remove(&at);
            if self.parts.offline.remove(at) {
                tracing::info!(partition = %at, "a damaged replica was copied again and is whole");
            }
        }
    }

    /// Holds a follower's positions against the logs of the partitions led here.
    pub(super) fn follower_positions(&mut self, now: Now, positions: FollowerPositions) {
        let mut verdicts = Verdicts::with_capacity(positions.parts.len());
        for (at, fetch) in positions.parts {
            let token = fetch.token;
            self.step(now, at, Input::FollowerFetch(fetch));
            let verdict = self.verdicts.drain(..).find(|(of, _)| *of == token);
            // What is not owned here is not led here.
            let verdict = verdict.map_or(Verdict::Refused(ErrorCode::NotLeader), |(_, verdict)| verdict);
            verdicts.push((u32::try_from(token.0).unwrap_or(u32::MAX), verdict));
        }
        // A session that ended has no use for them.
        let _ = positions.answer.send(verdicts);
    }

    /// Before a leader looks at who lags: what is known of followers that have nothing new to say.
    pub(super) fn hear_followers(&mut self, now: Now, at: TopicPartition) {
        let Some(owned) = self.owned.get(&at) else {
            return;
        };
        for heard in owned.replica.watches.heard() {
            self.step(now, at, Input::FollowerHeard(heard.into()));
        }
    }

    /// Until when a replica is certain to be the only leader, and its view now; `None`: it is not known, or does not lead.
    pub(super) fn vouched(&mut self, now: Now, at: TopicPartition) -> Option<(Tick, View)> {
        // What this thread has for a newer leadership comes first: it stands in the inbox before the question.
        let owned = self.owned.get(&at)?;
        let begun: Vec<FollowerHeard> = owned
            .replica
            .watches
            .begun()
            .into_iter()
            .map(Into::into)
            .collect();
        let vouched = owned.driver.vouched(now.mono, &begun)?;
        Some((vouched, owned.driver.view()))
    }
}
