//! Answers that others rely on wait until the followers of the partition vouch that no other leader has committed anything
//! since: heartbeats, since a third of the session ago; offsets, since they were asked for. One round vouches for all
//! that wait, and while heartbeats come in steadily a round is needed only every third of a session.

use super::active::Answered;
use super::shard::Place;
use quipu_coordinator::{GroupError, Response};
use quipu_record::{ErrorCode, Tick};
use quipu_replication::Leading;
use std::pin::Pin;
use std::time::Duration;

/// How long followers are waited for. Those that live answer at once.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is vouched for, and who waits for more.
#[derive(Default)]
pub(super) struct Vouching {
    /// No other leader had committed anything before.
    vouched: Tick,
    waiting: Vec<(Tick, Answered)>,
    round: Option<Round>,
}

type Round = Pin<Box<dyn Future<Output = Option<Tick>> + Send>>;

impl Vouching {
    /// Since when an answer must be vouched for; `None`: others do not rely on it, or its own records vouch for it.
    pub(super) fn needed(result: &Result<Response, GroupError>, asked: Tick, now: Tick) -> Option<Tick> {
        match result {
            Ok(Response::Heartbeat(heartbeat)) => Some(before(now, heartbeat.session_timeout / 3)),
            Ok(Response::Offsets(_)) => Some(asked),
            _ => None,
        }
    }

    /// Gives an answer back that may leave, or keeps it and begins a round.
    pub(super) fn hold(
        &mut self,
        needed: Tick,
        answered: Answered,
        place: &Place,
        leading: Leading,
    ) -> Option<Answered> {
        if self.vouched >= needed {
            return Some(answered);
        }
        self.waiting.push((needed, answered));
        self.begin(place, leading);
        None
    }

    fn begin(&mut self, place: &Place, leading: Leading) {
        if self.round.is_some() || self.waiting.is_empty() {
            return;
        }
        let (plane, at) = (place.plane.clone(), place.replica.at);
        self.round = Some(Box::pin(async move {
            let since = plane.tick();
            let view = plane.vouched(at, since, PATIENCE).await.ok()?;
            (view.leading == Some(leading)).then_some(since)
        }));
    }

    /// Waits until a round is over; never, while there is none. Cancel-safe.
    pub(super) async fn round(&mut self) -> Option<Tick> {
        match &mut self.round {
            Some(round) => round.await,
            None => std::future::pending().await,
        }
    }

    /// A round is over: the answers that may leave, and refusals in place of those that nobody vouches for.
    pub(super) fn over(&mut self, vouched: Option<Tick>, place: &Place, leading: Leading) -> Vec<Answered> {
        self.round = None;
        let Some(vouched) = vouched else {
            let refused = self.waiting.drain(..);
            return refused
                .map(|(_, (token, _))| (token, Err(not_vouched())))
                .collect();
        };
        self.vouched = self.vouched.max(vouched);
        let vouched = self.vouched;
        let leave = self.waiting.extract_if(.., |(needed, _)| *needed <= vouched);
        let leave = leave.map(|(_, answered)| answered).collect();
        self.begin(place, leading);
        leave
    }
}

fn before(now: Tick, span: Duration) -> Tick {
    let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    Tick::from_nanos(now.nanos().saturating_sub(nanos))
}

fn not_vouched() -> GroupError {
    GroupError::host(
        ErrorCode::CoordinatorNotAvailable,
        "the coordinator hears of too few replicas, and may have been replaced: ask again in a moment",
    )
}
