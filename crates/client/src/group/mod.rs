//! Consumes as a member of a group: the cluster says which partitions, and remembers how far they were processed.
//!
//! - [`core`]: what is this member's, from where it is read, what was processed; pure.
//! - [`stream`]: one stream to whichever broker hosts it, as a task.
//! - [`shared`]: a task keeps the member in its group however long the application takes over a batch; everything that the
//!   application hears or does, it does in its own thread in [`GroupConsumer::next`].

mod config;
mod core;
mod epochs;
mod error;
mod listener;
mod look;
mod shared;
mod stream;

pub use config::{Assignor, CommitMode, GroupConfig};
pub use epochs::{AssignmentEpoch, GroupEpoch, MemberEpoch};
pub use error::{CloseError, CommitError, GroupError};
pub use listener::{Rebalance, RebalanceListener};

use self::core::{Change, Core, Settings};
use self::shared::Shared;
use crate::config::ConfigError;
use crate::consumer::{ConsumeError, FetchedBatch, Key, Start};
use crate::error::CallError;
use crate::routing::{Cluster, Operation, timed};
use quipu_proto::v1;
use quipu_proto::v1::group_service_client::GroupServiceClient;
use quipu_record::{ErrorCode, Offset, PartitionId, TopicId};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// At the close a broker may take so long over each of its steps.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);

/// A partition that a group shares out.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct GroupPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The topic's id; `None` where it is not known any more.
    pub topic_id: Option<TopicId>,
    /// The partition.
    pub partition: PartitionId,
}

/// How far a partition was processed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommitOffset {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: PartitionId,
    /// The next offset to process.
    pub next: Offset,
    /// Whatever is to be remembered with it, at most 4,096 bytes.
    pub metadata: String,
}

/// A commit on its way: a future of its end. Dropped, it goes on by itself.
#[derive(Debug)]
pub struct Committing {
    answer: Option<oneshot::Receiver<Result<(), CommitError>>>,
}

impl Future for Committing {
    type Output = Result<(), CommitError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(answer) = &mut self.answer else {
            return Poll::Ready(Ok(()));
        };
        Pin::new(answer).poll(context).map(|answer| {
            answer.unwrap_or_else(|_| {
                let last = "the consumer is gone".to_owned();
                Err(CommitError::OutcomeUnknown { last })
            })
        })
    }
}

/// Consumes as a member of a group.
///
/// What [`GroupConsumer::next`] handed out counts as processed when it is called again. Dropped without
/// [`GroupConsumer::close`], the member leaves what it has to the others all the same, a moment later, and what was
/// processed last may be processed again.
pub struct GroupConsumer {
    shared: Arc<Shared>,
    listener: Option<Box<dyn RebalanceListener>>,
    /// Revoked: given up once the commits that name them are answered.
    giving_up: Option<Vec<Key>>,
    task: AbortHandle,
}

impl std::fmt::Debug for GroupConsumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupConsumer")
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}

impl Drop for GroupConsumer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What [`GroupConsumer::next`] does next.
enum Step {
    Change(Change),
    Give(Result<FetchedBatch, ConsumeError>),
    Over(GroupError),
    Wait,
}

impl GroupConsumer {
    pub(crate) fn new(
        cluster: Arc<Cluster>,
        config: GroupConfig,
        listener: Option<Box<dyn RebalanceListener>>,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let settings = Settings {
            mode: config.commit,
            start: config.start,
            reset: config.reset.start(),
            session: config.session_timeout,
            window: config.window_bytes as u64,
            limits: cluster.backoff_limits(),
        };
        let member = format!("{:032x}", rand::random::<u128>());
        let core = Core::new(settings, member, rand::random());
        let (shared, events) = Shared::new(cluster, config, core);
        let shared = Arc::new(shared);
        let task = tokio::spawn(shared.clone().drive(events)).abort_handle();
        Ok(Self {
            shared,
            listener,
            giving_up: None,
            task,
        })
    }

    /// The next batch of records of one partition; waits for it. What was handed out before counts as processed from now
    /// on. Rebalances happen in here: see [`RebalanceListener`]. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`GroupError::Partition`] names a partition that is read no further until a seek or a resume; the others go on with
    /// the next call. [`GroupError::Refused`] is the end.
    pub async fn next(&mut self) -> Result<FetchedBatch, GroupError> {
        self.with(|core, now| core.finish(now));
        loop {
            self.give_up_what_is_committed();
            match self.step() {
                Step::Change(change) => self.tell(change),
                Step::Give(given) => return given.map_err(GroupError::Partition),
                Step::Over(error) => return Err(error),
                Step::Wait => self.shared.news.notified().await,
            }
        }
    }

