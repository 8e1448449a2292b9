//! Messages to other controllers.

use super::MESSAGE_MAX;
use super::message::{chunk_message, header_message, peer_status};
use crate::transport::{Header, PeerStatus, SnapshotChunk, Transport, TransportError};
use bytes::Bytes;
use quipu_proto::internal as wire;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};
use wire::controller_service_client::ControllerServiceClient;
use wire::raft_service_client::RaftServiceClient;

/// How often a silent connection is asked whether it lives, and how long it may take to answer: TCP alone would wait for
/// a quarter of an hour.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// How long it may take to connect.
const CONNECT: Duration = Duration::from_secs(2);

/// Messages by gRPC: one connection to each controller, made when it is first needed. Cheap to clone; the clones share the
/// connections.
#[derive(Clone, Debug, Default)]
pub struct GrpcTransport {
    channels: Arc<Mutex<BTreeMap<String, Channel>>>,
}

impl GrpcTransport {
    /// No connections yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn channel(&self, address: &str) -> Result<Channel, TransportError> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(address) {
            return Ok(channel.clone());
        }
        let endpoint =
            Endpoint::from_shared(format!("http://{address}")).map_err(|_| TransportError::Unreachable {
                address: address.to_owned(),
                why: "it is not host:port".to_owned(),
            })?;
        let channel = endpoint
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true)
            .connect_lazy();
        channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }

    fn raft(&self, address: &str) -> Result<RaftServiceClient<Channel>, TransportError> {
        let client = RaftServiceClient::new(self.channel(address)?);
        Ok(client
            .max_decoding_message_size(MESSAGE_MAX)
            .max_encoding_message_size(MESSAGE_MAX))
    }
}

/// Waits for an answer for so long, and no longer.
async fn within<T>(
    address: &str,
    ttl: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, TransportError> {
    match tokio::time::timeout(ttl, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(failed(address, &status)),
        Err(_) => Err(TransportError::Unreachable {
            address: address.to_owned(),
            why: format!("no answer within {} ms", ttl.as_millis()),
        }),
    }
}

fn failed(address: &str, status: &Status) -> TransportError {
    let address = address.to_owned();
    let why = status.message().to_owned();
    match status.code() {
        Code::FailedPrecondition | Code::InvalidArgument | Code::Unimplemented | Code::PermissionDenied => {
            TransportError::Refused { address, why }
        }
        _ => TransportError::Unreachable { address, why },
    }
}

impl Transport for GrpcTransport {
    async fn append(
        &self,
        address: &str,
        header: Header,
        payload: Bytes,
        ttl: Duration,
    ) -> Result<Bytes, TransportError> {
        let mut client = self.raft(address)?;
        let request = wire::AppendEntriesRequest {
            header: Some(header_message(&header)),
            payload,
        };
        let answer = within(address, ttl, client.append_entries(request)).await?;
        Ok(answer.payload)
    }

    async fn vote(
        &self,
        address: &str,
        header: Header,
        payload: Bytes,
        ttl: Duration,
    ) -> Result<Bytes, TransportError> {
        let mut client = self.raft(address)?;
        let request = wire::VoteRequest {
            header: Some(header_message(&header)),
            payload,
        };
        let answer = within(address, ttl, client.vote(request)).await?;
        Ok(answer.payload)
    }

    async fn snapshot(
        &self,
        address: &str,
        header: Header,
        meta: Bytes,
        chunks: Vec<SnapshotChunk>,
        ttl: Duration,
    ) -> Result<Bytes, TransportError> {
        let mut client = self.raft(address)?;
        let first = wire::InstallSnapshotRequest {
            header: Some(header_message(&header)),
            meta,
            chunk: Bytes::new(),
            crc: 0,
        };
        let messages = std::iter::once(first).chain(chunks.into_iter().map(chunk_message));
        let sending = client.install_snapshot(tokio_stream::iter(messages));
        let answer = within(address, ttl, sending).await?;
        Ok(answer.payload)
    }

    async fn status(&self, address: &str, ttl: Duration) -> Result<PeerStatus, TransportError> {
        let mut client = ControllerServiceClient::new(self.channel(address)?);
        let answer = within(address, ttl, client.get_status(wire::GetStatusRequest {})).await?;
        peer_status(answer).map_err(|why| TransportError::Refused {
            address: address.to_owned(),
            why,
        })
    }
}
