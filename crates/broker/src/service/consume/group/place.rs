//! Where a member begins in a partition: where the group is, else where the stream says.

use super::super::cursor::Place;
use super::super::open::PATIENCE;
use super::super::remote;
use crate::admit::RequestContext;
use crate::data_plane::DataPlane;
use crate::service::position;
use quipu_coordinator::{AssignmentEpoch, GroupId};
use quipu_proto::v1::start_position::Position;
use quipu_proto::{Failure, v1};
use quipu_record::{ErrorCode, Offset, TopicPartition};
use std::time::Duration;
use tokio::time::Instant;

/// For so long what passes is waited out before the client hears of it.
const QUIET: Duration = Duration::from_secs(3);
const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// A partition to begin in.
pub(super) struct Wanted {
    pub(super) group: GroupId,
    pub(super) at: TopicPartition,
    pub(super) epoch: AssignmentEpoch,
    pub(super) committed: Option<Offset>,
    pub(super) start: Option<v1::StartPosition>,
}

/// What was found.
pub(in super::super) struct Found {
    pub(super) at: TopicPartition,
    pub(super) epoch: AssignmentEpoch,
    pub(super) committed: Option<Offset>,
    pub(super) place: Result<(Place, v1::OpenedPartition), Failure>,
}

/// Finds where to begin; what passes is waited for, for a while.
pub(super) async fn find(plane: &DataPlane, context: &RequestContext, wanted: Wanted) -> Found {
    let until = Instant::now() + QUIET;
    let mut pause = PAUSE_FIRST;
    let place = loop {
        match begin(plane, context, &wanted).await {
            Err(failure) if passes(failure.code) && Instant::now() + pause < until => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            settled => break settled,
        }
    };
    Found {
        at: wanted.at,
        epoch: wanted.epoch,
        committed: wanted.committed,
        place,
    }
}

/// Whether it may be otherwise in a moment: also a topic that this broker has not heard of yet.
fn passes(code: ErrorCode) -> bool {
    code.retryable() || code == ErrorCode::UnknownTopicOrPartition
}

fn start(position: Position) -> v1::StartPosition {
    v1::StartPosition {
        position: Some(position),
    }
}

async fn begin(
    plane: &DataPlane,
    context: &RequestContext,
    wanted: &Wanted,
) -> Result<(Place, v1::OpenedPartition), Failure> {
    let policy = wanted
        .start
        .unwrap_or_else(|| start(Position::Earliest(v1::Earliest {})));
    let first = match wanted.committed {
        Some(offset) => start(Position::Offset(offset.get())),
        None => policy,
    };
    match at(plane, context, wanted.at, first).await {
        Err(failure) if failure.code == ErrorCode::OffsetOutOfRange => {}
        settled => return settled,
    }
    // The group, or the client, names an offset that is not in the log.
    let earliest = start(Position::Earliest(v1::Earliest {}));
    let begin = at(plane, context, wanted.at, earliest).await?;
    let named = match first.position {
        Some(Position::Offset(offset)) => offset,
        _ => 0,
    };
    let (log_start, high_watermark) = (begin.1.log_start, begin.1.high_watermark);
    let found = match (named < log_start, wanted.committed) {
        (true, _) => begin,
        (false, Some(_)) => match at(plane, context, wanted.at, policy).await {
            Err(failure) if failure.code == ErrorCode::OffsetOutOfRange => {
                at(plane, context, wanted.at, start(Position::Latest(v1::Latest {}))).await?
            }
            settled => settled?,
        },
        (false, None) => at(plane, context, wanted.at, start(Position::Latest(v1::Latest {}))).await?,
    };
    tracing::warn!(
        group = %wanted.group, partition = %wanted.at, named, committed = wanted.committed.is_some(), log_start,
        high_watermark, begins_at = found.1.offset,
        "the offset to begin at is not in the log"
    );
    Ok(found)
}

/// Finds one position, wherever the partition is led.
async fn at(
    plane: &DataPlane,
    context: &RequestContext,
    at: TopicPartition,
    position: v1::StartPosition,
) -> Result<(Place, v1::OpenedPartition), Failure> {
    let unknown = || {
        Failure::new(
            ErrorCode::UnknownTopicOrPartition,
            "this broker does not know the topic, or not any more",
        )
    };
    let topic = plane.topics.get(at.topic).ok_or_else(unknown)?;
    let (name, id) = (&topic.info.name, &topic.info.id_text);
    let mut opened = v1::OpenedPartition {
        topic: name.to_string(),
        topic_id: id.clone(),
        partition: at.partition.get(),
        ..v1::OpenedPartition::default()
    };
    if let Some(target) = plane.target(name, Some(id), at.partition.get()) {
        let (there, offset) = remote::open(plane, context, &target, Some(position)).await?;
        opened.offset = offset.get();
        (opened.high_watermark, opened.log_start) = (there.high_watermark, there.log_start);
        return Ok((Place::There(there), opened));
    }
    let replica = plane.replica(&topic, at.partition.get(), &context.listener)?;
    let found = position::find(plane, &replica, Some(&position), &context.listener, PATIENCE).await?;
    let view = replica.view();
    opened.offset = found.offset.get();
    (opened.high_watermark, opened.log_start) = (view.high_watermark.get(), view.log_start.get());
    Ok((Place::Here(replica), opened))
}
