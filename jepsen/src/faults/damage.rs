//! Files of one replica that are damaged while its node is down, and what has to come of it: whoever reads finds it, is given
//! nothing wrong, and the replica is copied anew from a peer.
//!
//! One replica at a time: the next one may be damaged only once this one is whole.

use crate::chance::Chance;
use crate::cluster::{Cluster, PATIENCE};
use crate::load::TOPIC;
use crate::{Result, shell};
use quipu_client::{BrokerId, PartitionDescription, PartitionId};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A replica of which something was damaged.
pub(super) struct Damaged {
    pub(super) node: BrokerId,
    pub(super) partition: PartitionId,
}

fn partitions(cluster: &Cluster) -> Result<Vec<PartitionDescription>> {
    let topic = cluster.ask(|admin| async move { admin.get_topic(TOPIC).await })?;
    Ok(topic.partitions)
}

fn leader(cluster: &Cluster, partition: PartitionId) -> Option<BrokerId> {
    let found = partitions(cluster).ok()?;
    found
        .into_iter()
        .find(|found| found.partition == partition)?
        .leader
}

/// The segments of a partition, wherever its topic's directory is; those with something in them.
fn segments(data_dir: &Path, partition: PartitionId) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for topic in std::fs::read_dir(data_dir.join("logs"))? {
        let Ok(files) = std::fs::read_dir(topic?.path().join(partition.to_string())) else {
            continue;
        };
        for file in files {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "log") && path.metadata()?.len() > 0 {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Kills the leader of some partition and lets `change` damage a segment of that partition there: what it said, and where.
pub(super) fn begin(
    cluster: &mut Cluster,
    chance: &mut Chance,
    change: impl FnOnce(&Path, &mut Chance) -> Result<String>,
) -> Result<(Damaged, String)> {
    if !cluster.until_in_sync(PATIENCE)? {
        cluster.incident(format!("replicas are not in sync within {PATIENCE:?}"));
    }
    let (partition, node) = preferred(cluster, chance)?;
    cluster.kill(&[node])?;
    let segments = chance.shuffled(segments(cluster.node(node)?.data_dir(), partition)?);
    let segment = segments.first().ok_or("nothing was written yet")?;
    let what = change(segment, chance)?;
    let name = segment.file_name().unwrap_or_default().display();
    let told = format!("node {node}, {TOPIC}/{partition}, {name}: {what}");
    Ok((Damaged { node, partition }, told))
}

/// A partition that the first of its replicas leads: that one is given the lead again, and so reads all that is damaged.
fn preferred(cluster: &Cluster, chance: &mut Chance) -> Result<(PartitionId, BrokerId)> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = chance.shuffled(partitions(cluster)?);
        let led = found.iter().find_map(|found| {
            let leader = found.leader?;
            (found.replicas.first() == Some(&leader)).then_some((found.partition, leader))
        });
        match led {
            Some(led) => return Ok(led),
            None if Instant::now() > deadline => {
                return Err("no partition is led by the first of its replicas".into());
            }
            None => std::thread::sleep(LOOK_EVERY),
        }
    }
}

/// Times that leadership is moved so that the node leads again.
const HANDED_MAX: u32 = 4;

/// Starts the node, lets it lead the partition again, and reads that to the end until nobody is told of damage.
pub(super) fn heal(cluster: &mut Cluster, damaged: &Damaged) -> Result<String> {
    let Damaged { node, partition } = *damaged;
    cluster.spawn(&[node])?;
    cluster.until_ready(&[node])?;
    let begun = Instant::now();
    let (mut refused, mut handed) = (0, 0);
    loop {
        let patience = cluster.patience();
        if begun.elapsed() > patience {
            return Err(
                format!("{TOPIC}/{partition} of node {node} is not whole within {patience:?}").into(),
            );
        }
        if !cluster.until_in_sync(PATIENCE)? {
            cluster.incident(format!(
                "replicas are not in sync within {PATIENCE:?} of damage to node {node}"
            ));
        }
        match leader(cluster, partition) {
            // The other two hand it to each other: what the node holds is compared when the run has ended.
            Some(_) if handed == HANDED_MAX => {
                return Ok(format!("node {node} is in sync again, and did not come to lead"));
            }
            Some(leader) if leader != node => {
                // It hands over to the next in the list of replicas, and mostly in the end to this one.
                handed += 1;
                cluster.terminate(&[leader])?;
                cluster.spawn(&[leader])?;
                cluster.until_ready(&[leader])?;
            }
            Some(_) if read_all(cluster, partition).is_err() => refused += 1,
            Some(_) if leader(cluster, partition) == Some(node) => break,
            _ => {}
        }
    }
    let took = begun.elapsed().as_secs_f64();
    Ok(format!(
        "node {node} read it to the end after {took:.1} s, {refused} readings were refused"
    ))
}

fn read_all(cluster: &Cluster, partition: PartitionId) -> Result<()> {
    let quipu = cluster.quipu().display().to_string();
    let addresses = cluster.addresses().join(",");
    let partition = partition.to_string();
    let args = [
        "consume",
        TOPIC,
        "--bootstrap",
        &addresses,
        "--partition",
        &partition,
        "--exit-at-end",
    ];
    shell::run(&quipu, &args).map(drop)
}
