//! From a batch on the wire to one that may be appended: found its partition, checked or built. All of it on the
//! network's threads; the partition's thread trusts what it gets.

use crate::data_plane::DataPlane;
use crate::partition::clock;
use crate::partition::replica::Replica;
use crate::partition::topics::Topic;
use crate::service::forward::Target;
use bytes::Bytes;
use quipu_proto::v1::{self, batch::Payload};
use quipu_proto::{Failure, scalars};
use quipu_record::{
    Batch, BatchBuilder, BatchError, Codec, ErrorCode, Header, ProducerStamp, PushError, RecordsSummary,
    Timestamp, partition_for_key,
};
use std::sync::Arc;

/// Fields of a record on the wire beside its key and value, and its place in memory, roughly.
const RECORD_OVERHEAD: usize = 96;

/// A batch that may be appended.
#[derive(Debug)]
pub(super) struct Intake {
    /// Where.
    pub(super) replica: Arc<Replica>,
    /// The batch.
    pub(super) batch: Batch,
    /// What its records are.
    pub(super) summary: RecordsSummary,
}

/// A batch that may not. Where it was to go, as far as that was understood, is told with why.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The partition, once it was found.
    pub(super) replica: Option<Arc<Replica>>,
    /// Why.
    pub(super) failure: Failure,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self {
            replica: None,
            failure,
        }
    }
}

/// Bytes that a batch holds in memory.
pub(super) fn held_bytes(batch: &v1::Batch) -> usize {
    let names = batch.topic.len() + batch.topic_id.as_ref().map_or(0, String::len);
    names
        + match &batch.payload {
            None => 0,
            Some(Payload::Encoded(bytes)) => bytes.len(),
            Some(Payload::Records(list)) => list.records.iter().map(record_bytes).sum(),
        }
}

fn record_bytes(record: &v1::Record) -> usize {
    let len = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let headers = record.headers.iter();
    let headers: usize = headers
        .map(|header| header.key.len() + len(&header.value) + RECORD_OVERHEAD)
        .sum();
    len(&record.key) + len(&record.value) + headers + RECORD_OVERHEAD
}

/// Takes a batch in; its payload is gone afterwards.
pub(super) fn take_in(plane: &DataPlane, listener: &str, batch: &mut v1::Batch) -> Result<Intake, Refusal> {
    let topic = plane.topic(&batch.topic, batch.topic_id.as_deref())?;
    if topic.info.internal {
        let name = &topic.info.name;
        let told = format!("topic {name:?} is internal to the cluster: only the cluster writes to it");
        return Err(Failure::new(ErrorCode::InternalTopic, told).into());
    }
    let partition = choose_partition(&topic, batch)?;
    let replica = plane.replica(&topic, partition, listener)?;
    let refused = |failure| Refusal {
        replica: Some(Arc::clone(&replica)),
        failure,
    };
    if replica.view().leading.is_none() {
        return Err(refused(plane.not_leader(replica.at, &topic.info.name, listener)));
    }
    let max = topic.info.max_message_bytes();
    let encoded = match batch.payload.take() {
        Some(Payload::Encoded(_)) if batch.identity.is_some() => {
            return Err(refused(invalid(
                "batch.identity is for plain records: an encoded batch carries its own",
            )));
        }
        Some(Payload::Encoded(bytes)) => bytes,
        Some(Payload::Records(list)) => build(&list, batch.identity.as_ref(), max).map_err(&refused)?,
        None => {
            return Err(refused(invalid(
                "batch.payload is missing: give records or encoded",
            )));
        }
    };
    let (batch, summary) = check(encoded, max).map_err(|error| refused(bad_batch(&error)))?;
    Ok(Intake {
        replica,
        batch,
        summary,
    })
}

/// Where a batch is to be forwarded; `None`: it is to be taken in here. From then on it names its partition, and its topic
/// by id.
pub(super) fn target(plane: &DataPlane, batch: &mut v1::Batch) -> Option<Target> {
    let topic = plane.topic(&batch.topic, batch.topic_id.as_deref()).ok()?;
    let partition = choose_partition(&topic, batch).ok()?;
    batch.partition = Some(partition);
    let target = plane.target(&batch.topic, batch.topic_id.as_deref(), partition)?;
    batch.topic_id = Some(topic.info.id_text.clone());
    Some(target)
}

