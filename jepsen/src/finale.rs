//! The end: nodes are stopped, and what they hold is read from their disks.

use crate::cluster::Cluster;
use crate::load::{Load, TOPIC};
use crate::{Result, shell};
use quipu_client::BrokerId;
use quipu_workload::{Polled, replica_ops};

/// Words in a node's log that mean a bug.
const PANIC: &str = "panicked at";

/// Stops all nodes and writes down what each replica holds.
pub(crate) fn stop_and_dump(cluster: &mut Cluster, load: &Load, polled: &Polled) -> Result<()> {
    let topic = cluster.ask(|admin| async move { admin.get_topic(TOPIC).await })?;
    let topics = [topic];
    let ids = cluster.ids();
    cluster.terminate(&ids)?;
    for id in ids {
        look_for_panics(cluster, id)?;
        let quipu = cluster.quipu().display().to_string();
        let data = cluster.node(id)?.data_dir().display().to_string();
        if let Err(error) = shell::run(&quipu, &["log", "verify", &data]) {
            cluster.incident(format!("node {id}: {error}"));
        }
        let logs = format!("{data}/logs");
        let dumped = match shell::run(&quipu, &["log", "dump", &logs, "--headers", "-o", "json"]) {
            Ok(dumped) => dumped,
            // Then there is nothing to compare with the other nodes.
            Err(error) => {
                cluster.incident(format!("node {id}: {error}"));
                continue;
            }
        };
        for op in replica_ops(&dumped, id, &topics, &polled.ends)? {
            load.recorder.tell(op)?;
        }
    }
    Ok(())
}

fn look_for_panics(cluster: &mut Cluster, id: BrokerId) -> Result<()> {
    let logged = std::fs::read(cluster.node(id)?.log())?;
    let logged = String::from_utf8_lossy(&logged);
    if let Some(line) = logged.lines().find(|line| line.contains(PANIC)) {
        cluster.incident(format!("node {id}: {line}"));
    }
    Ok(())
}
