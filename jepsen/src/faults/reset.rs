//! Connections between nodes are reset, again and again: each attempt is answered by a reset for a while.

use super::{Effect, Fault, target};
use crate::Result;
use crate::chance::Chance;
use crate::cluster::Cluster;
use crate::network::{Grudge, Manner};
use quipu_client::BrokerId;

#[derive(Default)]
pub(super) struct Reset {
    node: Option<BrokerId>,
    on: bool,
}

impl Reset {
    pub(super) const NAME: &str = "reset";

    fn turn(&mut self, cluster: &Cluster, on: bool) -> Result<()> {
        let Some(node) = self.node else { return Ok(()) };
        self.on = on;
        if !on {
            return cluster.network().heal();
        }
        let others = cluster.ids().into_iter().filter(|id| *id != node).collect();
        let grudge = Grudge::apart(&[vec![node], others]).and_clients(&[node]);
        cluster.network().cut(&grudge, Manner::Reset)
    }
}

impl Fault for Reset {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn begin(&mut self, cluster: &mut Cluster, chance: &mut Chance) -> Result<String> {
        let (node, words) = target::one(cluster, chance)?;
        self.node = Some(node);
        self.turn(cluster, true)?;
        Ok(format!("connections of {words} are reset"))
    }

    fn during(&mut self, cluster: &mut Cluster, chance: &mut Chance) -> Result<()> {
        if chance.below(3) == 0 {
            self.turn(cluster, !self.on)?;
        }
        Ok(())
    }

    fn effect(&mut self, cluster: &mut Cluster) -> Result<Effect> {
        target::packets(cluster)
    }

    fn end(&mut self, cluster: &mut Cluster, _chance: &mut Chance) -> Result<String> {
        self.turn(cluster, false)?;
        Ok("no more resets".to_owned())
    }
}
