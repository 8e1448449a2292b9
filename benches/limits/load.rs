//! The load that leaves recovery the most to do: batches of one record of 100 bytes each.

use crate::support::Result;
use bytes::Bytes;
use quipu_proto::v1::produce_service_client::ProduceServiceClient;
use quipu_proto::v1::{Batch, ProduceStreamRequest, batch};
use quipu_record::{BatchBuilder, Codec, Timestamp};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;

const VALUE_BYTES: usize = 100;
/// Batches that wait to be sent.
const DEPTH: usize = 4096;

fn single() -> Result<Bytes> {
    let mut builder = BatchBuilder::new(Codec::None, VALUE_BYTES + 100);
    let now = Timestamp::new(jiff::Timestamp::now().as_millisecond());
    builder.push(now, None, Some(&[b'x'; VALUE_BYTES]), &[])?;
    Ok(builder.finish(None)?)
}

/// Sends single records to a partition as fast as they are acknowledged, until the connection breaks: how many were.
pub(crate) async fn until_broken(address: &str, topic: &str) -> Result<u64> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    let mut client = ProduceServiceClient::new(endpoint.connect().await?);
    let (sender, receiver) = tokio::sync::mpsc::channel(DEPTH);
    let (encoded, topic) = (single()?, topic.to_owned());
    let sending = tokio::spawn(async move {
        for request_id in 0.. {
            let batch = Batch {
                topic: topic.clone(),
                partition: Some(0),
                payload: Some(batch::Payload::Encoded(encoded.clone())),
                ..Batch::default()
            };
            let message = ProduceStreamRequest {
                request_id,
                batch: Some(batch),
                ..ProduceStreamRequest::default()
            };
            if sender.send(message).await.is_err() {
                return;
            }
        }
    });
    let mut answers = client
        .produce_stream(ReceiverStream::new(receiver))
        .await?
        .into_inner();
    let mut acknowledged = 0;
    // It ends with the broker: that is no fault.
    while let Ok(Some(answer)) = answers.message().await {
        if let Some(error) = answer.result.and_then(|result| result.error) {
            return Err(error.message.into());
        }
        acknowledged += 1;
    }
    sending.abort();
    Ok(acknowledged)
}
