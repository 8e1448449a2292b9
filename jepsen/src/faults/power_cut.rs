//! The power of all machines goes at once: every process is killed, and every disk loses what was not synced, or all but a
//! random part of it.

use super::{Effect, Fault};
use crate::Result;
use crate::chance::Chance;
use crate::cluster::Cluster;
use crate::disk::Cut;
use std::time::Duration;

/// What lossyfs counts: sectors that were taken, and changes of names that were or might have been.
const LOST: &[&str] = &["sectors_lost", "names_at_stake"];

#[derive(Default)]
pub(super) struct PowerCut {
    lost: u64,
}

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
            let disk = node.volume().lossy()?;
            let before = disk.counted(LOST)?;
            disk.power_cut(how)?;
            self.lost += disk.counted(LOST)? - before;
            node.restart_machine()?;
            words.push(format!("node {id} {how:?}"));
        }
        Ok(format!("all nodes: {}", words.join(", ")))
    }

    fn effect(&mut self, _cluster: &mut Cluster) -> Result<Effect> {
        Ok(Effect::Counted(self.lost, "sectors and names at stake"))
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
