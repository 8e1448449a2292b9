//! A cluster at rest: what it takes to make many partitions, and what they cost when nothing happens.

use crate::Options;
use crate::support::cluster::Cluster;
use crate::support::process::processor_time;
use crate::support::{PATIENCE, Result, quipu, run};
use std::time::{Duration, Instant};

const TOPIC_PARTITIONS: u32 = 1000;
const CREATE_LIMIT: f64 = 2.0;
const IDLE_LIMIT: f64 = 3.0;
/// Long enough that a tick of the clock, 10 ms, does not show.
const WATCHED: Duration = Duration::from_secs(20);

pub(crate) fn measure(options: &Options) -> Result<()> {
    let cluster = Cluster::start(3, &options.disk, &[])?;
    let addresses = cluster.addresses();
    let mut slowest = Duration::ZERO;
    for topic in 0..options.partitions.div_ceil(TOPIC_PARTITIONS) {
        let (name, count) = (format!("t{topic}"), TOPIC_PARTITIONS.to_string());
        let begun = Instant::now();
        quipu(&addresses, &["topic", "create", &name, "--partitions", &count])?;
        slowest = slowest.max(begun.elapsed());
    }
    until_healthy(&addresses)?;
    let before = times(&cluster)?;
    let begun = Instant::now();
    std::thread::sleep(WATCHED);
    let after = times(&cluster)?;
    let watched = begun.elapsed().as_secs_f64();

    tell!("| measured | figure | at most |\n|---|---:|---:|");
    let took = slowest.as_secs_f64();
    let mark = if took <= CREATE_LIMIT { "" } else { " (missed)" };
    tell!(
        "| creating 1,000 partitions of three replicas, slowest of {} | {took:.2} s | {CREATE_LIMIT} s{mark} |",
        options.partitions.div_ceil(TOPIC_PARTITIONS)
    );
    for (id, (before, after)) in before.into_iter().zip(after).enumerate() {
        let share = (after - before) / watched * 100.0;
        let mark = if share <= IDLE_LIMIT { "" } else { " (missed)" };
        tell!(
            "| broker {}, {} idle partitions of three replicas: share of one core | {share:.1}% | {IDLE_LIMIT}%{mark} |",
            id + 1,
            options.partitions
        );
    }
    Ok(())
}

/// Waits until every replica is in sync.
fn until_healthy(addresses: &str) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let ran = run(addresses, &["cluster", "check"], b"")?;
        if ran.code == Some(0) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!(
                "the cluster does not become healthy:\n{}{}",
                ran.stdout, ran.stderr
            )
            .into());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Processor time of each broker so far, in seconds.
fn times(cluster: &Cluster) -> Result<Vec<f64>> {
    cluster
        .brokers()
        .map(|(_, broker)| processor_time(broker.pid()))
        .collect()
}
