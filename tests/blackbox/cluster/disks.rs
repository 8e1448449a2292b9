//! A disk that is lost, and one that lies: neither is trusted, and both are mended from the others.

use super::{ACKED_BETWEEN, Bed, SHAPE, member};
use crate::support::{PATIENCE, Result, quipu, run};
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

/// The largest segment file of all partitions below a directory of logs.
fn largest_segment(logs: &Path) -> Result<PathBuf> {
    let mut largest: Option<(u64, PathBuf)> = None;
    let mut unread = vec![logs.to_owned()];
    while let Some(directory) = unread.pop() {
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let (path, about) = (entry.path(), entry.metadata()?);
            if about.is_dir() {
                unread.push(path);
            } else if path.extension().is_some_and(|extension| extension == "log")
                && largest.as_ref().is_none_or(|(size, _)| about.len() > *size)
            {
                largest = Some((about.len(), path));
            }
        }
    }
    Ok(largest.ok_or("no segment")?.1)
}

#[test]
fn a_flipped_bit_heals_from_a_peer() -> Result<()> {
    let mut bed = Bed::combined()?;
    bed.load()?.until_in_flight(5 * ACKED_BETWEEN)?;
    let id = member(bed.partitions()?[0].leader.ok_or("no leader")?);
    bed.recorder()?
        .fault(format!("kill of broker {id}, and a bit of it flips"))?;
    bed.cluster.kill(id)?;
    let data = bed.cluster.home(id)?.data_dir();
    let segment = largest_segment(&data.join("logs"))?;
    // In the body of the first batch: acknowledged long ago, whatever the end of the file is.
    let mut bytes = std::fs::read(&segment)?;
    bytes[100] ^= 4;
    std::fs::write(&segment, &bytes)?;
    bed.load()?.until_in_flight(ACKED_BETWEEN)?;
    bed.cluster.restart(id)?;
    bed.until_in_sync()?;
    // Until something reads those bytes nobody knows. The log is read as a whole where it lies now.
    for partition in 0..SHAPE.partitions {
        let partition = partition.to_string();
        let args = ["consume", "t", "--partition", &partition, "--exit-at-end"];
        let ran = run(&bed.addresses, &args, b"")?;
        assert!(
            ran.code == Some(0) || ran.stderr.contains("corrupt"),
            "{}",
            ran.stderr
        );
    }
    bed.until_in_sync()?;
    bed.cluster.terminate(id)?;
    let directory = data.display().to_string();
    let verified = run("", &["log", "verify", &directory], b"")?;
    println!(
        "log verify: {}",
        verified.stdout.lines().last().unwrap_or_default()
    );
    let healed = verified.code == Some(0);
    bed.cluster.restart(id)?;
    bed.verdict()?;
    assert!(healed, "{}", verified.stdout);
    Ok(())
}
