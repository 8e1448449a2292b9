//! One group under one request, or at one moment: what is decided is written, and replayed at once.

mod commit;
mod describe;
mod expiry;
mod heartbeat;
mod membership;
mod target;

pub(crate) use expiry::EXPIRED_AT_ONCE;

use crate::reconcile::Owned;
use crate::record::{Change, Current, Progress, Record};
use crate::state::{Group, Member};
use crate::subscription::Patterns;
use crate::{
    AssignedPartition, Effects, GroupConfig, GroupError, GroupId, HeartbeatAnswer, MemberEpoch, MemberId,
    RequestToken, Response, Topics,
};
use quipu_record::{PlantedBug, Tick, Timestamp, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Who waits for time: a member, or the group itself.
pub(crate) type Timer = (Tick, GroupId, Option<MemberId>);

/// What all groups of a coordinator share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) patterns: Patterns,
    pub(crate) timers: BTreeSet<Timer>,
    /// Whose heartbeat waits under a token.
    pub(crate) waiting: BTreeMap<RequestToken, (GroupId, MemberId)>,
}

/// One group, with what it needs to decide.
pub(crate) struct Deciding<'a> {
    pub(crate) id: &'a GroupId,
    pub(crate) group: &'a mut Group,
    pub(crate) shared: &'a mut Shared,
    pub(crate) config: &'a GroupConfig,
    pub(crate) topics: &'a dyn Topics,
    pub(crate) now: Tick,
    pub(crate) wall: Timestamp,
    pub(crate) effects: &'a mut Effects,
}

