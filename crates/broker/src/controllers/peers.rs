//! Connections to the internal listeners of others: one for each address, kept, and made anew once it failed.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

/// A peer that does not take a connection within this time is as good as down.
const CONNECT: Duration = Duration::from_secs(2);
/// A silent network is noticed within the sum of these.
const PING_INTERVAL: Duration = Duration::from_secs(2);
const PING_TIMEOUT: Duration = Duration::from_secs(3);
/// Addresses that are remembered; who changes addresses that often is forgotten and connected to again.
const PEERS_MAX: usize = 256;

/// The connections.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    channels: Mutex<HashMap<String, Channel>>,
}

impl Peers {
    /// A connection to `address`, which stood at least once. An error says why there is none.
    pub(crate) async fn connect(&self, address: &str) -> Result<Channel, String> {
        if let Some(channel) = self.lock().get(address) {
            return Ok(channel.clone());
        }
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| format!("{address} is no address: {error}"))?
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_connection_window_size(8 << 20)
            .initial_stream_window_size(4 << 20);
        let connecting = tokio::time::timeout(CONNECT, endpoint.connect());
        let channel = match connecting.await {
            Ok(Ok(channel)) => channel,
            Ok(Err(error)) => return Err(format!("{address} takes no connection: {}", root(&error))),
            Err(_) => return Err(format!("{address} takes no connection in time")),
        };
        let mut channels = self.lock();
        if channels.len() >= PEERS_MAX {
            channels.clear();
        }
        channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }

    /// The connection broke: the next one is made anew.
    pub(crate) fn forget(&self, address: &str) {
        self.lock().remove(address);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Channel>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What lies at the bottom of an error: what the system said.
fn root(error: &dyn std::error::Error) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}
