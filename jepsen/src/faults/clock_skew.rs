//! Wall clocks stand apart, by seconds to days, for as long as the fault lasts.

use super::{Effect, Fault, clock_jump};
use crate::Result;
use crate::chance::Chance;
use crate::cluster::Cluster;

/// Milliseconds: a second, a minute, an hour, three days. Two clocks are six days apart at most: by default what is a week
/// old is deleted, and rightly so.
const SKEWS_MS: &[i64] = &[1000, 60_000, 3_600_000, 259_200_000];

#[derive(Default)]
pub(super) struct ClockSkew;

impl ClockSkew {
    pub(super) const NAME: &str = "clock-skew";
}

impl Fault for ClockSkew {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn begin(&mut self, cluster: &mut Cluster, chance: &mut Chance) -> Result<String> {
        let mut told = Vec::new();
        for node in cluster.ids() {
            let skew = chance.pick(SKEWS_MS).unwrap_or_default();
            let skew = if chance.flip() { skew } else { -skew };
            let clock = cluster.node(node)?.clock().ok_or("clocks cannot be moved")?;
            clock.set(skew)?;
            told.push(format!("node {node} by {} s", skew / 1000));
        }
        Ok(told.join(", "))
    }

    fn effect(&mut self, cluster: &mut Cluster) -> Result<Effect> {
        clock_jump::off(cluster)
    }

    fn end(&mut self, cluster: &mut Cluster, _chance: &mut Chance) -> Result<String> {
        clock_jump::right(cluster)
    }
}
