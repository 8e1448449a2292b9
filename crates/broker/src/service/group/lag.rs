//! How far a group is behind: the log start and the high watermark of its partitions, asked of their leaders, all at once.

use crate::admit::RequestContext;
use crate::data_plane::DataPlane;
use crate::service::list_offsets;
use quipu_proto::v1;
use quipu_proto::v1::start_position::Position;
use std::sync::Arc;

/// Adds the lag where the partition's leader answers.
pub(super) async fn join(
    plane: &Arc<DataPlane>,
    context: &RequestContext,
    mut described: v1::DescribeGroupResponse,
) -> v1::DescribeGroupResponse {
    let partitions: Vec<_> = described
        .offsets
        .iter()
        .map(|offset| offset.partition.clone().unwrap_or_default())
        .collect();
    let ends = ends(plane, context, &partitions).await;
    for (offset, (log_start, high_watermark)) in described.offsets.iter_mut().zip(ends) {
        offset.log_start = log_start.ok();
        offset.high_watermark = high_watermark.ok();
    }
    described
}

/// An offset, or why it is not known.
type Told = Result<u64, v1::ItemError>;

/// Log start and high watermark of each.
pub(super) async fn ends(
    plane: &Arc<DataPlane>,
    context: &RequestContext,
    partitions: &[v1::GroupPartition],
) -> Vec<(Told, Told)> {
    let earliest = Position::Earliest(v1::Earliest {});
    let latest = Position::Latest(v1::Latest {});
    let (starts, ends) = tokio::join!(
        found(plane, context, partitions, earliest),
        found(plane, context, partitions, latest)
    );
    let told = |result: v1::OffsetResult| match result.error {
        Some(error) => Err(error),
        None => Ok(result.offset),
    };
    starts
        .into_iter()
        .map(told)
        .zip(ends.into_iter().map(told))
        .collect()
}

/// One position in each partition, wherever it is led.
pub(super) async fn found(
    plane: &Arc<DataPlane>,
    context: &RequestContext,
    partitions: &[v1::GroupPartition],
    position: Position,
) -> Vec<v1::OffsetResult> {
    let query = |partition: &v1::GroupPartition| v1::OffsetQuery {
        topic: partition.topic.clone(),
        topic_id: Some(partition.topic_id.clone()),
        partition: partition.partition,
        at: Some(v1::StartPosition {
            position: Some(position),
        }),
    };
    list_offsets::anywhere(plane, context, partitions.iter().map(query).collect()).await
}
