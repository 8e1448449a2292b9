//! ListOffsets: earliest, latest, by time.

use super::forward::{self, Target, may_forward};
use super::position::{self, Found};
use super::route::{not_too_many, shown};
use crate::admit::RequestContext;
use crate::data_plane::DataPlane;
use quipu_proto::{Failure, v1};
use quipu_record::{BrokerId, ErrorCode};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long a new leader may take to learn how far the log is committed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves one call.
pub(super) async fn list(
    plane: &DataPlane,
    context: &RequestContext,
    request: v1::ListOffsetsRequest,
) -> Result<v1::ListOffsetsResponse, Failure> {
    let forward = may_forward(context, request.routing)?;
    not_too_many("queries", request.queries.len())?;
    let mut results = vec![v1::OffsetResult::default(); request.queries.len()];
    let mut elsewhere: BTreeMap<BrokerId, Vec<(usize, Target, v1::OffsetQuery)>> = BTreeMap::new();
    for (place, query) in request.queries.into_iter().enumerate() {
        let id = query.topic_id.as_deref();
        match plane
            .target(&query.topic, id, query.partition)
            .filter(|_| forward)
        {
            Some(target) => {
                let asked = elsewhere.entry(target.peer.broker).or_default();
                asked.push((place, target, query));
            }
            None => results[place] = one(plane, context, query).await,
        }
    }
    for asked in elsewhere.into_values() {
        for (place, result) in ask(plane, context, asked).await {
            results[place] = result;
        }
    }
    Ok(v1::ListOffsetsResponse {
        results,
        throttle_ms: context.throttle_ms(),
    })
}

/// Queries that one task answers.
const SHARE: usize = 64;

/// Answers what this broker itself wants to know, wherever the partitions are led; all leaders at once.
pub(super) async fn anywhere(
    plane: &Arc<DataPlane>,
    context: &RequestContext,
    queries: Vec<v1::OffsetQuery>,
) -> Vec<v1::OffsetResult> {
    // It is this broker that asks, by whatever listener the one came in for whom it does.
    let mut context = context.clone();
    context.listener = Arc::from("");
    let mut by_leader: BTreeMap<Option<BrokerId>, Vec<(usize, v1::OffsetQuery)>> = BTreeMap::new();
    let mut results = Vec::with_capacity(queries.len());
    for (place, query) in queries.into_iter().enumerate() {
        results.push(unanswered(&query));
        let target = plane.target(&query.topic, query.topic_id.as_deref(), query.partition);
        let leader = target.map(|target| target.peer.broker);
        by_leader.entry(leader).or_default().push((place, query));
    }
    let mut asked = JoinSet::new();
    for queries in by_leader.values().flat_map(|queries| queries.chunks(SHARE)) {
        let (plane, context) = (Arc::clone(plane), context.clone());
        let (places, queries): (Vec<_>, Vec<_>) = queries.iter().cloned().unzip();
        asked.spawn(async move {
            let request = v1::ListOffsetsRequest {
                queries,
                ..v1::ListOffsetsRequest::default()
            };
            let listed = list(&plane, &context, request).await;
            let listed = listed.map(|listed| listed.results).unwrap_or_default();
            places.into_iter().zip(listed).collect::<Vec<_>>()
        });
    }
    while let Some(answered) = asked.join_next().await {
        // A panic there has said so itself: its queries are unanswered.
        for (place, result) in answered.unwrap_or_default() {
            results[place] = result;
        }
    }
    results
}

fn unanswered(query: &v1::OffsetQuery) -> v1::OffsetResult {
    v1::OffsetResult {
        topic: query.topic.clone(),
        partition: query.partition,
        error: Some(Failure::new(ErrorCode::Internal, "a query was not answered").into()),
        ..v1::OffsetResult::default()
    }
}

/// Asks another broker, which leads these.
async fn ask(
    plane: &DataPlane,
    context: &RequestContext,
    asked: Vec<(usize, Target, v1::OffsetQuery)>,
) -> Vec<(usize, v1::OffsetResult)> {
    let Some((_, Target { peer, .. }, _)) = asked.first() else {
        return Vec::new();
    };
    let queries = asked.iter().map(|(_, _, query)| query.clone()).collect();
    let answer = forward::list_offsets(peer, queries, context.at_most(PATIENCE)).await;
    let results = match answer {
        Ok(results) => results,
        Err(failure) => asked
            .iter()
            .map(|(_, target, query)| v1::OffsetResult {
                topic: target.topic.name.to_string(),
                topic_id: target.topic.id_text.clone(),
                partition: query.partition,
                error: Some(failure.clone().into()),
                ..v1::OffsetResult::default()
            })
            .collect(),
    };
    let results = results.into_iter().zip(asked);
    results
        .map(|(mut result, (place, target, _))| {
            result.error = plane.relayed_item(result.error, &target, &context.listener);
            (place, result)
        })
        .collect()
}

async fn one(plane: &DataPlane, context: &RequestContext, query: v1::OffsetQuery) -> v1::OffsetResult {
    let listener = &context.listener;
    let replica = plane.find(&query.topic, query.topic_id.as_deref(), query.partition, listener);
    let (topic_id, found) = match replica {
        Err(failure) => (
            shown(query.topic_id.as_deref().unwrap_or_default()).to_owned(),
            Err(failure),
        ),
        Ok(replica) => {
            let found = match &query.at {
                None => Err(Failure::new(
                    ErrorCode::InvalidRequest,
                    "query.at is missing: give earliest, latest, timestamp_ms or offset",
                )),
                at => {
                    let patience = context.at_most(PATIENCE);
                    position::find(plane, &replica, at.as_ref(), listener, patience).await
                }
            };
            (replica.topic.id_text.clone(), found)
        }
    };
    let at = v1::OffsetResult {
        topic: shown(&query.topic).to_owned(),
        topic_id,
        partition: query.partition,
        ..v1::OffsetResult::default()
    };
    match found {
        Ok(Found {
            offset,
            timestamp,
            leader_epoch,
        }) => v1::OffsetResult {
            offset: offset.get(),
            timestamp_ms: timestamp.map(|time| time.get()),
            leader_epoch: leader_epoch.get(),
            ..at
        },
        Err(failure) => {
            plane.metrics.error(context.api, failure.code);
            v1::OffsetResult {
                error: Some(failure.into()),
                ..at
            }
        }
    }
}