    fn step(&mut self) -> Step {
        let mut state = self.shared.lock();
        let state = &mut *state;
        let now = self.shared.now();
        // Before the next rebalance is told, this one is done.
        let change = if self.giving_up.is_none() {
            state.core.next_change()
        } else {
            None
        };
        let step = if let Some(change) = change {
            Step::Change(change)
        } else if let Some(given) = state.frames.next(&mut state.core, now) {
            Step::Give(given)
        } else if let Some(failure) = state.core.over() {
            Step::Over(GroupError::Refused(failure.clone()))
        } else {
            state.core.flush_acks();
            Step::Wait
        };
        self.shared.settle(state);
        step
    }

    /// Tells the listener, if there is one.
    fn tell(&mut self, change: Change) {
        let mut state = self.shared.lock();
        let state = &mut *state;
        let core = &mut state.core;
        let named = |core: &Core, keys: &[Key]| -> Vec<GroupPartition> {
            let each = keys.iter().map(|key| GroupPartition {
                topic: key.topic.clone(),
                topic_id: core.topic_id(key),
                partition: key.partition,
            });
            each.collect()
        };
        match change {
            Change::Assigned(keys) => {
                let partitions = named(core, &keys);
                let commits = Vec::new();
                if let Some(listener) = &mut self.listener {
                    let mut rebalance = Rebalance { core, commits };
                    listener.assigned(&partitions, &mut rebalance);
                }
            }
            Change::Revoked(keys) => {
                let partitions = named(core, &keys);
                let commits = Vec::new();
                if let Some(listener) = &mut self.listener {
                    let mut rebalance = Rebalance { core, commits };
                    listener.revoked(&partitions, &mut rebalance);
                    let commits = rebalance.commits;
                    let now = self.shared.now();
                    let within = self.shared.config.commit_timeout;
                    if let Err(error) = core.commit(now, commits, within) {
                        tracing::warn!(%error, "a commit before partitions are given up is not possible");
                    }
                }
                self.giving_up = Some(keys);
            }
            Change::Lost(keys) => {
                let partitions = named(core, &keys);
                if let Some(listener) = &mut self.listener {
                    listener.lost(&partitions);
                }
            }
        }
        self.shared.settle(state);
    }

    /// Revoked partitions go once the last word about them is said.
    fn give_up_what_is_committed(&mut self) {
        let Some(keys) = &self.giving_up else { return };
        let mut state = self.shared.lock();
        if state.core.committing(keys) {
            return;
        }
        state.core.give_up(keys);
        self.shared.settle(&mut state);
        drop(state);
        self.giving_up = None;
    }

    fn with<T>(&self, act: impl FnOnce(&mut Core, crate::moment::Moment) -> T) -> T {
        let mut state = self.shared.lock();
        let done = act(&mut state.core, self.shared.now());
        self.shared.settle(&mut state);
        done
    }

    /// Commits everything that was handed out, and waits until it is committed.
    ///
    /// # Errors
    /// [`CommitError`]; nothing was committed, unless it says that nobody knows.
    pub async fn commit_sync(&mut self) -> Result<(), CommitError> {
        self.commit_async().await
    }

    /// Commits these offsets, all or none, and waits until they are committed.
    ///
    /// # Errors
    /// [`CommitError`]; nothing was committed, unless it says that nobody knows.
    pub async fn commit_sync_at(&mut self, offsets: Vec<CommitOffset>) -> Result<(), CommitError> {
        self.commit_async_at(offsets).await
    }

    /// Begins to commit everything that was handed out. Commits take effect in the order in which they were begun.
    pub fn commit_async(&mut self) -> Committing {
        let offsets = self.shared.lock().core.uncommitted();
        self.commit(offsets)
    }

    /// Begins to commit these offsets, all or none.
    pub fn commit_async_at(&mut self, offsets: Vec<CommitOffset>) -> Committing {
        let offsets = offsets.into_iter().map(|offset| {
            let key = Key {
                topic: offset.topic,
                partition: offset.partition,
            };
            (key, offset.next, offset.metadata)
        });
        self.commit(offsets.collect())
    }

    fn commit(&self, offsets: Vec<(Key, Offset, String)>) -> Committing {
        let (tell, answer) = oneshot::channel();
        let mut state = self.shared.lock();
        let (now, within) = (self.shared.now(), self.shared.config.commit_timeout);
        match state.core.commit(now, offsets, within) {
            Ok(None) => return Committing { answer: None },
            Ok(Some(commit)) => {
                state.waiters.insert(commit, tell);
            }
            // Nobody can have dropped the receiver.
            Err(error) => drop(tell.send(Err(error))),
        }
        self.shared.settle(&mut state);
        Committing { answer: Some(answer) }
    }

    /// Moves to another place; what was on its way from the old one is dropped. Also ends what an error began. The new
    /// place counts as how far the partition was processed.
    ///
    /// # Errors
    /// The partition is not this member's.
    pub fn seek(&mut self, topic: &str, partition: PartitionId, to: Start) -> Result<(), ConsumeError> {
        let key = key(topic, partition);
        let done = self.with(|core, _| core.seek(&key, to));
        done.then_some(()).ok_or_else(|| not_assigned(key))
    }

