//! A heartbeat: joins, stays, says what it has, learns what it shall have.
//!
//! A heartbeat is believed only if it *speaks*: it comes by the member's stream, in the member's present epoch. All others, be
//! they late, repeated, or a new stream's first, are told everything and change nothing that others could notice: they
//! *resync*.
//!
//! Which stream is the member's, its client says by counting them: the greater number is it from its first heartbeat on, and
//! what comes by a lower one is refused for good. The number is stored, and holds whoever coordinates. Between streams that
//! are not counted it can only be guessed: as a new one comes it is a *candidate* until it has shown that it had an answer,
//! and until then the one before says no more, but may wait, for what it gives up the new one may have been told to deliver.
//! If the new one is not heard again for a session, it was a late request of the past.

use super::{Deciding, has_just};
use crate::reconcile::Owned;
use crate::record::{Change, Current, Info, is_later};
use crate::state::Parked;
use crate::{Assignor, GroupEpoch, GroupError, Heartbeat, MemberEpoch, MemberId, RequestToken, StreamId};
use quipu_record::ErrorCode;
use std::sync::Arc;
use std::time::Duration;

/// Partitions that a heartbeat may name.
const OWNED_MAX: usize = 100_000;

/// How far a heartbeat is believed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It comes by the member's stream, in the present epoch.
    Speaks,
    /// The same, while another stream may be the member's: it changes nothing, and may wait.
    Waits,
    /// It is told everything, and changes nothing.
    Resync,
}

