//! A group member's protocol: what is this member's, from where it is read, what was processed, and what to say to the
//! broker that hosts the stream. Pure: events and time come in, [`Effect`]s go out.
//!
//! What holds:
//! - only the present stream's data counts, and only of partitions that this stream has told to be this member's;
//! - its first word names all of them: what this member kept from a stream before and does not find there, it has lost;
//! - a partition that is kept across streams (same assignment epoch) is read on from its place: nothing that was handed
//!   out comes again, though the broker begins at what was committed;
//! - a place is acknowledged only once the application has come back for more, and never after the partition was lost;
//! - without a stream for the length of the session, less a margin, everything is lost, whatever the group says later;
//! - of commits one is on its way at a time, in order: see [`commits`].

mod commits;
mod partitions;
mod types;

pub(crate) use types::{Change, CommitId, Effect, End, Given, Named, Owned, Welcome};

use super::config::CommitMode;
use super::error::CommitError;
use super::{AssignmentEpoch, MemberEpoch};
use crate::backoff::{Backoff, BackoffLimits, Jitter};
use crate::consumer::{Key, Start, StreamId};
use crate::moment::Moment;
use commits::Commits;
use quipu_proto::Failure;
use quipu_record::ErrorCode;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use types::{Hold, Link};

/// Acknowledgements wait at most so long to be sent together.
const ACKS_EVERY: Duration = Duration::from_millis(50);
/// A stream that broke sooner is no reason for haste.
const STANDS_AFTER: Duration = Duration::from_secs(1);

/// What the core must know of the configuration.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) mode: CommitMode,
    pub(crate) start: Start,
    /// Where to go on from a place that is out of range; `None`: the application is told.
    pub(crate) reset: Option<Start>,
    pub(crate) session: Duration,
    pub(crate) window: u64,
    pub(crate) limits: BackoffLimits,
}

/// A group member's protocol.
#[derive(Debug)]
pub(crate) struct Core {
    settings: Settings,
    member: String,
    epoch: MemberEpoch,
    link: Link,
    next_stream: u64,
    backoff: Backoff,
    commit_backoff: Backoff,
    jitter: Jitter,
    /// When the last stream was opened.
    opened_at: Moment,
    /// The last sign of life of a stream.
    heard: Moment,
    partitions: BTreeMap<Key, Owned>,
    /// Their place moved since the application came for more.
    touched: BTreeSet<Key>,
    /// What was processed of them was not told yet.
    unacked: BTreeSet<Key>,
    acks_at: Option<Moment>,
    /// Bytes that came and were given or dropped since credit was last sent.
    owed: u64,
    commits: Commits,
    changes: VecDeque<Change>,
    /// Partitions that cannot be begun.
    troubles: VecDeque<(Key, Failure)>,
    refused: Option<Failure>,
    leaving: bool,
    left: bool,
    effects: VecDeque<Effect>,
}

impl Core {
    /// A member with an id of its own making, which wants a stream at once.
    pub(crate) fn new(settings: Settings, member: String, seed: u64) -> Self {
        Self {
            settings,
            member,
            epoch: MemberEpoch::default(),
            link: Link::Waiting {
                until: Moment::default(),
            },
            next_stream: 0,
            backoff: Backoff::default(),
            commit_backoff: Backoff::default(),
            jitter: Jitter::new(seed),
            opened_at: Moment::default(),
            heard: Moment::default(),
            partitions: BTreeMap::new(),
            touched: BTreeSet::new(),
            unacked: BTreeSet::new(),
            acks_at: None,
            owed: 0,
            commits: Commits::default(),
            changes: VecDeque::new(),
            troubles: VecDeque::new(),
            refused: None,
            leaving: false,
            left: false,
            effects: VecDeque::new(),
        }
    }

    pub(crate) fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// What the application must hear next.
    pub(crate) fn next_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// Whether the application has something to hear.
    pub(crate) fn has_news(&self) -> bool {
        !self.changes.is_empty() || self.refused.is_some()
    }

    /// A partition that cannot be read, and why.
    pub(crate) fn next_trouble(&mut self) -> Option<(Key, Failure)> {
        self.troubles.pop_front()
    }

    /// Why there will be nothing any more.
    pub(crate) const fn over(&self) -> Option<&Failure> {
        self.refused.as_ref()
    }

    pub(crate) fn member(&self) -> &str {
        &self.member
    }

