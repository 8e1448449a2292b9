//! A member of a group that tells the history what it is given and what it gives up.

use crate::error::WorkloadError;
use crate::recorder::{Actor, Recorder};
use crate::site::Site;
use crate::value::read_records;
use quipu_checker::{
    Advanced, Group, HistoryError, Key, Member as MemberName, MemberEpoch, Op, Owned, Poll, PolledPartition,
    Process, Released, Subscribe, Topic,
};
use quipu_client::{
    Client, FetchedBatch, GroupConfig, GroupConsumer, GroupError, GroupPartition, Rebalance,
    RebalanceListener,
};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// A member that is silent for so long is gone: short, since members crash here.
const SESSION: Duration = Duration::from_secs(10);
/// A member that is slow to give partitions up loses them.
const REVOCATION: Duration = Duration::from_secs(10);
const AUTO_COMMIT_EVERY: Duration = Duration::from_millis(300);
const COMMIT_WITHIN: Duration = Duration::from_secs(15);
const CLOSE_WITHIN: Duration = Duration::from_secs(20);

/// What the listener knows and the member's loop asks for.
#[derive(Debug, Default)]
struct Told {
    name: Option<MemberName>,
    held: BTreeSet<Key>,
    /// Given or taken since the loop asked the last time.
    changed: Vec<Key>,
    problem: Option<HistoryError>,
}

/// Tells the history of rebalances, in the moment in which the application hears of them.
struct Teller {
    recorder: Arc<Recorder>,
    process: Process,
    group: Group,
    told: Arc<Mutex<Told>>,
}

fn key_of(partition: &GroupPartition) -> Key {
    Key::new(&format!("{}/{}", partition.topic, partition.partition))
}

