//! Fetch: reads some partitions once; waits for data if there is too little.

use super::decode::{Decoded, Decoder, Limits};
use super::forward::{self, Elsewhere, Placed, may_forward};
use super::read;
use super::route::{not_too_many, shown};
use crate::admit::RequestContext;
use crate::data_plane::DataPlane;
use crate::partition::replica::Replica;
use crate::partition::wait::Waiter;
use quipu_proto::{EncodedBatches, Failure, scalars, v1};
use quipu_record::{ErrorCode, LeaderEpoch, Offset};
use quipu_replication::{ReadError, View};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

const PARTITION_BYTES_DEFAULT: usize = 1 << 20;
const TOTAL_BYTES_DEFAULT: usize = 3 << 20;
const TOTAL_BYTES_MAX: usize = 32 << 20;
/// A generated client takes messages of 4 MiB: decoded records stay below, with room for what is around them.
pub(super) const DECODED_BYTES_MAX: usize = 3 << 20;
const WAIT_MAX_MS: u32 = 60_000;

/// Serves one call.
pub(super) async fn fetch(
    plane: &Arc<DataPlane>,
    context: &RequestContext,
    request: v1::FetchRequest,
) -> Result<v1::FetchResponse, Failure> {
    check(&request)?;
    let mut elsewhere = Elsewhere::default();
    if may_forward(context, request.routing)? {
        for (place, part) in request.partitions.iter().enumerate() {
            let id = part.topic_id.as_deref();
            if let Some(target) = plane.target(&part.topic, id, part.partition) {
                let asked = elsewhere.entry(target.peer.broker).or_default();
                asked.push((place, target, part.clone()));
            }
        }
    }
    let partitions = if elsewhere.is_empty() {
        here(plane, context, request).await?
    } else {
        everywhere(plane, context, request, elsewhere).await?
    };
    Ok(v1::FetchResponse {
        partitions,
        throttle_ms: context.throttle_ms(),
    })
}

/// Fetches from all who lead some of the partitions, this broker among them.
async fn everywhere(
    plane: &Arc<DataPlane>,
    context: &RequestContext,
    mut request: v1::FetchRequest,
    elsewhere: Elsewhere,
) -> Result<Vec<v1::PartitionData>, Failure> {
    let partitions = std::mem::take(&mut request.partitions);
    let mut data: Vec<Option<v1::PartitionData>> = vec![None; partitions.len()];
    for (place, target, part) in elsewhere.values().flatten() {
        data[*place] = Some(forward::nothing(target, part));
    }
    let local: Vec<usize> = (0..data.len()).filter(|place| data[*place].is_none()).collect();
    // The answer as a whole must not be larger than one from a single broker.
    let askers = elsewhere.len() + usize::from(!local.is_empty());
    let bytes_max = match request.max_bytes as usize {
        0 => TOTAL_BYTES_DEFAULT,
        given => given,
    };
    request.max_bytes = u32::try_from((bytes_max / askers).max(1)).unwrap_or(u32::MAX);
    let wait = context.at_most(Duration::from_millis(request.max_wait_ms.into()));
    request.max_wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
    let mut asked = forward::fetch(plane, &context.listener, elsewhere, &request);
    if !local.is_empty() {
        request.partitions = local.iter().map(|place| partitions[*place].clone()).collect();
        let (plane, context) = (Arc::clone(plane), context.clone());
        asked.spawn(async move {
            match here(&plane, &context, request).await {
                Ok(data) => local.into_iter().zip(data).collect(),
                // It was checked before.
                Err(_) => Vec::new(),
            }
        });
    }
    gather(asked, &mut data).await;
    let missing = |place: usize| v1::PartitionData {
        topic: partitions[place].topic.clone(),
        partition: partitions[place].partition,
        next_offset: partitions[place].offset,
        ..v1::PartitionData::default()
    };
    let data = data.into_iter().enumerate();
    Ok(data
        .map(|(place, part)| part.unwrap_or_else(|| missing(place)))
        .collect())
}

/// Takes in what the leaders answer: once one has something, the others get a moment more.
async fn gather(mut asked: JoinSet<Placed>, data: &mut [Option<v1::PartitionData>]) {
    let mut enough: Option<Instant> = None;
    loop {
        let answered = match enough {
            Some(until) => tokio::time::timeout_at(until, asked.join_next())
                .await
                .ok()
                .flatten(),
            None => asked.join_next().await,
        };
        let Some(answered) = answered else { return };
        // A panic there has said so itself.
        for (place, part) in answered.unwrap_or_default() {
            let something = part.error.is_some()
                || !part.records.is_empty()
                || part.encoded.as_ref().is_some_and(|encoded| !encoded.is_empty());
            if something && enough.is_none() {
                enough = Some(Instant::now() + forward::GRACE);
            }
            data[place] = Some(part);
        }
    }
}