    pub(crate) const fn epoch(&self) -> MemberEpoch {
        self.epoch
    }

    /// Whether the group knows this member on a stream that stands.
    pub(crate) const fn connected(&self) -> bool {
        matches!(self.link, Link::Open { .. })
    }

    /// The broker knows who this is, and what it has. Returns the partitions that are lost.
    pub(crate) fn opened(&mut self, now: Moment, stream: StreamId, welcome: Welcome) -> Vec<Key> {
        if self.link != (Link::Opening { stream }) {
            return Vec::new();
        }
        self.link = Link::Open { stream };
        self.opened_at = now;
        self.heard = now;
        if !welcome.member.is_empty() {
            self.member = welcome.member;
        }
        self.epoch = welcome.epoch;
        let gone = self.keep(now, &welcome.assigned, &welcome.revoking);
        self.send_commits(now);
        gone
    }

    /// A sign of life.
    pub(crate) fn heard(&mut self, now: Moment, stream: StreamId) {
        if self.link == (Link::Open { stream }) {
            self.heard = now;
        }
    }

    /// A stream ended, or did not come to be.
    pub(crate) fn ended(&mut self, now: Moment, stream: StreamId, end: End) {
        let stood = self.link == (Link::Open { stream });
        if !stood && self.link != (Link::Opening { stream }) {
            return;
        }
        self.owed = 0;
        self.commits.stream_ended();
        for partition in self.partitions.values_mut() {
            partition.confirmed = false;
            partition.opened = false;
            partition.seeks = 0;
            partition.again_at = None;
        }
        // A stream that stood for a while must be followed by another soon, and somebody else may answer at once.
        let mut pause = Duration::ZERO;
        if stood && self.opened_at.after(STANDS_AFTER) <= now {
            self.backoff.reset();
        } else {
            pause = self.backoff.next(self.settings.limits, &mut self.jitter);
        }
        match end {
            End::Broken(why) => tracing::debug!(why, "a group's stream ended"),
            End::Over if self.leaving => {
                self.left = true;
            }
            End::Over => {}
            End::Refused(failure) => {
                tracing::debug!(%failure, "a group's stream was refused");
                match failure.code {
                    ErrorCode::UnknownMember | ErrorCode::FencedMemberEpoch => self.start_anew(),
                    // Another broker may be well.
                    ErrorCode::ShuttingDown | ErrorCode::NotReady | ErrorCode::Internal => {}
                    _ if failure.retryable => {
                        pause = failure.retry_after.unwrap_or(pause);
                    }
                    _ => return self.end(failure),
                }
            }
        }
        self.link = Link::Waiting {
            until: now.after(pause),
        };
        if self.leaving {
            self.link = Link::Over;
        }
        self.tick(now);
    }

    /// The member has said its last word: the broker ends the stream, and no other is opened.
    pub(crate) fn leave(&mut self) {
        self.leaving = true;
        if matches!(self.link, Link::Waiting { .. }) {
            self.link = Link::Over;
        }
    }

    /// Whether the broker is expected to say whether the group takes the member.
    pub(crate) const fn opening(&self) -> bool {
        matches!(self.link, Link::Opening { .. })
    }

    /// The broker has ended the last stream in order.
    pub(crate) const fn left(&self) -> bool {
        self.left
    }

    /// Nothing comes any more.
    fn end(&mut self, failure: Failure) {
        self.lose_all();
        self.link = Link::Over;
        self.commits
            .fail_all(&CommitError::Ended(failure.clone()), &mut self.effects);
        self.refused = Some(failure);
    }

    /// The application is done: no stream is opened any more.
    pub(crate) fn stop(&mut self) {
        if let Link::Opening { stream } | Link::Open { stream } = self.link {
            self.effects.push_back(Effect::Close { stream });
        }
        self.link = Link::Over;
    }

    /// The group knows this member no more, or it has been away for too long.
    fn start_anew(&mut self) {
        self.lose_all();
        self.epoch = MemberEpoch::default();
    }

    fn lose_all(&mut self) {
        let keys: Vec<Key> = self.partitions.keys().cloned().collect();
        self.lose(&keys);
    }

