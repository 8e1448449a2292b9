//! One member as the broker that hosts its stream sees it: what may be delivered, what to ask the coordinator, when to
//! drop everything.
//!
//! ```text
//!  heartbeat answered: assigned ─▶ READING the committed offset ─▶ OPENING ─▶ LIVE ──▶ revoked ─▶ REVOKING ─▶ given up
//!                                       └───────────── lost: session, fence, deadline, another epoch ◀──┘
//! ```
//! - Data flows of LIVE partitions only ([`Member::may_deliver`]).
//! - The first thing a client is told names everything that it has ([`Joined`]): what it kept from a stream before, and does
//!   not find there, it has lost. What it was still to give up goes on being so, until the same deadline.
//! - Whatever the client was told that it has it is told to give up, or has lost: one that does not begin yet too.
//! - The coordinator hears that a partition is given up once all that was sent of it is acknowledged and committed, or
//!   the client says so, or it is lost. Until then it is among those owned.
//! - Without an answer to a heartbeat that was *sent* less than 7/12 of the session ago, everything is lost: a coordinator
//!   that answers may be stale for a third of the session, and the next one counts the session from its own start.
//! - One heartbeat waits at the coordinator; if what is owned changes, the next one goes at once and sets it free.

mod commits;
mod ending;
mod heartbeats;
mod partitions;

use crate::{
    AssignedPartition, AssignmentEpoch, GroupError, GroupId, InstanceId, MemberEpoch, MemberId, Request,
    RequestToken, Response, StreamId, StreamNumber, Subscription,
};
use commits::Commits;
use ending::Ending;
use heartbeats::Heartbeats;
use partitions::{Held, Reads};
use quipu_record::{Offset, Tick, TopicPartition};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use commits::Mark;
pub use ending::Finish;

/// What a stream was opened with.
#[derive(Clone, Debug)]
pub struct MemberConfig {
    /// The group.
    pub group: GroupId,
    /// The member.
    pub member: MemberId,
    /// The epoch that the client was told last, to go on after a stream that broke; `None`: joins anew.
    pub epoch: Option<MemberEpoch>,
    /// Names the stream; random. What it joins anew with is counted on from here.
    pub stream: StreamId,
    /// As the client counts its streams; `None`: it does not.
    pub stream_number: Option<StreamNumber>,
    /// Static membership.
    pub instance: Option<InstanceId>,
    /// The client's rack.
    pub rack: Option<Arc<str>>,
    /// What to consume.
    pub subscription: Subscription,
    /// How to share out.
    pub assignor: Option<String>,
    /// Silence after which the member is gone.
    pub session_timeout: Duration,
    /// How long a partition may take to be given up.
    pub revocation_timeout: Duration,
    /// How often what was acknowledged is committed; `None`: only the client commits.
    pub auto_commit: Option<Duration>,
    /// The client says itself when it has given up what is revoked: until then it is not given up for it.
    pub acknowledges_revocations: bool,
    /// What the client calls itself.
    pub client_id: Arc<str>,
    /// Where the client is.
    pub client_host: Arc<str>,
}

/// What happens to a stream.
#[derive(Clone, Debug)]
pub enum MemberInput {
    /// The answer to an [`MemberEffect::Ask`].
    Answered(RequestToken, Result<Response, GroupError>),
    /// This was sent of a partition, up to before `next`.
    Sent {
        /// The partition.
        at: TopicPartition,
        /// The offset after the last record.
        next: Offset,
    },
    /// The client moved the cursor: what was sent before counts no more.
    Sought(TopicPartition),
    /// Everything below `next` was processed.
    Ack {
        /// The partition.
        at: TopicPartition,
        /// As the client was told; `None`: the present one.
        epoch: Option<AssignmentEpoch>,
        /// The next offset to process.
        next: Offset,
    },
    /// The client commits.
    Commit {
        /// Comes back with the result.
        request: u64,
        /// What; empty: all that was acknowledged.
        marks: Vec<Mark>,
    },
    /// The client gives these up, if they are being revoked.
    GiveUp(Vec<TopicPartition>),
    /// The client said something else: it is there.
    Heard,
    /// The stream ends.
    Finish(Finish),
    /// Time passed.
    Tick,
}

