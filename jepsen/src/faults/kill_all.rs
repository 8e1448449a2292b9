//! All nodes are killed (SIGKILL), and started again at different moments.

use super::Fault;
use crate::Result;
use crate::chance::Chance;
use crate::cluster::Cluster;
use std::time::Duration;

#[derive(Default)]
pub(super) struct KillAll;

impl KillAll {
    pub(super) const NAME: &str = "kill-all";
}

impl Fault for KillAll {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn begin(&mut self, cluster: &mut Cluster, chance: &mut Chance) -> Result<String> {
        for node in chance.shuffled(cluster.ids()) {
            cluster.kill(&[node])?;
        }
        Ok("all nodes".to_owned())
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
