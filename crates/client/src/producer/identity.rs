//! Who a producer is: asked of the cluster at the beginning, and again when a partition no longer takes the old word.

use super::core::Identity;
use crate::error::CallError;
use crate::routing::{Cluster, Operation, bad_answer, timed};
use quipu_proto::v1::produce_service_client::ProduceServiceClient;
use quipu_proto::{Failure, scalars, v1};
use quipu_record::ErrorCode;

/// A new producer id.
pub(super) async fn new_identity(cluster: &Cluster) -> Result<Identity, CallError> {
    // An id that is handed out and not heard of is lost, and there are enough.
    let operation = Operation::repeatable("get a producer id", cluster.config.call_timeout);
    ask(cluster, operation, v1::InitProducerRequest::default()).await
}

/// The same id with the epoch raised, so that what is still on its way under the old one is refused once something came
/// under the new; or a new id, if that fails.
pub(super) async fn raise(cluster: &Cluster, previous: Identity) -> Result<Identity, Failure> {
    let request = v1::InitProducerRequest {
        producer_id: Some(previous.id.get()),
        producer_epoch: Some(previous.epoch.get().into()),
    };
    // Not repeatable: the second time the epoch it names would be the old one.
    let operation = Operation::once("raise the producer's epoch", cluster.config.call_timeout);
    let raised = match ask(cluster, operation, request).await {
        Err(CallError::OutcomeUnknown { .. }) => new_identity(cluster).await,
        Err(CallError::Rejected(failure)) if !failure.retryable => new_identity(cluster).await,
        raised => raised,
    };
    raised.map_err(|error| match error {
        CallError::Rejected(failure) => failure,
        other => Failure::new(ErrorCode::NotReady, other.to_string()),
    })
}

async fn ask(
    cluster: &Cluster,
    operation: Operation,
    request: v1::InitProducerRequest,
) -> Result<Identity, CallError> {
    let answer = cluster.call(operation, |connection, left| {
        let request = timed(request, left);
        async move { ProduceServiceClient::new(connection).init_producer(request).await }
    });
    let answer = answer.await?;
    let identity = || {
        Ok(Identity {
            id: scalars::producer_id(answer.producer_id)?,
            epoch: scalars::producer_epoch(answer.producer_epoch)?,
        })
    };
    identity().map_err(|failure| bad_answer(operation.name, &failure))
}
