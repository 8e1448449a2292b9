//! Wall clocks jump, forward and back, while nodes run.

use super::{Effect, Fault};
use crate::Result;
use crate::chance::Chance;
use crate::cluster::Cluster;
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds at most, either way.
const JUMP_MS: u64 = 3_600_000;
/// What a clock that goes right may be off, as seconds are told.
const OFF_S: u64 = 3;

#[derive(Default)]
pub(super) struct ClockJump;

impl ClockJump {
    pub(super) const NAME: &str = "clock-jump";
}

fn jump(cluster: &mut Cluster, chance: &mut Chance) -> Result<i64> {
    let by = chance.between(0, 2 * JUMP_MS).cast_signed() - JUMP_MS.cast_signed();
    let node = chance.pick(&cluster.ids()).ok_or("there are no nodes")?;
    let clock = cluster.node(node)?.clock().ok_or("clocks cannot be moved")?;
    clock.set(by)?;
    Ok(by)
}

/// Nodes whose clocks tell another time than the machine's. (They look at them once a second.)
pub(super) fn off(cluster: &mut Cluster) -> Result<Effect> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let mut off = 0;
    for node in cluster.ids() {
        // Whoever does not answer now tells nothing.
        let Ok(told) = cluster.node(node)?.told_time() else {
            continue;
        };
        off += u64::from(told.abs_diff(now.cast_signed()) > OFF_S);
    }
    Ok(Effect::Counted(off, "nodes tell another time"))
}

/// All clocks go right.
pub(super) fn right(cluster: &mut Cluster) -> Result<String> {
    for node in cluster.ids() {
        if let Some(clock) = cluster.node(node)?.clock() {
            clock.set(0)?;
        }
    }
    Ok("clocks go right".to_owned())
}

impl Fault for ClockJump {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn begin(&mut self, cluster: &mut Cluster, chance: &mut Chance) -> Result<String> {
        let by = jump(cluster, chance)?;
        Ok(format!("a clock jumps by {by} ms, and others after it"))
    }

    fn during(&mut self, cluster: &mut Cluster, chance: &mut Chance) -> Result<()> {
        if chance.below(3) == 0 {
            jump(cluster, chance)?;
        }
        Ok(())
    }

    fn effect(&mut self, cluster: &mut Cluster) -> Result<Effect> {
        off(cluster)
    }

    fn end(&mut self, cluster: &mut Cluster, _chance: &mut Chance) -> Result<String> {
        right(cluster)
    }
}
