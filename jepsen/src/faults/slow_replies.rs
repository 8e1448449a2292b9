//! Requests and replies are late, on each connection by another time: what is sent over several arrives in any order.

use super::{Effect, Fault, target};
use crate::Result;
use crate::chance::Chance;
use crate::cluster::Cluster;
use crate::proxy::Weather;
use std::time::Duration;

/// At most; each connection has its own share of it.
const LATE: Duration = Duration::from_millis(900);

#[derive(Default)]
pub(super) struct SlowReplies;

impl SlowReplies {
    pub(super) const NAME: &str = "slow-replies";
}

impl Fault for SlowReplies {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn begin(&mut self, cluster: &mut Cluster, chance: &mut Chance) -> Result<String> {
        let requests_late = chance.time(Duration::ZERO, LATE);
        let replies_late = chance.time(Duration::ZERO, LATE);
        for node in cluster.ids() {
            cluster
                .proxy()
                .set(node, Weather::slow(requests_late, replies_late));
        }
        Ok(format!(
            "requests up to {requests_late:?} late, replies up to {replies_late:?}"
        ))
    }

    fn during(&mut self, cluster: &mut Cluster, chance: &mut Chance) -> Result<()> {
        // Clients make new connections, which are slow in other degrees.
        if chance.below(8) == 0
            && let Some(node) = chance.pick(&cluster.ids())
        {
            cluster.proxy().cut(node);
        }
        Ok(())
    }

    fn effect(&mut self, cluster: &mut Cluster) -> Result<Effect> {
        Ok(target::hindered(cluster))
    }

    fn end(&mut self, cluster: &mut Cluster, _chance: &mut Chance) -> Result<String> {
        cluster.proxy().calm();
        Ok("all in time".to_owned())
    }
}
