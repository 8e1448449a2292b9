//! Batches of one call.

use super::{ANSWER_BYTES_MAX, Peer, Target, failed, timed};
use quipu_proto::v1::produce_service_client::ProduceServiceClient;
use quipu_proto::{Failure, v1};
use quipu_record::ErrorCode;
use std::time::Duration;

/// Has another broker append batches; one result for each.
pub(crate) async fn produce(
    peer: &Peer,
    batches: Vec<v1::Batch>,
    acks: i32,
    patience: Duration,
) -> Result<Vec<v1::BatchResult>, Failure> {
    let count = batches.len();
    let request = v1::ProduceRequest {
        batches,
        acks,
        timeout_ms: u32::try_from(patience.as_millis()).unwrap_or(u32::MAX).max(1),
        routing: v1::Routing::LeaderOnly.into(),
    };
    let mut client =
        ProduceServiceClient::new(peer.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
    let response = client.produce(timed(request, patience)).await;
    let results = response
        .map_err(|status| failed(&status, peer, true))?
        .into_inner()
        .results;
    if results.len() != count {
        let told = format!(
            "broker {} answered {} of {count} batches",
            peer.broker,
            results.len()
        );
        return Err(Failure::new(ErrorCode::Internal, told));
    }
    Ok(results)
}

impl Target {
    /// The result of a batch that did not get there, or of which nobody knows.
    pub(crate) fn failed(&self, failure: Failure) -> v1::BatchResult {
        v1::BatchResult {
            topic: self.topic.name.to_string(),
            topic_id: self.topic.id_text.clone(),
            partition: self.at.partition.get(),
            error: Some(failure.into()),
            ..v1::BatchResult::default()
        }
    }
}