fn lock(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Teller {
    fn mark(&self, told: &mut Told, op: Op) {
        if let Err(problem) = self.recorder.mark(self.process, op) {
            told.problem.get_or_insert(problem);
        }
    }

    fn release(&self, partitions: &[GroupPartition], is_lost: impl Fn(&GroupPartition) -> bool) {
        let mut told = lock(&self.told);
        let Some(member) = told.name.clone() else { return };
        for partition in partitions {
            let (key, lost) = (key_of(partition), is_lost(partition));
            if told.held.remove(&key) {
                told.changed.push(key.clone());
                let (group, member) = (self.group.clone(), member.clone());
                let released = Released {
                    group,
                    member,
                    key,
                    lost,
                };
                self.mark(&mut told, Op::Released(released));
            }
        }
    }
}

impl RebalanceListener for Teller {
    fn assigned(&mut self, partitions: &[GroupPartition], rebalance: &mut Rebalance<'_>) {
        let mut told = lock(&self.told);
        let (member, epoch) = rebalance.member();
        let (member, epoch) = (MemberName::new(member), MemberEpoch(epoch.get()));
        told.name = Some(member.clone());
        for partition in partitions {
            let Some(since) = rebalance.assignment_epoch(&partition.topic, partition.partition) else {
                continue;
            };
            let key = key_of(partition);
            told.held.insert(key.clone());
            told.changed.push(key.clone());
            let owned = Owned {
                group: self.group.clone(),
                member: member.clone(),
                key,
                assignment_epoch: MemberEpoch(since.get()),
                member_epoch: epoch,
                group_epoch: None,
            };
            self.mark(&mut told, Op::Owned(owned));
        }
    }

    /// One that is given up while the group is out of touch may have been taken before.
    fn revoked(&mut self, partitions: &[GroupPartition], rebalance: &mut Rebalance<'_>) {
        self.release(partitions, |one| !rebalance.confirmed(&one.topic, one.partition));
    }

    fn lost(&mut self, partitions: &[GroupPartition]) {
        self.release(partitions, |_| true);
    }
}

/// How members of a workload's groups are: quick to be missed.
pub(super) fn config(site: &Site, group: &str) -> GroupConfig {
    let mut config = GroupConfig::new(group)
        .with_topics([site.topic.to_string()])
        .with_session_timeout(SESSION)
        .with_revocation_timeout(REVOCATION);
    config.auto_commit_interval = AUTO_COMMIT_EVERY;
    config.commit_timeout = COMMIT_WITHIN;
    config
}

/// A member of a group that tells the history what it is given and what it gives up.
pub(super) struct Member {
    pub(super) consumer: GroupConsumer,
    pub(super) group: Group,
    told: Arc<Mutex<Told>>,
    process: Process,
    recorder: Arc<Recorder>,
    epoch: MemberEpoch,
}

/// What came of a read.
pub(super) enum Came {
    Batch(FetchedBatch),
    Nothing,
    /// It is no member any more.
    Over,
}

impl Member {
    /// Joins, as the process that `actor` is now.
    pub(super) fn join(
        site: &Site,
        client: &Client,
        actor: &mut Actor,
        config: GroupConfig,
    ) -> Result<Self, WorkloadError> {
        let group = Group::new(&config.group);
        let subscribe = Op::Subscribe(Subscribe {
            group: group.clone(),
            topics: config.topics.iter().map(|topic| Topic::new(topic)).collect(),
        });
        let told = Arc::<Mutex<Told>>::default();
        let teller = Teller {
            recorder: Arc::clone(&site.recorder),
            process: actor.process(),
            group: group.clone(),
            told: Arc::clone(&told),
        };
        let consumer = client.group_consumer_with(config, teller)?;
        actor.invoke(subscribe.clone())?;
        actor.ok(subscribe)?;
        Ok(Self {
            consumer,
            group,
            told,
            process: actor.process(),
            recorder: Arc::clone(&site.recorder),
            epoch: MemberEpoch(0),
        })
    }

    /// What comes next, if it comes in time; and what was given or taken meanwhile.
    pub(super) async fn next(&mut self, within: Duration) -> Result<(Came, Vec<Key>), WorkloadError> {
        let came = match timeout(within, self.consumer.next()).await {
            Err(_) => Came::Nothing,
            Ok(Ok(batch)) => Came::Batch(batch),
            Ok(Err(GroupError::Partition(error))) => {
                tracing::debug!(%error, "a partition is read no further");
                Came::Nothing
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "a member is no member any more");
                Came::Over
            }
        };
        let changed = {
            let mut told = lock(&self.told);
            if let Some(problem) = told.problem.take() {
                return Err(problem.into());
            }
            std::mem::take(&mut told.changed)
        };
        self.tell_epoch()?;
        Ok((came, changed))
    }

    /// The epoch that it is in now, told to the history if it is a new one.
    pub(super) fn tell_epoch(&mut self) -> Result<MemberEpoch, WorkloadError> {
        let now = MemberEpoch(self.consumer.member().1.get());
        if now != self.epoch && now.0 > 0 {
            let advanced = Advanced {
                group: self.group.clone(),
                member: self.name(),
                member_epoch: now,
                group_epoch: None,
            };
            self.recorder.mark(self.process, Op::Advanced(advanced))?;
        }
        self.epoch = now;
        Ok(now)
    }

    /// Its id, as its group knows it.
    pub(super) fn name(&self) -> MemberName {
        MemberName::new(&self.consumer.member().0)
    }

    /// What is its own, as far as it has heard.
    pub(super) fn held(&self) -> Vec<Key> {
        lock(&self.told).held.iter().cloned().collect()
    }

    /// One read, in so many words for the history. `false`: it is no member any more.
    pub(super) async fn poll(&mut self, actor: &mut Actor, within: Duration) -> Result<bool, WorkloadError> {
        actor.invoke(Op::Poll(Poll::default()))?;
        let (came, rebalanced) = self.next(within).await?;
        let (partitions, goes_on) = match came {
            Came::Batch(batch) => (polled(&batch).into_iter().collect(), true),
            Came::Nothing => (Vec::new(), true),
            Came::Over => (Vec::new(), false),
        };
        actor.ok(Op::Poll(Poll {
            partitions,
            rebalanced,
        }))?;
        Ok(goes_on)
    }

    /// Leaves in order.
    pub(super) async fn close(self) -> Result<(), WorkloadError> {
        let Self {
            consumer,
            told,
            process,
            recorder,
            group,
            ..
        } = self;
        match timeout(CLOSE_WITHIN, consumer.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a member did not close as it should"),
            Err(_) => tracing::debug!("a member took too long to close"),
        }
        let_go(&recorder, process, &group, &told, |_| false)
    }

    /// Is gone without a word. What it had is told of before: nobody else can have got it by then, unless the group is out
    /// of touch.
    pub(super) fn crash(self, site: &Site, actor: &mut Actor) -> Result<(), WorkloadError> {
        let confirmed = |key: &Key| {
            let partition = site.partition_of(key);
            partition.is_some_and(|partition| self.consumer.confirmed(&site.topic, partition))
        };
        let_go(&self.recorder, self.process, &self.group, &self.told, confirmed)?;
        drop(self.consumer);
        actor.invoke(Op::Crash)?;
        actor.info(Op::Crash)?;
        Ok(())
    }
}

/// Tells that what is held is held no more.
fn let_go(
    recorder: &Recorder,
    process: Process,
    group: &Group,
    told: &Mutex<Told>,
    confirmed: impl Fn(&Key) -> bool,
) -> Result<(), WorkloadError> {
    let mut told = lock(told);
    if let Some(problem) = told.problem.take() {
        return Err(problem.into());
    }
    let Some(member) = told.name.clone() else {
        return Ok(());
    };
    for key in std::mem::take(&mut told.held) {
        let released = Released {
            group: group.clone(),
            member: member.clone(),
            lost: !confirmed(&key),
            key,
        };
        recorder.mark(process, Op::Released(released))?;
    }
    Ok(())
}

fn polled(batch: &FetchedBatch) -> Option<PolledPartition> {
    let records = read_records(batch);
    let key = Key::new(&format!("{}/{}", batch.topic(), batch.partition()));
    let mut part = PolledPartition::asked(key, records.first()?.offset);
    part.high_watermark = Some(batch.high_watermark());
    part.records = records;
    Some(part)
}
