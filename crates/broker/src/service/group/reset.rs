//! ResetOffsets: where each partition's offset is to go is found out here, at the group's coordinator, from the partitions'
//! leaders; what is moved, and whether it may be, the coordinator decides.

use super::lag;
use super::{Asking, anywhere, unexpected};
use crate::admit::RequestContext;
use crate::data_plane::DataPlane;
use crate::groups::{Groups, convert};
use crate::service::forward;
use crate::service::route::{ITEMS_MAX, not_too_many};
use quipu_coordinator::{GroupId, MoveTo, OffsetsQuery, Request, Reset, Response};
use quipu_proto::v1::reset_target::To;
use quipu_proto::v1::start_position::Position;
use quipu_proto::{Failure, scalars, v1};
use quipu_record::{ErrorCode, Offset, PartitionId, TopicPartition};
use std::collections::BTreeMap;

pub(super) async fn reset(
    groups: &Groups,
    context: &RequestContext,
    request: v1::ResetOffsetsRequest,
) -> Result<v1::ResetOffsetsResponse, Failure> {
    let asking = Asking::new(groups, context, request.routing)?;
    let group = convert::group(&request.group)?;
    not_too_many("topics", request.topics.len())?;
    let to = request.target.as_ref().and_then(|target| target.to);
    let to = to.ok_or_else(|| {
        invalid("target is missing: give earliest, latest, timestamp_ms, shift_by or offset".to_owned())
    })?;
    if let To::Offset(offset) = to {
        scalars::offset("target.offset", offset)?;
    }
    anywhere!(
        asking,
        &group,
        reset_here(&asking, &group, &request, to),
        |peer, patience| forward::reset_offsets(&peer, request.clone(), patience)
    )
}

/// A partition, and what is committed of it.
type Committed = BTreeMap<TopicPartition, Offset>;

async fn reset_here(
    asking: &Asking<'_>,
    group: &GroupId,
    request: &v1::ResetOffsetsRequest,
    to: To,
) -> Result<v1::ResetOffsetsResponse, Failure> {
    let committed = committed(asking, group).await?;
    let plane = asking.groups.plane();
    let places = places(plane, &request.topics, &committed)?;
    let targets = targets(asking, &places, &committed, to).await;
    if targets.iter().any(Result::is_err) {
        let resets = places.iter().zip(targets);
        let resets = resets.map(|(place, target)| not_moved(place, committed.get(&place.at), target));
        return Ok(v1::ResetOffsetsResponse {
            resets: resets.collect(),
            throttle_ms: 0,
        });
    }
    let offsets = places
        .iter()
        .map(|place| place.at)
        .zip(targets.into_iter().flatten());
    let reset = Reset {
        group: group.clone(),
        offsets: offsets.collect(),
        validate_only: request.validate_only,
    };
    let answer = asking
        .groups
        .ask_here(group, Request::Reset(reset), asking.until)
        .await;
    let Response::Reset(moved) = answer.map_err(|error| asking.told(group, &error))? else {
        return Err(unexpected());
    };
    let resets = places.iter().zip(moved).map(|(place, moved)| v1::OffsetReset {
        from: moved.from.map(Offset::get),
        to: moved.to.get(),
        ..place.reset()
    });
    Ok(v1::ResetOffsetsResponse {
        resets: resets.collect(),
        throttle_ms: 0,
    })
}

async fn committed(asking: &Asking<'_>, group: &GroupId) -> Result<Committed, Failure> {
    let query = OffsetsQuery {
        group: group.clone(),
        partitions: None,
    };
    let answer = asking
        .groups
        .ask_here(group, Request::Offsets(query), asking.until)
        .await;
    match answer.map_err(|error| asking.told(group, &error))? {
        Response::Offsets(offsets) => {
            let offsets = offsets.into_iter();
            Ok(offsets
                .filter_map(|(at, committed)| Some((at, committed?.offset)))
                .collect())
        }
        _ => Err(unexpected()),
    }
}

/// A partition whose offset is to move.
struct Place {
    at: TopicPartition,
    topic: String,
}

impl Place {
    fn reset(&self) -> v1::OffsetReset {
        v1::OffsetReset {
            topic: self.topic.clone(),
            topic_id: self.at.topic.to_string(),
            partition: self.at.partition.get(),
            ..v1::OffsetReset::default()
        }
    }
}

