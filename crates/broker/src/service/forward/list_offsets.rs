//! Queries of ListOffsets.

use super::{Peer, failed, timed};
use quipu_proto::v1::consume_service_client::ConsumeServiceClient;
use quipu_proto::{Failure, v1};
use quipu_record::ErrorCode;
use std::time::Duration;

/// Asks another broker; one result for each query.
pub(crate) async fn list_offsets(
    peer: &Peer,
    queries: Vec<v1::OffsetQuery>,
    patience: Duration,
) -> Result<Vec<v1::OffsetResult>, Failure> {
    let count = queries.len();
    let request = v1::ListOffsetsRequest {
        queries,
        routing: v1::Routing::LeaderOnly.into(),
    };
    let mut client = ConsumeServiceClient::new(peer.channel.clone());
    let response = client.list_offsets(timed(request, patience)).await;
    let results = response
        .map_err(|status| failed(&status, peer, false))?
        .into_inner()
        .results;
    if results.len() != count {
        let told = format!(
            "broker {} answered {} of {count} queries",
            peer.broker,
            results.len()
        );
        return Err(Failure::new(ErrorCode::Internal, told));
    }
    Ok(results)
}
