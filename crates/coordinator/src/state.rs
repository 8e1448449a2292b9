//! A group as its records make it, and what is known of it only while it is live.

use crate::reconcile::Owned;
use crate::record::{Change, Current, GroupHead, Info, Progress, Record, StoredOffset};
use crate::{
    AssignedPartition, Assignor, CommitNumber, GroupEpoch, GroupId, GroupState, InstanceId, MemberId,
    RequestToken, StreamId,
};
use quipu_record::{Tick, Timestamp, TopicPartition};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One group.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) head: Option<GroupHead>,
    pub(crate) target_epoch: Option<GroupEpoch>,
    pub(crate) members: BTreeMap<MemberId, Member>,
    pub(crate) offsets: BTreeMap<TopicPartition, StoredOffset>,
    pub(crate) expired: BTreeMap<TopicPartition, StoredOffset>,
    /// Whose each partition is, given up or not: follows from what members have.
    pub(crate) owners: BTreeMap<TopicPartition, MemberId>,
    /// Follows from who the members are.
    pub(crate) instances: BTreeMap<InstanceId, MemberId>,
    /// When a target was made last; not stored.
    pub(crate) targeted: Option<Tick>,
    /// When a target is due that was put off; not stored.
    pub(crate) due: Option<Tick>,
}

/// One member.
#[derive(Debug, Default)]
pub(crate) struct Member {
    pub(crate) info: Option<Arc<Info>>,
    pub(crate) target: Option<Arc<[TopicPartition]>>,
    pub(crate) current: Option<Current>,
    pub(crate) live: Live,
}

/// What is known of a member only while its coordinator is live.
#[derive(Debug, Default)]
pub(crate) struct Live {
    /// When it was heard last.
    pub(crate) heard: Tick,
    /// When what it has still to give up is taken from it.
    pub(crate) revocation: Option<Tick>,
    /// Its heartbeat that waits.
    pub(crate) parked: Option<Parked>,
    /// When the stream that would speak for it was heard last.
    pub(crate) candidate_heard: Tick,
    /// The latest commit that was taken of each of its streams, the latest stream last: two may commit while it is not known
    /// which is later.
    pub(crate) committed: Vec<(StreamId, CommitNumber)>,
    /// What it was last told is not what it has.
    pub(crate) untold: bool,
    /// When it is looked after next, as the timers have it.
    pub(crate) timer: Option<Tick>,
}

/// A heartbeat that waits for something to tell. The member speaks in its present epoch.
#[derive(Debug)]
pub(crate) struct Parked {
    pub(crate) token: RequestToken,
    pub(crate) until: Tick,
    /// Sorted; `None`: not said.
    pub(crate) owned: Option<Vec<TopicPartition>>,
    /// It is believed what it owns.
    pub(crate) speaks: bool,
}

impl Parked {
    pub(crate) fn owned(&self) -> Owned<'_> {
        self.owned.as_deref().map_or(Owned::Unknown, Owned::Is)
    }
}

/// What a member has that is not known here: a stored state never lacks it.
static NOTHING: Current = Current {
    epoch: crate::MemberEpoch::new(0),
    previous: None,
    progress: Progress::Stable,
    away: false,
    assigned: Vec::new(),
    pending: Vec::new(),
};

impl Member {
    pub(crate) fn current(&self) -> &Current {
        self.current.as_ref().unwrap_or(&NOTHING)
    }

    pub(crate) fn target(&self) -> &[TopicPartition] {
        self.target.as_deref().unwrap_or_default()
    }

    fn is_blank(&self) -> bool {
        self.info.is_none() && self.target.is_none() && self.current.is_none()
    }

    /// When its session ends.
    pub(crate) fn session_end(&self) -> Tick {
        let timeout = self
            .info
            .as_ref()
            .map_or(std::time::Duration::ZERO, |info| info.session_timeout);
        self.live.heard.after(timeout)
    }

    /// The first moment at which something is due.
    pub(crate) fn next_due(&self) -> Tick {
        let parked = self.live.parked.as_ref().map(|parked| parked.until);
        let due = [parked, self.live.revocation];
        due.into_iter().flatten().fold(self.session_end(), Tick::min)
    }

    /// The assignment epoch under which it may commit a partition.
    pub(crate) fn holds(&self, at: TopicPartition) -> Option<AssignedPartition> {
        let current = self.current();
        [&current.assigned, &current.pending]
            .into_iter()
            .find_map(|list| {
                let index = list.binary_search_by_key(&at, |one| one.at).ok()?;
                list.get(index).copied()
            })
    }
}

impl Group {
    pub(crate) fn epoch(&self) -> GroupEpoch {
        self.head.map_or(GroupEpoch::ZERO, |head| head.epoch)
    }

