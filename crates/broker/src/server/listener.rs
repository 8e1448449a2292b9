//! Listeners: binding them, the address that clients are told, accepting connections within a limit.

use crate::admit::ConnectionInfo;
use crate::config::{HostPort, ListenerConfig};
use crate::metrics::Metrics;
use prometheus_client::metrics::gauge::Gauge;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Out of descriptors, most likely: some will be given back.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(200);

/// Somebody else listens there, or may not.
#[derive(Debug, thiserror::Error)]
#[error("{key}: cannot listen on {bind} ({error}); {advice}")]
pub struct BindError {
    key: String,
    bind: HostPort,
    error: io::Error,
    advice: String,
}

/// Listens on `bind`; `key` is where the configuration says so.
///
/// # Errors
/// If the address is taken, not ours, or not to be had.
pub async fn bind(key: &str, bind: &HostPort) -> Result<(TcpListener, SocketAddr), BindError> {
    let listening = async {
        let listener = TcpListener::bind((bind.host.as_str(), bind.port)).await?;
        let address = listener.local_addr()?;
        if address.ip().is_loopback() {
            // Those who connect to it inherit it. A congestion control that paces, as the machine may be set to, waits for
            // timers where there is nothing to wait for; without it all works as well.
            let _ = rustix::net::sockopt::set_tcp_congestion(&listener, "reno");
        }
        Ok((listener, address))
    };
    listening.await.map_err(|error: io::Error| BindError {
        key: key.to_owned(),
        bind: bind.clone(),
        advice: match error.kind() {
            io::ErrorKind::AddrInUse => {
                format!("another process, a broker perhaps, does: stop it, or set {key} to another port")
            }
            io::ErrorKind::AddrNotAvailable => format!("set {key} to an address of this machine"),
            io::ErrorKind::PermissionDenied => format!("set {key} to a port of 1024 or above"),
            _ => format!("set {key} to an address of this machine and a free port"),
        },
        error,
    })
}

/// A listener as it turned out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// Its name.
    pub name: Arc<str>,
    /// Where it listens.
    pub bound: SocketAddr,
    /// What clients are told.
    pub advertised: HostPort,
    /// What is spoken.
    pub protocol: &'static str,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.advertised)
    }
}

/// A listener that is bound and not yet accepting.
#[derive(Debug)]
pub struct Bound {
    /// Its addresses.
    pub address: Address,
    listener: TcpListener,
    slots: Arc<Semaphore>,
    open: Gauge,
}

impl Bound {
    /// Binds a listener. Connections take their places from `slots`.
    ///
    /// # Errors
    /// As [`bind`].
    pub async fn bind(
        config: &ListenerConfig,
        slots: Arc<Semaphore>,
        metrics: &Metrics,
    ) -> Result<Self, BindError> {
        let (listener, bound) = bind(&config.bind_key(), &config.bind).await?;
        let mut advertised = config.advertised.clone().unwrap_or_else(|| HostPort {
            host: config.bind.host.clone(),
            port: 0,
        });
        if advertised.port == 0 {
            advertised.port = bound.port();
        }
        Ok(Self {
            address: Address {
                name: config.name.clone(),
                bound,
                advertised,
                protocol: config.protocol.name(),
            },
            listener,
            slots,
            open: metrics.connections(&config.name),
        })
    }

    /// Accepts connections until nobody takes them any more.
    pub(super) async fn accept(self, accepted: mpsc::Sender<Accepted>) {
        let name = &self.address.name;
        loop {
            let (stream, peer) = match self.listener.accept().await {
                Ok(connection) => connection,
                // That client went away; the next may wait already.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => {
                    tracing::warn!(listener = %name, %error, "cannot accept connections for a moment");
                    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                    continue;
                }
            };
            let Ok(slot) = self.slots.clone().try_acquire_owned() else {
                tracing::warn!(listener = %name, %peer, "closed a connection: limits.connections are open");
                continue;
            };
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(listener = %name, %peer, %error, "the connection was gone at once");
                continue;
            }
            let info = ConnectionInfo {
                listener: name.clone(),
                peer,
            };
            let place = Place::new(self.open.clone(), slot);
            if accepted.send(Accepted { stream, info, place }).await.is_err() {
                return;
            }
        }
    }
}

/// A client's connection.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    pub(super) info: ConnectionInfo,
    pub(super) place: Place,
}

/// A connection's place among all; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    open: Gauge,
    _slot: OwnedSemaphorePermit,
}

impl Place {
    fn new(open: Gauge, slot: OwnedSemaphorePermit) -> Self {
        open.inc();
        Self { open, _slot: slot }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.dec();
    }
}
