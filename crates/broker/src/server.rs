//! The gRPC server: HTTP/2 over the listeners' connections, and what bounds it. Services come from [`crate::service`].
//!
//! The loop is our own, and not tonic's, for the sake of memory: what a connection may have unread here is taken from a
//! pool, so that a thousand floods are bounded together as one is (`windows`).

pub mod listener;
mod receive;
mod windows;

pub use listener::{Address, BindError, Bound};

use crate::config::LimitsConfig;
use arc_swap::ArcSwap;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use listener::Accepted;
use receive::{ReceiveBudget, Receiving};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tonic::service::Routes;
use windows::{Window, WindowPool};

/// One megabyte-sized batch at a time would stall on the default 64 KiB.
const STREAM_WINDOW_MAX: u32 = 4 << 20;
const FRAME_BYTES_MAX: u32 = 1 << 20;
/// Headers are a path, a deadline and names.
const HEADER_BYTES_MAX: u32 = 16 << 10;
/// A half-open connection is noticed within the sum of these.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Fields around a batch, in a message that carries one.
const MESSAGE_SLACK: u64 = 64 << 10;
/// Accepted connections that wait to be served.
const BACKLOG: usize = 16;

/// The largest message that a service decodes: for `max_decoding_message_size` of every service.
#[must_use]
pub fn message_bytes_max(limits: &LimitsConfig) -> usize {
    usize::try_from(limits.request_bytes.saturating_add(MESSAGE_SLACK)).unwrap_or(usize::MAX)
}

/// The services that are behind listeners, which may become more while they are served: a broker speaks with controllers
/// before it has anything to offer to clients.
#[derive(Clone, Debug)]
pub struct Served(Arc<ArcSwap<Routes>>);

impl Served {
    /// These, from now on: requests that were taken up go on with those before.
    pub fn replace(&self, routes: Routes) {
        self.0.store(Arc::new(routes));
    }

    /// For one request.
    fn now(&self) -> Routes {
        Routes::clone(&self.0.load())
    }
}

impl From<Routes> for Served {
    fn from(routes: Routes) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(routes)))
    }
}

/// Serves what comes in by `listeners` until `drain` completes; then says GOAWAY, accepts nothing more, and returns
/// when every connection has ended, or was cut since `cut` turned true.
pub async fn serve(
    listeners: Vec<Bound>,
    routes: impl Into<Served>,
    limits: LimitsConfig,
    drain: impl Future<Output = ()>,
    mut cut: watch::Receiver<bool>,
) {
    let (accepted, mut incoming) = mpsc::channel(BACKLOG);
    let mut accepting = JoinSet::new();
    for bound in listeners {
        accepting.spawn(bound.accept(accepted.clone()));
    }
    drop(accepted);

    let mut server = Server::new(routes.into(), &limits);
    let mut drain = pin!(drain);
    loop {
        tokio::select! {
            () = &mut drain => break,
            Some(connection) = incoming.recv() => server.take(connection),
            Some(_) = server.connections.join_next() => {}
        }
    }
    accepting.shutdown().await;
    server.draining.send_replace(true);
    tokio::select! {
        () = server.ended() => {}
        () = turned(&mut cut) => server.connections.shutdown().await,
    }
}

/// The connections and what they are served by.
struct Server {
    routes: Receiving,
    http2: http2::Builder<TokioExecutor>,
    windows: WindowPool,
    draining: watch::Sender<bool>,
    connections: JoinSet<()>,
}

impl Server {
    fn new(routes: Served, limits: &LimitsConfig) -> Self {
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_frame_size(FRAME_BYTES_MAX)
            .max_concurrent_streams(limits.streams)
            .max_header_list_size(HEADER_BYTES_MAX)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        Self {
            routes: Receiving::new(routes, ReceiveBudget::new(limits.receive_bytes)),
            http2,
            windows: WindowPool::new(limits.window_bytes),
            draining: watch::Sender::new(false),
            connections: JoinSet::new(),
        }
    }

    fn take(&mut self, connection: Accepted) {
        let window = self.windows.take();
        let mut http2 = self.http2.clone();
        http2
            .initial_connection_window_size(window.bytes())
            .initial_stream_window_size(window.bytes().min(STREAM_WINDOW_MAX));
        let routes = self.routes.by(connection.info.clone());
        let draining = self.draining.subscribe();
        self.connections
            .spawn(one(connection, http2, routes, draining, window));
    }

    async fn ended(&mut self) {
        while self.connections.join_next().await.is_some() {}
    }
}

/// Serves one connection to its end. The window and the place are given back with it.
async fn one(
    connection: Accepted,
    http2: http2::Builder<TokioExecutor>,
    routes: receive::By,
    mut draining: watch::Receiver<bool>,
    _window: Window,
) {
    let Accepted {
        stream,
        info,
        place: _place,
    } = connection;
    // One that says nothing at all would hold its place until it goes: pings begin with the first bytes.
    if tokio::time::timeout(PING_TIMEOUT, stream.readable())
        .await
        .is_err()
    {
        return;
    }
    let mut serving = pin!(http2.serve_connection(TokioIo::new(stream), routes));
    let ended = tokio::select! {
        ended = &mut serving => ended,
        () = turned(&mut draining) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(listener = %info.listener, peer = %info.peer, %error, "a connection ended badly");
    }
}

/// Waits until it is true, or whoever could say so is gone.
async fn turned(watch: &mut watch::Receiver<bool>) {
    let _ = watch.wait_for(|is| *is).await;
}

#[cfg(test)]
mod tests;
