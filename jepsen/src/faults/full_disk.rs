//! A node's disk is full: what it leads refuses writes until there is room, and it must not end.

use super::{Effect, Fault, target};
use crate::Result;
use crate::chance::Chance;
use crate::cluster::Cluster;
use crate::disk::Flush;
use quipu_client::BrokerId;

/// The most room that is left at first.
const ROOM_MAX: u64 = 1 << 20;
/// What lossyfs counts.
const FULL: &[&str] = &["full"];

#[derive(Default)]
pub(super) struct FullDisk {
    node: Option<BrokerId>,
    /// Calls that had found it full before.
    before: u64,
}

impl FullDisk {
    pub(super) const NAME: &str = "full-disk";
}

impl Fault for FullDisk {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn begin(&mut self, cluster: &mut Cluster, chance: &mut Chance) -> Result<String> {
        let (node, words) = target::one(cluster, chance)?;
        let room = chance.between(0, ROOM_MAX);
        let disk = cluster.node(node)?.volume().lossy()?;
        self.before = disk.counted(FULL)?;
        disk.fill(room)?;
        self.node = Some(node);
        Ok(format!("{words}: room for {room} bytes"))
    }

    fn effect(&mut self, cluster: &mut Cluster) -> Result<Effect> {
        let node = self.node.ok_or("it never began")?;
        let disk = cluster.node(node)?.volume().lossy()?;
        Ok(match disk.flush() {
            Flush::Fdatasync => Effect::Counted(disk.counted(FULL)? - self.before, "calls found it full"),
            // The file system above it counts nothing.
            Flush::Syncfs if disk.free()? == 0 => Effect::Counted(1, "byte would be too much"),
            Flush::Syncfs => Effect::Counted(0, "byte would be too much"),
        })
    }

    fn end(&mut self, cluster: &mut Cluster, _chance: &mut Chance) -> Result<String> {
        let node = self.node.ok_or("it never began")?;
        cluster.node(node)?.volume().lossy()?.clear()?;
        Ok(format!("node {node} has room again"))
    }
}
