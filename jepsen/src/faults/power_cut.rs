//! The power of all machines goes at once: every process is killed, and every disk loses what was not synced, or all but a
//! random part of it.

use super::Fault;
use crate::Result;
use crate::chance::Chance;
use crate::cluster::Cluster;
use crate::disk::Cut;
use std::time::Duration;

#[derive(Default)]
pub(super) struct PowerCut;

impl PowerCut {
    pub(super) const NAME: &str = "power-cut";
}

impl Fault for PowerCut {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn begin(&mut self, cluster: &mut Cluster, chance: &mut Chance) -> Result<String> {
        let order = chance.shuffled(cluster.ids());
        cluster.kill(&order)?;
        let mut words = Vec::new();
        for id in order {
            let how = match chance.flip() {
                true => Cut::Drop,
                false => Cut::Torn(chance.between(0, u64::MAX - 1)),
            };
            let node = cluster.node(id)?;
            node.volume().lossy()?.power_cut(how)?;
            node.restart_machine()?;
            words.push(format!("node {id} {how:?}"));
        }
        Ok(format!("all nodes: {}", words.join(", ")))
    }

    fn end(&mut self, cluster: &mut Cluster, chance: &mut Chance) -> Result<String> {
        let apart = chance.time(Duration::ZERO, Duration::from_millis(300));
        for node in chance.shuffled(cluster.ids()) {
            cluster.spawn(&[node])?;
            std::thread::sleep(apart);
        }
        cluster.start_all()?;
        Ok(format!("all nodes again, {apart:?} apart"))
    }
}
