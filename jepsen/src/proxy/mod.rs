//! A proxy between clients and each node: it can be slow, hold replies back, and cut connections after a request went
//! through, so that its answer is lost.
//!
//! Bytes of one connection stay in order; connections differ in how slow they are, so what is sent over several arrives in
//! any order.

mod pump;

use crate::{Result, network};
use quipu_client::BrokerId;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;

/// The port that a node gives the proxy.
pub(crate) const NODE_PORT: u16 = 4610;
/// How long a node may take to accept.
const CONNECT: Duration = Duration::from_secs(3);

/// What connections through the proxy suffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Weather {
    /// Requests are late by up to this much; how much is each connection's own.
    requests_late: Duration,
    /// Replies too.
    replies_late: Duration,
    /// Replies do not pass.
    replies_held: bool,
    /// Connections made under an earlier number are cut; what they still carry is lost.
    cuts: u64,
}

impl Weather {
    /// Requests and replies are late, by so much at most.
    pub(crate) fn slow(requests_late: Duration, replies_late: Duration) -> Self {
        Self {
            requests_late,
            replies_late,
            ..Self::default()
        }
    }

    /// Replies pass, or not.
    pub(crate) fn holding(replies_held: bool) -> Self {
        Self {
            replies_held,
            ..Self::default()
        }
    }
}

/// The proxies of all nodes.
pub(crate) struct Proxy {
    weather: BTreeMap<BrokerId, watch::Sender<Weather>>,
    /// Pieces of connections that were late or held back.
    hindered: Arc<AtomicU64>,
}

/// Where clients find a node's proxy.
pub(crate) fn address(node: BrokerId) -> String {
    format!("{}:{}", network::CLIENTS, 4700 + node.get())
}

impl Proxy {
    /// Starts them, in fair weather.
    pub(crate) fn start(nodes: &[BrokerId], runtime: &Handle) -> Result<Self> {
        let mut weather = BTreeMap::new();
        let hindered = Arc::new(AtomicU64::new(0));
        for node in nodes {
            let (sender, receiver) = watch::channel(Weather::default());
            let listener = runtime.block_on(TcpListener::bind(address(*node)))?;
            runtime.spawn(accept(listener, *node, receiver, Arc::clone(&hindered)));
            weather.insert(*node, sender);
        }
        Ok(Self { weather, hindered })
    }

    /// Makes the weather before one node.
    pub(crate) fn set(&self, node: BrokerId, weather: Weather) {
        if let Some(sender) = self.weather.get(&node) {
            sender.send_modify(|now| {
                *now = Weather {
                    cuts: now.cuts,
                    ..weather
                };
            });
        }
    }

    /// Cuts all connections to one node; what they still carry is lost.
    pub(crate) fn cut(&self, node: BrokerId) {
        if let Some(sender) = self.weather.get(&node) {
            sender.send_modify(|now| now.cuts += 1);
        }
    }

    /// Pieces of connections that were late or held back since this was asked the last time.
    pub(crate) fn hindered(&self) -> u64 {
        self.hindered.swap(0, Ordering::Relaxed)
    }

    /// Fair weather everywhere. What was held back arrives now, late.
    pub(crate) fn calm(&self) {
        for node in self.weather.keys() {
            self.set(*node, Weather::default());
        }
    }
}

async fn accept(
    listener: TcpListener,
    node: BrokerId,
    weather: watch::Receiver<Weather>,
    hindered: Arc<AtomicU64>,
) {
    let mut number = 0;
    loop {
        // Out of descriptors, say: the client sees a connection that fails.
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        number += 1;
        tokio::spawn(carry(
            client,
            node,
            weather.clone(),
            Arc::clone(&hindered),
            number,
        ));
    }
}

/// Carries one connection until either side ends it, or it is cut.
async fn carry(
    client: TcpStream,
    node: BrokerId,
    weather: watch::Receiver<Weather>,
    hindered: Arc<AtomicU64>,
    number: u64,
) {
    let cuts = weather.borrow().cuts;
    let upstream = TcpStream::connect((network::address(node), NODE_PORT));
    let Ok(Ok(server)) = tokio::time::timeout(CONNECT, upstream).await else {
        return;
    };
    // Each connection has a slowness of its own: a fixed share of the greatest.
    let share = pump::share_of(number);
    let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let requests = pump::Way::Requests { share };
    let replies = pump::Way::Replies { share };
    let cut = async {
        let mut weather = weather.clone();
        // An error: the harness ends.
        let _ = weather.wait_for(|now| now.cuts != cuts).await;
    };
    tokio::select! {
        () = pump::pump(from_client, to_server, requests, weather.clone(), &hindered) => {}
        () = pump::pump(from_server, to_client, replies, weather.clone(), &hindered) => {}
        () = cut => {}
    }
}
