//! Two halves that only one node connects.

use super::{Effect, Fault, target};
use crate::Result;
use crate::chance::Chance;
use crate::cluster::Cluster;
use crate::network::Grudge;

#[derive(Default)]
pub(super) struct Bridge;

impl Bridge {
    pub(super) const NAME: &str = "bridge";
}

impl Fault for Bridge {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn begin(&mut self, cluster: &mut Cluster, chance: &mut Chance) -> Result<String> {
        let nodes = chance.shuffled(cluster.ids());
        cluster.cut(&Grudge::bridge(&nodes))?;
        Ok(format!("all over {}", target::list(&nodes[..1])))
    }

    fn effect(&mut self, cluster: &mut Cluster) -> Result<Effect> {
        target::packets(cluster)
    }

    fn end(&mut self, cluster: &mut Cluster, _chance: &mut Chance) -> Result<String> {
        cluster.network().heal()?;
        Ok("all hear each other".to_owned())
    }
}
