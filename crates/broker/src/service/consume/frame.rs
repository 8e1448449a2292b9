//! Frames of a consume stream.

use super::cursor::{Cursor, Place};
use crate::service::credit::Credits;
use crate::service::decode::{Decoded, Decoder, Limits};
use crate::service::read::Batches;
use quipu_proto::v1::consume_response::Message;
use quipu_proto::{Failure, v1};
use quipu_record::Offset;

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
        cursor.place.topic().metrics.bytes_out.inc_by(bytes);
        cursor.next = next;
        Ok(Some(v1::PartitionData {
            encoded: Some(encoded.batches),
            ..data(&cursor.place, next)
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
            .place
            .topic()
            .metrics
            .bytes_out
            .inc_by(decoded.payload_bytes);
        Ok(Some(v1::PartitionData {
            records: decoded.records,
            ..data(&cursor.place, cursor.next)
        }))
    }
}

/// What every frame of a partition tells.
fn data(place: &Place, next: Offset) -> v1::PartitionData {
    let (leader_epoch, high_watermark, log_start) = match place {
        Place::Here(replica) => {
            let view = replica.view();
            let epoch = view.leading.map(|leading| leading.epoch.get());
            (
                epoch.unwrap_or_default(),
                view.high_watermark.get(),
                view.log_start.get(),
            )
        }
        Place::There(there) => (there.leader_epoch, there.high_watermark, there.log_start),
    };
    v1::PartitionData {
        topic: place.topic().name.to_string(),
        topic_id: place.topic().id_text.clone(),
        partition: place.at().partition.get(),
        leader_epoch,
        high_watermark,
        log_start,
        next_offset: next.get(),
        ..v1::PartitionData::default()
    }
}

/// The error that stops a partition.
pub(super) fn stopped(cursor: &Cursor, failure: Failure) -> v1::PartitionData {
    v1::PartitionData {
        error: Some(failure.into()),
        ..data(&cursor.place, cursor.next)
    }
}

/// A response of this content.
pub(super) fn response(message: Message, throttle_ms: u32) -> v1::ConsumeResponse {
    v1::ConsumeResponse {
        message: Some(message),
        throttle_ms,
    }
}