    pub(crate) fn target_epoch(&self) -> GroupEpoch {
        self.target_epoch.unwrap_or(GroupEpoch::ZERO)
    }

    pub(crate) fn state(&self) -> GroupState {
        let target_epoch = self.target_epoch();
        let settled = |member: &Member| {
            let current = member.current();
            current.progress == Progress::Stable && current.epoch == target_epoch.into()
        };
        if self.members.is_empty() {
            GroupState::Empty
        } else if self.epoch() > target_epoch {
            GroupState::Assigning
        } else if self.members.values().all(settled) {
            GroupState::Stable
        } else {
            GroupState::Reconciling
        }
    }

    /// What most members ask for; of equal numbers the first.
    pub(crate) fn assignor(&self) -> Assignor {
        let asks = |assignor| {
            let infos = self.members.values().filter_map(|member| member.info.as_ref());
            infos.filter(|info| info.assignor == assignor).count()
        };
        if asks(Assignor::Range) > asks(Assignor::Uniform) {
            Assignor::Range
        } else {
            Assignor::Uniform
        }
    }

    /// Nothing is stored of it.
    pub(crate) fn is_blank(&self) -> bool {
        self.head.is_none()
            && self.target_epoch.is_none()
            && self.members.is_empty()
            && self.offsets.is_empty()
            && self.expired.is_empty()
    }

    /// When its offsets expire: so long after the last member went, or the last commit of an administrator.
    pub(crate) fn expires_at(&self, retention: std::time::Duration) -> Option<Timestamp> {
        if !self.members.is_empty() {
            return None;
        }
        let committed = self.offsets.values().map(|offset| offset.at).max();
        let since = committed.max(self.head.and_then(|head| head.empty_since))?;
        Some(since.plus_millis(i64::try_from(retention.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Takes one change. The order of a log that was compacted is not the order of deciding: each thing stands for itself.
    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Offset(at, Some(offset)) => drop(self.offsets.insert(at, offset)),
            Change::Offset(at, None) => drop(self.offsets.remove(&at)),
            Change::Expired(at, Some(offset)) => drop(self.expired.insert(at, offset)),
            Change::Expired(at, None) => drop(self.expired.remove(&at)),
            Change::Group(head) => self.head = head,
            Change::TargetEpoch(epoch) => self.target_epoch = epoch,
            Change::Member(id, info) => {
                let member = self.members.entry(id.clone()).or_default();
                let before = std::mem::replace(&mut member.info, info);
                let after = member.info.as_ref().and_then(|info| info.instance.clone());
                if let Some(instance) = before.and_then(|info| info.instance.clone())
                    && self.instances.get(&instance) == Some(&id)
                {
                    self.instances.remove(&instance);
                }
                if let Some(instance) = after {
                    self.instances.insert(instance, id.clone());
                }
                self.sweep(&id);
            }
            Change::Target(id, target) => {
                self.members.entry(id.clone()).or_default().target = target;
                self.sweep(&id);
            }
            Change::Current(id, current) => {
                let member = self.members.entry(id.clone()).or_default();
                let before = std::mem::replace(&mut member.current, current);
                let after = member.current.as_ref();
                for one in before.iter().flat_map(|c| c.assigned.iter().chain(&c.pending)) {
                    if self.owners.get(&one.at) == Some(&id) {
                        self.owners.remove(&one.at);
                    }
                }
                for one in after.iter().flat_map(|c| c.assigned.iter().chain(&c.pending)) {
                    self.owners.insert(one.at, id.clone());
                }
                self.sweep(&id);
            }
        }
    }

    fn sweep(&mut self, id: &MemberId) {
        if self.members.get(id).is_some_and(Member::is_blank) {
            self.members.remove(id);
        }
    }

    /// All of it as records that make it again.
    pub(crate) fn records(&self, group: &GroupId, found: &mut dyn FnMut(Record)) {
        let mut add = |change| {
            found(Record {
                group: group.clone(),
                change,
            });
        };
        for (id, member) in &self.members {
            add(Change::Member(id.clone(), member.info.clone()));
        }
        if self.head.is_some() {
            add(Change::Group(self.head));
        }
        for (id, member) in &self.members {
            if member.target.is_some() {
                add(Change::Target(id.clone(), member.target.clone()));
            }
        }
        if self.target_epoch.is_some() {
            add(Change::TargetEpoch(self.target_epoch));
        }
        for (id, member) in &self.members {
            if member.current.is_some() {
                add(Change::Current(id.clone(), member.current.clone()));
            }
        }
        for (at, offset) in &self.offsets {
            add(Change::Offset(*at, Some(offset.clone())));
        }
        for (at, offset) in &self.expired {
            add(Change::Expired(*at, Some(offset.clone())));
        }
    }
}