/// Of what could not be moved, and of what could, had that been.
fn not_moved(place: &Place, from: Option<&Offset>, target: Result<MoveTo, Failure>) -> v1::OffsetReset {
    let to = target.as_ref().ok().and_then(|to| to.resolved(from.copied()));
    v1::OffsetReset {
        from: from.map(|from| from.get()),
        to: to.map(Offset::get).unwrap_or_default(),
        error: target.err().map(Into::into),
        ..place.reset()
    }
}

/// What is to be reset, by topic and partition: what was named, or else everything that is committed and still there.
fn places(
    plane: &DataPlane,
    topics: &[v1::ResetTopic],
    committed: &Committed,
) -> Result<Vec<Place>, Failure> {
    let image = plane.image.load();
    let mut places: BTreeMap<(String, PartitionId), TopicPartition> = BTreeMap::new();
    let mut add = |name: &str, at: TopicPartition| {
        let twice = places.insert((name.to_owned(), at.partition), at).is_some();
        let (count, partition) = (places.len(), at.partition);
        match (twice, count > ITEMS_MAX) {
            (true, _) => Err(invalid(format!(
                "partition {partition} of topic {name:?} is named twice"
            ))),
            (_, true) => Err(invalid(format!(
                "more than {ITEMS_MAX} partitions: reset fewer at once"
            ))),
            _ => Ok(()),
        }
    };
    if topics.is_empty() {
        for at in committed.keys() {
            if let Some(topic) = image.topic(at.topic) {
                add(&topic.name, *at)?;
            }
        }
    }
    for asked in topics {
        let topic = plane.topic(&asked.topic, None)?;
        let count = u32::try_from(topic.replicas().len()).unwrap_or(u32::MAX);
        let all: Vec<u32> = match asked.partitions.is_empty() {
            true => (0..count).collect(),
            false => asked.partitions.clone(),
        };
        for partition in all {
            if partition >= count {
                let name = &topic.info.name;
                let told =
                    format!("topic {name:?} has no partition {partition}: it has {count}, counted from 0");
                return Err(Failure::new(ErrorCode::UnknownTopicOrPartition, told));
            }
            let at = TopicPartition {
                topic: topic.info.id,
                partition: PartitionId::new(partition),
            };
            add(&topic.info.name, at)?;
        }
    }
    let places = places.into_iter();
    Ok(places.map(|((topic, _), at)| Place { at, topic }).collect())
}

/// Where each goes: never outside of the log.
async fn targets(
    asking: &Asking<'_>,
    places: &[Place],
    committed: &Committed,
    to: To,
) -> Vec<Result<MoveTo, Failure>> {
    let partitions: Vec<_> = places
        .iter()
        .map(|place| v1::GroupPartition {
            topic: place.topic.clone(),
            topic_id: place.at.topic.to_string(),
            partition: place.at.partition.get(),
        })
        .collect();
    let plane = asking.groups.plane();
    let ends = lag::ends(plane, asking.context, &partitions);
    let timed = async {
        match to {
            To::TimestampMs(time) => {
                lag::found(plane, asking.context, &partitions, Position::TimestampMs(time)).await
            }
            _ => Vec::new(),
        }
    };
    let (ends, timed) = tokio::join!(ends, timed);
    let mut timed = timed.into_iter();
    let each = places.iter().zip(ends);
    each.map(|(place, (start, end))| {
        let timed = timed.next();
        let (start, end) = (start.map_err(Failure::from)?, end.map_err(Failure::from)?);
        let wanted = match to {
            To::Earliest(_) => start,
            To::Latest(_) => end,
            To::Offset(offset) => offset,
            To::TimestampMs(_) => match timed {
                Some(found) => found.error.map_or(Ok(found.offset), |error| Err(Failure::from(error)))?,
                None => end,
            },
            To::ShiftBy(by) => {
                if !committed.contains_key(&place.at) {
                    let (topic, partition) = (&place.topic, place.at.partition);
                    let told = format!(
                        "nothing is committed of partition {partition} of topic {topic:?} that could be shifted"
                    );
                    return Err(invalid(told));
                }
                let within = (Offset::new(start), Offset::new(end));
                return Ok(MoveTo::Shift { by, within });
            }
        };
        Ok(MoveTo::Offset(Offset::new(wanted.clamp(start.min(end), end))))
    })
    .collect()
}

fn invalid(told: String) -> Failure {
    Failure::new(ErrorCode::InvalidRequest, told)
}
