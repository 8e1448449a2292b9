//! Planned restarts cost no error, and the end of everybody at once costs nothing acknowledged.

use super::{ACKED_BETWEEN, Bed, SHAPE, longest_gap};
use crate::support::{Result, signal};
use quipu_client::PartitionId;
use std::time::{Duration, Instant};

/// The longest time in which some partition acknowledged nothing, since then.
fn longest_pause(bed: &Bed, since: Instant) -> Result<Duration> {
    let recorder = bed.recorder()?;
    let (since, until) = (recorder.time_of(since), recorder.now());
    let mut longest = Duration::ZERO;
    for partition in (0..SHAPE.partitions).map(PartitionId::new) {
        longest = longest.max(longest_gap(&bed.acks_of(partition)?, since, until));
    }
    Ok(longest)
}

#[test]
fn a_rolling_restart_lets_no_error_through() -> Result<()> {
    let mut bed = Bed::combined()?;
    bed.load()?.until_in_flight(ACKED_BETWEEN)?;
    let begun = Instant::now();
    for id in 1..=bed.cluster.len() {
        let stopped = Instant::now();
        bed.recorder()?.fault(format!("SIGTERM to broker {id}"))?;
        bed.cluster.terminate(id)?;
        let down = stopped.elapsed();
        bed.cluster.restart(id)?;
        bed.until_in_sync()?;
        bed.load()?.until_in_flight(ACKED_BETWEEN)?;
        println!(
            "broker {id}: ended after {:.3} s; the longest pause of a partition {:.3} s",
            down.as_secs_f64(),
            longest_pause(&bed, stopped)?.as_secs_f64()
        );
    }
    let longest = longest_pause(&bed, begun)?;
    let verdict = bed.verdict()?;
    assert_eq!((verdict.counts.fail, verdict.counts.info), (0, 0), "{verdict}");
    println!(
        "rolling restart: the longest pause of any partition was {:.3} s",
        longest.as_secs_f64()
    );
    Ok(())
}

#[test]
fn all_killed_at_once_keep_every_acknowledgement() -> Result<()> {
    let mut bed = Bed::combined()?;
    bed.load()?.until_in_flight(10 * ACKED_BETWEEN)?;
    bed.recorder()?.fault("kill of all brokers")?;
    let pids: Vec<u32> = bed.cluster.brokers().map(|(_, broker)| broker.pid()).collect();
    for pid in pids {
        signal(pid, rustix::process::Signal::KILL)?;
    }
    let killed = Instant::now();
    for id in 1..=bed.cluster.len() {
        bed.cluster.kill(id)?;
    }
    bed.cluster.start_all()?;
    bed.until_in_sync()?;
    bed.load()?.until_in_flight(ACKED_BETWEEN)?;
    println!(
        "all killed: acknowledging again after {:.3} s",
        killed.elapsed().as_secs_f64()
    );
    let verdict = bed.verdict()?;
    assert_eq!(verdict.counts.faults, 1);
    Ok(())
}
