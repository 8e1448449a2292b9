//! Who goes, and what time does to members.

use super::Deciding;
use crate::reconcile::take;
use crate::record::{Change, Current, Info, Progress};
use crate::{GroupError, Leave, MemberId, RequestToken, Response};
use quipu_record::Tick;
use std::sync::Arc;

impl Deciding<'_> {
    /// Leaves; whoever is not there has left already.
    pub(crate) fn leave(&mut self, token: RequestToken, leave: &Leave) {
        self.depart(leave);
        self.answer(token, Ok(Response::Left));
    }

    fn depart(&mut self, leave: &Leave) {
        let Some(member) = self.group.members.get(&leave.member) else {
            return;
        };
        let Some(info) = member.info.clone() else { return };
        if let Some(stream) = leave.stream {
            if info.supersedes(leave.stream_number) {
                return;
            }
            if info.candidate_stream() == Some(stream) {
                // It never showed that it had an answer: another one may speak for the member.
                let mut next = Info::clone(&info);
                next.candidate = None;
                next.pass(Some(stream));
                return self.update(&leave.member, &info, next);
            }
            if info.stream.is_some_and(|speaks| speaks != stream) {
                return;
            }
            if info.candidate.is_some() {
                return self.promote(&leave.member);
            }
        }
        if leave.will_return && info.instance.is_some() {
            self.go_away(&leave.member, &info);
        } else {
            self.forget(&leave.member);
            self.closed_ranks();
        }
        self.progress();
    }

    /// A static member leaves and will return: it has given up everything, and keeps it until its session ends.
    fn go_away(&mut self, id: &MemberId, info: &Info) {
        self.answer_parked(id, Some(GroupError::UnknownMember));
        self.hear(id);
        let mut next = info.clone();
        let (stream, candidate) = (next.stream.take(), next.candidate_stream());
        next.candidate = None;
        next.pass(candidate);
        next.pass(stream);
        self.write(Change::Member(id.clone(), Some(Arc::new(next))));
        let Some(member) = self.group.members.get(id) else {
            return;
        };
        let current = member.current().clone();
        let progress = match current.progress {
            Progress::Unrevoked => Progress::Unreleased,
            other => other,
        };
        let next = Current {
            away: true,
            progress,
            pending: Vec::new(),
            ..current
        };
        self.set_current(id, next);
    }

    /// Takes a member out of what is stored; what it had is free.
    pub(super) fn forget(&mut self, id: &MemberId) {
        self.answer_parked(id, Some(GroupError::UnknownMember));
        let Some(member) = self.group.members.get_mut(id) else {
            return;
        };
        if let Some(timer) = member.live.timer.take() {
            let timer = (timer, self.id.clone(), Some(id.clone()));
            self.shared.timers.remove(&timer);
        }
        let has_target = member.target.is_some();
        self.write(Change::Current(id.clone(), None));
        if has_target {
            self.write(Change::Target(id.clone(), None));
        }
        self.write(Change::Member(id.clone(), None));
    }

    /// After members went: a new target for those who stay.
    fn closed_ranks(&mut self) {
        self.raise();
        self.retarget();
    }

    /// Looks after a member whose timer came.
    pub(crate) fn look_after(&mut self, id: &MemberId) {
        let now = self.now;
        let Some(member) = self.group.members.get_mut(id) else {
            return;
        };
        member.live.timer = None;
        let is_due = |tick: Tick| tick <= now;
        let silent = is_due(member.session_end());
        let waited = member
            .live
            .parked
            .as_ref()
            .is_some_and(|parked| is_due(parked.until));
        let late = member.live.revocation.is_some_and(is_due);
        if silent {
            self.forget(id);
            self.closed_ranks();
            return self.progress();
        }
        if late {
            // What it did not give up is taken: it is lost to it. It stays.
            let next = take(member.current());
            self.set_current(id, next);
            self.progress();
        }
        if waited {
            self.answer_parked(id, None);
        }
        self.schedule(id);
    }
}
