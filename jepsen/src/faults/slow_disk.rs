//! The disks of some nodes are slow: each write and each sync takes longer.

use super::{Effect, Fault, target};
use crate::Result;
use crate::chance::Chance;
use crate::cluster::Cluster;
use quipu_client::BrokerId;

#[derive(Default)]
pub(super) struct SlowDisk {
    nodes: Vec<BrokerId>,
    /// Calls before.
    before: u64,
}

impl SlowDisk {
    pub(super) const NAME: &str = "slow-disk";
}

/// What lossyfs counts, and is slow with.
const SLOW: &[&str] = &["writes", "file_syncs", "dir_syncs"];

fn calls(cluster: &mut Cluster, nodes: &[BrokerId]) -> Result<u64> {
    let mut calls = 0;
    for node in nodes {
        calls += cluster.node(*node)?.volume().lossy()?.counted(SLOW)?;
    }
    Ok(calls)
}

impl Fault for SlowDisk {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn begin(&mut self, cluster: &mut Cluster, chance: &mut Chance) -> Result<String> {
        let (nodes, words) = target::minority(cluster, chance)?;
        let ms = chance.between(5, 150);
        self.before = calls(cluster, &nodes)?;
        for node in &nodes {
            cluster
                .node(*node)?
                .volume()
                .lossy()?
                .say(&format!("slow {ms}"))?;
        }
        self.nodes = nodes;
        Ok(format!("{words}: {ms} ms for each write and sync"))
    }

    fn effect(&mut self, cluster: &mut Cluster) -> Result<Effect> {
        let calls = calls(cluster, &self.nodes)? - self.before;
        Ok(Effect::Counted(calls, "writes and syncs were slow"))
    }

    fn end(&mut self, cluster: &mut Cluster, _chance: &mut Chance) -> Result<String> {
        for node in &self.nodes {
            cluster.node(*node)?.volume().lossy()?.clear()?;
        }
        Ok(format!("{} as before", target::list(&self.nodes)))
    }
}
