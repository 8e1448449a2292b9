//! Every node is stopped (SIGTERM) and started again, one after the other, as operators do it: each once all replicas are
//! in sync.

use super::Fault;
use crate::Result;
use crate::chance::Chance;
use crate::cluster::Cluster;
use std::time::Duration;

/// How long replicas may take to be in sync again.
const IN_SYNC: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct RollingRestart;

impl RollingRestart {
    pub(super) const NAME: &str = "rolling-restart";
}

impl Fault for RollingRestart {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn begin(&mut self, cluster: &mut Cluster, chance: &mut Chance) -> Result<String> {
        let order = chance.shuffled(cluster.ids());
        for node in &order {
            if !cluster.until_in_sync(IN_SYNC)? {
                cluster.incident(format!(
                    "replicas are not in sync within {IN_SYNC:?} before node {node} restarts"
                ));
            }
            cluster.terminate(&[*node])?;
            cluster.spawn(&[*node])?;
            cluster.until_ready(&[*node])?;
        }
        let order: Vec<String> = order.iter().map(ToString::to_string).collect();
        Ok(format!("nodes {}", order.join(", ")))
    }

    fn end(&mut self, _cluster: &mut Cluster, _chance: &mut Chance) -> Result<String> {
        Ok("all were restarted".to_owned())
    }
}
