//! A minority of the nodes stands still (SIGSTOP), or all of them do, and goes on as if nothing had been.

use super::{Fault, target};
use crate::Result;
use crate::chance::Chance;
use crate::cluster::Cluster;
use quipu_client::BrokerId;

#[derive(Default)]
pub(super) struct Pause {
    nodes: Vec<BrokerId>,
}

impl Pause {
    pub(super) const NAME: &str = "pause";
}

impl Fault for Pause {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn begin(&mut self, cluster: &mut Cluster, chance: &mut Chance) -> Result<String> {
        let (nodes, words) = if chance.below(6) == 0 {
            (cluster.ids(), "all nodes".to_owned())
        } else {
            target::minority(cluster, chance)?
        };
        cluster.pause(&nodes)?;
        self.nodes = nodes;
        Ok(words)
    }

    fn end(&mut self, cluster: &mut Cluster, _chance: &mut Chance) -> Result<String> {
        cluster.resume(&self.nodes)?;
        Ok(format!("{} again", target::list(&self.nodes)))
    }
}
