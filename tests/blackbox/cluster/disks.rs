//! A disk that is lost, and one that lies: neither is trusted, and both are mended from the others.

use super::{ACKED_BETWEEN, Bed, TOPIC, member};
use crate::support::{PATIENCE, Result, quipu, run};
use quipu_client::PartitionId;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The controllers, as `quipu controller status` tells them.
fn controllers(addresses: &str) -> Result<Vec<Value>> {
    let told: Value = serde_json::from_str(&quipu(addresses, &["controller", "status", "-o", "json"])?)?;
    Ok(told["controllers"].as_array().cloned().unwrap_or_default())
}

#[test]
fn a_wiped_broker_is_not_trusted_until_it_has_caught_up() -> Result<()> {
    let mut bed = Bed::combined()?;
    bed.load()?.until_in_flight(ACKED_BETWEEN)?;
    let leader = bed.partitions()?[0].leader.ok_or("no leader")?;
    let id = member(leader);
    let address = bed.cluster.broker(id)?.internal().to_owned();
    let dead = controllers(&bed.addresses)?
        .iter()
        .find(|controller| controller["address"] == *address)
        .and_then(|controller| controller["controller_id"].as_str().map(str::to_owned))
        .ok_or("its controller is not known")?;
    bed.recorder()?
        .fault(format!("kill of broker {id}, and its directory is gone"))?;
    bed.cluster.kill(id)?;
    std::fs::remove_dir_all(bed.cluster.home(id)?.data_dir())?;
    bed.until("it leads nothing and is in sync nowhere", |partitions| {
        partitions
            .iter()
            .all(|p| p.leader.is_some_and(|now| now != leader) && !p.in_sync_replicas.contains(&leader))
    })?;
    // It comes back as another controller, which is let in by a person's word only.
    let addresses = bed.addresses.clone();
    let joining = std::thread::spawn(move || {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let args = ["controller", "replace", "--dead", &dead, &address];
            let ran = run(&addresses, &args, b"").map_err(|error| error.to_string())?;
            if ran.code == Some(0) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(ran.stderr);
            }
            std::thread::sleep(super::LOOK_EVERY);
        }
    });
    bed.cluster.restart(id)?;
    joining.join().map_err(|_| "the joining panicked")??;
    bed.until_in_sync()?;
    bed.load()?.until_in_flight(ACKED_BETWEEN)?;
    let voters = controllers(&bed.addresses)?;
    assert_eq!(
        voters.iter().filter(|voter| voter["voter"] == true).count(),
        3,
        "{voters:?}"
    );
    bed.verdict()?;
    Ok(())
}

/// The first segment of a partition, wherever its topic's directory is.
fn first_segment(logs: &Path, partition: PartitionId) -> Result<PathBuf> {
    for topic in std::fs::read_dir(logs)? {
        let segment = topic?
            .path()
            .join(partition.to_string())
            .join("00000000000000000000.log");
        if segment.exists() {
            return Ok(segment);
        }
    }
    Err(format!("partition {partition} has no segment in {}", logs.display()).into())
}

/// The damage is found by whoever reads it: here a client, once the broker leads that partition again.
#[test]
fn a_flipped_bit_heals_from_a_peer() -> Result<()> {
    let mut bed = Bed::combined()?;
    bed.load()?.until_in_flight(5 * ACKED_BETWEEN)?;
    // It gets back what it prefers to lead.
    let partitions = bed.partitions()?;
    let led = partitions
        .iter()
        .find(|partition| partition.leader == partition.replicas.first().copied());
    let led = led.ok_or("nobody leads what it prefers")?;
    let (partition, broker) = (led.partition, led.replicas[0]);
    let id = member(broker);
    bed.recorder()?.fault(format!(
        "kill of broker {id}, and a bit of partition {partition} flips"
    ))?;
    bed.cluster.kill(id)?;
    let data = bed.cluster.home(id)?.data_dir();
    let segment = first_segment(&data.join("logs"), partition)?;
    // In the body of the first batch, acknowledged long ago.
    let mut bytes = std::fs::read(&segment)?;
    bytes[70] ^= 4;
    std::fs::write(&segment, &bytes)?;
    bed.load()?.until_in_flight(ACKED_BETWEEN)?;
    bed.cluster.restart(id)?;
    bed.until("it leads the partition again", |partitions| {
        partitions[partition.get() as usize].leader == Some(broker)
    })?;
    let of_it = partition.to_string();
    let args = ["consume", TOPIC, "--partition", &of_it, "--exit-at-end"];
    let deadline = Instant::now() + PATIENCE;
    // Whoever comes upon it is told so, and is given nothing wrong; then others lead.
    while run(&bed.addresses, &args, b"")?.code != Some(0) {
        assert!(Instant::now() < deadline, "it does not heal");
    }
    bed.until_in_sync()?;
    bed.cluster.terminate(id)?;
    let verified = run("", &["log", "verify", &data.display().to_string()], b"")?;
    assert_eq!(verified.code, Some(0), "{}{}", verified.stdout, verified.stderr);
    bed.cluster.restart(id)?;
    bed.verdict()?;
    Ok(())
}
