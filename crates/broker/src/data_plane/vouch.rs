//! What a leader says may be old news: it may be cut off, and another one elected. Before it answers what must hold at the
//! moment of the question, its followers vouch for it.

use super::DataPlane;
use crate::partition::replica::Replica;
use crate::partition::thread::Command;
use quipu_proto::Failure;
use quipu_record::{ErrorCode, TopicPartition};
use quipu_replication::{Tick, View};
use std::future::{Future as _, poll_fn};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Followers may come and go, and leadership too: what is waited for is looked up anew so often.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

impl DataPlane {
    /// This moment by the clock that [`DataPlane::vouched`] counts in.
    #[must_use]
    pub fn tick(&self) -> Tick {
        self.clock.tick(Instant::now())
    }

    /// A view of a partition led here that was taken when no other leader could have committed anything before `since`.
    /// With `since` at or after the beginning of a request, an answer from it is linearizable, once its
    /// [`View::latest`] is known; with one a while ago, an answer is at most so old. Followers that are quiet are asked;
    /// a partition of one replica needs nobody.
    ///
    /// # Errors
    /// This broker does not lead, or too few followers were heard in time: it may be cut off.
    pub async fn vouched(
        &self,
        at: TopicPartition,
        since: Tick,
        patience: Duration,
    ) -> Result<View, Failure> {
        match tokio::time::timeout(patience, self.vouched_at_last(at, since)).await {
            Ok(vouched) => vouched,
            Err(_) => Err(Failure::new(
                ErrorCode::OffsetNotAvailable,
                format!(
                    "too few followers of partition {at} were heard in time: this leader may have been replaced; ask again"
                ),
            )),
        }
    }

    async fn vouched_at_last(&self, at: TopicPartition, since: Tick) -> Result<View, Failure> {
        loop {
            let not_leader = || {
                let told = format!("this broker does not lead partition {at}: look up its leader");
                Failure::new(ErrorCode::NotLeader, told)
            };
            let replica = self.topics.replica(at).ok_or_else(not_leader)?;
            if replica.view().leading.is_none() {
                return Err(not_leader());
            }
            let sessions = replica.watches.sessions();
            // Whoever is heard from here on ends the wait below.
            let mut heard: Vec<_> = sessions.iter().map(|s| Box::pin(s.next_heard())).collect();
            if let Some((vouched, view)) = self.vouched_now(&replica).await
                && vouched >= since
            {
                return Ok(view);
            }
            for session in &sessions {
                session.release();
            }
            let any = poll_fn(|context| {
                let ready = heard.iter_mut().any(|one| one.as_mut().poll(context).is_ready());
                if ready { Poll::Ready(()) } else { Poll::Pending }
            });
            // Late is as good as heard: either way it is looked at again.
            let _ = tokio::time::timeout(LOOK_AGAIN, any).await;
        }
    }

    async fn vouched_now(&self, replica: &Replica) -> Option<(Tick, View)> {
        let (answer, answered) = oneshot::channel();
        replica.thread.command(Command::Vouch(replica.at, answer));
        answered.await.ok().flatten()
    }
}