    /// Stops giving records of a partition, and keeps its place. It stays this member's.
    ///
    /// # Errors
    /// The partition is not this member's.
    pub fn pause(&mut self, topic: &str, partition: PartitionId) -> Result<(), ConsumeError> {
        let key = key(topic, partition);
        let done = self.with(|core, _| core.pause(&key, true));
        done.then_some(()).ok_or_else(|| not_assigned(key))
    }

    /// Goes on after a pause or an error, from the same place.
    ///
    /// # Errors
    /// The partition is not this member's.
    pub fn resume(&mut self, topic: &str, partition: PartitionId) -> Result<(), ConsumeError> {
        let key = key(topic, partition);
        let done = self.with(|core, _| core.pause(&key, false));
        done.then_some(()).ok_or_else(|| not_assigned(key))
    }

    /// Ends it in order: everything that was handed out counts as processed ([`CommitMode::Auto`]) and is committed, the
    /// listener hears that all is revoked (or lost: what no stream vouches for), and the partitions are others' at once. A
    /// static member's wait for its return until the session times out.
    ///
    /// # Errors
    /// [`CloseError`]: the last commit failed, or the group could not be told. It is closed all the same.
    pub async fn close(self) -> Result<(), CloseError> {
        let will_return = self.shared.config.instance_id.is_some();
        self.end(will_return).await
    }

    /// As [`GroupConsumer::close`], for good: a static member's partitions are others' at once too.
    ///
    /// # Errors
    /// As of [`GroupConsumer::close`].
    pub async fn leave(self) -> Result<(), CloseError> {
        self.end(false).await
    }

    async fn end(mut self, will_return: bool) -> Result<(), CloseError> {
        let committed = self.last_commit().await;
        let left = self.tell_the_group(will_return).await;
        self.with(|core, _| core.stop());
        committed?;
        Ok(left?)
    }

    async fn last_commit(&mut self) -> Result<(), CommitError> {
        let (confirmed, others) = {
            let mut state = self.shared.lock();
            state.core.finish(self.shared.now());
            state.core.by_certainty()
        };
        if self.shared.lock().core.over().is_some() {
            return Ok(());
        }
        if self.giving_up.is_none() {
            let told = [Change::Lost(others), Change::Revoked(confirmed)].into_iter();
            told.filter(|it| !it.is_empty()).for_each(|it| self.tell(it));
        }
        let last = match self.shared.config.commit {
            CommitMode::Auto => self.commit_async(),
            CommitMode::Manual => Committing { answer: None },
        };
        let committed = last.await;
        // The listener's, and those that were begun before.
        while !self.shared.lock().core.settled() {
            self.shared.news.notified().await;
        }
        committed
    }

    /// Waits, for a while, until something holds no longer.
    async fn wait_while(&mut self, holds: impl Fn(&Core) -> bool) {
        let waiting = async {
            while holds(&self.shared.lock().core) {
                self.shared.news.notified().await;
            }
        };
        // Then it goes without.
        let _ = timeout(LEAVE_WITHIN, waiting).await;
    }

    async fn tell_the_group(&mut self, will_return: bool) -> Result<(), CallError> {
        // Who leaves while it joins may be overtaken by its own joining.
        self.wait_while(Core::opening).await;
        {
            let mut state = self.shared.lock();
            state.core.leave();
            state.half_close();
        }
        self.wait_while(Core::connected).await;
        let (member, epoch) = self.member();
        let left = self.shared.lock().core.left();
        let is_static = self.shared.config.instance_id.is_some();
        if epoch == MemberEpoch::default() || (left && will_return == is_static) {
            // It never got in, or the broker has told the group.
            return Ok(());
        }
        let request = v1::LeaveGroupRequest {
            group: self.shared.config.group.clone(),
            member_id: member,
            stream_id: 0,
            stream_number: 0,
            will_return,
            routing: v1::Routing::Forward.into(),
        };
        let cluster = &self.shared.cluster;
        let operation = Operation::repeatable("leave the group", cluster.config.call_timeout);
        let left = cluster.call(operation, |connection, left| {
            let request = timed(request.clone(), left);
            async move { GroupServiceClient::new(connection).leave_group(request).await }
        });
        match left.await {
            // It is gone already.
            Err(CallError::Rejected(failure))
                if matches!(failure.code, ErrorCode::UnknownMember | ErrorCode::UnknownGroup) =>
            {
                Ok(())
            }
            left => left.map(drop),
        }
    }
}

/// A consumer may move from task to task, and so may what waits for it.
const _: fn() = || {
    fn sent(_: impl Send) {}
    fn each(mut consumer: GroupConsumer, other: GroupConsumer) {
        sent(other.close());
        sent(consumer.next());
    }
    let _ = each;
};

fn key(topic: &str, partition: PartitionId) -> Key {
    Key {
        topic: topic.into(),
        partition,
    }
}

fn not_assigned(key: Key) -> ConsumeError {
    ConsumeError::NotAssigned {
        topic: key.topic,
        partition: key.partition,
    }
}
