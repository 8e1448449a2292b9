//! The power of all machines goes at once: every process is killed, and every disk loses what was not synced, or all but a
//! random part of it.

use super::{Effect, Fault};
use crate::Result;
use crate::chance::Chance;
use crate::cluster::Cluster;
use crate::disk::Cut;
use std::time::Duration;

<<<<<<< HEAD
/// What lossyfs counts: sectors that were taken, and changes of names that were or might have been.
const LOST: &[&str] = &["sectors_lost", "names_at_stake"];
=======
/// What each write and sync of a slow disk takes at most, and for how long before the cut.
const SYNC_MS_MOST: u64 = 100;
const SLOW_FOR: Duration = Duration::from_millis(800);
>>>>>>> 7cf7917 (jepsen: a planted bug is found by what it does or not at all)

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
        // Slow disks keep what was written waiting for its sync: then there is something to lose.
        let slow = chance.flip();
        if slow {
            let ms = chance.between(20, SYNC_MS_MOST);
            for id in &order {
                let disk = cluster.node(*id)?.volume().lossy()?;
                disk.say(&format!("slow {ms}"))?;
            }
            std::thread::sleep(SLOW_FOR);
        }
        cluster.kill(&order)?;
        let mut words = Vec::new();
        for id in order {
            let how = match chance.flip() {
                true => Cut::Drop,
                false => Cut::Torn(chance.between(0, u64::MAX - 1)),
            };
            let node = cluster.node(id)?;
<<<<<<< HEAD
            let disk = node.volume().lossy()?;
            let before = disk.counted(LOST)?;
            disk.power_cut(how)?;
            self.lost += disk.counted(LOST)? - before;
=======
            node.volume().lossy()?.clear()?;
            node.volume().lossy()?.power_cut(how)?;
>>>>>>> 7cf7917 (jepsen: a planted bug is found by what it does or not at all)
            node.restart_machine()?;
            words.push(format!("node {id} {how:?}"));
        }
        let disks = if slow { ", with slow disks" } else { "" };
        Ok(format!("all nodes{disks}: {}", words.join(", ")))
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
