//! Against a cluster that somebody else runs: nothing is broken, and nothing is left behind.

use super::load::{Load, StopEarly, Worked};
use super::plan::Plan;
use super::tell::{Done, say_begin};
use crate::cli::Session;
use crate::output::{Failure, say};
use quipu_client::{Admin, CallError, ErrorCode, NewTopic};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Copies of each partition, if there are as many brokers.
const COPIES: u32 = 3;
/// Members of a group are gone within this time after they were stopped, or hang.
const EMPTY_WITHIN: Duration = Duration::from_secs(15);
const AGAIN_AFTER: Duration = Duration::from_millis(250);

const NOT_EXERCISED: &[&str] = &[
    "faults: nothing was broken (`quipu check --local` kills and pauses brokers of its own)",
    "the brokers' disks: replicas were not compared",
];

/// The topic, as a cluster of so many brokers can bear it.
pub(super) fn topic(brokers: u32) -> NewTopic {
    // The name is the site's. Nothing may be deleted while it is looked at.
    NewTopic::new("")
        .with_replication_factor(brokers.clamp(1, COPIES))
        .with_config("retention.ms", "-1")
}

pub(super) async fn run(plan: &Plan, session: &Session, stop: StopEarly) -> Result<Done, Failure> {
    let client = session.client().await?;
    let admin = client.admin();
    let cluster = admin.cluster().await?;
    let active = cluster.brokers.iter().filter(|broker| !broker.fenced);
    let nodes = u32::try_from(active.clone().count()).unwrap_or(u32::MAX);
    let versions: BTreeSet<&str> = active.map(|broker| broker.version.as_str()).collect();
    let version = versions.into_iter().collect::<Vec<_>>().join(", ");
    say_begin(plan, nodes, session.output())?;

    let exercised = exercise(plan, session, nodes, stop).await;
    if plan.keep {
        say(format_args!("kept: topic {}", plan.topic));
    } else if let Err(failure) = clean_up(&admin, &plan.topic).await {
        // What was found matters more.
        say(format_args!(
            "what begins with {0} could not all be deleted: {failure}\n  next: `quipu topic delete {0}`, and look at \
             `quipu topic list` and `quipu group list`",
            plan.topic
        ));
    }
    let Worked {
        recorder, incomplete, ..
    } = exercised?;
    Ok(Done {
        recorder,
        incomplete,
        incidents: Vec::new(),
        nodes,
        version,
        not_exercised: NOT_EXERCISED.iter().map(ToString::to_string).collect(),
    })
}

async fn exercise(plan: &Plan, session: &Session, brokers: u32, stop: StopEarly) -> Result<Worked, Failure> {
    let load = Load::start(plan, session.client_config(), topic(brokers), stop).await?;
    load.work().await;
    Ok(load.finish().await)
}

/// Deletes everything whose name begins with the topic's: nobody else has names with this number in them.
async fn clean_up(admin: &Admin, prefix: &str) -> Result<(), CallError> {
    let groups = admin.list_groups().await?.groups;
    for group in groups.iter().filter(|group| group.group.starts_with(prefix)) {
        delete_group(admin, &group.group).await?;
    }
    let topics = admin.list_topics(false).await?;
    for topic in topics.iter().filter(|topic| topic.name.starts_with(prefix)) {
        match admin.delete_topic(&topic.name, false).await {
            Err(error) if error.code() != ErrorCode::UnknownTopicOrPartition => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Its members have left; the coordinator may not have heard of it yet.
async fn delete_group(admin: &Admin, group: &str) -> Result<(), CallError> {
    let patience = Instant::now() + EMPTY_WITHIN;
    loop {
        match admin.delete_group(group, false).await {
            Err(error) if error.code() == ErrorCode::UnknownGroup => return Ok(()),
            Err(error) if error.code() == ErrorCode::GroupNotEmpty && Instant::now() < patience => {
                tokio::time::sleep(AGAIN_AFTER).await;
            }
            other => return other,
        }
    }
}
