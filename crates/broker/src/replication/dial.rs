//! Where other brokers are, and connections to them.

use crate::config::INTERNAL;
use quipu_metadata::{ClusterId, Image};
use quipu_proto::internal::replica_service_client::ReplicaServiceClient;
use quipu_record::{BrokerEpoch, BrokerId};
use std::time::Duration;
use tonic::transport::{Channel, Endpoint, Error};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection whose other end is gone without a word is noticed within the sum of these.
const PING_INTERVAL: Duration = Duration::from_secs(2);
const PING_TIMEOUT: Duration = Duration::from_secs(3);
const STREAM_WINDOW: u32 = 8 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
const FRAME_BYTES_MAX: u32 = 1 << 20;

/// A broker in one lifetime, and this one in one of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Address {
    /// Its cluster.
    pub(crate) cluster: ClusterId,
    /// host:port of its internal listener.
    pub(crate) internal: String,
    /// Its lifetime.
    pub(crate) epoch: BrokerEpoch,
    /// The lifetime of this broker.
    pub(crate) me: BrokerEpoch,
}

/// Where a broker is now; `None`: it is not registered, or has no internal listener.
pub(crate) fn address(image: &Image, broker: BrokerId, me: BrokerEpoch) -> Option<Address> {
    let broker = image.broker(broker)?;
    let internal = broker
        .listeners
        .iter()
        .find(|listener| listener.name == INTERNAL)?;
    Some(Address {
        cluster: image.cluster_id()?,
        internal: internal.advertised.clone(),
        epoch: broker.epoch,
        me,
    })
}

/// How a broker is connected to.
pub(crate) fn endpoint(address: &str) -> Result<Endpoint, Error> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_BYTES_MAX))
}

/// Connects to a broker's ReplicaService.
pub(super) async fn connect(
    address: &str,
    message_bytes_max: usize,
) -> Result<ReplicaServiceClient<Channel>, Error> {
    let channel = endpoint(address)?.connect().await?;
    Ok(ReplicaServiceClient::new(channel).max_decoding_message_size(message_bytes_max))
}
