//! Commits: members that write down offsets with a name of their own for each, and readers of what is written. Each
//! group's partition is a register.

use super::Workload;
use super::members::{Came, Member, config};
use crate::chance::Chance;
use crate::error::WorkloadError;
use crate::recorder::Actor;
use crate::site::{AGAIN_AFTER, Pace, Site};
use crate::tasks::{Stop, Tasks};
use quipu_checker::{Commit, CommitId, Committed, Committer, FoundCommit, Group, Key, Op};
use quipu_client::{
    CallError, Client, CommitError, CommitMode, CommitOffset, CommittedOffset, Offset, PartitionId,
};
use std::time::Duration;

/// How long a member waits for news of its partitions between two commits.
const NEWS_WITHIN: Duration = Duration::from_millis(20);
/// Commits of one life, at most.
const COMMITS_OF_A_LIFE: u64 = 200;
const CRASH_ONE_IN: u64 = 3;
const AWAY: Duration = Duration::from_millis(500);

/// Commits: members that write down offsets with a name for each, and readers of what is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Commits {
    /// How many groups.
    pub groups: u32,
    /// Members of each.
    pub members: u32,
    /// Readers of each group's offsets.
    pub readers: u32,
}

impl Default for Commits {
    fn default() -> Self {
        Self {
            groups: 1,
            members: 2,
            readers: 1,
        }
    }
}

impl Commits {
    /// The group's name.
    pub(crate) fn group(site: &Site, number: u32) -> String {
        format!("{}-registers-{number}", site.topic)
    }
}

impl Workload for Commits {
    fn name(&self) -> &'static str {
        "commits"
    }

    fn spawn(&self, site: &Site, mut chance: Chance, tasks: &mut Tasks) {
        let clients = self.groups * (self.members + self.readers);
        let pause = Pace::pause(site.pace.calls_per_second, clients);
        for number in 0..self.groups {
            for _ in 0..self.members {
                let (site, group, chance) = (site.clone(), Self::group(site, number), chance.fork());
                tasks.spawn(|stop| write(site, group, chance, pause, stop));
            }
            for _ in 0..self.readers {
                let (site, group, chance) = (site.clone(), Self::group(site, number), chance.fork());
                tasks.spawn(|stop| read(site, group, chance, pause, stop));
            }
        }
    }
}

/// A member that commits, one life after the other.
async fn write(
    site: Site,
    group: String,
    mut chance: Chance,
    pause: Duration,
    mut stop: Stop,
) -> Result<(), WorkloadError> {
    let mut actor = site.recorder.actor();
    while let Some(client) = site.client(&mut stop).await {
        let config = config(&site, &group).with_commit(CommitMode::Manual);
        let mut member = Member::join(&site, &client, &mut actor, config)?;
        for _ in 0..=chance.below(COMMITS_OF_A_LIFE) {
            let (came, _) = member.next(NEWS_WITHIN).await?;
            match came {
                Came::Over => break,
                // Its records are not what matters here.
                Came::Batch(batch) => drop(member.consumer.pause(batch.topic(), batch.partition())),
                Came::Nothing => {}
            }
            let held = member.held();
            let any = usize::try_from(chance.below(held.len() as u64)).unwrap_or(0);
            if let Some(key) = held.get(any) {
                commit(&site, &mut actor, &mut member, key, &mut chance).await?;
            }
            if !stop.pause(chance.around(pause)).await {
                break;
            }
        }
        if !stop.requested() && chance.one_in(CRASH_ONE_IN) {
            member.crash(&site, &mut actor)?;
        } else {
            member.close().await?;
            actor.renew();
        }
        if !stop.pause(chance.around(AWAY).max(AGAIN_AFTER)).await {
            break;
        }
    }
    Ok(())
}

/// Writes down some offset below the end of a partition.
async fn commit(
    site: &Site,
    actor: &mut Actor,
    member: &mut Member,
    key: &Key,
    chance: &mut Chance,
) -> Result<(), WorkloadError> {
    let Some(partition) = site.partition_of(key) else {
        return Ok(());
    };
    let positions = member.consumer.assignment();
    let position = positions.iter().find(|position| position.partition == partition);
    let end = position.and_then(|position| position.high_watermark);
    let offset = Offset::new(chance.below(end.unwrap_or_default().get() + 1));
    let member_epoch = member.tell_epoch()?;
    let id = site.recorder.new_commit();
    let op = Op::Commit(Commit {
        group: member.group.clone(),
        key: key.clone(),
        offset,
        id,
        by: Some(Committer {
            member: member.name(),
            member_epoch,
        }),
        // A member hears late of what it lost: whether a refusal is rightful cannot be said from here.
        fenced: false,
    });
    actor.invoke(op.clone())?;
    let offsets = vec![CommitOffset {
        topic: site.topic.clone(),
        partition,
        next: offset,
        metadata: id.0.to_string(),
    }];
    match member.consumer.commit_sync_at(offsets).await {
        Ok(()) => actor.ok(op)?,
        Err(
            error @ (CommitError::NotAssigned { .. } | CommitError::Refused { .. } | CommitError::Ended(_)),
        ) => {
            tracing::debug!(%error, "a commit was refused");
            actor.fail(op)?
        }
        // The marks are still this member's to tell, as the process that it was.
        Err(_) => actor.info(op)?,
    };
    Ok(())
}

/// Reads what the group has committed, all partitions at once.
async fn read(
    site: Site,
    group: String,
    mut chance: Chance,
    pause: Duration,
    mut stop: Stop,
) -> Result<(), WorkloadError> {
    let Some(client) = site.client(&mut stop).await else {
        return Ok(());
    };
    let mut actors: Vec<Actor> = site.keys().iter().map(|_| site.recorder.actor()).collect();
    while stop.pause(chance.around(pause)).await {
        if read_committed(&site, &client, &group, &mut actors)
            .await?
            .is_err()
        {
            stop.pause(AGAIN_AFTER).await;
        }
    }
    Ok(())
}

/// One read of everything that a group has committed, in so many words for the history: an operation for each partition.
pub(crate) async fn read_committed(
    site: &Site,
    client: &Client,
    group: &str,
    actors: &mut [Actor],
) -> Result<Result<Vec<CommittedOffset>, CallError>, WorkloadError> {
    let named = Group::new(group);
    let ask = |key: &Key| Committed {
        group: named.clone(),
        key: key.clone(),
        found: None,
    };
    for (actor, key) in actors.iter_mut().zip(site.keys()) {
        actor.invoke(Op::Committed(ask(key)))?;
    }
    let answer = client.admin().group_offsets(group).await;
    for (actor, (partition, key)) in actors.iter_mut().zip(site.partitions()) {
        let mut op = ask(key);
        match &answer {
            Ok(offsets) => {
                op.found = found(site, offsets, partition);
                actor.ok(Op::Committed(op))?;
            }
            // A question that was not answered changes nothing.
            Err(_) => drop(actor.fail(Op::Committed(op))?),
        }
    }
    Ok(answer)
}

fn found(site: &Site, offsets: &[CommittedOffset], partition: PartitionId) -> Option<FoundCommit> {
    let is =
        |one: &&CommittedOffset| *one.partition.topic == *site.topic && one.partition.partition == partition;
    let one = offsets.iter().find(is)?;
    Some(FoundCommit {
        offset: one.committed?,
        id: one.metadata.parse().ok().map(CommitId),
    })
}
