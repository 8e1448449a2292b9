//! Many small groups that have nothing to do.

use crate::Options;
use crate::support::process::processor_time;
use crate::support::{Broker, PATIENCE, Result, quipu};
use quipu_client::{Client, ClientConfig, GroupConfig, GroupState};
use std::time::{Duration, Instant};

const MEMBERS: usize = 3;
const LIMIT: f64 = 10.0;
/// Several heartbeats of each member.
const WATCHED: Duration = Duration::from_secs(30);

pub(crate) async fn measure(options: &Options) -> Result<()> {
    let broker = Broker::start_with(&options.directory, &[])?;
    quipu(broker.address(), &["topic", "create", "t", "--partitions", "3"])?;
    let client = Client::connect(ClientConfig::new([broker.address()])).await?;
    for group in 0..options.groups {
        for _ in 0..MEMBERS {
            let config = GroupConfig::new(format!("g{group}")).with_topics(["t"]);
            let mut consumer = client.group_consumer(config)?;
            tokio::spawn(async move { while consumer.next().await.is_ok() {} });
        }
    }
    let begun = Instant::now();
    loop {
        let groups = client.admin().list_groups().await?.groups;
        let stable = groups
            .iter()
            .filter(|group| group.state == GroupState::Stable && group.members as usize == MEMBERS);
        let stable = stable.count();
        if stable == options.groups {
            break;
        }
        if begun.elapsed() > PATIENCE * 3 {
            return Err(format!("{stable} of {} groups are stable", options.groups).into());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let took = begun.elapsed().as_secs_f64();
    say!("{} groups are stable after {took:.1} s", options.groups);
    let (before, begun) = (processor_time(broker.pid())?, Instant::now());
    tokio::time::sleep(WATCHED).await;
    let used = processor_time(broker.pid())? - before;
    let share = used / begun.elapsed().as_secs_f64() * 100.0;
    let mark = if share <= LIMIT { "" } else { " (missed)" };
    tell!(
        "| {} groups of {MEMBERS} members at rest on one broker: share of one core | {share:.1}% | {LIMIT}%{mark} |",
        options.groups
    );
    Ok(())
}
