//! The power of all machines goes at once, in the middle of work: disks were slow, so much of what was written waits for its
//! sync; and they are gone before any process is.

use super::Fault;
use crate::Result;
use crate::chance::Chance;
use crate::cluster::Cluster;
use crate::disk::Cut;
use std::time::Duration;

/// What each write and sync takes, and for how long before the cut.
const SYNC_MS: (u64, u64) = (20, 100);
const SLOW_FOR: Duration = Duration::from_millis(800);

#[derive(Default)]
pub(super) struct BusyCut;

impl BusyCut {
    pub(super) const NAME: &str = "busy-cut";
}

impl Fault for BusyCut {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn begin(&mut self, cluster: &mut Cluster, chance: &mut Chance) -> Result<String> {
        let order = chance.shuffled(cluster.ids());
        let ms = chance.between(SYNC_MS.0, SYNC_MS.1);
        for id in &order {
            let disk = cluster.node(*id)?.volume().lossy()?;
            disk.say(&format!("slow {ms}"))?;
        }
        std::thread::sleep(SLOW_FOR);
        for id in &order {
            let disk = cluster.node(*id)?.volume().lossy()?;
            disk.power_off(Cut::Drop)?;
        }
        cluster.kill(&order)?;
        for id in order {
            let node = cluster.node(id)?;
            node.volume().lossy()?.power_on()?;
            node.restart_machine()?;
        }
        Ok(format!("all nodes, at {ms} ms for each write and sync"))
    }

    fn end(&mut self, cluster: &mut Cluster, _chance: &mut Chance) -> Result<String> {
        cluster.start_all()?;
        Ok("all nodes again".to_owned())
    }
}
