//! The gRPC server: its HTTP/2 settings, and what bounds it. Services come from [`crate::service`], connections from
//! [`listener`].

pub mod listener;
mod receive;

pub use listener::{Address, BindError, Bound};

use crate::config::LimitsConfig;
use listener::Connection;
use receive::{ReceiveBudget, Receiving};
use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::transport::Server;

/// One megabyte-sized batch at a time would stall on the default 64 KiB.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
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

fn settings(limits: &LimitsConfig) -> Server {
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_concurrent_streams(limits.streams)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
}

/// Serves what comes in by `listeners` until `drain` completes; then says GOAWAY, accepts nothing more, and returns
/// when every connection has ended.
///
/// # Errors
/// Never in practice: what goes wrong with a connection ends that connection.
pub async fn serve(
    listeners: Vec<Bound>,
    routes: Routes,
    limits: &LimitsConfig,
    drain: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let (accepted, incoming) = mpsc::channel::<Result<Connection, Infallible>>(BACKLOG);
    let mut accepting = JoinSet::new();
    for bound in listeners {
        accepting.spawn(bound.accept(accepted.clone()));
    }
    drop(accepted);
    let service = Receiving::new(routes, ReceiveBudget::new(limits.receive_bytes));
    // Dropped together with this future, the accepting tasks end and the ports are free.
    let drain = async move {
        drain.await;
        accepting.shutdown().await;
    };
    settings(limits)
        .serve_with_incoming_shutdown(service, ReceiverStream::new(incoming), drain)
        .await
}

#[cfg(test)]
mod tests;
