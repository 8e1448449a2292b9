//! Links go down and come up again, each at a time of its own.

use super::{Fault, target};
use crate::Result;
use crate::chance::Chance;
use crate::cluster::Cluster;
use quipu_client::BrokerId;

#[derive(Default)]
pub(super) struct Flap {
    /// The links that flap, and whether they are up.
    links: Vec<(BrokerId, bool)>,
}

impl Flap {
    pub(super) const NAME: &str = "flap";
}

impl Fault for Flap {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn begin(&mut self, cluster: &mut Cluster, chance: &mut Chance) -> Result<String> {
        let count = 1 + chance.below(cluster.ids().len());
        let nodes = chance.some(cluster.ids(), count);
        for node in &nodes {
            cluster.network().link(*node, false)?;
            self.links.push((*node, false));
        }
        Ok(format!("links of {}", target::list(&nodes)))
    }

    fn during(&mut self, cluster: &mut Cluster, chance: &mut Chance) -> Result<()> {
        for (node, up) in &mut self.links {
            if chance.below(4) == 0 {
                *up = !*up;
                cluster.network().link(*node, *up)?;
            }
        }
        Ok(())
    }

    fn end(&mut self, cluster: &mut Cluster, _chance: &mut Chance) -> Result<String> {
        cluster.network().heal()?;
        Ok("all links are up".to_owned())
    }
}
