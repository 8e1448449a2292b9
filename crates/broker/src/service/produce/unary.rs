//! Produce: some batches, and one answer when each has what it asked for.

use super::intake::{held_bytes, take, take_in, target};
use super::outcome;
use super::submit::{acks, charge, patience, submit};
use crate::admit::RequestContext;
use crate::data_plane::DataPlane;
use crate::metrics::Stage;
use crate::partition::reply::Tag;
use crate::service::forward::{self, Peer, Target, may_forward};
use crate::service::route::not_too_many;
use quipu_proto::{Failure, v1};
use quipu_record::BrokerId;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Serves one call.
pub(super) async fn produce(
    plane: &DataPlane,
    context: &RequestContext,
    mut request: v1::ProduceRequest,
) -> Result<v1::ProduceResponse, Failure> {
    let acks = acks(request.acks)?;
    let forward = may_forward(context, request.routing)?;
    not_too_many("batches", request.batches.len())?;
    let patience = patience(context, request.timeout_ms);
    let bytes = request.batches.iter().map(held_bytes).sum();
    // One charge for all: batches of one call that waited for each other's memory could wait for ever.
    let _charge = charge(plane, bytes, patience).await?;
    let deadline = plane.clock.tick(context.admitted + patience);
    let received = plane.clock.tick(context.admitted);

    let mut results: Vec<Option<v1::BatchResult>> = vec![None; request.batches.len()];
    let mut elsewhere = Elsewhere::default();
    let (to, mut answers) = mpsc::unbounded_channel();
    for (lane, batch) in (0u32..).zip(&mut request.batches) {
        if forward && let Some(target) = target(plane, batch) {
            elsewhere.add(lane as usize, target, batch);
            continue;
        }
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
    let mut elsewhere = elsewhere.produce(request.acks, patience);
    plane
        .metrics
        .observe(context.api, Stage::Local, context.admitted.elapsed());
    let submitted = Instant::now();
    while let Some(answered) = answers.recv().await {
        let result = outcome::answered(plane, &context.listener, &answered);
        results[answered.tag.lane as usize] = Some(result);
    }
    while let Some(answered) = elsewhere.join_next().await {
        // A panic there has said so itself: its batches are unanswered.
        for (place, target, mut result) in answered.unwrap_or_default() {
            result.error = plane.relayed_item(result.error, &target, &context.listener);
            results[place] = Some(result);
        }
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

/// The batches that other brokers append, by leader: each with its place in the call.
#[derive(Default)]
struct Elsewhere {
    by_leader: BTreeMap<BrokerId, (Peer, Vec<Placed>, Vec<v1::Batch>)>,
}

/// A batch's place in the call, and where it goes.
type Placed = (usize, Target);

type Answered = Vec<(usize, Target, v1::BatchResult)>;

impl Elsewhere {
    fn add(&mut self, place: usize, target: Target, batch: &mut v1::Batch) {
        let peer = target.peer.clone();
        let (_, targets, batches) = self
            .by_leader
            .entry(peer.broker)
            .or_insert_with(|| (peer, Vec::new(), Vec::new()));
        batches.push(take(batch));
        targets.push((place, target));
    }

    /// Sends them, all leaders at once.
    fn produce(self, acks: i32, patience: Duration) -> JoinSet<Answered> {
        let mut asked = JoinSet::new();
        for (peer, targets, batches) in self.by_leader.into_values() {
            asked.spawn(async move {
                let results = match forward::produce(&peer, batches, acks, patience).await {
                    Ok(results) => results,
                    Err(failure) => {
                        let failed = |(_, target): &(usize, Target)| target.failed(failure.clone());
                        targets.iter().map(failed).collect()
                    }
                };
                let placed = targets.into_iter().zip(results);
                placed
                    .map(|((place, target), result)| (place, target, result))
                    .collect()
            });
        }
        asked
    }
}
