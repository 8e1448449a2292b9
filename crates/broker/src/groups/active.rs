//! A coordinator at work: requests are stepped as they come, what they decide is written a round at a time, and nobody
//! hears of anything before all that it rests on is committed.
//!
//! Rounds do not wait for each other: the next is stepped and written while the one before is being flushed and copied.
//! Answers leave in the order of the steps.

use super::shard::{Answer, Asked, Message, Place, not_here};
use super::topics::TopicsNow;
use super::vouching::Vouching;
use super::writer::{WriteError, Writer};
use crate::partition::budget::Charge;
use crate::partition::wait::Waiter;
use quipu_coordinator::{Coordinator, Effects, GroupError, Input, Request, RequestToken, Response};
use quipu_record::{ErrorCode, Offset, Tick};
use quipu_replication::{Leading, Now};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Messages that one round takes: what comes later waits for the next, so that answers are not kept waiting.
const ROUND: usize = 512;

/// Groups that expire soon are named in the log so often, and so many of them.
const WARN_EVERY: Duration = Duration::from_secs(3600);
const WARN_MAX: usize = 20;

/// Why a coordinator ends.
#[derive(Debug)]
pub(super) enum Ended {
    /// Nobody can ask any more.
    Asked,
    /// The partition is led otherwise.
    Led,
    /// Something was not written.
    Unwritten(WriteError),
}

/// A coordinator, and who waits for it.
pub(super) struct Active<'p> {
    place: &'p Place,
    leading: Leading,
    coordinator: Coordinator,
    writer: Writer,
    topics: Arc<TopicsNow>,
    waiting: HashMap<RequestToken, Waiting>,
    /// Answers in the order of the steps, each with the batch that must be committed before.
    held: VecDeque<(u64, Answered)>,
    vouching: Vouching,
    effects: Effects,
    /// When groups that expire soon were named in the log.
    warned: Option<Tick>,
}

/// An answer on its way.
pub(super) type Answered = (RequestToken, Result<Response, GroupError>);

#[derive(Debug)]
struct Waiting {
    answer: Answer,
    asked: Tick,
    _charge: Option<Charge>,
}

impl<'p> Active<'p> {
    /// From what was loaded.
    pub(super) fn new(place: &'p Place, leading: Leading, coordinator: Coordinator) -> Self {
        Self {
            leading,
            coordinator,
            writer: Writer::new(Arc::clone(&place.replica), place.plane.clock),
            topics: place.topics.now(&place.plane),
            waiting: HashMap::new(),
            held: VecDeque::new(),
            vouching: Vouching::default(),
            effects: Effects::default(),
            warned: None,
            place,
        }
    }

    /// Serves until it ends; whoever waits then is told to ask again.
    pub(super) async fn serve(mut self, inbox: &mut mpsc::UnboundedReceiver<Message>) -> Ended {
        let ended = match self.begin() {
            Ok(()) => self.run(inbox).await,
            Err(error) => Ended::Unwritten(error),
        };
        let code = match ended {
            Ended::Unwritten(_) => ErrorCode::CoordinatorLoading,
            Ended::Asked | Ended::Led => ErrorCode::NotCoordinator,
        };
        let refusal = GroupError::host(code, "the coordinator of the group has changed: ask again");
        for (_, Waiting { answer, .. }) in self.waiting.drain() {
            // Who is gone by now wants no answer.
            let _ = answer.send(Err(refusal.clone()));
        }
        ended
    }

    fn begin(&mut self) -> Result<(), WriteError> {
        let now = self.now();
        self.coordinator.loaded(now.mono, now.wall);
        self.step(Input::TopicsChanged, now)?;
        self.writer.close(now)
    }

    async fn run(&mut self, inbox: &mut mpsc::UnboundedReceiver<Message>) -> Ended {
        let mut waiter = Waiter::default();
        let mut images = self.place.images.clone();
        let mut messages = Vec::new();
        self.watch(&mut waiter);
        loop {
            let due = due(self.place.plane.clock, self.effects.deadline);
            let done = tokio::select! {
                biased;
                _ = waiter.fired() => {
                    self.watch(&mut waiter);
                    Ok(())
                }
                progress = self.writer.progress() => progress.map(|()| self.release()),
                vouched = self.vouching.round() => {
                    let answers = self.vouching.over(vouched, self.place, self.leading);
                    self.send(answers);
                    Ok(())
                }
                count = inbox.recv_many(&mut messages, ROUND) => {
                    if count == 0 {
                        return Ended::Asked;
                    }
                    self.round(&mut messages)
                }
                changed = images.changed() => match changed {
                    Ok(()) => self.look_around(),
                    Err(_) => return Ended::Asked,
                },
                () = due => self.tick(),
            };
            if let Err(error) = done {
                // A batch that fails because somebody else leads is no failure.
                return match self.still_leads() {
                    true => Ended::Unwritten(error),
                    false => Ended::Led,
                };
            }
            if !self.still_leads() {
                return Ended::Led;
            }
        }
    }

    fn still_leads(&self) -> bool {
        self.place.replica.view().leading == Some(self.leading)
    }

    /// Wakes up when the leadership changes.
    fn watch(&self, waiter: &mut Waiter) {
        let view = self.place.replica.view();
        self.place.replica.wait(waiter, 0, Offset::MAX, &view);
    }

    fn now(&self) -> Now {
        self.place.plane.clock.now()
    }