/// What is to be done, in this order.
#[derive(Clone, Debug)]
pub enum MemberEffect {
    /// To ask the coordinator; the answer is an input. Requests that are out together may arrive in any order.
    Ask(RequestToken, Request),
    /// To find where a partition begins, then to call [`Member::open`].
    Start {
        /// The partition.
        at: TopicPartition,
        /// Since when this member has it.
        epoch: AssignmentEpoch,
        /// What the group had committed.
        committed: Option<Offset>,
    },
    /// Nothing more of this partition goes out.
    Stop(TopicPartition),
    /// To tell the client.
    Tell(Notice),
    /// The stream ends with this.
    Fail(GroupError),
    /// Everything that was to be done before the end is done.
    Done,
}

/// What the client is told.
#[derive(Clone, PartialEq, Debug)]
pub enum Notice {
    /// The group has taken the member in: the first thing told.
    Joined(Joined),
    /// What changed.
    Changed(Changed),
    /// What became of a commit; 0: of an automatic one, which failed for good.
    Committed(u64, Vec<(TopicPartition, Result<(), GroupError>)>),
}

/// What a member has as its stream begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Joined {
    /// The epoch it is in.
    pub epoch: MemberEpoch,
    /// Its partitions, by topic id and number; where they begin is told as that is found.
    pub assigned: Vec<AssignedPartition>,
    /// What it had on a stream before, and has still to give up.
    pub revoking: Vec<AssignedPartition>,
    /// How long that may take.
    pub left: Duration,
}

/// A change of what a member has; what is new is told as it opens.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Changed {
    /// The epoch it is in; `None`: it joins anew.
    pub epoch: Option<MemberEpoch>,
    /// To be given up.
    pub revoked: Vec<TopicPartition>,
    /// How long that may take.
    pub left: Duration,
    /// Gone.
    pub lost: Vec<TopicPartition>,
}

/// A member, hosted.
#[derive(Debug)]
pub struct Member {
    config: MemberConfig,
    /// Grows with every joining anew, so that a late heartbeat of before counts for nothing.
    stream: StreamId,
    epoch: Option<MemberEpoch>,
    /// The client was told [`Notice::Joined`].
    welcomed: bool,
    held: BTreeMap<TopicPartition, Held>,
    /// Counts the changes of which partitions are held.
    holdings: u64,
    /// When the first of those that are being revoked is lost.
    revoked_until: Option<Tick>,
    beats: Heartbeats,
    reads: Reads,
    commits: Commits,
    ending: Option<Ending>,
    last_token: u64,
    last_born: u64,
}

impl Member {
    /// A stream was opened.
    #[must_use]
    pub fn new(config: MemberConfig, now: Tick) -> Self {
        Self {
            stream: config.stream,
            epoch: config.epoch,
            welcomed: false,
            held: BTreeMap::new(),
            holdings: 0,
            revoked_until: None,
            beats: Heartbeats::new(config.session_timeout, now),
            reads: Reads::default(),
            commits: Commits::default(),
            ending: None,
            last_token: 0,
            last_born: 0,
            config,
        }
    }

    /// Takes what happened. What is to be done is added to `effects`.
    pub fn step(&mut self, input: MemberInput, now: Tick, effects: &mut Vec<MemberEffect>) {
        if self.is_done() {
            return;
        }
        // Who was away for too long has lost everything before it does anything else.
        self.expire(now, effects);
        if !matches!(
            input,
            MemberInput::Answered(..) | MemberInput::Sent { .. } | MemberInput::Finish(_) | MemberInput::Tick
        ) {
            self.heard(now);
        }
        match input {
            MemberInput::Answered(token, answer) => self.answered(token, answer, now, effects),
            MemberInput::Sent { at, next } => self.sent(at, next),
            MemberInput::Sought(at) => self.sought(at),
            MemberInput::Ack { at, epoch, next } => self.ack(at, epoch, next, now),
            MemberInput::Commit { request, marks } => self.commit(request, marks, effects),
            MemberInput::GiveUp(partitions) => self.give_up(&partitions),
            MemberInput::Finish(finish) => self.finish(finish, now, effects),
            MemberInput::Heard | MemberInput::Tick => {}
        }
        self.run(now, effects);
    }

    /// A partition's cursor stands: whether it is still wanted. From here on it may be delivered.
    pub fn open(&mut self, at: TopicPartition, epoch: AssignmentEpoch) -> bool {
        let held = self.held.get_mut(&at).filter(|held| held.epoch == epoch);
        self.ending.is_none() && held.is_some_and(Held::open)
    }

