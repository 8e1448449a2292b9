//! Heartbeats: one waits at the coordinator; how long its answers vouch for what the member has.

use super::{Changed, Member, MemberEffect, Notice, backoff};
use crate::{GroupError, Heartbeat, HeartbeatAnswer, Request, RequestToken, Response};
use quipu_record::{ErrorCode, Tick, TopicPartition};
use std::time::Duration;

/// The longest that a heartbeat waits at the coordinator.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Beyond its wait, an answer may take so long; then the question is asked again.
const PATIENCE: Duration = Duration::from_secs(3);
/// A member that is told that it is none may be one whose client has gone to another stream. Unless its client says
/// something it joins anew only after this, when a connection that nobody holds has been found out.
const QUARANTINE: Duration = Duration::from_secs(15);

/// What goes to the coordinator, and when.
#[derive(Debug)]
pub(super) struct Heartbeats {
    /// Silence after which the member is gone.
    session: Duration,
    /// Unanswered ones, in order: the last, and one that it sets free.
    out: Vec<Beat>,
    /// When the next is due; `None`: once the last is answered.
    next: Option<Tick>,
    /// Until when the last answer vouches for what the member has.
    vouched: Option<Tick>,
    /// An answer may have been missed: the next heartbeat asks for everything.
    missed: bool,
    failures: u32,
    /// Answers that came at once and told nothing, one after another.
    early: u32,
    /// It waits for a word of the client before it joins anew.
    quarantined: bool,
}

/// One heartbeat that is out.
#[derive(Debug)]
pub(super) struct Beat {
    token: RequestToken,
    sent: Tick,
    wait: Duration,
    /// `None`: asks for everything.
    owned: Option<Vec<TopicPartition>>,
    /// What was held then: see [`Member`].
    holdings: u64,
}

impl Heartbeats {
    pub(super) fn new(session: Duration, now: Tick) -> Self {
        Self {
            session,
            out: Vec::new(),
            next: Some(now),
            vouched: None,
            missed: false,
            failures: 0,
            early: 0,
            quarantined: false,
        }
    }

    pub(super) fn deadline(&self) -> Option<Tick> {
        let overdue = self.out.last().map(|beat| overdue(beat, self.session));
        [self.next, overdue, self.vouched].into_iter().flatten().min()
    }

    /// Takes a heartbeat that is answered; those before it are so no more.
    pub(super) fn take(&mut self, token: RequestToken) -> Option<Beat> {
        let place = self.out.iter().position(|beat| beat.token == token)?;
        self.missed |= place > 0;
        self.out.drain(..=place).next_back()
    }

    /// The next joins, and at once.
    pub(super) fn join_anew(&mut self, now: Tick) {
        self.out.clear();
        self.vouched = None;
        self.missed = false;
        self.quarantined = false;
        self.next = Some(now);
    }

    /// The next asks for everything, and at once.
    pub(super) fn look(&mut self, now: Tick) {
        self.missed = true;
        self.next = Some(self.next.map_or(now, |next| next.min(now)));
    }

    /// The coordinator is not to be told anything any more.
    pub(super) fn stop(&mut self) {
        self.out.clear();
        self.next = None;
        self.vouched = None;
    }

    fn failed(&mut self, now: Tick) {
        self.missed = true;
        if self.out.is_empty() {
            self.next = Some(now.after(backoff(self.failures)));
            self.failures = self.failures.saturating_add(1);
        }
    }

    fn wait(&self) -> Duration {
        (self.session / 6).min(WAIT_MAX)
    }
}

fn overdue(beat: &Beat, session: Duration) -> Tick {
    beat.sent.after(beat.wait + (session / 12).min(PATIENCE))
}

/// For how long an answer vouches, from when its question was sent.
fn vouches(session: Duration) -> Duration {
    session / 12 * 7
}

impl Member {
    /// Whether the session's time is up.
    pub(super) fn expire(&mut self, now: Tick, effects: &mut Vec<MemberEffect>) {
        if self.beats.vouched.is_some_and(|until| until <= now) {
            self.lose_everything(now, effects);
        }
    }

    /// The client says something: it is there, and joins anew if it must.
    pub(super) fn heard(&mut self, now: Tick) {
        if std::mem::take(&mut self.beats.quarantined) {
            self.beats.next = Some(now);
        }
    }

    pub(super) fn pump_heartbeats(&mut self, now: Tick, effects: &mut Vec<MemberEffect>) {
        if self.ending.is_some() {
            return;
        }
        if let Some(last) = self.beats.out.last() {
            if overdue(last, self.beats.session) <= now {
                self.beats.out.clear();
                self.beats.failed(now);
            } else if self.beats.next.is_none()
                && !last.wait.is_zero()
                && last.owned.is_some()
                && last.holdings != self.holdings
            {
                // It waits there, and there is something to say.
                self.beats.next = Some(now);
            }
        }
        if self.beats.next.is_none_or(|next| next > now) {
            return;
        }
        self.beats.next = None;
        let opening = self.beats.vouched.is_none_or(|until| until <= now);
        let owned = (!self.beats.missed && !opening).then(|| self.held.keys().copied().collect::<Vec<_>>());
        let beat = Beat {
            token: self.token(),
            sent: now,
            wait: owned.as_ref().map_or(Duration::ZERO, |_| self.beats.wait()),
            owned,
            holdings: self.holdings,
        };
        let request = self.heartbeat(&beat, opening);
        effects.push(MemberEffect::Ask(beat.token, Request::Heartbeat(request)));
        if self.beats.out.len() > 1 {
            self.beats.out.remove(0);
        }
        self.beats.out.push(beat);
    }

