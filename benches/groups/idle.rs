//! Many small groups that have nothing to do.

use crate::Options;
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

/// User and system time of a process (proc(5), fields 14 and 15), in seconds.
pub(crate) fn processor_time(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit(')').next().ok_or("no name in stat")?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let mut ticks = || -> Result<f64> { Ok(fields.next().ok_or("too few fields in stat")?.parse()?) };
    let all = ticks()? + ticks()?;
    Ok(all / rustix::param::clock_ticks_per_second() as f64)
}
