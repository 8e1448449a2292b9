//! A node that leads something hears no other node, and sometimes no client.

use super::{Effect, Fault, target};
use crate::Result;
use crate::chance::Chance;
use crate::cluster::Cluster;
use crate::network::Grudge;

#[derive(Default)]
pub(super) struct IsolateLeader;

impl IsolateLeader {
    pub(super) const NAME: &str = "isolate-leader";
}

impl Fault for IsolateLeader {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn begin(&mut self, cluster: &mut Cluster, chance: &mut Chance) -> Result<String> {
        let (node, words) = target::leader(cluster, chance)?;
        let others = cluster.ids().into_iter().filter(|id| *id != node).collect();
        let grudge = Grudge::apart(&[vec![node], others]);
        if chance.below(4) == 0 {
            cluster.cut(&grudge.and_clients(&[node]))?;
            return Ok(format!("{words}, from nodes and clients"));
        }
        cluster.cut(&grudge)?;
        Ok(words)
    }

    fn effect(&mut self, cluster: &mut Cluster) -> Result<Effect> {
        target::packets(cluster)
    }

    fn end(&mut self, cluster: &mut Cluster, _chance: &mut Chance) -> Result<String> {
        cluster.network().heal()?;
        Ok("all hear each other".to_owned())
    }
}
