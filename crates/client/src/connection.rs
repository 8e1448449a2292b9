//! Connections to brokers: how they are set up, and which are kept.

use crate::config::{ClientConfig, ConfigError};
use crate::loopback::Loopback;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use tonic::metadata::AsciiMetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// What one stream may receive ahead of its reader.
const STREAM_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// What one connection may receive ahead of its readers.
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// Large frames: fewer of them per batch.
const FRAME_BYTES_MAX: u32 = 1024 * 1024;
/// The largest message taken: a frame of a fetch is 32 MiB at most, and one batch always comes whole.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The name under which brokers find the client id in a request's metadata.
const CLIENT_ID: &str = "quipu-client-id";

/// A connection on which every request says who sends it.
pub(crate) type Connection = InterceptedService<Channel, SayClientId>;

/// Puts the client id on a request.
#[derive(Clone, Debug)]
pub(crate) struct SayClientId(AsciiMetadataValue);

impl Interceptor for SayClientId {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert(CLIENT_ID, self.0.clone());
        Ok(request)
    }
}

/// A kept connection, and which one it was: whoever finds it broken gives it up, and not its successor.
#[derive(Clone)]
pub(crate) struct Lease {
    pub(crate) connection: Connection,
    number: u64,
}

/// Connections by address.
pub(crate) struct Pool {
    config: ClientConfig,
    client_id: SayClientId,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    by_address: HashMap<String, Lease>,
    next_number: u64,
}

impl Pool {
    pub(crate) fn new(config: ClientConfig) -> Result<Self, ConfigError> {
        let client_id = config.client_id.parse().map_err(|_| ConfigError {
            field: "client_id",
            problem: format!(
                "{:?} has characters that are not printable ASCII",
                config.client_id
            ),
        })?;
        Ok(Self {
            client_id: SayClientId(client_id),
            config,
            kept: Mutex::default(),
        })
    }

    /// A new connection that nobody shares: for a stream that carries a lot.
    pub(crate) async fn connect(&self, address: &str) -> Result<Connection, String> {
        let endpoint = self.endpoint(address)?;
        let connected = match Loopback::of(address) {
            Some(loopback) => endpoint.connect_with_connector(loopback).await,
            None => endpoint.connect().await,
        };
        let channel = connected.map_err(|error| {
            let reason = root_cause(&error);
            format!("{address}: {reason}")
        })?;
        Ok(InterceptedService::new(channel, self.client_id.clone()))
    }

    /// The kept connection to an address, or a new one, which is then kept.
    pub(crate) async fn lease(&self, address: &str) -> Result<Lease, String> {
        if let Some(lease) = self.lock().by_address.get(address) {
            return Ok(lease.clone());
        }
        let connection = self.connect(address).await?;
        let mut kept = self.lock();
        kept.next_number += 1;
        let lease = Lease {
            connection,
            number: kept.next_number,
        };
        kept.by_address.insert(address.to_owned(), lease.clone());
        Ok(lease)
    }

    /// Keeps this connection no longer: it broke.
    pub(crate) fn give_up(&self, address: &str, broken: &Lease) {
        let mut kept = self.lock();
        if kept
            .by_address
            .get(address)
            .is_some_and(|lease| lease.number == broken.number)
        {
            kept.by_address.remove(address);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn endpoint(&self, address: &str) -> Result<Endpoint, String> {
        let uri = format!("http://{address}");
        let endpoint = Endpoint::from_shared(uri).map_err(|_| format!("{address:?} is not host:port"))?;
        Ok(endpoint
            .connect_timeout(self.config.connect_timeout)
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES_MAX)
            .http2_keep_alive_interval(self.config.keep_alive_interval)
            .keep_alive_timeout(self.config.keep_alive_timeout)
            .keep_alive_while_idle(true))
    }
}

/// The innermost error: "transport error" helps nobody, "connection refused" does.
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Whether the transport says that a request cannot have reached the broker.
pub(crate) fn never_sent(status: &Status) -> bool {
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// What a status of the transport's says, for a person.
pub(crate) fn describe(status: &Status) -> String {
    match std::error::Error::source(status) {
        Some(source) => format!("{}: {}", status.code(), root_cause(source)),
        None if status.message().is_empty() => status.code().to_string(),
        None => format!("{}: {}", status.code(), status.message()),
    }
}
