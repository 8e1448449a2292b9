//! The hosting side of a member as the model has it: what a stream delivers, and when it stops.

use crate::{
    AssignedPartition, AssignmentEpoch, CommitNumber, Committer, GroupId, Heartbeat, HeartbeatAnswer,
    InstanceId, Leave, MemberEpoch, MemberId, RequestToken, StreamId, StreamNumber, Subscription,
};
use quipu_record::{Tick, TopicPartition};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(super) const SESSION: Duration = Duration::from_secs(10);
/// How long before the session's end a host that hears nothing drops what it delivers.
const MARGIN: Duration = Duration::from_secs(2);
pub(super) const REVOCATION: Duration = Duration::from_secs(15);

/// A heartbeat under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outstanding {
    pub(super) token: RequestToken,
    pub(super) sent: Tick,
}

/// One stream of one member.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) member: MemberId,
    pub(super) instance: Option<InstanceId>,
    pub(super) stream: StreamId,
    /// `None`: a client that opens no stream before it knows that the one before is over.
    pub(super) stream_number: Option<StreamNumber>,
    /// Its broker is of another age, and does not pass the number on.
    pub(super) hides_number: bool,
    pub(super) rack: Option<Arc<str>>,
    pub(super) subscription: Subscription,
    pub(super) range: bool,
    pub(super) epoch: Option<MemberEpoch>,
    /// So many commits were made.
    pub(super) commits: u64,
    /// Until the first answer of the stream.
    pub(super) opening: bool,
    /// What is delivered.
    pub(super) owned: BTreeMap<TopicPartition, AssignmentEpoch>,
    /// What is no longer delivered, and is still to be given up.
    pub(super) revoking: BTreeMap<TopicPartition, AssignmentEpoch>,
    pub(super) outstanding: Option<Outstanding>,
    /// When the last heartbeat that was answered was sent.
    pub(super) vouched: Tick,
    pub(super) dead: bool,
    /// Another stream speaks for the member: this one ends as it is fenced.
    pub(super) superseded: bool,
}

impl Host {
    pub(super) fn new(member: MemberId, instance: Option<InstanceId>, stream: StreamId, now: Tick) -> Self {
        Self {
            member,
            instance,
            stream,
            stream_number: None,
            hides_number: false,
            rack: None,
            subscription: Subscription::default(),
            range: false,
            epoch: None,
            commits: 0,
            opening: true,
            owned: BTreeMap::new(),
            revoking: BTreeMap::new(),
            outstanding: None,
            vouched: now,
            dead: false,
            superseded: false,
        }
    }

    pub(super) fn heartbeat(&self, group: &GroupId, max_wait: Duration) -> Heartbeat {
        let has = self.owned.keys().chain(self.revoking.keys()).copied();
        let mut has: Vec<TopicPartition> = has.collect();
        has.sort_unstable();
        Heartbeat {
            group: group.clone(),
            member: self.member.clone(),
            epoch: self.epoch,
            instance: self.instance.clone(),
            rack: self.rack.clone(),
            subscription: (self.opening || self.epoch.is_none()).then(|| self.subscription.clone()),
            assignor: self.range.then(|| "range".to_owned()),
            owned: if self.epoch.is_none() {
                Some(Vec::new())
            } else {
                (!self.opening).then_some(has)
            },
            session_timeout: Some(SESSION),
            revocation_timeout: Some(REVOCATION),
            client_id: "model".into(),
            client_host: "here".into(),
            stream: Some(self.stream),
            stream_number: self.told_number(),
            max_wait,
        }
    }

    /// What the coordinator hears of its number.
    pub(super) fn told_number(&self) -> Option<StreamNumber> {
        self.stream_number.filter(|_| !self.hides_number)
    }

    pub(super) fn leave(&self, group: &GroupId, will_return: bool) -> Leave {
        Leave {
            group: group.clone(),
            member: self.member.clone(),
            stream: Some(self.stream),
            stream_number: self.told_number(),
            will_return,
        }
    }

    /// Who makes the next commit.
    pub(super) fn committer(&self, epoch: MemberEpoch) -> Committer {
        Committer {
            member: self.member.clone(),
            epoch,
            stream: Some(self.stream),
            stream_number: self.told_number(),
            number: Some(CommitNumber::new(self.commits + 1)),
        }
    }

    pub(super) fn holds(&self, at: TopicPartition) -> bool {
        !self.dead && (self.owned.contains_key(&at) || self.revoking.contains_key(&at))
    }

    /// Nobody vouched for it for too long, or it was told so: all is lost. It joins anew, unless its client went to another
    /// stream: keep-alives find that out long before a session ends.
    pub(super) fn drop_all(&mut self) {
        self.dead |= self.superseded;
        self.owned.clear();
        self.revoking.clear();
        self.epoch = None;
        self.outstanding = None;
    }

    pub(super) fn drops_at(&self) -> Tick {
        drops_at(self.vouched)
    }

    pub(super) fn told(&mut self, answer: &HeartbeatAnswer, sent: Tick) {
        self.vouched = sent;
        let resumes = std::mem::take(&mut self.opening) && self.epoch.is_some();
        self.epoch = Some(answer.epoch);
        let Some(assignment) = &answer.assignment else {
            return;
        };
        let before = std::mem::take(&mut self.owned);
        self.owned = assignment.iter().map(|one| (one.at, one.epoch)).collect();
        let has = |one: &&AssignedPartition| {
            let since = before.get(&one.at).or_else(|| self.revoking.get(&one.at));
            since == Some(&one.epoch)
        };
        // What the client had on a stream before it has still, though this host never delivered it.
        let still = answer.revoking.iter().filter(|one| resumes || has(one));
        self.revoking = still.map(|one| (one.at, one.epoch)).collect();
    }
}

/// Until when an answer vouches that was asked for at this moment.
pub(super) fn drops_at(sent: Tick) -> Tick {
    sent.after(SESSION.saturating_sub(MARGIN))
}
