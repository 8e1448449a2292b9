//! On whom a fault falls.

use super::Effect;
use crate::Result;
use crate::chance::Chance;
use crate::cluster::Cluster;
use quipu_client::BrokerId;

/// A node worth failing: often one that leads something, else any.
pub(super) fn one(cluster: &Cluster, chance: &mut Chance) -> Result<(BrokerId, String)> {
    let leading = match chance.below(4) {
        0 => active_controller(cluster),
        1 | 2 => partition_leader(cluster, chance),
        _ => None,
    };
    leading.map_or_else(|| any(cluster, chance), Ok)
}

/// A node that leads something, the active controller or, more often, a partition's leader. Any, while nothing is led.
pub(super) fn leader(cluster: &Cluster, chance: &mut Chance) -> Result<(BrokerId, String)> {
    let controller = (chance.below(4) == 0)
        .then(|| active_controller(cluster))
        .flatten();
    let leading = controller.or_else(|| partition_leader(cluster, chance));
    leading.map_or_else(|| any(cluster, chance), Ok)
}

fn active_controller(cluster: &Cluster) -> Option<(BrokerId, String)> {
    let active = cluster.active_controller()?;
    Some((active, format!("node {active}, the active controller")))
}

fn partition_leader(cluster: &Cluster, chance: &mut Chance) -> Option<(BrokerId, String)> {
    let leads = cluster.leads().unwrap_or_default();
    let lead = leads.get(chance.below(leads.len()))?;
    let (leader, topic, partition) = (lead.leader, &lead.topic, lead.partition);
    Some((leader, format!("node {leader}, leader of {topic}/{partition}")))
}

fn any(cluster: &Cluster, chance: &mut Chance) -> Result<(BrokerId, String)> {
    let any = chance.pick(&cluster.ids()).ok_or("there are no nodes")?;
    Ok((any, format!("node {any}")))
}

/// One node as above, or all that may fail at once.
pub(super) fn minority(cluster: &Cluster, chance: &mut Chance) -> Result<(Vec<BrokerId>, String)> {
    if cluster.minority() < 2 || chance.flip() {
        let (node, words) = one(cluster, chance)?;
        return Ok((vec![node], words));
    }
    let nodes = chance.some(cluster.ids(), cluster.minority());
    let words = list(&nodes);
    Ok((nodes, words))
}

/// What came of a network that was cut.
pub(super) fn packets(cluster: &Cluster) -> Result<Effect> {
    Ok(Effect::Counted(cluster.network().stopped()?, "packets stopped"))
}

/// What came of proxies that hinder.
pub(super) fn hindered(cluster: &Cluster) -> Effect {
    Effect::Counted(cluster.proxy().hindered(), "pieces late or held back")
}

/// Nodes in words.
pub(super) fn list(nodes: &[BrokerId]) -> String {
    let mut nodes = nodes.to_vec();
    nodes.sort_unstable();
    let ids: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    match ids.len() {
        1 => format!("node {}", ids[0]),
        _ => format!("nodes {}", ids.join(" ")),
    }
}