    /// Whether data of this partition may go out now; if so, since when the member has it.
    #[must_use]
    pub fn may_deliver(&self, at: TopicPartition) -> Option<AssignmentEpoch> {
        let held = self.held.get(&at).filter(|held| held.is_live())?;
        self.ending.is_none().then_some(held.epoch)
    }

    /// Whether the member has this partition, or gets it.
    #[must_use]
    pub fn has(&self, at: TopicPartition) -> bool {
        self.held.contains_key(&at)
    }

    /// Whether a partition that [`MemberEffect::Start`] named is still wanted.
    #[must_use]
    pub fn is_opening(&self, at: TopicPartition, epoch: AssignmentEpoch) -> bool {
        let held = self.held.get(&at).filter(|held| held.epoch == epoch);
        self.ending.is_none() && held.is_some_and(Held::is_opening)
    }

    /// A partition that [`MemberEffect::Start`] named does not begin yet: whether the client is to be told so now. From then
    /// on it knows that it has the partition, and is told if that ends.
    pub fn excuse(&mut self, at: TopicPartition, epoch: AssignmentEpoch) -> bool {
        let held = self.held.get_mut(&at).filter(|held| held.epoch == epoch);
        self.ending.is_none() && held.is_some_and(Held::excuse)
    }

    /// Commits of the client that wait for those before them.
    #[must_use]
    pub fn waiting_commits(&self) -> usize {
        self.commits.waiting()
    }

    /// When to step with [`MemberInput::Tick`] at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Tick> {
        let times = [
            self.beats.deadline(),
            self.reads.deadline(),
            self.commits.deadline(),
            self.revoked_until,
            self.ending
                .as_ref()
                .and_then(|ending| ending.deadline(self.commits.is_idle())),
        ];
        times.into_iter().flatten().min()
    }

    /// The member's id.
    #[must_use]
    pub const fn id(&self) -> &MemberId {
        &self.config.member
    }

    /// The epoch it is in.
    #[must_use]
    pub const fn epoch(&self) -> Option<MemberEpoch> {
        self.epoch
    }

    /// What is due by time, and what follows from what happened.
    fn run(&mut self, now: Tick, effects: &mut Vec<MemberEffect>) {
        self.revoke_overdue(now, effects);
        self.release();
        self.pump_commits(now, effects);
        // What a commit refused at once, or nothing that was left to commit, may have settled.
        self.release();
        self.pump_reads(now, effects);
        self.pump_heartbeats(now, effects);
        self.pump_ending(now, effects);
    }

    fn answered(
        &mut self,
        token: RequestToken,
        answer: Result<Response, GroupError>,
        now: Tick,
        effects: &mut Vec<MemberEffect>,
    ) {
        if let Some(beat) = self.beats.take(token) {
            return self.heartbeat_answered(&beat, answer, now, effects);
        }
        if self.reads.take(token) {
            return self.offsets_answered(answer, now, effects);
        }
        if self.commits.take(token) {
            return self.commit_answered(answer, now, effects);
        }
        if let Some(ending) = &mut self.ending {
            ending.answered(token);
        }
    }

    fn token(&mut self) -> RequestToken {
        self.last_token += 1;
        RequestToken::new(self.last_token)
    }

    /// Everything is gone, and the member joins anew.
    fn lose_everything(&mut self, now: Tick, effects: &mut Vec<MemberEffect>) {
        let mut lost = Vec::new();
        for (at, held) in std::mem::take(&mut self.held) {
            effects.extend(held.is_started().then_some(MemberEffect::Stop(at)));
            lost.extend(held.is_known().then_some(at));
        }
        self.holdings += 1;
        self.revoked_until = None;
        self.reads = Reads::default();
        self.fail_commits(effects);
        self.epoch = None;
        self.stream = StreamId::new(self.stream.get().wrapping_add(1));
        self.beats.join_anew(now);
        if self.welcomed && self.ending.is_none() {
            effects.push(MemberEffect::Tell(Notice::Changed(Changed {
                lost,
                ..Changed::default()
            })));
        }
    }
}

/// How long to wait after so many failures in a row.
fn backoff(failures: u32) -> Duration {
    Duration::from_millis(50 << failures.min(5)).min(Duration::from_secs(1))
}

#[cfg(test)]
mod tests;
