//! Nobody hears a node that hears everybody, or the other way round.

use super::{Effect, Fault, target};
use crate::Result;
use crate::chance::Chance;
use crate::cluster::Cluster;
use crate::network::Grudge;

#[derive(Default)]
pub(super) struct OneWay;

impl OneWay {
    pub(super) const NAME: &str = "one-way";
}

impl Fault for OneWay {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn begin(&mut self, cluster: &mut Cluster, chance: &mut Chance) -> Result<String> {
        let (node, words) = target::one(cluster, chance)?;
        let others: Vec<_> = cluster.ids().into_iter().filter(|id| *id != node).collect();
        if chance.flip() {
            cluster.cut(&Grudge::one_way(&[node], &others))?;
            return Ok(format!("no node hears {words}"));
        }
        cluster.cut(&Grudge::one_way(&others, &[node]))?;
        Ok(format!("{words} hears no other node"))
    }

    fn effect(&mut self, cluster: &mut Cluster) -> Result<Effect> {
        target::packets(cluster)
    }

    fn end(&mut self, cluster: &mut Cluster, _chance: &mut Chance) -> Result<String> {
        cluster.network().heal()?;
        Ok("all hear each other".to_owned())
    }
}
