//! The stream of a group's member. What is decided is decided in [`Member`]; here are its clock, its questions to the
//! coordinator, and the places where its partitions begin.
//!
//! ```text
//!   client ─▶ session ─▶ Member ─▶ ask ────▶ Groups (here or elsewhere) ─▶ answer ─┐
//!     ▲          ▲         ▲ ├───▶ start ──▶ find a place (here or elsewhere) ─────┤
//!     │          │         │ └───▶ stop, tell ─▶ session: cursors, frames          │
//!     └──────────┘         └───────────────────────────────────────────────────────┘
//! ```
//! The broker keeps nothing of it: the stream gone, its successor learns from the coordinator what the member has.

mod asked;
mod end;
mod open;
mod place;
mod seats;
mod session;
mod told;

pub(super) use asked::not_its;
pub(super) use end::End;
pub(super) use open::open;
pub(super) use seats::Seats;

use crate::admit::RequestContext;
use crate::data_plane::DataPlane;
use crate::groups::Groups;
use place::Found;
use quipu_coordinator::{
    AssignmentEpoch, GroupError, GroupId, Member, MemberEffect, MemberInput, Request, RequestToken, Response,
};
use quipu_proto::v1;
use quipu_record::{Offset, Tick, TopicId, TopicPartition};
use seats::Seat;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, Sleep};

/// What a question may take, and a heartbeat beyond its wait.
const PATIENCE: Duration = Duration::from_secs(5);
/// Commits that may wait before the client is no longer listened to.
const COMMITS_MAX: usize = 64;

/// A member and what it needs.
pub(super) struct Hosting {
    plane: Arc<DataPlane>,
    context: RequestContext,
    groups: Groups,
    group: GroupId,
    member: Member,
    /// Where to begin where nothing was committed.
    start: Option<v1::StartPosition>,
    /// Every topic that the member has had a partition of.
    names: BTreeMap<TopicId, Arc<str>>,
    /// Partitions with a cursor.
    keys: BTreeMap<TopicPartition, u32>,
    answers: JoinSet<(RequestToken, Result<Response, GroupError>)>,
    finds: JoinSet<Found>,
    finding: BTreeMap<TopicPartition, AbortHandle>,
    /// What the member wants done, and the session has not done yet.
    effects: Vec<MemberEffect>,
    timer: Pin<Box<Sleep>>,
    armed: Option<Tick>,
    seat: Seat,
    /// Another stream has asked for the seat.
    replaced: bool,
    failed: Option<GroupError>,
    done: bool,
}

/// What happens to a member that its client has no part in.
pub(super) enum News {
    Answered(RequestToken, Result<Response, GroupError>),
    Found(Found),
    Time,
    /// Another stream goes on as this member.
    Replaced,
}

impl Hosting {
    /// Waits for the next thing to happen. Cancel safe.
    pub(super) async fn next(&mut self) -> News {
        let timed = self.armed.is_some();
        tokio::select! {
            Some(answered) = self.answers.join_next() => match answered {
                Ok((token, answer)) => News::Answered(token, answer),
                // A panic, which has said so: the member asks again.
                Err(_) => News::Time,
            },
            Some(found) = self.finds.join_next() => match found {
                Ok(found) => News::Found(found),
                // Not wanted any more.
                Err(_) => News::Time,
            },
            () = self.timer.as_mut(), if timed => {
                self.armed = None;
                News::Time
            }
            () = self.seat.taken(), if !self.replaced => {
                self.replaced = true;
                News::Replaced
            }
        }
    }

    /// Has the member take something in.
    fn step(&mut self, input: MemberInput) {
        let now = self.now();
        self.member.step(input, now, &mut self.effects);
    }

    fn now(&self) -> Tick {
        self.plane.clock.tick(std::time::Instant::now())
    }

    /// Lets the member see the time, if anything is due.
    fn keep_time(&mut self) {
        if self.member.deadline().is_some_and(|due| due <= self.now()) {
            self.step(MemberInput::Tick);
        }
    }

    /// Sets the timer to what is due next.
    fn rearm(&mut self) {
        let due = self.member.deadline();
        if due == self.armed {
            return;
        }
        self.armed = due;
        if let Some(due) = due {
            // A timer has whole milliseconds: early is too early.
            let wait = self.plane.clock.until(due) + Duration::from_micros(100);
            self.timer.as_mut().reset(Instant::now() + wait);
        }
    }

    fn ask(&mut self, token: RequestToken, request: Request) {
        let wait = match &request {
            Request::Heartbeat(heartbeat) => heartbeat.max_wait,
            _ => Duration::ZERO,
        };
        let until = Instant::now() + wait + PATIENCE;
        let (groups, group) = (self.groups.clone(), self.group.clone());
        self.answers
            .spawn(async move { (token, groups.ask(&group, request, until).await) });
    }

    /// Looks for where a partition begins.
    fn find(
        &mut self,
        at: TopicPartition,
        epoch: AssignmentEpoch,
        committed: Option<Offset>,
        pause: Duration,
    ) {
        let (plane, context) = (Arc::clone(&self.plane), self.context.clone());
        let (group, start) = (self.group.clone(), self.start);
        let task = self.finds.spawn(async move {
            tokio::time::sleep(pause).await;
            let wanted = place::Wanted {
                group,
                at,
                epoch,
                committed,
                start,
            };
            place::find(&plane, &context, wanted).await
        });
        if let Some(before) = self.finding.insert(at, task) {
            before.abort();
        }
    }

    /// A partition is not the member's to deliver any more: its cursor, if it has one.
    fn forget(&mut self, at: TopicPartition) -> Option<u32> {
        if let Some(finding) = self.finding.remove(&at) {
            finding.abort();
        }
        self.keys.remove(&at)
    }

    /// Whether the client has said so much that it has to wait.
    pub(super) fn is_busy(&self) -> bool {
        self.member.waiting_commits() >= COMMITS_MAX
    }

    /// Another stream goes on as this member.
    pub(super) fn is_replaced(&self) -> bool {
        self.replaced
    }

    /// Why the group does not have this member.
    pub(super) fn failure(&self) -> Option<&GroupError> {
        self.failed.as_ref()
    }
}
