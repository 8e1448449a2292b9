//! A sync of a node's disk fails. What it was for is lost, and the next sync would say yes: the node must end at once, and
//! be right again after a start on the same disk.

use super::{Effect, Fault, target};
use crate::Result;
use crate::chance::Chance;
use crate::cluster::Cluster;
use crate::disk::{Cut, Flush};
use quipu_client::BrokerId;
use std::time::{Duration, Instant};

/// A node that is written to flushes all the time.
const ENDS_WITHIN: Duration = Duration::from_secs(20);
/// What lossyfs counts.
const FAILED: &[&str] = &["failed_syncs"];
const LOOK_EVERY: Duration = Duration::from_millis(10);

#[derive(Default)]
pub(super) struct FailingFsync {
    node: Option<BrokerId>,
    /// Syncs that had failed before.
    before: u64,
}

impl FailingFsync {
    pub(super) const NAME: &str = "failing-fsync";
}

impl Fault for FailingFsync {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn begin(&mut self, cluster: &mut Cluster, chance: &mut Chance) -> Result<String> {
        let (id, words) = target::one(cluster, chance)?;
        let count = chance.between(1, 3);
        let node = cluster.node(id)?;
        self.before = node.volume().lossy()?.counted(FAILED)?;
        node.let_end(true);
        node.volume().lossy()?.say(&format!("fail-fsync {count}"))?;
        self.node = Some(id);
        let until = Instant::now() + ENDS_WITHIN;
        while !node.is_down() {
            if let Some((status, _)) = node.has_ended()?
                && status.success()
            {
                cluster.incident(format!("node {id} ended with success after a sync had failed"));
                break;
            }
            if Instant::now() > until {
                cluster.incident(format!(
                    "node {id} goes on {ENDS_WITHIN:?} after its syncs began to fail"
                ));
                cluster.kill(&[id])?;
                break;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(format!("{words}: {count} times"))
    }

    fn effect(&mut self, cluster: &mut Cluster) -> Result<Effect> {
        let id = self.node.ok_or("it never began")?;
        let failed = cluster.node(id)?.volume().lossy()?.counted(FAILED)?;
        Ok(Effect::Counted(
            failed - self.before,
            "syncs failed, and it ended",
        ))
    }

    fn end(&mut self, cluster: &mut Cluster, _chance: &mut Chance) -> Result<String> {
        let id = self.node.ok_or("it never began")?;
        let node = cluster.node(id)?;
        let disk = node.volume().lossy()?;
        disk.clear()?;
        if disk.flush() == Flush::Syncfs {
            // The guest's journal has given up: only mounting it again helps, as after a restart of the machine.
            disk.power_cut(Cut::Drop)?;
            node.restart_machine()?;
        }
        node.let_end(false);
        cluster.spawn(&[id])?;
        cluster.until_ready(&[id])?;
        Ok(format!("node {id} again"))
    }
}
