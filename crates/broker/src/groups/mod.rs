//! Consumer groups, as this broker coordinates them and as it finds the brokers that coordinate the others.
//!
//! ```text
//!   ask ─▶ whose group? ─ here ──▶ shard: one task for each partition of __consumer_offsets with a replica here
//!              │                     load (the log, replayed) ─▶ active (steps, written in rounds) ─▶ answers
//!              └─ elsewhere ──▶ GroupService of the coordinator, on its internal listener: one hop
//! ```
//! Invariants
//! - What groups do is decided by `quipu-coordinator`; here are the log, the clocks and the network.
//! - No answer leaves before everything that it rests on is committed: reads too, and answers of refusal.
//! - A coordinator serves only once all that is stored was replayed and committed. If a write fails, or the leadership
//!   goes, it is dropped whole; nothing is ever rolled back.
//! - What is asked waits in bounded memory: a budget of bytes, beside that of producers.
//!
//! Elsewhere: the RPCs are in `service/group`, the offsets topic and its replicas in `quipu-metadata`.

mod active;
mod collect;
pub(crate) mod convert;
mod figures;
mod findings;
mod load;
mod remote;
mod shard;
mod shards;
mod topics;
mod vouching;
mod writer;

pub(crate) use convert::failure_of;
pub(crate) use shard::ShardState;
#[cfg(test)]
pub(crate) use writer::Writer;

use crate::applied::Applied;
use crate::controllers::Controllers;
use crate::data_plane::DataPlane;
use crate::partition::budget::ByteBudget;
use crate::service::forward::Peer;
use collect::GroupsCollector;
use figures::{Gathering, Latest};
use quipu_coordinator::{Expiring, GroupConfig, GroupError, GroupId, Request, Response};
use quipu_metadata::{EnsureOffsetsTopic, Image, OFFSETS_TOPIC, Topic};
use quipu_record::{BrokerId, ErrorCode, LeaderEpoch, TopicId, TopicPartition, partition_for_key};
use shards::{Manager, Shards};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

/// Bytes of requests about groups that wait in the broker.
const WAITING_BYTES: usize = 16 << 20;
/// Requests that wait for those bytes; more are refused.
const HELD_BACK_MAX: usize = 4096;
const PAUSE_FIRST: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(200);
/// How long the making of the offsets topic is waited for at once.
const ENSURE: Duration = Duration::from_secs(10);

/// Groups, wherever they are coordinated. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Groups {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    plane: Arc<DataPlane>,
    controllers: Controllers,
    applied: Arc<Applied>,
    shards: Arc<Shards>,
    budget: Arc<ByteBudget>,
    /// One at a time makes the offsets topic.
    ensuring: tokio::sync::Mutex<()>,
    _manager: Manager,
    _gathering: Gathering,
}

/// Who coordinates a group.
#[derive(Clone, Debug)]
pub(crate) enum Coordinator {
    /// This broker.
    Here,
    /// Another, which leads the group's partition in this epoch.
    At(Peer, LeaderEpoch),
    /// Nobody now.
    Nobody,
}

impl Groups {
    /// Begins to coordinate what this broker leads, now and as that changes.
    pub(crate) fn start(
        plane: Arc<DataPlane>,
        controllers: Controllers,
        applied: Arc<Applied>,
        config: GroupConfig,
    ) -> Self {
        let shards = Arc::<Shards>::default();
        let manager = Manager::start(
            Arc::clone(&shards),
            Arc::clone(&plane),
            applied.subscribe(),
            config,
        );
        let latest = Arc::<Latest>::default();
        plane.metrics.add_collector(GroupsCollector {
            shards: Arc::clone(&shards),
            latest: Arc::clone(&latest),
        });
        let inner = Arc::new_cyclic(|groups| Inner {
            plane,
            controllers,
            applied,
            shards,
            budget: ByteBudget::new(WAITING_BYTES, HELD_BACK_MAX),
            ensuring: tokio::sync::Mutex::default(),
            _manager: manager,
            _gathering: Gathering::start(groups.clone(), latest),
        });
        Self { inner }
    }