/// Fetches what this broker leads; of all else it says why not.
async fn here(
    plane: &Arc<DataPlane>,
    context: &RequestContext,
    request: v1::FetchRequest,
) -> Result<Vec<v1::PartitionData>, Failure> {
    let mut fetch = Fetch::new(plane, context, &request)?;
    let wait = context.at_most(Duration::from_millis(request.max_wait_ms.into()));
    let deadline = Instant::now() + wait;
    let wanted = (request.min_bytes as usize).max(1);
    let mut parts = fetch.parts(request.partitions);
    let mut waiter = Waiter::default();
    loop {
        let mut failed = false;
        for part in &mut parts {
            fetch.advance(part).await;
            failed |= part.error.is_some();
        }
        let enough = fetch.bytes >= wanted || fetch.bytes >= fetch.bytes_max;
        if enough || failed || parts.iter().all(|part| part.full) || wait.is_zero() {
            break;
        }
        for (key, part) in (0u32..).zip(&parts) {
            part.wait(&mut waiter, key);
        }
        let more = tokio::select! {
            _ = waiter.fired() => true,
            () = tokio::time::sleep_until(deadline) => false,
            () = context.drained() => false,
        };
        if !more {
            break;
        }
    }
    Ok(parts.into_iter().map(|part| part.finish(&fetch)).collect())
}

/// What no request may ask.
fn check(request: &v1::FetchRequest) -> Result<(), Failure> {
    v1::Format::from_wire(request.format)?;
    if request.max_wait_ms > WAIT_MAX_MS {
        return Err(invalid(format!(
            "max_wait_ms is {}: it is at most {WAIT_MAX_MS}",
            request.max_wait_ms
        )));
    }
    if request.max_bytes as usize > TOTAL_BYTES_MAX {
        return Err(invalid(format!(
            "max_bytes is {}: it is at most {TOTAL_BYTES_MAX}",
            request.max_bytes
        )));
    }
    not_too_many("partitions", request.partitions.len())?;
    let mut seen = HashSet::new();
    for part in &request.partitions {
        if !seen.insert((part.topic.as_str(), part.partition)) {
            let (topic, partition) = (shown(&part.topic), part.partition);
            return Err(invalid(format!(
                "partition {partition} of topic {topic:?} is named twice"
            )));
        }
    }
    Ok(())
}

/// What holds for the whole call.
struct Fetch<'a> {
    plane: &'a Arc<DataPlane>,
    context: &'a RequestContext,
    decoded: bool,
    bytes_max: usize,
    /// Read so far.
    bytes: usize,
}

/// One partition of the call.
struct Part {
    data: v1::PartitionData,
    replica: Option<Arc<Replica>>,
    known_epoch: Option<LeaderEpoch>,
    /// The view it was last read by.
    seen: Option<View>,
    cursor: Offset,
    bytes_max: usize,
    bytes: usize,
    encoded: EncodedBatches,
    records: Decoded,
    /// Nothing more will be read.
    full: bool,
    /// Why nothing can be read yet.
    not_yet: Option<Failure>,
    error: Option<Failure>,
}

impl<'a> Fetch<'a> {
    fn new(
        plane: &'a Arc<DataPlane>,
        context: &'a RequestContext,
        request: &v1::FetchRequest,
    ) -> Result<Self, Failure> {
        let decoded = v1::Format::from_wire(request.format)? == v1::Format::Records;
        let bytes_max = match request.max_bytes as usize {
            0 => TOTAL_BYTES_DEFAULT,
            given => given,
        };
        Ok(Self {
            plane,
            context,
            decoded,
            bytes_max: if decoded {
                bytes_max.min(DECODED_BYTES_MAX)
            } else {
                bytes_max
            },
            bytes: 0,
        })
    }

    fn parts(&self, partitions: Vec<v1::FetchPartition>) -> Vec<Part> {
        partitions
            .into_iter()
            .map(|partition| self.part(partition))
            .collect()
    }

