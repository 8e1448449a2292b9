//! Every node hears a majority, and no two hear the same one.

use super::{Effect, Fault, target};
use crate::Result;
use crate::chance::Chance;
use crate::cluster::Cluster;
use crate::network::Grudge;

#[derive(Default)]
pub(super) struct Ring;

impl Ring {
    pub(super) const NAME: &str = "majority-ring";
}

impl Fault for Ring {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn begin(&mut self, cluster: &mut Cluster, chance: &mut Chance) -> Result<String> {
        let nodes = chance.shuffled(cluster.ids());
        cluster.cut(&Grudge::ring(&nodes))?;
        let order: Vec<String> = nodes.iter().map(ToString::to_string).collect();
        Ok(format!("in the order {}", order.join(" ")))
    }

    fn effect(&mut self, cluster: &mut Cluster) -> Result<Effect> {
        target::packets(cluster)
    }

    fn end(&mut self, cluster: &mut Cluster, _chance: &mut Chance) -> Result<String> {
        cluster.network().heal()?;
        Ok("all hear each other".to_owned())
    }
}
