//! The disks of some nodes are slow: each write and each sync takes longer.

use super::{Fault, target};
use crate::Result;
use crate::chance::Chance;
use crate::cluster::Cluster;
use quipu_client::BrokerId;

#[derive(Default)]
pub(super) struct SlowDisk {
    nodes: Vec<BrokerId>,
}

impl SlowDisk {
    pub(super) const NAME: &str = "slow-disk";
}

impl Fault for SlowDisk {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn begin(&mut self, cluster: &mut Cluster, chance: &mut Chance) -> Result<String> {
        let (nodes, words) = target::minority(cluster, chance)?;
        let ms = chance.between(5, 150);
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

    fn end(&mut self, cluster: &mut Cluster, _chance: &mut Chance) -> Result<String> {
        for node in &self.nodes {
            cluster.node(*node)?.volume().lossy()?.clear()?;
        }
        Ok(format!("{} as before", target::list(&self.nodes)))
    }
}
