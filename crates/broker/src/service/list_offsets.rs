//! ListOffsets: earliest, latest, by time.

use super::position::{self, Found};
use super::route::{not_too_many, shown};
use crate::admit::RequestContext;
use crate::data_plane::DataPlane;
use quipu_proto::{Failure, v1};
use quipu_record::ErrorCode;
use std::time::Duration;

/// How long a new leader may take to learn how far the log is committed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves one call.
pub(super) async fn list(
    plane: &DataPlane,
    context: &RequestContext,
    request: v1::ListOffsetsRequest,
) -> Result<v1::ListOffsetsResponse, Failure> {
    v1::Routing::from_wire(request.routing)?;
    not_too_many("queries", request.queries.len())?;
    let mut results = Vec::with_capacity(request.queries.len());
    for query in request.queries {
        results.push(one(plane, context, query).await);
    }
    Ok(v1::ListOffsetsResponse {
        results,
        throttle_ms: context.throttle_ms(),
    })
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
