//! The network: a bridge with the clients on it, and each node behind a link of its own in a network namespace.
//!
//! Packets are dropped by their receiver (`nft`), so that one direction can fail alone.

mod grudge;

pub(crate) use grudge::{Grudge, Peer};

use crate::{Result, shell};
use quipu_client::BrokerId;

/// Where clients are, and the proxies.
pub(crate) const CLIENTS: &str = "10.77.0.1";

/// What each node's network is told at first.
const RULES: &str = "
table inet quipu {
  counter stopped { }
  set dropped { type ipv4_addr; }
  set refused { type ipv4_addr; }
  chain input {
    type filter hook input priority 0; policy accept;
    ip saddr @dropped counter name stopped drop
    ip saddr @refused meta l4proto tcp counter name stopped reject with tcp reset
  }
}
";

/// What happens to packets that may not pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Manner {
    /// Nothing comes, and nobody says why.
    Drop,
    /// Connections are reset.
    Reset,
}

impl Manner {
    const fn set(self) -> &'static str {
        match self {
            Self::Drop => "dropped",
            Self::Reset => "refused",
        }
    }
}

/// A node's address.
pub(crate) fn address(node: BrokerId) -> String {
    format!("10.77.0.{}", 10 + node.get())
}

fn name(node: BrokerId) -> String {
    format!("n{}", node.get())
}

fn link(node: BrokerId) -> String {
    format!("quipu{}", node.get())
}

/// The file that stands for a node's network namespace.
pub(crate) fn namespace(node: BrokerId) -> String {
    format!("/run/netns/{}", name(node))
}

/// The network of a run.
pub(crate) struct Network {
    nodes: Vec<BrokerId>,
}

impl Network {
    /// Lays it.
    pub(crate) fn lay(nodes: &[BrokerId]) -> Result<Self> {
        ip("link add quipu0 type bridge")?;
        ip(&format!("addr add {CLIENTS}/24 dev quipu0"))?;
        ip("link set quipu0 up")?;
        for node in nodes {
            let (name, link, address) = (name(*node), link(*node), address(*node));
            ip(&format!("netns add {name}"))?;
            ip(&format!("link add {link} type veth peer name eth0 netns {name}"))?;
            ip(&format!("link set {link} master quipu0 up"))?;
            ip(&format!("-n {name} link set lo up"))?;
            ip(&format!("-n {name} addr add {address}/24 dev eth0"))?;
            ip(&format!("-n {name} link set eth0 up"))?;
            nft(*node, RULES)?;
        }
        let nodes = nodes.to_vec();
        Ok(Self { nodes })
    }

    /// Puts a grudge into force, besides what is in force already.
    pub(crate) fn cut(&self, grudge: &Grudge, manner: Manner) -> Result<()> {
        for (node, peers) in grudge.iter() {
            let addresses = peers.iter().map(|peer| match peer {
                Peer::Node(node) => address(*node),
                Peer::Clients => CLIENTS.to_owned(),
            });
            let addresses: Vec<String> = addresses.collect();
            let set = manner.set();
            let rule = format!("add element inet quipu {set} {{ {} }}\n", addresses.join(", "));
            nft(node, &rule)?;
        }
        Ok(())
    }

    /// Takes a node's link down, or up again.
    pub(crate) fn link(&self, node: BrokerId, up: bool) -> Result<()> {
        let state = if up { "up" } else { "down" };
        ip(&format!("link set {} {state}", link(node)))
    }

    /// Packets that were stopped since this was asked the last time.
    pub(crate) fn stopped(&self) -> Result<u64> {
        let mut packets = 0;
        for node in &self.nodes {
            let told = nft(*node, "reset counter inet quipu stopped\n")?;
            let mut words = told.split_whitespace().skip_while(|word| *word != "packets");
            let count = words
                .nth(1)
                .ok_or_else(|| format!("nft counts nothing: {told}"))?;
            packets += count.parse::<u64>()?;
        }
        Ok(packets)
    }

    /// Everybody hears everybody.
    pub(crate) fn heal(&self) -> Result<()> {
        for node in &self.nodes {
            self.link(*node, true)?;
            nft(
                *node,
                "flush set inet quipu dropped\nflush set inet quipu refused\n",
            )?;
        }
        Ok(())
    }
}

fn ip(words: &str) -> Result<()> {
    let words: Vec<&str> = words.split_whitespace().collect();
    shell::run("ip", &words).map(drop)
}

fn nft(node: BrokerId, rules: &str) -> Result<String> {
    let namespace = format!("--net={}", namespace(node));
    shell::run_with_input("nsenter", &[&namespace, "nft", "-f", "-"], rules)
}