impl Deciding<'_> {
    pub(crate) fn heartbeat(&mut self, token: RequestToken, mut heartbeat: Heartbeat) {
        if let Some(owned) = &mut heartbeat.owned {
            owned.sort_unstable();
            owned.dedup();
        }
        match self.believe(&heartbeat) {
            Ok(standing) => self.follow(token, &heartbeat, standing),
            Err(error) => self.answer(token, Err(error)),
        }
    }

    fn believe(&mut self, heartbeat: &Heartbeat) -> Result<Standing, GroupError> {
        if heartbeat
            .owned
            .as_ref()
            .is_some_and(|owned| owned.len() > OWNED_MAX)
        {
            return Err(GroupError::invalid("owned: more than 100,000 partitions"));
        }
        if let Some(subscription) = &heartbeat.subscription {
            self.shared.patterns.check(subscription)?;
        }
        assignor(heartbeat)?;
        if self.group.members.contains_key(&heartbeat.member) {
            return self.standing(heartbeat);
        }
        let holder = heartbeat
            .instance
            .as_ref()
            .and_then(|instance| self.group.instances.get(instance));
        let holder = holder.cloned();
        if heartbeat.epoch.is_some() {
            return Err(holder.map_or(GroupError::UnknownMember, |_| GroupError::FencedInstance));
        }
        self.join(heartbeat, holder)?;
        Ok(Standing::Resync)
    }

    /// A new member, or a new process of a static one.
    fn join(&mut self, heartbeat: &Heartbeat, holder: Option<MemberId>) -> Result<(), GroupError> {
        let Some(subscription) = heartbeat.subscription.clone() else {
            return Err(GroupError::invalid("subscription: needed to join"));
        };
        if heartbeat.owned.as_ref().is_some_and(|owned| !owned.is_empty()) {
            return Err(GroupError::invalid("owned: empty to join"));
        }
        let blank = Info {
            instance: heartbeat.instance.clone(),
            rack: None,
            client_id: "".into(),
            client_host: "".into(),
            subscription,
            assignor: Assignor::default(),
            session_timeout: self.config.session_timeout,
            revocation_timeout: self.config.revocation_timeout,
            stream: heartbeat.stream,
            stream_number: heartbeat.stream_number,
            past_streams: Vec::new(),
            candidate: None,
        };
        let info = self.updated(&blank, heartbeat)?;
        if let Some(holder) = holder {
            return self.replace(&holder, &heartbeat.member, info);
        }
        let size = self.group.members.len();
        if size >= self.config.group_max_size {
            return Err(GroupError::GroupFull(size));
        }
        self.write(Change::Member(heartbeat.member.clone(), Some(Arc::new(info))));
        self.hear(&heartbeat.member);
        self.raise();
        if !self.retarget() {
            // It joins with nothing in the target that there is, and gets something from the next.
            let epoch = self.group.target_epoch().max(GroupEpoch::ZERO.next());
            let epoch = MemberEpoch::from(epoch);
            let current = Current {
                epoch,
                ..Current::default()
            };
            self.set_current(&heartbeat.member, current);
        } else {
            self.reconcile(&heartbeat.member, Owned::Unknown);
        }
        Ok(())
    }

    /// A static member is back as a new process: it has what the one before had.
    fn replace(&mut self, old: &MemberId, new: &MemberId, info: Info) -> Result<(), GroupError> {
        let before = self.member(old)?;
        if !before.current().away {
            return Err(GroupError::UnreleasedInstance);
        }
        let wanted = before.info.clone();
        let (target, current) = (before.target.clone(), before.current().clone());
        self.forget(old);
        let changes = wanted.is_none_or(|wanted| wants_else(&wanted, &info));
        self.write(Change::Member(new.clone(), Some(Arc::new(info))));
        self.hear(new);
        if changes {
            self.raise();
        }
        if target.is_some() {
            self.write(Change::Target(new.clone(), target));
        }
        self.retarget();
        let current = Current {
            away: false,
            previous: None,
            ..current
        };
        self.set_current(new, current);
        Ok(())
    }

    /// How far an existing member's heartbeat is believed.
    fn standing(&mut self, heartbeat: &Heartbeat) -> Result<Standing, GroupError> {
        let id = &heartbeat.member;
        let member = self.member(id)?;
        let (Some(info), current) = (member.info.clone(), member.current().clone()) else {
            return Err(GroupError::UnknownMember);
        };
        if heartbeat.instance.is_some() && heartbeat.instance != info.instance {
            return Err(GroupError::invalid("instance_id: not the one it joined with"));
        }
        if info.supersedes(heartbeat.stream_number) {
            return Err(GroupError::SupersededStream);
        }
        if heartbeat.epoch.is_some_and(|epoch| epoch > current.epoch) {
            return Err(GroupError::FencedMemberEpoch);
        }
        let stream = heartbeat.stream;
        if stream.is_some_and(|stream| info.past_streams.contains(&stream)) {
            return Err(GroupError::FencedMemberEpoch);
        }
        let changed = stream.filter(|stream| info.stream != Some(*stream));
        if current.away || (changed.is_some() && info.stream.is_none()) {
            return self.come_back(heartbeat, &info, current);
        }
        if let Some(stream) = changed {
            if is_later(heartbeat.stream_number, info.stream_number) {
                return self.take_over(heartbeat, &info, stream);
            }
            return self.another_stream(heartbeat, &info, &current, stream);
        }
        let mut next = self.updated(&info, heartbeat)?;
        let silent = self.now.since(self.member(id)?.live.candidate_heard);
        if silent >= info.session_timeout && info.candidate.is_some() {
            next.pass(info.candidate_stream());
            next.candidate = None;
        }
        let standing = match heartbeat.epoch {
            None => Standing::Resync,
            Some(epoch) if epoch == current.epoch && next.candidate.is_some() => Standing::Waits,
            Some(epoch) if epoch == current.epoch => Standing::Speaks,
            Some(epoch) if Some(epoch) == current.previous => Standing::Resync,
            Some(_) => return Err(GroupError::FencedMemberEpoch),
        };
        self.update(id, &info, next);
        Ok(standing)
    }

    /// A member that was away, or had no stream, speaks by a stream again.
    fn come_back(
        &mut self,
        heartbeat: &Heartbeat,
        info: &Info,
        current: Current,
    ) -> Result<Standing, GroupError> {
        let mut next = self.updated(info, heartbeat)?;
        if heartbeat.stream.is_some() {
            (next.stream, next.stream_number) = (heartbeat.stream, heartbeat.stream_number);
        }
        next.pass(
            next.candidate_stream()
                .filter(|stream| next.stream != Some(*stream)),
        );
        next.candidate = None;
        self.update(&heartbeat.member, info, next);
        if current.away {
            let away = false;
            self.set_current(&heartbeat.member, Current { away, ..current });
        }
        Ok(Standing::Resync)
    }

    /// The client says that this stream is a later one than the member's: it speaks from here on.
    fn take_over(
        &mut self,
        heartbeat: &Heartbeat,
        info: &Info,
        stream: StreamId,
    ) -> Result<Standing, GroupError> {
        if heartbeat.subscription.is_none() {
            // What it wants is not known: it must open anew.
            return Err(GroupError::FencedMemberEpoch);
        }
        let mut next = self.updated(info, heartbeat)?;
        next.pass(info.candidate_stream());
        next.pass(info.stream);
        next.stream = Some(stream);
        next.stream_number = heartbeat.stream_number;
        next.candidate = None;
        self.answer_parked(&heartbeat.member, Some(GroupError::SupersededStream));
        self.update(&heartbeat.member, info, next);
        Ok(Standing::Resync)
    }

    /// A stream that is not the member's: it becomes so as it shows that it had an answer. Until then it changes nothing,
    /// as it may come late, when another one speaks already.
    fn another_stream(
        &mut self,
        heartbeat: &Heartbeat,
        info: &Info,
        current: &Current,
        stream: StreamId,
    ) -> Result<Standing, GroupError> {
        let id = &heartbeat.member;
        let known = info.candidate_stream() == Some(stream);
        // Two streams that begin at once: which one is older cannot be told, as requests overtake each other, if their client
        // does not. The one that came first speaks or leaves in a moment; or else its host has dropped everything by then.
        let silent = self.now.since(self.member(id)?.live.candidate_heard);
        let before = info.candidate.as_ref().and_then(|one| one.stream_number);
        let later = is_later(heartbeat.stream_number, before);
        if info.candidate.is_some() && !known && !later && silent < info.session_timeout / 12 * 7 {
            let message = "another stream of this member begins: ask again";
            return Err(GroupError::host(ErrorCode::CoordinatorLoading, message));
        }
        if let Some(member) = self.group.members.get_mut(id)
            && (known || heartbeat.subscription.is_some())
        {
            member.live.candidate_heard = self.now;
        }
        if heartbeat.subscription.is_none() {
            if known && heartbeat.epoch == Some(current.epoch) {
                self.promote(id);
                return Ok(Standing::Speaks);
            }
            // What a stream wants that is not known is not known either: it must open anew.
            return if known {
                Ok(Standing::Resync)
            } else {
                Err(GroupError::FencedMemberEpoch)
            };
        }
        let mut candidate = self.updated(info, heartbeat)?;
        (candidate.stream, candidate.candidate) = (Some(stream), None);
        candidate.stream_number = heartbeat.stream_number;
        candidate.past_streams.clear();
        let mut next = info.clone();
        if !known {
            next.pass(info.candidate_stream());
        }
        next.candidate = Some(Arc::new(candidate));
        self.update(id, info, next);
        if let Some(parked) = self
            .group
            .members
            .get_mut(id)
            .and_then(|member| member.live.parked.as_mut())
        {
            parked.speaks = false;
        }
        Ok(Standing::Resync)
    }

    /// The candidate speaks for the member from here on.
    pub(super) fn promote(&mut self, id: &MemberId) {
        let info = self.group.members.get(id).and_then(|member| member.info.clone());
        let Some(info) = info else { return };
        let Some(candidate) = &info.candidate else { return };
        let mut next = Info::clone(candidate);
        next.past_streams.clone_from(&info.past_streams);
        next.pass(info.stream);
        self.answer_parked(id, Some(GroupError::FencedMemberEpoch));
        self.update(id, &info, next);
    }

    /// Who the member is, by what this heartbeat says.
    fn updated(&self, info: &Info, heartbeat: &Heartbeat) -> Result<Info, GroupError> {
        let mut next = info.clone();
        if let Some(subscription) = &heartbeat.subscription {
            next.subscription.clone_from(subscription);
            next.subscription.topics.sort_unstable();
            next.subscription.topics.dedup();
        }
        next.assignor = assignor(heartbeat)?.unwrap_or(info.assignor);
        if heartbeat.rack.is_some() {
            next.rack.clone_from(&heartbeat.rack);
        }
        let config = self.config;
        if let Some(timeout) = heartbeat.session_timeout.filter(|timeout| !timeout.is_zero()) {
            next.session_timeout = timeout.clamp(config.session_timeout_min, config.session_timeout_max);
        }
        if let Some(timeout) = heartbeat.revocation_timeout.filter(|timeout| !timeout.is_zero()) {
            next.revocation_timeout = timeout.min(config.revocation_timeout_max);
        }
        for (name, from, to) in [
            ("client_id", &heartbeat.client_id, &mut next.client_id),
            ("client_host", &heartbeat.client_host, &mut next.client_host),
        ] {
            if from.len() > 1_000 {
                return Err(GroupError::invalid(format!("{name}: more than 1,000 bytes")));
            }
            if !from.is_empty() && from != to {
                *to = Arc::clone(from);
            }
        }
        if next.rack.as_ref().is_some_and(|rack| rack.len() > 1_000) {
            return Err(GroupError::invalid("rack: more than 1,000 bytes"));
        }
        Ok(next)
    }

    /// Stores who the member is, if that is new, and asks for a new target if it wants something else.
    pub(super) fn update(&mut self, id: &MemberId, before: &Info, next: Info) {
        if next == *before {
            return;
        }
        let wants_else = wants_else(before, &next);
        self.write(Change::Member(id.clone(), Some(Arc::new(next))));
        if wants_else {
            self.raise();
        }
    }

    /// Moves the member on, tells it, or lets it wait.
    fn follow(&mut self, token: RequestToken, heartbeat: &Heartbeat, standing: Standing) {
        let id = &heartbeat.member;
        self.answer_parked(id, None);
        self.hear(id);
        let mut moves = self.retarget() || standing == Standing::Resync;
        if standing == Standing::Speaks {
            let owned = heartbeat.owned.as_deref().map_or(Owned::Unknown, Owned::Is);
            moves |= self.reconcile(id, owned);
        }
        if moves {
            self.progress();
        }
        if standing != Standing::Resync && self.knows_all(heartbeat) && !heartbeat.max_wait.is_zero() {
            self.park(token, heartbeat, standing == Standing::Speaks);
        } else {
            let owned = heartbeat
                .owned
                .as_deref()
                .filter(|_| standing != Standing::Resync);
            let answer = self.heartbeat_answer(id, heartbeat.epoch, owned);
            self.answer(token, Ok(answer));
        }
        self.schedule(id);
    }

    pub(super) fn hear(&mut self, id: &MemberId) {
        if let Some(member) = self.group.members.get_mut(id) {
            member.live.heard = self.now;
        }
    }

    /// Whether there is nothing to tell.
    fn knows_all(&self, heartbeat: &Heartbeat) -> bool {
        self.group.members.get(&heartbeat.member).is_some_and(|member| {
            let current = member.current();
            let owned = heartbeat.owned.as_deref();
            heartbeat.epoch == Some(current.epoch)
                && !member.live.untold
                && owned.is_none_or(|owned| has_just(current, owned))
        })
    }

    fn park(&mut self, token: RequestToken, heartbeat: &Heartbeat, speaks: bool) {
        let (now, longest) = (self.now, self.config.max_wait);
        let Some(member) = self.group.members.get_mut(&heartbeat.member) else {
            return;
        };
        let session = member
            .info
            .as_ref()
            .map_or(Duration::ZERO, |info| info.session_timeout);
        let wait = heartbeat.max_wait.min(longest).min(session / 3);
        member.live.parked = Some(Parked {
            token,
            until: now.after(wait),
            owned: heartbeat.owned.clone(),
            speaks,
        });
        let who = (self.id.clone(), heartbeat.member.clone());
        self.shared.waiting.insert(token, who);
    }
}

fn assignor(heartbeat: &Heartbeat) -> Result<Option<Assignor>, GroupError> {
    let named = heartbeat.assignor.as_deref().filter(|name| !name.is_empty());
    named
        .map(|name| Assignor::named(name).ok_or_else(|| GroupError::UnsupportedAssignor(name.to_owned())))
        .transpose()
}

/// Whether the target depends on the difference.
fn wants_else(before: &Info, after: &Info) -> bool {
    (&before.subscription, before.assignor, &before.rack)
        != (&after.subscription, after.assignor, &after.rack)
}
