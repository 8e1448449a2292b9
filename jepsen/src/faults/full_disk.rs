//! A node's disk is full: what it leads refuses writes until there is room, and it must not end.

use super::{Fault, target};
use crate::Result;
use crate::chance::Chance;
use crate::cluster::Cluster;
use quipu_client::BrokerId;

/// The most room that is left at first.
const ROOM_MAX: u64 = 1 << 20;

#[derive(Default)]
pub(super) struct FullDisk {
    node: Option<BrokerId>,
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
        cluster.node(node)?.volume().lossy()?.fill(room)?;
        self.node = Some(node);
        Ok(format!("{words}: room for {room} bytes"))
    }

    fn end(&mut self, cluster: &mut Cluster, _chance: &mut Chance) -> Result<String> {
        let node = self.node.ok_or("it never began")?;
        cluster.node(node)?.volume().lossy()?.clear()?;
        Ok(format!("node {node} has room again"))
    }
}