impl Deciding<'_> {
    /// Stores a change, and takes it.
    fn write(&mut self, change: Change) {
        let record = Record {
            group: self.id.clone(),
            change,
        };
        self.effects.records.push(record.encode());
        self.group.apply(record.change);
    }

    fn answer(&mut self, token: RequestToken, answer: Result<Response, GroupError>) {
        self.effects.answers.push((token, answer));
    }

    fn member(&self, id: &MemberId) -> Result<&Member, GroupError> {
        self.group.members.get(id).ok_or(GroupError::UnknownMember)
    }

    /// Sees to it that the timers look after a member by its next deadline. One that moved back is left standing: when it
    /// comes it is looked at again.
    fn schedule(&mut self, id: &MemberId) {
        let Some(member) = self.group.members.get_mut(id) else {
            return;
        };
        let due = member.next_due();
        if member.live.timer.is_some_and(|timer| timer <= due) {
            return;
        }
        if let Some(timer) = member.live.timer.replace(due) {
            self.shared
                .timers
                .remove(&(timer, self.id.clone(), Some(id.clone())));
        }
        self.shared
            .timers
            .insert((due, self.id.clone(), Some(id.clone())));
    }

    /// Takes a member's waiting heartbeat, and answers it.
    fn answer_parked(&mut self, id: &MemberId, error: Option<GroupError>) {
        let Some(member) = self.group.members.get_mut(id) else {
            return;
        };
        let Some(parked) = member.live.parked.take() else {
            return;
        };
        self.shared.waiting.remove(&parked.token);
        let answer = match error {
            Some(error) => Err(error),
            None => Ok(self.heartbeat_answer(id, None, parked.owned.as_deref())),
        };
        self.answer(parked.token, answer);
    }

    /// What to tell a member that spoke in this epoch (`None`: the present one) and has this.
    fn heartbeat_answer(
        &mut self,
        id: &MemberId,
        epoch: Option<MemberEpoch>,
        owned: Option<&[TopicPartition]>,
    ) -> Response {
        let (now, interval) = (self.now, self.config.heartbeat_interval);
        let Some(member) = self.group.members.get_mut(id) else {
            return Response::Left;
        };
        let current = member.current();
        let knows = epoch.is_none_or(|epoch| epoch == current.epoch)
            && owned.is_some_and(|owned| has_just(current, owned))
            && !member.live.untold;
        let session_timeout = member
            .info
            .as_ref()
            .map_or(Duration::ZERO, |info| info.session_timeout);
        let answer = HeartbeatAnswer {
            epoch: current.epoch,
            heartbeat_interval: interval.min(session_timeout / 4),
            session_timeout,
            assignment: (!knows).then(|| current.assigned.clone()),
            revoking: if knows {
                Vec::new()
            } else {
                current.pending.clone()
            },
            revocation_left: (current.progress == Progress::Unrevoked).then(|| {
                member
                    .live
                    .revocation
                    .map_or(Duration::ZERO, |end| end.since(now))
            }),
        };
        member.live.untold = false;
        Response::Heartbeat(answer)
    }

    /// Writes what a member has now. True if that made partitions free.
    fn set_current(&mut self, id: &MemberId, next: Current) -> bool {
        let (now, planted) = (self.now, PlantedBug::TwoOwners.planted());
        let Some(member) = self.group.members.get_mut(id) else {
            return false;
        };
        let before = member.current();
        let count = |current: &Current| current.assigned.len() + current.pending.len();
        let kept = |one: &AssignedPartition| {
            [&next.assigned, &next.pending]
                .iter()
                .any(|list| list.binary_search_by_key(&one.at, |one| one.at).is_ok())
        };
        let frees = !planted
            && count(before) > 0
            && before
                .assigned
                .iter()
                .chain(&before.pending)
                .any(|one| !kept(one));
        if next.progress != Progress::Unrevoked {
            member.live.revocation = None;
        } else if before.progress != Progress::Unrevoked || before.epoch != next.epoch {
            let wait = member
                .info
                .as_ref()
                .map_or(Duration::ZERO, |info| info.revocation_timeout);
            member.live.revocation = Some(now.after(wait));
        }
        member.live.untold = true;
        self.write(Change::Current(id.clone(), Some(next)));
        self.schedule(id);
        frees
    }

    /// Moves a member on, as far as what it says that it has allows. True if that made partitions free.
    fn reconcile(&mut self, id: &MemberId, owned: Owned<'_>) -> bool {
        let Some(member) = self.group.members.get(id) else {
            return false;
        };
        let owners = &self.group.owners;
        let planted = PlantedBug::TwoOwners.planted();
        let is_free = |at| planted || owners.get(&at).is_none_or(|owner| owner == id);
        let next = crate::reconcile::reconcile(
            member.current(),
            member.target(),
            self.group.target_epoch(),
            owned,
            is_free,
        );
        let Some(next) = next else { return false };
        // It said itself that it gave up what it had to: that it may keep the rest is nothing new to it, and it goes on
        // waiting for what is.
        let knows = !member.live.untold
            && (next.epoch, &next.assigned) == (member.current().epoch, &member.current().assigned);
        let frees = self.set_current(id, next);
        if let Some(member) = self.group.members.get_mut(id).filter(|_| knows) {
            member.live.untold = false;
        }
        frees
    }

    /// Moves on everybody who waits here and is behind, until nothing becomes free any more; whoever has something new to
    /// know is told. A member that is away has given up everything.
    fn progress(&mut self) {
        let target_epoch = self.group.target_epoch();
        let mut again = true;
        while std::mem::take(&mut again) {
            let behind = self.group.members.iter().filter(|(_, member)| {
                let current = member.current();
                let speaks = member.live.parked.as_ref().is_some_and(|parked| parked.speaks);
                (current.away || speaks)
                    && (current.progress != Progress::Stable || current.epoch != target_epoch.into())
            });
            let behind: Vec<MemberId> = behind.map(|(id, _)| id.clone()).collect();
            for id in behind {
                let Some(member) = self.group.members.get_mut(&id) else {
                    continue;
                };
                if member.current().away {
                    again |= self.reconcile(&id, Owned::Nothing);
                    continue;
                }
                let Some(parked) = member.live.parked.take() else {
                    continue;
                };
                let frees = self.reconcile(&id, parked.owned());
                again |= frees;
                if let Some(member) = self.group.members.get_mut(&id) {
                    member.live.parked = Some(parked);
                    if member.live.untold {
                        self.answer_parked(&id, None);
                    }
                }
            }
        }
    }
}

/// Whether a member has just what it is assigned; what it has still to give up is known to it.
fn has_just(current: &Current, owned: &[TopicPartition]) -> bool {
    let pends = |at: &TopicPartition| current.pending.binary_search_by_key(at, |one| one.at).is_ok();
    let rest = owned.iter().filter(|at| !pends(at));
    rest.eq(current.assigned.iter().map(|one| &one.at))
}