    fn heartbeat(&self, beat: &Beat, opening: bool) -> Heartbeat {
        let config = &self.config;
        Heartbeat {
            group: config.group.clone(),
            member: config.member.clone(),
            epoch: self.epoch,
            instance: config.instance.clone(),
            rack: config.rack.clone(),
            subscription: opening.then(|| config.subscription.clone()),
            assignor: config.assignor.clone().filter(|_| opening),
            owned: match self.epoch {
                None => Some(Vec::new()),
                Some(_) => beat.owned.clone(),
            },
            session_timeout: opening.then_some(config.session_timeout),
            revocation_timeout: opening.then_some(config.revocation_timeout),
            client_id: config.client_id.clone(),
            client_host: config.client_host.clone(),
            stream: Some(self.stream),
            stream_number: config.stream_number,
            max_wait: beat.wait,
        }
    }

    pub(super) fn heartbeat_answered(
        &mut self,
        beat: &Beat,
        answer: Result<Response, GroupError>,
        now: Tick,
        effects: &mut Vec<MemberEffect>,
    ) {
        match answer {
            Ok(Response::Heartbeat(answer)) => self.stays(beat, answer, now, effects),
            Ok(_) => self.beats.failed(now),
            // Whatever it says of what has changed since: the next answer says it too.
            Err(_) if !self.beats.out.is_empty() => self.beats.missed = true,
            Err(error) => match error.code() {
                ErrorCode::FencedMemberEpoch | ErrorCode::UnknownMember => self.fenced(now, effects),
                _ if error.retryable() => self.beats.failed(now),
                _ => {
                    self.lose_everything(now, effects);
                    self.beats.stop();
                    self.ending = Some(super::Ending::over());
                    effects.push(MemberEffect::Fail(error));
                }
            },
        }
    }

    fn fenced(&mut self, now: Tick, effects: &mut Vec<MemberEffect>) {
        let (joins, opening) = (self.epoch.is_none(), self.beats.vouched.is_none());
        self.lose_everything(now, effects);
        if joins {
            // Not what one that joins is told; in any case, not at once again.
            self.beats.failed(now);
        } else if !opening {
            self.beats.quarantined = true;
            self.beats.next = Some(now.after(QUARANTINE));
        }
    }

    fn stays(&mut self, beat: &Beat, answer: HeartbeatAnswer, now: Tick, effects: &mut Vec<MemberEffect>) {
        let epoch = answer.epoch;
        self.beats.session = answer.session_timeout;
        let until = beat.sent.after(vouches(answer.session_timeout));
        if until <= now {
            // It took too long to vouch for anything.
            return self.beats.failed(now);
        }
        self.beats.vouched = self.beats.vouched.max(Some(until));
        self.beats.failures = 0;
        self.beats.quarantined = false;
        if self.epoch > Some(epoch) {
            // Questions overtake each other: what it tells of is over, and what was given up since is not given again.
            return self.beats.failed(now);
        }
        if !self.welcomed && answer.assignment.is_none() {
            // The client is to be told everything first, and was asked for.
            return self.beats.failed(now);
        }
        // An epoch without its assignment: that may have been in an answer to a question that nobody waits for.
        let moved = self.epoch != Some(epoch);
        self.beats.missed = answer.assignment.is_none() && (self.beats.missed || moved);
        let news = match std::mem::replace(&mut self.welcomed, true) {
            true => self.take_over(&answer, now, effects),
            false => {
                self.welcome(&answer, now, effects);
                true
            }
        };
        self.epoch = Some(epoch);
        self.pace(beat, news, now);
    }

    /// What changed by an answer is told. Says whether anything did.
    fn take_over(&mut self, answer: &HeartbeatAnswer, now: Tick, effects: &mut Vec<MemberEffect>) -> bool {
        let moved = self.epoch != Some(answer.epoch);
        let mut changed = Changed {
            epoch: Some(answer.epoch),
            ..Changed::default()
        };
        let news = moved | self.assign(answer, now, &mut changed, effects);
        if moved || !changed.revoked.is_empty() || !changed.lost.is_empty() {
            effects.push(MemberEffect::Tell(Notice::Changed(changed)));
        }
        news
    }

    /// When the next question is due, after an answer that told something, or nothing.
    fn pace(&mut self, beat: &Beat, news: bool, now: Tick) {
        if self.beats.out.is_empty() {
            // An answer that comes at once though it tells nothing is not asked for again and again.
            let nothing = !news && (beat.owned.is_none() || beat.holdings == self.holdings);
            let early = nothing && now < beat.sent.after(self.beats.wait() / 2);
            self.beats.next = Some(match early && self.beats.missed == beat.owned.is_none() {
                true => now.after(backoff(self.beats.early).min(self.beats.wait() / 2)),
                false => now,
            });
            self.beats.early = if early {
                self.beats.early.saturating_add(1)
            } else {
                0
            };
        }
    }
}
