//! The first message of a stream: what to consume, and how.

use super::cursor::{Cursors, Place};
use super::frame::Delivery;
use super::remote;
use crate::admit::RequestContext;
use crate::data_plane::DataPlane;
use crate::service::fetch::DECODED_BYTES_MAX;
use crate::service::forward::may_forward;
use crate::service::position;
use crate::service::route::{not_too_many, shown};
use quipu_proto::v1::open::Source;
use quipu_proto::{Failure, v1};
use quipu_record::ErrorCode;
use std::time::Duration;

const FRAME_BYTES_DEFAULT: usize = 1 << 20;
const ENCODED_FRAME_BYTES_MAX: usize = 32 << 20;
/// How long a new leader may take to learn how far the log is committed.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Opens what `open` asks; says whether it may be asked of other brokers. A partition that cannot be opened says so in the answer; the others go on.
pub(super) async fn open(
    plane: &DataPlane,
    context: &RequestContext,
    open: v1::Open,
) -> Result<(Cursors, bool, v1::Opened), Failure> {
    let forward = may_forward(context, open.routing)?;
    let Some(Source::Partitions(v1::OpenPartitions { partitions })) = open.source else {
        return Err(invalid(
            "open.source is missing: name the partitions to consume, or a group",
        ));
    };
    if partitions.is_empty() {
        return Err(invalid(
            "open.partitions is empty: name the partitions to consume",
        ));
    }
    not_too_many("open.partitions", partitions.len())?;
    let mut cursors = Cursors::default();
    let mut opened = Vec::with_capacity(partitions.len());
    for asked in partitions {
        opened.push(one(plane, context, forward, asked, &mut cursors).await?);
    }
    Ok((
        cursors,
        forward,
        v1::Opened {
            partitions: opened,
            membership: None,
        },
    ))
}

/// How records are to go out.
pub(super) fn delivery(open: &v1::Open) -> Result<Delivery, Failure> {
    let decoded = v1::Format::from_wire(open.format)? == v1::Format::Records;
    let max = if decoded {
        DECODED_BYTES_MAX
    } else {
        ENCODED_FRAME_BYTES_MAX
    };
    let frame_bytes = match open.max_frame_bytes as usize {
        0 => FRAME_BYTES_DEFAULT,
        given if given <= max => given,
        given => {
            return Err(invalid(&format!(
                "max_frame_bytes is {given}: in this format it is at most {max}"
            )));
        }
    };
    Ok(Delivery { decoded, frame_bytes })
}

async fn one(
    plane: &DataPlane,
    context: &RequestContext,
    forward: bool,
    asked: v1::ConsumePartition,
    cursors: &mut Cursors,
) -> Result<v1::OpenedPartition, Failure> {
    let listener = &context.listener;
    let mut opened = v1::OpenedPartition {
        topic: shown(&asked.topic).to_owned(),
        topic_id: shown(asked.topic_id.as_deref().unwrap_or_default()).to_owned(),
        partition: asked.partition,
        ..v1::OpenedPartition::default()
    };
    let result = async {
        let id = asked.topic_id.as_deref();
        if forward && let Some(target) = plane.target(&asked.topic, id, asked.partition) {
            let (there, offset) = remote::open(plane, context, &target, asked.start).await?;
            opened.topic_id.clone_from(&there.topic.id_text);
            opened.high_watermark = there.high_watermark;
            opened.log_start = there.log_start;
            return Ok((Place::There(there), offset));
        }
        let replica = plane.find(&asked.topic, asked.topic_id.as_deref(), asked.partition, listener)?;
        opened.topic_id.clone_from(&replica.topic.id_text);
        let view = replica.view();
        if view.leading.is_some() {
            opened.high_watermark = view.high_watermark.get();
            opened.log_start = view.log_start.get();
        }
        let patience = context.at_most(PATIENCE);
        let found = position::find(plane, &replica, asked.start.as_ref(), listener, patience).await?;
        Ok::<_, Failure>((Place::Here(replica), found.offset))
    };
    match result.await {
        Ok((place, offset)) => {
            opened.offset = offset.get();
            if !cursors.add(asked.topic, asked.partition, place, offset) {
                let (topic, partition) = (&opened.topic, opened.partition);
                return Err(invalid(&format!(
                    "partition {partition} of topic {topic:?} is named twice"
                )));
            }
        }
        Err(failure) => {
            plane.metrics.error(context.api, failure.code);
            opened.error = Some(failure.into());
        }
    }
    Ok(opened)
}

pub(super) fn invalid(message: &str) -> Failure {
    Failure::new(ErrorCode::InvalidRequest, message)
}
