//! What is asked of a coordinator that is another broker: one call to its internal listener, over the connection that all
//! forwarding shares.

use super::convert::{self, error_of};
use super::unexpected;
use crate::data_plane::DataPlane;
use crate::service::forward::{self, Peer};
use quipu_coordinator::{GroupError, OffsetsQuery, Request, Response};
use quipu_proto::v1;
use quipu_record::{ErrorCode, LeaderEpoch, TopicPartition};
use tokio::time::Instant;

/// Asks another broker, which leads the group's partition in this epoch.
pub(super) async fn ask(
    plane: &DataPlane,
    (peer, epoch): (&Peer, LeaderEpoch),
    request: Request,
    until: Instant,
) -> Result<Response, GroupError> {
    let patience = until.saturating_duration_since(Instant::now());
    match request {
        Request::Heartbeat(heartbeat) => {
            let request = convert::heartbeat_request_to_wire(heartbeat);
            let answer = forward::group_heartbeat(peer, request, patience)
                .await
                .map_err(error_of)?;
            let answer = convert::heartbeat_from_wire(answer).map_err(error_of)?;
            Ok(Response::Heartbeat(answer))
        }
        Request::Leave(leave) => {
            let request = convert::leave_to_wire(&leave);
            forward::leave_group(peer, request, patience)
                .await
                .map_err(error_of)?;
            Ok(Response::Left)
        }
        Request::Commit(commit) => {
            let places: Vec<_> = commit.offsets.iter().map(|offset| offset.at).collect();
            let request = convert::commit_to_wire(commit, epoch);
            self::commit(plane, peer, request, &places, patience).await
        }
        Request::Offsets(query) => offsets(peer, query, patience).await,
        _ => Err(unexpected()),
    }
}

async fn commit(
    plane: &DataPlane,
    peer: &Peer,
    request: v1::CommitOffsetsRequest,
    places: &[TopicPartition],
    patience: std::time::Duration,
) -> Result<Response, GroupError> {
    let answer = forward::commit_offsets(peer, request, patience)
        .await
        .map_err(error_of)?;
    let results = convert::committed_from_wire(answer);
    if results.len() != places.len() {
        return Err(unexpected());
    }
    let image = plane.image.load();
    let behind = results.iter().zip(places).any(|(result, at)| {
        let unknown = |error: &GroupError| error.code() == ErrorCode::UnknownTopicOrPartition;
        result.as_ref().is_err_and(unknown) && image.partition(*at).is_some()
    });
    if behind {
        // A partition that was just made; nothing was committed.
        return Err(GroupError::host(
            ErrorCode::CoordinatorNotAvailable,
            "the group's coordinator has not heard of the partition yet: ask again in a moment",
        ));
    }
    Ok(Response::Committed(results))
}

async fn offsets(
    peer: &Peer,
    query: OffsetsQuery,
    patience: std::time::Duration,
) -> Result<Response, GroupError> {
    if query.partitions.as_ref().is_some_and(Vec::is_empty) {
        return Ok(Response::Offsets(Vec::new()));
    }
    let asked = query.partitions.as_ref().map(Vec::len);
    let request = convert::query_to_wire(&query);
    let answer = forward::get_offsets(peer, request, patience)
        .await
        .map_err(error_of)?;
    let offsets = convert::offsets_from_wire(answer).map_err(error_of)?;
    if asked.is_some_and(|asked| asked != offsets.len()) {
        return Err(unexpected());
    }
    Ok(Response::Offsets(offsets))
}