    /// Asks the group's coordinator, wherever it is: a heartbeat, a leave, a commit or a query of offsets. Where nobody
    /// coordinates the group now it is asked for again until `until`; all of these may be said twice. A heartbeat that
    /// waits must end before that.
    ///
    /// # Errors
    /// The coordinator's word; or [`GroupError::Host`], if none was reached: then with `REQUEST_TIMED_OUT` the outcome
    /// is unknown, and with any other code nothing was done.
    pub(crate) async fn ask(
        &self,
        group: &GroupId,
        request: Request,
        until: Instant,
    ) -> Result<Response, GroupError> {
        let mut tries = self.tries(group, until);
        loop {
            let result = match tries.coordinator().await {
                Ok(Coordinator::Here) => self.ask_here(group, request.clone(), until).await,
                Ok(Coordinator::At(peer, epoch)) => {
                    let asked = remote::ask(&self.inner.plane, (&peer, epoch), request.clone(), until);
                    timeout_at(until, asked)
                        .await
                        .unwrap_or_else(|_| Err(timed_out()))
                }
                Ok(Coordinator::Nobody) => Err(nobody()),
                Err(error) => Err(error),
            };
            match result {
                Err(error) if tries.again(error.code()).await => {}
                settled => return settled,
            }
        }
    }

    /// Tries to reach the coordinator of a group, until there is one that answers.
    pub(crate) fn tries<'g>(&'g self, group: &'g GroupId, until: Instant) -> Tries<'g> {
        Tries {
            groups: self,
            group,
            until,
            pause: PAUSE_FIRST,
            images: self.inner.applied.subscribe(),
        }
    }

    /// Asks this broker, which must be the group's coordinator.
    pub(crate) async fn ask_here(
        &self,
        group: &GroupId,
        request: Request,
        until: Instant,
    ) -> Result<Response, GroupError> {
        self.ask_here_in(None, group, request, until).await
    }

    /// Asks this broker, which must be the group's coordinator, and lead its partition in this epoch, if one is given.
    pub(crate) async fn ask_here_in(
        &self,
        epoch: Option<LeaderEpoch>,
        group: &GroupId,
        request: Request,
        until: Instant,
    ) -> Result<Response, GroupError> {
        let Some(at) = self.partition_of(group) else {
            return Err(nobody());
        };
        let Some(shard) = self.inner.shards.get(at) else {
            return Err(shard::not_here());
        };
        let patience = until.saturating_duration_since(Instant::now());
        let charge = self.inner.budget.take(convert::held_bytes(&request), patience);
        let charge = charge.await.map_err(|_| {
            GroupError::host(
                ErrorCode::Throttled,
                "too many requests about groups wait in this broker: try again in a moment",
            )
        })?;
        let asked = timeout_at(until, shard.ask(request, epoch, Some(charge))).await;
        asked.unwrap_or_else(|_| Err(timed_out()))
    }

    /// Who coordinates a group, as the metadata in effect here says.
    pub(crate) fn coordinator(&self, group: &GroupId) -> Coordinator {
        match self.partition_of(group) {
            Some(at) => self.leader(at),
            None => Coordinator::Nobody,
        }
    }

    fn leader(&self, at: TopicPartition) -> Coordinator {
        let image = self.inner.plane.image.load();
        let state = image.partition(at);
        let leader = state.and_then(|state| Some((state.leader?, state.leader_epoch)));
        match leader {
            None => Coordinator::Nobody,
            Some((leader, _)) if leader == self.inner.plane.config.broker => Coordinator::Here,
            Some((_, epoch)) => match self.inner.plane.elsewhere(at) {
                Some(peer) => Coordinator::At(peer, epoch),
                None => Coordinator::Nobody,
            },
        }
    }

    /// The partition of the offsets topic that a group is stored in; `None`: there is no such topic yet.
    pub(crate) fn partition_of(&self, group: &GroupId) -> Option<TopicPartition> {
        let image = self.inner.plane.image.load();
        let topic = offsets_topic(&image)?;
        let count = NonZeroU32::new(u32::try_from(topic.partitions.len()).ok()?)?;
        Some(TopicPartition {
            topic: topic.id,
            partition: partition_for_key(group.as_str().as_bytes(), count),
        })
    }

    /// Has the offsets topic made, if it is not there.
    async fn ensure(&self, until: Instant) -> Result<(), GroupError> {
        if offsets_topic(&self.inner.plane.image.load()).is_some() {
            return Ok(());
        }
        let _one = self.inner.ensuring.lock().await;
        if offsets_topic(&self.inner.plane.image.load()).is_some() {
            return Ok(());
        }
        let topic_id = TopicId::from_u128(Uuid::new_v4().as_u128());
        let patience = until.saturating_duration_since(Instant::now()).min(ENSURE);
        let controllers = &self.inner.controllers;
        let made = controllers
            .propose_within(EnsureOffsetsTopic { topic_id }, patience)
            .await;
        let made = made.map_err(|error| {
            let told = format!("the topic that groups are stored in cannot be made now: {error}");
            GroupError::host(ErrorCode::CoordinatorNotAvailable, told)
        })?;
        self.inner.applied.at_least(made.version).await;
        Ok(())
    }