    /// Steps all that came in, and writes what was decided.
    fn round(&mut self, messages: &mut Vec<Message>) -> Result<(), WriteError> {
        let now = self.now();
        self.renew_topics(now)?;
        let writable = self.enough_in_sync();
        for message in messages.drain(..) {
            match message {
                Message::Ask(asked) if asked.epoch.is_some_and(|meant| meant != self.leading.epoch) => {
                    // It was meant for the coordinator before this one, or for the next.
                    let _ = asked.answer.send(Err(not_here()));
                }
                Message::Ask(asked) if writable || only_reads(&asked.request) => {
                    self.take(*asked, now)?;
                }
                Message::Ask(asked) => refuse(*asked),
                Message::Gone(token) => {
                    if self.waiting.remove(&token).is_some() {
                        self.step(Input::Cancel(token), now)?;
                    }
                }
                Message::Expiring(answer) => drop(answer.send(self.coordinator.expiring(now.wall))),
            }
        }
        self.writer.close(now)?;
        self.release();
        Ok(())
    }

    fn take(&mut self, asked: Asked, now: Now) -> Result<(), WriteError> {
        let Asked {
            token,
            request,
            epoch: _,
            answer,
            charge,
        } = asked;
        // A heartbeat may wait for long, and is small; whatever else came is answered soon.
        let charge = charge.filter(|_| !matches!(request, Request::Heartbeat(_)));
        let waiting = Waiting {
            answer,
            asked: now.mono,
            _charge: charge,
        };
        self.waiting.insert(token, waiting);
        self.step(Input::Request(token, request), now)
    }

    fn step(&mut self, input: Input, now: Now) -> Result<(), WriteError> {
        let Self {
            coordinator,
            effects,
            topics,
            ..
        } = self;
        coordinator.step(input, now.mono, now.wall, &**topics, effects);
        let after = self.writer.push(self.effects.records.drain(..), now)?;
        self.held
            .extend(self.effects.answers.drain(..).map(|answer| (after, answer)));
        Ok(())
    }

    /// The metadata has changed, perhaps in what matters here.
    fn look_around(&mut self) -> Result<(), WriteError> {
        let now = self.now();
        self.renew_topics(now)?;
        self.writer.close(now)?;
        self.release();
        Ok(())
    }

    fn renew_topics(&mut self, now: Now) -> Result<(), WriteError> {
        let topics = self.place.topics.now(&self.place.plane);
        if topics.is(&self.topics) {
            return Ok(());
        }
        let changed = topics.differs(&self.topics);
        self.topics = topics;
        match changed {
            true => self.step(Input::TopicsChanged, now),
            false => Ok(()),
        }
    }

    fn tick(&mut self) -> Result<(), WriteError> {
        let now = self.now();
        self.step(Input::Tick, now)?;
        self.writer.close(now)?;
        self.release();
        self.warn(now);
        Ok(())
    }

    /// Names the groups whose offsets expire soon, every now and then.
    fn warn(&mut self, now: Now) {
        if self.warned.is_some_and(|last| now.mono.since(last) < WARN_EVERY) {
            return;
        }
        self.warned = Some(now.mono);
        for expiring in self.coordinator.expiring(now.wall).iter().take(WARN_MAX) {
            tracing::warn!(
                group = %expiring.group,
                offsets = expiring.offsets,
                at_ms = expiring.at.get(),
                "the offsets of a group without members expire within a day"
            );
        }
    }

    /// What would be refused by the log is refused before it is decided: a decision that is not stored costs a load.
    fn enough_in_sync(&self) -> bool {
        let image = self.place.plane.image.load();
        let state = image.partition(self.place.replica.at);
        state.is_some_and(|state| state.isr.len() >= usize::from(state.min_insync))
    }

    /// Sends the answers that rest on nothing uncommitted.
    fn release(&mut self) {
        let committed = self.writer.committed();
        while let Some((after, _)) = self.held.front()
            && *after <= committed
            && let Some((_, (token, result))) = self.held.pop_front()
        {
            let Some(Waiting { asked, .. }) = self.waiting.get(&token) else {
                continue;
            };
            let answered = match Vouching::needed(&result, *asked, self.now().mono) {
                Some(needed) => {
                    let answered = (token, result);
                    self.vouching.hold(needed, answered, self.place, self.leading)
                }
                None => Some((token, result)),
            };
            self.send(answered);
        }
    }

    fn send(&mut self, answers: impl IntoIterator<Item = Answered>) {
        for (token, result) in answers {
            if let Some(Waiting { answer, .. }) = self.waiting.remove(&token) {
                // Who is gone by now wants no answer.
                let _ = answer.send(result);
            }
        }
    }
}

/// Whether nothing is decided.
fn only_reads(request: &Request) -> bool {
    matches!(
        request,
        Request::Describe(_) | Request::List | Request::Offsets(_)
    )
}

fn refuse(asked: Asked) {
    let refusal = GroupError::host(
        ErrorCode::CoordinatorNotAvailable,
        "too few replicas of the group's partition are in sync to store anything: ask again in a moment",
    );
    // Who is gone by now wants no answer.
    let _ = asked.answer.send(Err(refusal));
}

async fn due(clock: crate::partition::clock::Clock, deadline: Option<Tick>) {
    match deadline {
        Some(deadline) => tokio::time::sleep(clock.until(deadline)).await,
        None => std::future::pending().await,
    }
}
