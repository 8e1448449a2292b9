//! Listeners: binding them, the address that clients are told, accepting connections within a limit.

use crate::admit::ConnectionInfo;
use crate::config::{HostPort, ListenerConfig};
use crate::metrics::Metrics;
use prometheus_client::metrics::gauge::Gauge;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tonic::transport::server::Connected;

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
    cut: watch::Receiver<bool>,
}

impl Bound {
    /// Binds a listener. Connections take their places from `slots`, and are cut when `cut` turns true.
    ///
    /// # Errors
    /// As [`bind`].
    pub async fn bind(
        config: &ListenerConfig,
        slots: Arc<Semaphore>,
        metrics: &Metrics,
        cut: watch::Receiver<bool>,
    ) -> Result<Self, BindError> {
        let key = format!("listeners.{}.bind", config.name);
        let (listener, bound) = bind(&key, &config.bind).await?;
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
            cut,
        })
    }

    /// Accepts connections until nobody takes them any more.
    pub(super) async fn accept(self, accepted: mpsc::Sender<Result<Connection, Infallible>>) {
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
            let connection = Connection::new(stream, info, slot, self.open.clone(), self.cut.clone());
            if accepted.send(Ok(connection)).await.is_err() {
                return;
            }
        }
    }
}

/// A client's connection: knows its listener, holds its slot, and can be cut.
pub(super) struct Connection {
    stream: TcpStream,
    info: ConnectionInfo,
    cut: Pin<Box<dyn Future<Output = ()> + Send>>,
    open: Gauge,
    _slot: OwnedSemaphorePermit,
}

impl Connection {
    fn new(
        stream: TcpStream,
        info: ConnectionInfo,
        slot: OwnedSemaphorePermit,
        open: Gauge,
        mut cut: watch::Receiver<bool>,
    ) -> Self {
        open.inc();
        Self {
            stream,
            info,
            cut: Box::pin(async move {
                // A broker that is gone cuts too.
                let _ = cut.wait_for(|cut| *cut).await;
            }),
            open,
            _slot: slot,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.open.dec();
    }
}

impl Connected for Connection {
    type ConnectInfo = ConnectionInfo;

    fn connect_info(&self) -> ConnectionInfo {
        self.info.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Data first: the future is polled only when there is none, and then must be, to be woken by it.
        if let Poll::Ready(result) = Pin::new(&mut self.stream).poll_read(cx, buf) {
            return Poll::Ready(result);
        }
        self.cut
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::ErrorKind::ConnectionAborted.into()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