    /// Every broker that coordinates groups, each once, and partitions that nobody leads.
    pub(crate) fn coordinators(&self) -> (Vec<(BrokerId, Coordinator)>, usize) {
        let image = self.inner.plane.image.load_full();
        let Some(topic) = offsets_topic(&image) else {
            return (Vec::new(), 0);
        };
        let mut found: Vec<(BrokerId, Coordinator)> = Vec::new();
        let mut leaderless = 0;
        for (partition, state) in topic.partitions.iter() {
            let at = TopicPartition {
                topic: topic.id,
                partition,
            };
            match state.leader {
                Some(leader) if found.iter().any(|(known, _)| *known == leader) => {}
                Some(leader) => found.push((leader, self.leader(at))),
                None => leaderless += 1,
            }
        }
        (found, leaderless)
    }

    /// The shards that this broker's groups are in, by what the metadata says: those of partitions that it leads.
    fn led(&self) -> Vec<shard::ShardHandle> {
        let image = self.inner.plane.image.load_full();
        let Some(topic) = offsets_topic(&image) else {
            return Vec::new();
        };
        let me = self.inner.plane.config.broker;
        let led = topic
            .partitions
            .iter()
            .filter(|(_, state)| state.leader == Some(me));
        let led = led.filter_map(|(partition, _)| {
            self.inner.shards.get(TopicPartition {
                topic: topic.id,
                partition,
            })
        });
        led.collect()
    }

    /// The groups that this broker coordinates.
    pub(crate) async fn list_here(
        &self,
        until: Instant,
    ) -> Result<Vec<quipu_coordinator::GroupSummary>, GroupError> {
        let mut groups = Vec::new();
        for shard in self.led() {
            let asked = timeout_at(until, shard.ask(Request::List, None, None)).await;
            match asked.unwrap_or_else(|_| Err(timed_out()))? {
                Response::Groups(some) => groups.extend(some),
                _ => return Err(unexpected()),
            }
        }
        Ok(groups)
    }

    /// Groups coordinated here whose offsets expire soon.
    pub(crate) async fn expiring_here(&self) -> Vec<Expiring> {
        let mut expiring = Vec::new();
        for shard in self.led() {
            expiring.extend(shard.expiring().await);
        }
        expiring
    }

    /// What this broker's shards are doing.
    pub(crate) fn states(&self) -> Vec<(TopicPartition, ShardState)> {
        self.inner.shards.states()
    }

    /// The data plane that this coordinates on.
    pub(crate) fn plane(&self) -> &Arc<DataPlane> {
        &self.inner.plane
    }
}

/// One request's tries.
pub(crate) struct Tries<'g> {
    groups: &'g Groups,
    group: &'g GroupId,
    until: Instant,
    pause: Duration,
    images: watch::Receiver<Arc<Image>>,
}

impl Tries<'_> {
    /// Who coordinates the group now. The topic that groups are stored in is made, if it is not there.
    pub(crate) async fn coordinator(&mut self) -> Result<Coordinator, GroupError> {
        self.images.borrow_and_update();
        let ensured = timeout_at(self.until, self.groups.ensure(self.until)).await;
        ensured.unwrap_or_else(|_| Err(nobody()))?;
        Ok(self.groups.coordinator(self.group))
    }

    /// After a failure: whether to try again, and if so, when it is time to.
    pub(crate) async fn again(&mut self, code: ErrorCode) -> bool {
        if !is_passing(code) || Instant::now() + self.pause >= self.until {
            return false;
        }
        tokio::select! {
            () = tokio::time::sleep(self.pause) => {}
            // Perhaps somebody else leads now. It cannot be closed while the broker runs.
            _ = self.images.changed() => tokio::time::sleep(PAUSE_FIRST).await,
        }
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        true
    }
}

/// The topic that groups are stored in.
fn offsets_topic(image: &Image) -> Option<&Arc<Topic>> {
    image.topic_named(OFFSETS_TOPIC).filter(|topic| topic.internal)
}

/// Whether there may be a coordinator, or another one, in a moment; nothing was done.
fn is_passing(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotCoordinator | ErrorCode::CoordinatorLoading | ErrorCode::CoordinatorNotAvailable
    )
}

pub(crate) fn nobody() -> GroupError {
    GroupError::host(
        ErrorCode::CoordinatorNotAvailable,
        "nobody coordinates the group now: ask again in a moment",
    )
}

fn timed_out() -> GroupError {
    GroupError::host(
        ErrorCode::RequestTimedOut,
        "the coordinator did not answer in time: the outcome is unknown",
    )
}

/// An answer of another kind than the request: a bug, here or in another broker.
pub(crate) fn unexpected() -> GroupError {
    GroupError::host(
        ErrorCode::Internal,
        "the coordinator answered something else than was asked",
    )
}
