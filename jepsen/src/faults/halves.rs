//! The cluster falls into two parts, one of them without a majority; clients hear both.

use super::{Effect, Fault, target};
use crate::Result;
use crate::chance::Chance;
use crate::cluster::Cluster;
use crate::network::Grudge;

#[derive(Default)]
pub(super) struct Halves;

impl Halves {
    pub(super) const NAME: &str = "halves";
}

impl Fault for Halves {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn begin(&mut self, cluster: &mut Cluster, chance: &mut Chance) -> Result<String> {
        let nodes = chance.shuffled(cluster.ids());
        let (few, many) = nodes.split_at(cluster.minority());
        cluster.cut(&Grudge::apart(&[few.to_vec(), many.to_vec()]))?;
        Ok(format!("{} | {}", target::list(few), target::list(many)))
    }

    fn effect(&mut self, cluster: &mut Cluster) -> Result<Effect> {
        target::packets(cluster)
    }

    fn end(&mut self, cluster: &mut Cluster, _chance: &mut Chance) -> Result<String> {
        cluster.network().heal()?;
        Ok("all hear each other".to_owned())
    }
}
