//! Who does not hear whom. Pure: a grudge is drawn up here and put into force by [`super::Network`].

use quipu_client::BrokerId;
use std::collections::{BTreeMap, BTreeSet};

/// Whom a node may not hear.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Peer {
    /// Another node.
    Node(BrokerId),
    /// All clients.
    Clients,
}

/// For each node, whose packets it drops.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Grudge(BTreeMap<BrokerId, BTreeSet<Peer>>);

impl Grudge {
    /// Nodes of different groups do not hear each other.
    pub(crate) fn apart(groups: &[Vec<BrokerId>]) -> Self {
        let mut grudge = Self::default();
        for (at, group) in groups.iter().enumerate() {
            for (other_at, other) in groups.iter().enumerate() {
                if at != other_at {
                    for node in group {
                        grudge.drops(*node, other);
                    }
                }
            }
        }
        grudge
    }

    /// Each hears a majority (itself among them), and no two the same one. In the order given.
    pub(crate) fn ring(nodes: &[BrokerId]) -> Self {
        let mut grudge = Self::default();
        let majority = nodes.len() / 2 + 1;
        for (at, node) in nodes.iter().enumerate() {
            let around = nodes.iter().cycle().skip(at);
            let unheard: Vec<BrokerId> = around.take(nodes.len()).skip(majority).copied().collect();
            grudge.drops(*node, &unheard);
        }
        grudge
    }

    /// Two halves that do not hear each other, and the first node, which hears and is heard by all.
    pub(crate) fn bridge(nodes: &[BrokerId]) -> Self {
        let Some((_, rest)) = nodes.split_first() else {
            return Self::default();
        };
        let (one, other) = rest.split_at(rest.len() / 2);
        Self::apart(&[one.to_vec(), other.to_vec()])
    }

    /// `to` does not hear `from`, which hears it.
    pub(crate) fn one_way(from: &[BrokerId], to: &[BrokerId]) -> Self {
        let mut grudge = Self::default();
        for node in to {
            grudge.drops(*node, from);
        }
        grudge
    }

    /// The same, and these nodes do not hear clients either.
    pub(crate) fn and_clients(mut self, nodes: &[BrokerId]) -> Self {
        for node in nodes {
            self.0.entry(*node).or_default().insert(Peer::Clients);
        }
        self
    }

    fn drops(&mut self, node: BrokerId, peers: &[BrokerId]) {
        let peers = peers.iter().filter(|peer| **peer != node);
        let peers: Vec<Peer> = peers.map(|peer| Peer::Node(*peer)).collect();
        if !peers.is_empty() {
            self.0.entry(node).or_default().extend(peers);
        }
    }

    /// Each node with a grudge, and against whom.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (BrokerId, &BTreeSet<Peer>)> {
        self.0.iter().map(|(node, peers)| (*node, peers))
    }

    #[cfg(test)]
    fn hears(&self, node: BrokerId, from: BrokerId) -> bool {
        let held = self.0.get(&node);
        held.is_none_or(|peers| !peers.contains(&Peer::Node(from)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: u32) -> Vec<BrokerId> {
        (1..=count).map(BrokerId::new).collect()
    }

    fn heard(grudge: &Grudge, all: &[BrokerId], node: BrokerId) -> BTreeSet<BrokerId> {
        let heard = all.iter().filter(|from| grudge.hears(node, **from));
        heard.copied().collect()
    }

    #[test]
    fn groups_are_apart_both_ways_and_whole_within() {
        let all = nodes(5);
        let grudge = Grudge::apart(&[all[..2].to_vec(), all[2..].to_vec()]);
        for node in &all[..2] {
            assert_eq!(heard(&grudge, &all, *node), all[..2].iter().copied().collect());
        }
        for node in &all[2..] {
            assert_eq!(heard(&grudge, &all, *node), all[2..].iter().copied().collect());
        }
    }

    #[test]
    fn in_a_ring_each_hears_another_majority() {
        for count in [3, 4, 5] {
            let all = nodes(count);
            let grudge = Grudge::ring(&all);
            let heard: Vec<_> = all.iter().map(|node| heard(&grudge, &all, *node)).collect();
            for (node, heard) in all.iter().zip(&heard) {
                assert_eq!(heard.len(), all.len() / 2 + 1);
                assert!(heard.contains(node), "a node hears itself");
            }
            let different: BTreeSet<_> = heard.iter().collect();
            assert_eq!(different.len(), all.len());
        }
    }

    #[test]
    fn the_bridge_hears_all_and_the_halves_only_it() {
        let all = nodes(5);
        let grudge = Grudge::bridge(&all);
        assert_eq!(heard(&grudge, &all, all[0]).len(), 5);
        for node in &all[1..] {
            let heard = heard(&grudge, &all, *node);
            assert!(heard.contains(&all[0]));
            assert_eq!(heard.len(), 3);
        }
    }

    #[test]
    fn one_way_is_one_way() {
        let all = nodes(3);
        let grudge = Grudge::one_way(&all[..1], &all[1..]);
        assert_eq!(heard(&grudge, &all, all[0]).len(), 3);
        assert!(!grudge.hears(all[1], all[0]) && grudge.hears(all[1], all[2]));
    }
}
