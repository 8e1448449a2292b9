//! DeleteRecords of partitions that one other broker leads.

use super::{Peer, failed, timed};
use quipu_proto::v1::topic_service_client::TopicServiceClient;
use quipu_proto::{Failure, v1};
use quipu_record::ErrorCode;
use std::time::Duration;

/// Asks another broker; one result for each partition.
pub(crate) async fn delete_records(
    peer: &Peer,
    request: v1::DeleteRecordsRequest,
    patience: Duration,
) -> Result<Vec<v1::DeleteRecordsResult>, Failure> {
    let count = request.partitions.len();
    let mut client = TopicServiceClient::new(peer.channel.clone());
    let response = client.delete_records(timed(request, patience)).await;
    // To delete the same once more does no harm.
    let results = response
        .map_err(|status| failed(&status, peer, false))?
        .into_inner()
        .results;
    if results.len() != count {
        let told = format!(
            "broker {} answered {} of {count} partitions",
            peer.broker,
            results.len()
        );
        return Err(Failure::new(ErrorCode::Internal, told));
    }
    Ok(results)
}
