//! Pause, kill and partition at once: a node is killed while another stands still, and the rest is cut in two; they come
//! back in any order.

use super::{Effect, Fault, target};
use crate::Result;
use crate::chance::Chance;
use crate::cluster::Cluster;
use crate::network::Grudge;

#[derive(Default)]
pub(super) struct Storm {
    told: Vec<String>,
}

impl Storm {
    pub(super) const NAME: &str = "storm";
}

impl Fault for Storm {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn begin(&mut self, cluster: &mut Cluster, chance: &mut Chance) -> Result<String> {
        let nodes = chance.shuffled(cluster.ids());
        let (few, many) = nodes.split_at(cluster.minority());
        cluster.cut(&Grudge::apart(&[few.to_vec(), many.to_vec()]))?;
        cluster.pause(&nodes[1..2])?;
        cluster.kill(&nodes[2..3])?;
        Ok(format!(
            "{} | {}, {} paused, {} killed",
            target::list(few),
            target::list(many),
            target::list(&nodes[1..2]),
            target::list(&nodes[2..3])
        ))
    }

    fn during(&mut self, cluster: &mut Cluster, chance: &mut Chance) -> Result<()> {
        let Some(node) = chance.pick(&cluster.ids()) else {
            return Ok(());
        };
        match chance.below(10) {
            0 => cluster.pause(&[node])?,
            1 => cluster.resume(&[node])?,
            2 => cluster.kill(&[node])?,
            3 | 4 => cluster.spawn(&[node])?,
            5 => cluster.network().heal()?,
            6 => cluster.cut(&Grudge::ring(&chance.shuffled(cluster.ids())))?,
            _ => return Ok(()),
        }
        self.told.push(node.to_string());
        Ok(())
    }

    fn effect(&mut self, cluster: &mut Cluster) -> Result<Effect> {
        target::packets(cluster)
    }

    fn end(&mut self, cluster: &mut Cluster, chance: &mut Chance) -> Result<String> {
        // Healed in any order.
        for step in chance.shuffled(vec![0, 1, 2]) {
            let ids = cluster.ids();
            match step {
                0 => cluster.network().heal()?,
                1 => cluster.resume(&ids)?,
                _ => cluster.spawn(&ids)?,
            }
        }
        cluster.heal()?;
        Ok(format!("all over, after {} more turns", self.told.len()))
    }
}
