//! A minority of the nodes is killed (SIGKILL), and started again.

use super::{Fault, target};
use crate::Result;
use crate::chance::Chance;
use crate::cluster::Cluster;
use quipu_client::BrokerId;

#[derive(Default)]
pub(super) struct Kill {
    nodes: Vec<BrokerId>,
}

impl Kill {
    pub(super) const NAME: &str = "kill";
}

impl Fault for Kill {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn begin(&mut self, cluster: &mut Cluster, chance: &mut Chance) -> Result<String> {
        let (nodes, words) = target::minority(cluster, chance)?;
        cluster.kill(&nodes)?;
        self.nodes = nodes;
        Ok(words)
    }

    fn end(&mut self, cluster: &mut Cluster, _chance: &mut Chance) -> Result<String> {
        cluster.spawn(&self.nodes)?;
        cluster.until_ready(&self.nodes)?;
        Ok(format!("{} again", target::list(&self.nodes)))
    }
}
