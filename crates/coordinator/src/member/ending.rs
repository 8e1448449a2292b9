//! How a stream ends: what was acknowledged is committed, then the member leaves, or waits for its next stream.

use super::{Member, MemberEffect};
use crate::{Leave, Request, RequestToken};
use quipu_record::Tick;
use std::time::Duration;

/// So long may the member come back after its stream broke, and nothing moves.
const GRACE: Duration = Duration::from_millis(300);
/// The last commit may take so long.
const LAST_COMMIT: Duration = Duration::from_secs(2);
/// And the leave after it.
const LAST_WORD: Duration = Duration::from_secs(3);

/// Why a stream ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Finish {
    /// The client said its last word, or was sent away: the member leaves at once.
    Closed,
    /// The connection broke: the member may come back within a moment.
    Broken,
    /// This broker goes away: the member goes on elsewhere.
    Draining,
    /// Another stream on this broker goes on as this member.
    Replaced,
}

/// A stream that ends.
#[derive(Debug)]
pub(super) struct Ending {
    /// The member leaves, not before this; `None`: it does not.
    leave: Option<Tick>,
    /// The last commit is not waited for any longer.
    until: Tick,
    leaving: Option<(RequestToken, Tick)>,
    done: bool,
}

impl Ending {
    fn new(finish: Finish, now: Tick) -> Self {
        Self {
            leave: match finish {
                Finish::Closed => Some(now),
                Finish::Broken => Some(now.after(GRACE)),
                Finish::Draining | Finish::Replaced => None,
            },
            until: now.after(LAST_COMMIT),
            leaving: None,
            done: false,
        }
    }

    /// Nothing is left to do.
    pub(super) fn over() -> Self {
        Self {
            leave: None,
            until: Tick::default(),
            leaving: None,
            done: true,
        }
    }

    /// `idle`: nothing is left to commit.
    pub(super) fn deadline(&self, idle: bool) -> Option<Tick> {
        match (self.done, self.leaving) {
            (true, _) => None,
            (false, Some((_, until))) => Some(until),
            (false, None) if idle => self.leave,
            (false, None) => Some(self.until),
        }
    }

    pub(super) fn answered(&mut self, token: RequestToken) {
        if self.leaving.is_some_and(|(leave, _)| leave == token) {
            self.done = true;
        }
    }
}

impl Member {
    /// Whether nothing more will ever come of it.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| ending.done)
    }

    pub(super) fn finish(&mut self, finish: Finish, now: Tick, effects: &mut Vec<MemberEffect>) {
        match &mut self.ending {
            // It came back in time, or the broker goes away before.
            Some(ending) if matches!(finish, Finish::Replaced | Finish::Draining) => ending.leave = None,
            Some(_) => {}
            None => {
                self.ending = Some(Ending::new(finish, now));
                self.beats.stop();
                self.reads = super::Reads::default();
                self.commits.hurry();
                let started = self.held.iter().filter(|(_, held)| held.is_started());
                effects.extend(started.map(|(at, _)| MemberEffect::Stop(*at)));
            }
        }
    }

    pub(super) fn pump_ending(&mut self, now: Tick, effects: &mut Vec<MemberEffect>) {
        let idle = self.commits.is_idle();
        let Some(ending) = &mut self.ending else {
            return;
        };
        if ending.done {
            effects.push(MemberEffect::Done);
            return;
        }
        match ending.leaving {
            Some((_, until)) if until <= now => ending.done = true,
            Some(_) => return,
            None if !idle && now < ending.until => return,
            None => match ending.leave {
                Some(leave) if now < leave => return,
                Some(_) => return self.leave(now, effects),
                None => ending.done = true,
            },
        }
        effects.push(MemberEffect::Done);
    }

    fn leave(&mut self, now: Tick, effects: &mut Vec<MemberEffect>) {
        let token = self.token();
        effects.push(MemberEffect::Ask(
            token,
            Request::Leave(Leave {
                group: self.config.group.clone(),
                member: self.config.member.clone(),
                stream: Some(self.stream),
                stream_number: self.config.stream_number,
                will_return: self.config.instance.is_some(),
            }),
        ));
        if let Some(ending) = &mut self.ending {
            ending.leaving = Some((token, now.after(LAST_WORD)));
        }
    }
}
