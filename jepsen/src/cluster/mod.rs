//! The cluster under test: what can be done to it, and what can be seen of it.

mod node;
mod volume;
mod watch;

pub(crate) use node::{Node, Settings, internal_address};

use crate::network::{Grudge, Manner, Network};
use crate::proxy::{self, Proxy};
use crate::{Error, Result};
use quipu_client::{Admin, BrokerId, Client, ClientConfig};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// How long anything may take that the run cannot do without.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// One question to the cluster.
const CALL: Duration = Duration::from_secs(5);
/// The same for what a planted bug may break for good.
const PATIENCE_WITH_A_BUG: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The nodes, the network between them, and the proxies before them.
pub(crate) struct Cluster {
    nodes: Vec<Node>,
    network: Network,
    proxy: Proxy,
    quipu: PathBuf,
    patience: Duration,
    runtime: Handle,
    client: Option<Client>,
    /// What happened that may not happen, besides what histories tell.
    incidents: Vec<String>,
}

impl Cluster {
    /// Starts so many nodes below `out`; all are ready on return.
    pub(crate) fn start(count: u32, out: &Path, settings: &Settings, runtime: &Handle) -> Result<Self> {
        let ids: Vec<BrokerId> = (1..=count).map(BrokerId::new).collect();
        let network = Network::lay(&ids)?;
        let proxy = Proxy::start(&ids, runtime)?;
        let nodes = ids.iter().map(|id| Node::new(*id, &ids, out, settings));
        let nodes = nodes.collect::<Result<Vec<_>>>()?;
        let mut cluster = Self {
            nodes,
            network,
            proxy,
            quipu: settings.quipu.clone(),
            patience: match settings.plant {
                None => PATIENCE,
                Some(_) => PATIENCE_WITH_A_BUG,
            },
            runtime: runtime.clone(),
            client: None,
            incidents: Vec::new(),
        };
        cluster.start_all()?;
        let config = ClientConfig::new(cluster.addresses()).with_call_timeout(CALL);
        cluster.client = Some(runtime.block_on(Client::connect(config))?);
        Ok(cluster)
    }

    /// All nodes.
    pub(crate) fn ids(&self) -> Vec<BrokerId> {
        self.nodes.iter().map(Node::id).collect()
    }

    /// Nodes that may fail without an end of service.
    pub(crate) fn minority(&self) -> usize {
        (self.nodes.len() - 1) / 2
    }

    /// One node.
    pub(crate) fn node(&mut self, id: BrokerId) -> Result<&mut Node> {
        let node = self.nodes.iter_mut().find(|node| node.id() == id);
        node.ok_or_else(|| format!("there is no node {id}").into())
    }

    /// Where clients find the nodes.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.ids().into_iter().map(node::client_address).collect()
    }

    /// The same, through the proxies.
    pub(crate) fn proxied_addresses(&self) -> Vec<String> {
        self.ids().into_iter().map(proxy::address).collect()
    }

    /// The executable that the nodes run.
    pub(crate) fn quipu(&self) -> &Path {
        &self.quipu
    }

    /// How long the cluster may take to become whole again.
    pub(crate) const fn patience(&self) -> Duration {
        self.patience
    }

    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    pub(crate) fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// Cuts the network as a grudge says.
    pub(crate) fn cut(&self, grudge: &Grudge) -> Result<()> {
        self.network.cut(grudge, Manner::Drop)
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, ids: &[BrokerId]) -> Result<()> {
        ids.iter().try_for_each(|id| self.node(*id)?.kill())
    }

    /// SIGSTOP.
    pub(crate) fn pause(&mut self, ids: &[BrokerId]) -> Result<()> {
        ids.iter().try_for_each(|id| self.node(*id)?.pause())
    }

    /// SIGCONT.
    pub(crate) fn resume(&mut self, ids: &[BrokerId]) -> Result<()> {
        ids.iter().try_for_each(|id| self.node(*id)?.resume())
    }

    /// SIGTERM; a node that does not end well is an incident.
    pub(crate) fn terminate(&mut self, ids: &[BrokerId]) -> Result<()> {
        for id in ids {
            if let Some(status) = self.node(*id)?.terminate(PATIENCE)?
                && !status.success()
            {
                self.incident(format!("node {id} was told to stop and ended with {status}"));
            }
        }
        Ok(())
    }

    /// Starts the processes of these nodes, and does not wait for them.
    pub(crate) fn spawn(&mut self, ids: &[BrokerId]) -> Result<()> {
        ids.iter().try_for_each(|id| self.node(*id)?.start())
    }

    /// Starts all that are down; all are ready on return.
    pub(crate) fn start_all(&mut self) -> Result<()> {
        let ids = self.ids();
        self.spawn(&ids)?;
        self.until_ready(&ids)
    }

    /// Waits until these nodes are ready.
    pub(crate) fn until_ready(&mut self, ids: &[BrokerId]) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        for id in ids {
            loop {
                if self.node(*id)?.is_ready() {
                    break;
                }
                self.look_after_nodes()?;
                if Instant::now() > deadline {
                    return Err(format!("node {id} is not ready within {PATIENCE:?}").into());
                }
                std::thread::sleep(LOOK_EVERY);
            }
        }
        Ok(())
    }

    /// Takes every fault back that is not a matter of disks: links, proxies, clocks, paused and dead nodes.
    pub(crate) fn heal(&mut self) -> Result<()> {
        self.network.heal()?;
        self.proxy.calm();
        for node in &self.nodes {
            if let Some(clock) = node.clock() {
                clock.set(0)?;
            }
        }
        let ids = self.ids();
        self.resume(&ids)?;
        self.start_all()
    }

    /// Sees whether a node ended by itself. That is an incident unless it may; it is started again.
    pub(crate) fn look_after_nodes(&mut self) -> Result<()> {
        for id in self.ids() {
            let node = self.node(id)?;
            let Some((status, may_end)) = node.has_ended()? else {
                continue;
            };
            if !may_end {
                node.start()?;
                self.incident(format!("node {id} ended by itself, with {status}"));
            }
        }
        Ok(())
    }

    /// Something happened that may not happen.
    pub(crate) fn incident(&mut self, what: String) {
        self.incidents.push(what);
    }

    /// All that happened that may not happen, besides what histories tell.
    pub(crate) fn incidents(&self) -> &[String] {
        &self.incidents
    }

    /// Asks the cluster something, as a client that no fault is meant for.
    pub(crate) fn ask<T, E, F>(&self, question: impl FnOnce(Admin) -> F) -> Result<T>
    where
        E: Into<Error>,
        F: Future<Output = std::result::Result<T, E>>,
    {
        let client = self.client.as_ref().ok_or("the cluster has not started")?;
        self.runtime
            .block_on(question(client.admin()))
            .map_err(Into::into)
    }
}
