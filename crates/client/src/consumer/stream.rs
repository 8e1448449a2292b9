//! One consume stream to one broker, on a connection of its own.

use super::core::StreamId;
use crate::connection::{MESSAGE_BYTES_MAX, describe};
use crate::error::CallError;
use crate::routing::Cluster;
use quipu_proto::v1;
use quipu_proto::v1::consume_service_client::ConsumeServiceClient;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::UnboundedReceiverStream;

/// Brokers send a sign of life every 5 seconds or so: after three of them missing the stream is dead, whatever the
/// connection says.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// What a consumer is told.
#[derive(Debug)]
pub(super) enum Event {
    Came(StreamId, v1::consume_response::Message),
    Ended(StreamId, String),
    Routes(Result<(), CallError>),
}

/// Opens the stream and tells the consumer what comes of it, until it breaks.
pub(super) async fn run(
    cluster: Arc<Cluster>,
    stream: StreamId,
    address: Option<String>,
    requests: mpsc::UnboundedReceiver<v1::ConsumeRequest>,
    tell: mpsc::UnboundedSender<Event>,
) {
    let Err(why) = match address {
        Some(address) => exchange(&cluster, stream, &address, requests, &tell).await,
        None => Err("the leader's address is not known".into()),
    };
    tracing::debug!(stream = stream.0, why, "a consume stream ended");
    // The consumer may be gone.
    let _ = tell.send(Event::Ended(stream, why));
}

async fn exchange(
    cluster: &Cluster,
    stream: StreamId,
    address: &str,
    requests: mpsc::UnboundedReceiver<v1::ConsumeRequest>,
    tell: &mpsc::UnboundedSender<Event>,
) -> Result<std::convert::Infallible, String> {
    let connection = cluster.pool.connect(address).await?;
    let mut client = ConsumeServiceClient::new(connection).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let opening = client.consume(UnboundedReceiverStream::new(requests));
    let answers = timeout(cluster.config.connect_timeout, opening).await;
    let answers = answers.map_err(|_| format!("{address}: the consume stream did not open in time"))?;
    let mut answers = answers
        .map_err(|status| format!("{address}: {}", describe(&status)))?
        .into_inner();
    loop {
        let answer = timeout(SILENCE_MAX, answers.message()).await;
        match answer.map_err(|_| format!("{address}: no sign of life for {SILENCE_MAX:?}"))? {
            Ok(Some(answer)) => {
                if let Some(message) = answer.message
                    && tell.send(Event::Came(stream, message)).is_err()
                {
                    return Err("the consumer is gone".into());
                }
            }
            Ok(None) => return Err(format!("{address}: the broker ended the stream")),
            Err(status) => return Err(format!("{address}: {}", describe(&status))),
        }
    }
}