/// Takes a batch to forward it; what names it stays.
pub(super) fn take(batch: &mut v1::Batch) -> v1::Batch {
    let payload = batch.payload.take();
    v1::Batch {
        payload,
        ..batch.clone()
    }
}

fn choose_partition(topic: &Topic, batch: &v1::Batch) -> Result<u32, Failure> {
    if let Some(partition) = batch.partition {
        return Ok(partition);
    }
    let list = match &batch.payload {
        Some(Payload::Records(list)) => list,
        Some(Payload::Encoded(_)) => {
            return Err(invalid("batch.partition is missing: an encoded batch needs one"));
        }
        None => return Err(invalid("batch.payload is missing: give records or encoded")),
    };
    if batch.identity.is_some() {
        return Err(invalid(
            "batch.partition is missing: with an identity it must be given, since sequences count by partition",
        ));
    }
    let key = list.records.first().and_then(|record| record.key.as_ref());
    Ok(match (key, topic.partition_count()) {
        (Some(key), Some(count)) => partition_for_key(key, count).get(),
        _ => topic.any_partition().get(),
    })
}

fn check(encoded: Bytes, max: usize) -> Result<(Batch, RecordsSummary), BatchError> {
    let batch = Batch::check(encoded, max)?;
    let summary = batch.validate_records(max)?;
    Ok((batch, summary))
}

/// Builds the batch of plain records, of at most `max` bytes before compression.
fn build(
    list: &v1::RecordList,
    identity: Option<&v1::ProducerIdentity>,
    max: usize,
) -> Result<Bytes, Failure> {
    let codec = match v1::Compression::from_wire(list.compression)? {
        v1::Compression::Zstd => Codec::Zstd,
        v1::Compression::None | v1::Compression::Unspecified => Codec::None,
    };
    let stamp = identity.map(stamp).transpose()?;
    if list.records.is_empty() {
        return Err(invalid("batch.records is empty: give at least one record"));
    }
    let size = list.records.iter().map(record_bytes).sum::<usize>();
    let mut builder = BatchBuilder::new(codec, size.min(max));
    let now = clock::wall();
    let mut headers = Vec::new();
    for (index, record) in list.records.iter().enumerate() {
        headers.clear();
        headers.extend(record.headers.iter().map(|header| Header {
            key: &header.key,
            value: header.value.as_deref(),
        }));
        let timestamp = record.timestamp_ms.map_or(now, Timestamp::new);
        builder
            .push(
                timestamp,
                record.key.as_deref(),
                record.value.as_deref(),
                &headers,
            )
            .map_err(|error| unpushable(error, index))?;
        if builder.size() > max {
            return Err(too_large(index, max));
        }
    }
    builder.finish(stamp).map_err(|error| bad_batch(&error))
}

fn stamp(identity: &v1::ProducerIdentity) -> Result<ProducerStamp, Failure> {
    Ok(ProducerStamp {
        id: scalars::producer_id(identity.producer_id)?,
        epoch: scalars::producer_epoch(identity.producer_epoch)?,
        base_sequence: scalars::base_sequence(identity.base_sequence)?,
    })
}

fn too_large(index: usize, max: usize) -> Failure {
    let message = if index == 0 {
        format!(
            "a record is larger than max.message.bytes ({max}): make it smaller, or raise the topic's limit"
        )
    } else {
        format!("the first {index} records fill a batch of max.message.bytes ({max}): send fewer at once")
    };
    Failure::new(ErrorCode::BatchTooLarge, message)
}

fn unpushable(error: PushError, index: usize) -> Failure {
    Failure::new(error.code(), format!("record {index}: {error}"))
}

fn bad_batch(error: &BatchError) -> Failure {
    Failure::new(error.code(), error.to_string())
}

fn invalid(message: &str) -> Failure {
    Failure::new(ErrorCode::InvalidRequest, message)
}