    /// What the group says of this member's partitions. Returns those whose data on this stream counts no more.
    pub(crate) fn assignment(
        &mut self,
        now: Moment,
        stream: StreamId,
        epoch: MemberEpoch,
        assigned: Vec<Given>,
        revoked: Vec<Key>,
        lost: Vec<Key>,
    ) -> Vec<Key> {
        if self.link != (Link::Open { stream }) {
            return Vec::new();
        }
        self.epoch = epoch;
        let mut gone = lost;
        // Given again with another epoch: in between somebody else may have had it.
        let anew = assigned.iter().filter(|given| {
            let known = self.partitions.get(&given.key);
            known.is_some_and(|known| known.epoch != given.epoch || known.topic_id != given.topic_id)
        });
        gone.extend(anew.map(|given| given.key.clone()));
        self.lose(&gone);
        self.revoke(&revoked);
        self.give(now, assigned);
        if epoch == MemberEpoch::default() {
            // The broker joins anew for this member, once it hears that it is there.
            self.effects.push_back(Effect::Credit { bytes: 0 });
        }
        self.send_commits(now);
        gone.extend(revoked);
        gone
    }

    /// The application has come for more: it has done with what it was given.
    pub(crate) fn finish(&mut self, now: Moment) {
        for key in std::mem::take(&mut self.touched) {
            if let Some(partition) = self.partitions.get_mut(&key)
                && let Start::Offset(place) = partition.place
                && partition.finished != Some(place)
            {
                partition.finished = Some(place);
                if self.settings.mode == CommitMode::Auto {
                    self.unacked.insert(key);
                }
            }
        }
        if !self.unacked.is_empty() {
            self.acks_at.get_or_insert(now.after(ACKS_EVERY));
        }
    }

    /// Tells what was processed.
    pub(crate) fn flush_acks(&mut self) {
        self.acks_at = None;
        if !self.connected() {
            // It is told as the next stream confirms the partitions.
            return;
        }
        for key in std::mem::take(&mut self.unacked) {
            if let Some(partition) = self.partitions.get(&key)
                && let (Some(next), true) = (partition.finished, partition.confirmed)
            {
                let epoch = partition.epoch;
                self.effects.push_back(Effect::Ack { key, next, epoch });
            }
        }
    }

    /// The application has said all about these partitions, which are revoked.
    pub(crate) fn give_up(&mut self, keys: &[Key]) {
        self.flush_acks();
        let still = |key: &&Key| {
            let partition = self.partitions.get(*key);
            partition.is_some_and(|partition| partition.hold == Hold::Revoked)
        };
        let keys: Vec<Key> = keys.iter().filter(still).cloned().collect();
        let mut told = Vec::new();
        for key in keys {
            self.touched.remove(&key);
            if self
                .partitions
                .remove(&key)
                .is_some_and(|partition| partition.confirmed)
            {
                told.push(key);
            }
        }
        if !told.is_empty() && self.connected() {
            self.effects.push_back(Effect::GiveUp { keys: told });
        }
    }

    /// When everything is lost though nobody says so: the group gives it to others after the session.
    fn session_ends(&self) -> Moment {
        self.heard.after(self.settings.session / 4 * 3)
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Moment) {
        if !self.connected() && !self.partitions.is_empty() && self.session_ends() <= now {
            tracing::warn!(
                "no broker could be reached for the length of the session: everything assigned is lost"
            );
            self.start_anew();
        }
        if let Link::Waiting { until } = self.link
            && until <= now
        {
            let stream = StreamId(self.next_stream);
            self.next_stream += 1;
            self.link = Link::Opening { stream };
            self.effects.push_back(Effect::Open {
                stream,
                member: self.member.clone(),
                epoch: self.epoch,
            });
        }
        if self.acks_at.is_some_and(|at| at <= now) {
            self.flush_acks();
        }
        self.ask_again(now);
        self.commits.expire(now, &mut self.effects);
        self.send_commits(now);
    }

    /// When [`Core::tick`] is wanted though nothing happens.
    pub(crate) fn next_tick(&self, now: Moment) -> Option<Moment> {
        let opening = match self.link {
            Link::Waiting { until } => Some(until),
            _ => None,
        };
        let away = !self.connected() && !self.partitions.is_empty();
        let session = away.then(|| self.session_ends());
        let again = self
            .partitions
            .values()
            .filter_map(|partition| partition.again_at);
        let all = again.chain(opening).chain(session).chain(self.acks_at);
        all.chain(self.commits.due(now)).min()
    }
}

#[cfg(test)]
mod tests;
