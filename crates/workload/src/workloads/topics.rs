//! Topics: created and deleted, and asked for, by clients that share a few names.

use super::Workload;
use crate::chance::Chance;
use crate::error::WorkloadError;
use crate::recorder::Actor;
use crate::site::{AGAIN_AFTER, Pace, Site};
use crate::tasks::{Stop, Tasks};
use quipu_checker::{MetadataRead, MetadataWrite, Op, Topic};
use quipu_client::{CallError, Client, MetadataVersion, NewTopic};
use std::time::Duration;

/// Names that clients contend for.
const NAMES: u64 = 4;
/// Of so many operations one is a change, the others ask.
const CHANGE_ONE_IN: u64 = 4;
const PARTITIONS_MOST: u64 = 3;
/// Of all calls a second, so many are this workload's at most: a topic is dear.
const SHARE: u32 = 4;

/// Topics: created, deleted and asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Topics {
    /// Clients, each of which does both.
    pub clients: u32,
}

impl Default for Topics {
    fn default() -> Self {
        Self { clients: 2 }
    }
}

impl Workload for Topics {
    fn name(&self) -> &'static str {
        "topics"
    }

    fn spawn(&self, site: &Site, mut chance: Chance, tasks: &mut Tasks) {
        let pause = Pace::pause(site.pace.calls_per_second.div_ceil(SHARE), self.clients);
        for _ in 0..self.clients {
            let (site, chance) = (site.clone(), chance.fork());
            tasks.spawn(|stop| work(site, chance, pause, stop));
        }
    }
}

fn prefix(site: &Site) -> String {
    format!("{}-made-", site.topic)
}

async fn work(site: Site, mut chance: Chance, pause: Duration, mut stop: Stop) -> Result<(), WorkloadError> {
    // A client of its own for all its life: what it has seen once it does not unsee.
    let Some(client) = site.client(&mut stop).await else {
        return Ok(());
    };
    let mut actor = site.recorder.actor();
    while stop.pause(chance.around(pause)).await {
        let went_well = if chance.one_in(CHANGE_ONE_IN) {
            change(&site, &client, &mut actor, &mut chance).await?
        } else {
            ask(&site, &client, &mut actor).await?
        };
        if !went_well {
            stop.pause(AGAIN_AFTER).await;
        }
    }
    Ok(())
}

/// Creates or deletes one. Whether the cluster answered.
async fn change(
    site: &Site,
    client: &Client,
    actor: &mut Actor,
    chance: &mut Chance,
) -> Result<bool, WorkloadError> {
    let name = format!("{}{}", prefix(site), chance.below(NAMES));
    let delete = chance.one_in(2);
    let partitions = u32::try_from(1 + chance.below(PARTITIONS_MOST)).unwrap_or(1);
    let mut op = MetadataWrite {
        topic: Topic::new(&name),
        partitions: (!delete).then_some(partitions),
        version: None,
    };
    actor.invoke(Op::MetadataWrite(op.clone()))?;
    let admin = client.admin();
    let answer: Result<MetadataVersion, CallError> = if delete {
        admin.delete_topic(&name, false).await
    } else {
        let topic = NewTopic::new(&name).with_partitions(partitions);
        admin
            .create_topic(topic)
            .await
            .map(|created| created.metadata_version)
    };
    match answer {
        Ok(version) => {
            op.version = Some(version);
            actor.ok(Op::MetadataWrite(op))?;
            Ok(true)
        }
        Err(CallError::Rejected(_)) => {
            actor.fail(Op::MetadataWrite(op))?;
            Ok(true)
        }
        Err(CallError::Unreachable { .. }) => {
            actor.fail(Op::MetadataWrite(op))?;
            Ok(false)
        }
        Err(_) => {
            actor.info(Op::MetadataWrite(op))?;
            Ok(false)
        }
    }
}

/// Asks for all topics. Whether the cluster answered.
async fn ask(site: &Site, client: &Client, actor: &mut Actor) -> Result<bool, WorkloadError> {
    actor.invoke(Op::MetadataRead(MetadataRead::default()))?;
    let Ok(answer) = client.admin().routing(Vec::new()).await else {
        actor.fail(Op::MetadataRead(MetadataRead::default()))?;
        return Ok(false);
    };
    let prefix = prefix(site);
    let topics = answer
        .topics
        .iter()
        .filter(|topic| topic.name.starts_with(&prefix) && topic.id.is_some())
        .map(|topic| {
            let partitions = u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX);
            (Topic::new(&topic.name), partitions)
        });
    let read = MetadataRead {
        linearizable: false,
        version: Some(answer.metadata_version),
        topics: topics.collect(),
    };
    actor.ok(Op::MetadataRead(read))?;
    Ok(true)
}
