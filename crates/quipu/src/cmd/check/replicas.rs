//! What the stopped brokers' disks hold, as `quipu log dump` reads it.

use crate::broker_process::{BrokerSpec, is_configuration};
use crate::output::Failure;
use quipu_checker::{Key, Op};
use quipu_client::{BrokerId, Offset, TopicDescription};
use quipu_storage::{RealDisk, segment_files};
use quipu_workload::replica_ops;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use tokio::process::Command;

/// Every replica of the topic on these brokers' disks. `ends`: where its partitions end.
pub(super) async fn read(
    specs: &[BrokerSpec],
    topic: &TopicDescription,
    ends: &BTreeMap<Key, Offset>,
) -> Result<Vec<Op>, Failure> {
    let topics = std::slice::from_ref(topic);
    let mut ops = Vec::new();
    for spec in specs {
        let broker = spec.broker_id;
        // Its own directory only: another topic may be going, with directories that are no partitions any more.
        let logs = spec.data_dir.join("logs").join(topic.id.to_string());
        let cannot = |what: &dyn std::fmt::Display| {
            Failure::new(format_args!(
                "cannot read the replicas of broker {broker}: {what}"
            ))
        };
        let empty = !logs.is_dir() || segments_in(&logs).map_err(|error| cannot(&error))? == 0;
        let text = if empty {
            String::new()
        } else {
            dump(&logs).await.map_err(|error| cannot(&error))?
        };
        let told = replica_ops(&text, BrokerId::new(broker), topics, ends);
        ops.extend(told.map_err(|error| cannot(&error))?);
    }
    Ok(ops)
}

fn segments_in(logs: &Path) -> Result<usize, String> {
    let disk = RealDisk::existing(logs).map_err(|error| error.to_string())?;
    let files = segment_files(&disk, logs).map_err(|error| error.to_string())?;
    Ok(files.len())
}

async fn dump(logs: &Path) -> Result<String, String> {
    let executable = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(executable);
    command
        .args(["log", "dump", "--headers", "-o", "json"])
        .arg(logs)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_configuration(name)) {
        command.env_remove(name);
    }
    let ran = command.output().await.map_err(|error| error.to_string())?;
    if !ran.status.success() {
        return Err(String::from_utf8_lossy(&ran.stderr).trim().to_owned());
    }
    String::from_utf8(ran.stdout).map_err(|error| error.to_string())
}
