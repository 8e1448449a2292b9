//! Produce: some batches, and one answer when each has what it asked for.

use super::intake::{held_bytes, take_in};
use super::outcome;
use super::submit::{acks, charge, patience, submit};
use crate::admit::RequestContext;
use crate::data_plane::DataPlane;
use crate::metrics::Stage;
use crate::partition::reply::Tag;
use crate::service::route::{not_too_many, shown};
use quipu_proto::{Failure, v1};
use quipu_record::ErrorCode;
use std::collections::HashSet;
use std::time::Instant;
use tokio::sync::mpsc;

/// Serves one call.
pub(super) async fn produce(
    plane: &DataPlane,
    context: &RequestContext,
    mut request: v1::ProduceRequest,
) -> Result<v1::ProduceResponse, Failure> {
    let acks = acks(request.acks)?;
    v1::Routing::from_wire(request.routing)?;
    not_too_many("batches", request.batches.len())?;
    once_each(&request.batches)?;
    let patience = patience(context, request.timeout_ms);
    let bytes = request.batches.iter().map(held_bytes).sum();
    // One charge for all: batches of one call that waited for each other's memory could wait for ever.
    let _charge = charge(plane, bytes, patience).await?;
    let deadline = plane.clock.tick(context.admitted + patience);
    let received = plane.clock.tick(context.admitted);

    let mut results: Vec<Option<v1::BatchResult>> = vec![None; request.batches.len()];
    let (to, mut answers) = mpsc::unbounded_channel();
    for (lane, batch) in (0u32..).zip(&mut request.batches) {
        let tag = Tag {
            lane,
            number: 0,
            request: 0,
            acks,
            received,
            held: 0,
        };
        let submitted = match take_in(plane, &context.listener, batch) {
            Ok(intake) => submit(intake, tag, deadline, to.clone(), None).map_err(|(result, _)| *result),
            Err(refusal) => Err(outcome::refused(batch, refusal)),
        };
        results[lane as usize] = submitted.err();
    }
    drop(to);
    plane
        .metrics
        .observe(context.api, Stage::Local, context.admitted.elapsed());
    let submitted = Instant::now();
    while let Some(answered) = answers.recv().await {
        let result = outcome::answered(plane, &context.listener, &answered);
        results[answered.tag.lane as usize] = Some(result);
    }
    plane
        .metrics
        .observe(context.api, Stage::Remote, submitted.elapsed());
    Ok(v1::ProduceResponse {
        results: complete(plane, context, &request.batches, results),
        throttle_ms: context.throttle_ms(),
    })
}

/// Counts what failed, and fills in what nobody answered: its thread is gone.
fn complete(
    plane: &DataPlane,
    context: &RequestContext,
    batches: &[v1::Batch],
    results: Vec<Option<v1::BatchResult>>,
) -> Vec<v1::BatchResult> {
    let results = results.into_iter().zip(batches);
    results
        .map(|(result, batch)| {
            let result = result.unwrap_or_else(|| outcome::unanswered(batch));
            outcome::count(plane, context.api, &result);
            result
        })
        .collect()
}

/// A partition may be named once.
fn once_each(batches: &[v1::Batch]) -> Result<(), Failure> {
    let mut seen = HashSet::new();
    for batch in batches {
        if let Some(partition) = batch.partition
            && !seen.insert((batch.topic.as_str(), partition))
        {
            let topic = shown(&batch.topic);
            return Err(Failure::new(
                ErrorCode::InvalidRequest,
                format!(
                    "partition {partition} of topic {topic:?} is named twice: a call takes one batch for each"
                ),
            ));
        }
    }
    Ok(())
}
