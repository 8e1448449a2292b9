//! Frames of a consume stream.

use super::cursor::Cursor;
use crate::partition::replica::Replica;
use crate::service::credit::Credits;
use crate::service::decode::{Decoded, Decoder, Limits};
use crate::service::read::Batches;
use quipu_proto::v1::consume_response::Message;
use quipu_proto::{Failure, v1};
use quipu_record::Offset;
use quipu_replication::View;

/// How records go out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Delivery {
    /// As records, or as encoded batches.
    pub(super) decoded: bool,
    /// Bytes of a frame.
    pub(super) frame_bytes: usize,
}

impl Delivery {
    /// Bytes to read for the next frame.
    pub(super) fn room(&self, credits: &Credits) -> usize {
        usize::try_from(credits.bytes()).map_or(self.frame_bytes, |credit| credit.min(self.frame_bytes))
    }

    /// A frame of what was just read at a cursor, which moves on and pays. `None`: there was nothing.
    pub(super) fn frame(
        &self,
        cursor: &mut Cursor,
        batches: Batches,
        credits: &mut Credits,
    ) -> Result<Option<v1::PartitionData>, Failure> {
        if self.decoded {
            let decoder = Decoder::new(batches, cursor.next)?;
            cursor.decoder = Some(decoder);
            return self.decode(cursor, credits);
        }
        let encoded = batches.encode(credits.records());
        let Some(next) = encoded.next else {
            return Ok(None);
        };
        let bytes = encoded.batches.len() as u64;
        credits.spend(bytes, encoded.records);
        cursor.replica.topic.metrics.bytes_out.inc_by(bytes);
        cursor.next = next;
        Ok(Some(v1::PartitionData {
            encoded: Some(encoded.batches),
            ..data(&cursor.replica, next)
        }))
    }

    /// A frame of what is left of batches read before.
    pub(super) fn decode(
        &self,
        cursor: &mut Cursor,
        credits: &mut Credits,
    ) -> Result<Option<v1::PartitionData>, Failure> {
        let Some(decoder) = &mut cursor.decoder else {
            return Ok(None);
        };
        let mut decoded = Decoded::default();
        let limits = Limits {
            frame_bytes: self.frame_bytes,
            payload_bytes: credits.bytes(),
            records: credits.records(),
        };
        decoder.fill(&mut decoded, limits)?;
        cursor.next = decoder.next_offset();
        if decoder.is_done() {
            cursor.decoder = None;
        }
        if decoded.records.is_empty() {
            return Ok(None);
        }
        credits.spend(decoded.payload_bytes, decoded.records.len() as u64);
        cursor
            .replica
            .topic
            .metrics
            .bytes_out
            .inc_by(decoded.payload_bytes);
        Ok(Some(v1::PartitionData {
            records: decoded.records,
            ..data(&cursor.replica, cursor.next)
        }))
    }
}

/// What every frame of a partition tells.
fn data(replica: &Replica, next: Offset) -> v1::PartitionData {
    let View {
        leading,
        log_start,
        high_watermark,
        ..
    } = replica.view();
    v1::PartitionData {
        topic: replica.topic.name.to_string(),
        topic_id: replica.topic.id_text.clone(),
        partition: replica.at.partition.get(),
        leader_epoch: leading.map(|leading| leading.epoch.get()).unwrap_or_default(),
        high_watermark: high_watermark.get(),
        log_start: log_start.get(),
        next_offset: next.get(),
        ..v1::PartitionData::default()
    }
}

/// The error that stops a partition.
pub(super) fn stopped(cursor: &Cursor, failure: Failure) -> v1::PartitionData {
    v1::PartitionData {
        error: Some(failure.into()),
        ..data(&cursor.replica, cursor.next)
    }
}

/// A response of this content.
pub(super) fn response(message: Message, throttle_ms: u32) -> v1::ConsumeResponse {
    v1::ConsumeResponse {
        message: Some(message),
        throttle_ms,
    }
}