    fn part(&self, asked: v1::FetchPartition) -> Part {
        let listener = &self.context.listener;
        let found = scalars::offset("offset", asked.offset).and_then(|cursor| {
            let id = asked.topic_id.as_deref();
            let replica = self.plane.find(&asked.topic, id, asked.partition, listener)?;
            Ok((replica, cursor))
        });
        let data = v1::PartitionData {
            topic: shown(&asked.topic).to_owned(),
            topic_id: shown(asked.topic_id.as_deref().unwrap_or_default()).to_owned(),
            partition: asked.partition,
            next_offset: asked.offset,
            ..v1::PartitionData::default()
        };
        let mut part = Part {
            data,
            replica: None,
            known_epoch: asked.leader_epoch.map(LeaderEpoch::new),
            seen: None,
            cursor: Offset::ZERO,
            bytes_max: match asked.max_bytes as usize {
                0 => PARTITION_BYTES_DEFAULT,
                given => given,
            },
            bytes: 0,
            encoded: EncodedBatches::default(),
            records: Decoded::default(),
            full: false,
            not_yet: None,
            error: None,
        };
        match found {
            Ok((replica, cursor)) => {
                part.data.topic_id.clone_from(&replica.topic.id_text);
                part.replica = Some(replica);
                part.cursor = cursor;
            }
            Err(failure) => part.fail(failure),
        }
        part
    }

    /// Reads what is there of one partition now, within the limits.
    async fn advance(&mut self, part: &mut Part) {
        let Some(replica) = part.replica.clone().filter(|_| !part.full) else {
            return;
        };
        if self.bytes >= self.bytes_max {
            return;
        }
        let view = replica.view();
        part.see(view);
        let limit = match view.read_limit(part.cursor, part.known_epoch) {
            Ok(limit) => limit,
            Err(error) => {
                let refused = self.plane.read_refused(&error, &replica, &self.context.listener);
                // A new leader knows in a moment: that is waited for like data.
                return match error {
                    ReadError::NotAvailable => part.not_yet = Some(refused),
                    _ => part.fail(refused),
                };
            }
        };
        part.not_yet = None;
        if limit <= part.cursor {
            return;
        }
        let room = (part.bytes_max.saturating_sub(part.bytes)).min(self.bytes_max - self.bytes);
        match read::read(self.plane, &replica, part.cursor, limit, room).await {
            Ok(batches) => {
                let before = part.bytes;
                if let Err(failure) = part.add(batches, room, self.decoded) {
                    return part.fail(failure);
                }
                let bytes = part.bytes - before;
                self.bytes += bytes;
                replica.topic.metrics.bytes_out.inc_by(bytes as u64);
                part.full |= part.bytes >= part.bytes_max;
            }
            Err(failure) => part.fail(failure),
        }
    }
}

impl Part {
    fn see(&mut self, view: View) {
        self.seen = Some(view);
        if let Some(leading) = view.leading {
            self.data.leader_epoch = leading.epoch.get();
            self.data.high_watermark = view.high_watermark.get();
            self.data.log_start = view.log_start.get();
        }
    }

    fn add(&mut self, batches: read::Batches, room: usize, decoded: bool) -> Result<(), Failure> {
        if !decoded {
            let encoded = batches.encode(u64::MAX);
            self.bytes += encoded.batches.len();
            self.encoded.append(encoded.batches);
            self.cursor = encoded.next.unwrap_or(self.cursor);
            return Ok(());
        }
        let before = self.records.frame_bytes;
        let mut decoder = Decoder::new(batches, self.cursor)?;
        let limits = Limits {
            frame_bytes: before + room,
            payload_bytes: u64::MAX,
            records: u64::MAX,
        };
        decoder.fill(&mut self.records, limits)?;
        self.full |= !decoder.is_done();
        self.cursor = decoder.next_offset();
        self.bytes += self.records.frame_bytes - before;
        Ok(())
    }

    /// Notes why no more is read. What was read before is given without the error: the next call meets it first.
    fn fail(&mut self, failure: Failure) {
        self.full = true;
        if self.bytes == 0 {
            self.error = Some(failure);
        }
    }

    fn wait(&self, waiter: &mut Waiter, key: u32) {
        if let (Some(replica), Some(seen)) = (&self.replica, &self.seen)
            && !self.full
        {
            let above = match self.not_yet {
                Some(_) => seen.high_watermark,
                None => self.cursor,
            };
            replica.wait(waiter, key, above, seen);
        }
    }

    fn finish(mut self, fetch: &Fetch<'_>) -> v1::PartitionData {
        self.data.next_offset = self.cursor.get().max(self.data.next_offset);
        if let Some(failure) = self.error.or(self.not_yet.filter(|_| self.bytes == 0)) {
            fetch.plane.metrics.error(fetch.context.api, failure.code);
            self.data.error = Some(failure.into());
        } else if fetch.decoded {
            self.data.records = self.records.records;
        } else {
            self.data.encoded = Some(self.encoded);
        }
        self.data
    }
}

fn invalid(message: String) -> Failure {
    Failure::new(ErrorCode::InvalidRequest, message)
}
