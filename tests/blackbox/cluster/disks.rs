//! A disk that is lost is not trusted, and mended from the others.

use super::{ACKED_BETWEEN, Bed, member};
use crate::support::{PATIENCE, Result, quipu, run};
use serde_json::Value;
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
