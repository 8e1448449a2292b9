//! What a request will weigh in memory, found on the wire before anything is decoded.
//!
//! An empty record is two bytes on the wire and a hundred in memory, so that eight mebibytes of them are half a
//! gibibyte. The walk counts the submessages of a request that come in any number, by their size in memory, and allocates
//! nothing. Payloads are not looked at: they are slices of what was received.

use crate::{Failure, v1};
use bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use quipu_record::ErrorCode;
use std::any::TypeId;

/// Bytes in memory that the submessages of one request may take.
const WEIGHT_MAX: usize = 8 << 20;

/// The parts of a message that may come in any number, or hold such.
#[derive(Debug)]
pub(crate) struct Shape {
    parts: &'static [Part],
}

/// A field that holds submessages.
#[derive(Debug)]
struct Part {
    tag: u32,
    /// Bytes in memory of each; 0 if there is but one.
    each: usize,
    shape: &'static Shape,
}

const fn any_number<T>(tag: u32, shape: &'static Shape) -> Part {
    Part {
        tag,
        each: size_of::<T>(),
        shape,
    }
}

const fn one(tag: u32, shape: &'static Shape) -> Part {
    Part { tag, each: 0, shape }
}

static LEAF: Shape = Shape { parts: &[] };
static RECORD: Shape = Shape {
    parts: &[any_number::<v1::Header>(3, &LEAF)],
};
static RECORD_LIST: Shape = Shape {
    parts: &[any_number::<v1::Record>(1, &RECORD)],
};
static BATCH: Shape = Shape {
    parts: &[one(4, &RECORD_LIST)],
};
static PRODUCE: Shape = Shape {
    parts: &[any_number::<v1::Batch>(1, &BATCH)],
};
static PRODUCE_STREAM: Shape = Shape {
    parts: &[one(2, &BATCH)],
};
static FETCH: Shape = Shape {
    parts: &[any_number::<v1::FetchPartition>(1, &LEAF)],
};
static OPEN_PARTITIONS: Shape = Shape {
    parts: &[any_number::<v1::ConsumePartition>(1, &LEAF)],
};
static OPEN: Shape = Shape {
    parts: &[one(1, &OPEN_PARTITIONS)],
};
static STREAM_COMMIT: Shape = Shape {
    parts: &[any_number::<v1::StreamOffset>(2, &LEAF)],
};
static ASSIGNMENT_ACK: Shape = Shape {
    parts: &[any_number::<v1::StreamPartition>(1, &LEAF)],
};
static CONSUME: Shape = Shape {
    parts: &[one(1, &OPEN), one(6, &STREAM_COMMIT), one(7, &ASSIGNMENT_ACK)],
};
static LIST_OFFSETS: Shape = Shape {
    parts: &[any_number::<v1::OffsetQuery>(1, &LEAF)],
};
static COMMIT_OFFSETS: Shape = Shape {
    parts: &[any_number::<v1::OffsetCommit>(4, &LEAF)],
};
static GET_OFFSETS: Shape = Shape {
    parts: &[any_number::<v1::OffsetWanted>(2, &LEAF)],
};
static RESET_OFFSETS: Shape = Shape {
    parts: &[any_number::<v1::ResetTopic>(2, &LEAF)],
};
static OWNED: Shape = Shape {
    parts: &[any_number::<v1::OwnedPartition>(1, &LEAF)],
};
static GROUP_HEARTBEAT: Shape = Shape {
    parts: &[one(8, &OWNED)],
};

/// What `T` is made of, if it is a request that must be weighed.
pub(crate) fn shape_of<T: 'static>() -> Option<&'static Shape> {
    let is = |other: TypeId| TypeId::of::<T>() == other;
    if is(TypeId::of::<v1::ProduceRequest>()) {
        Some(&PRODUCE)
    } else if is(TypeId::of::<v1::ProduceStreamRequest>()) {
        Some(&PRODUCE_STREAM)
    } else if is(TypeId::of::<v1::FetchRequest>()) {
        Some(&FETCH)
    } else if is(TypeId::of::<v1::ConsumeRequest>()) {
        Some(&CONSUME)
    } else if is(TypeId::of::<v1::ListOffsetsRequest>()) {
        Some(&LIST_OFFSETS)
    } else if is(TypeId::of::<v1::CommitOffsetsRequest>()) {
        Some(&COMMIT_OFFSETS)
    } else if is(TypeId::of::<v1::GetOffsetsRequest>()) {
        Some(&GET_OFFSETS)
    } else if is(TypeId::of::<v1::ResetOffsetsRequest>()) {
        Some(&RESET_OFFSETS)
    } else if is(TypeId::of::<v1::GroupHeartbeatRequest>()) {
        Some(&GROUP_HEARTBEAT)
    } else {
        None
    }
}

/// Refuses what would weigh too much; returns what the rest weighs. The bytes may lie in pieces, and are used up.
pub(crate) fn check(shape: &Shape, wire: &mut impl Buf) -> Result<usize, Failure> {
    let mut weight = 0;
    let len = wire.remaining();
    // The decoder will say so where the bytes are no message.
    let _ = weigh(shape, wire, len, &mut weight);
    if weight > WEIGHT_MAX {
        let message = format!(
            "the request is made of so many small parts that they take {weight} bytes or more, and {WEIGHT_MAX} are \
             allowed: send fewer at once, or an encoded batch"
        );
        return Err(Failure::new(ErrorCode::InvalidRequest, message));
    }
    Ok(weight)
}

/// Adds up what is in the next `len` bytes. Ends early when there is too much already, and with `None` where the bytes
/// are no message. It goes as the decoder goes, which sees that a part is longer than what it is a part of when it has
/// decoded it: else it would decode what was not weighed.
fn weigh(shape: &Shape, wire: &mut impl Buf, len: usize, weight: &mut usize) -> Option<()> {
    let end = wire.remaining().checked_sub(len)?;
    while wire.remaining() > end {
        let (tag, kind) = decode_key(wire).ok()?;
        match shape.parts.iter().find(|part| part.tag == tag) {
            Some(part) if kind == WireType::LengthDelimited => {
                let len = usize::try_from(decode_varint(wire).ok()?).ok()?;
                *weight += part.each;
                weigh(part.shape, wire, len, weight)?;
            }
            Some(_) => return None,
            None => skip_field(kind, tag, wire, DecodeContext::default()).ok()?,
        }
        if *weight > WEIGHT_MAX {
            return None;
        }
    }
    (wire.remaining() == end).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;
    use prost::encoding::{encode_key, encode_varint};

    fn weight<T: Message + 'static>(message: &T) -> usize {
        let mut weight = 0;
        let shape = shape_of::<T>().expect("a request that is weighed");
        let wire = message.encode_to_vec();
        let _ = weigh(shape, &mut &wire[..], wire.len(), &mut weight);
        weight
    }

    fn with_records(records: Vec<v1::Record>) -> v1::Batch {
        v1::Batch {
            topic: "t".into(),
            payload: Some(v1::batch::Payload::Records(v1::RecordList {
                records,
                compression: 1,
            })),
            ..v1::Batch::default()
        }
    }

    #[test]
    fn what_comes_in_any_number_is_counted_by_its_size_in_memory() {
        let record = v1::Record {
            value: Some("v".into()),
            headers: vec![v1::Header::default(); 3],
            ..v1::Record::default()
        };
        let batch = with_records(vec![record; 5]);
        let records = 5 * (size_of::<v1::Record>() + 3 * size_of::<v1::Header>());
        let stream = v1::ProduceStreamRequest {
            request_id: 7,
            batch: Some(batch.clone()),
            timeout_ms: 1,
            ..v1::ProduceStreamRequest::default()
        };
        assert_eq!(weight(&stream), records);
        let unary = v1::ProduceRequest {
            batches: vec![batch; 2],
            ..v1::ProduceRequest::default()
        };
        assert_eq!(weight(&unary), 2 * (size_of::<v1::Batch>() + records));
        let fetch = v1::FetchRequest {
            partitions: vec![v1::FetchPartition::default(); 9],
            ..v1::FetchRequest::default()
        };
        assert_eq!(weight(&fetch), 9 * size_of::<v1::FetchPartition>());
        let list = v1::ListOffsetsRequest {
            queries: vec![v1::OffsetQuery::default(); 9],
            ..v1::ListOffsetsRequest::default()
        };
        assert_eq!(weight(&list), 9 * size_of::<v1::OffsetQuery>());
        let open = v1::Open {
            source: Some(v1::open::Source::Partitions(v1::OpenPartitions {
                partitions: vec![v1::ConsumePartition::default(); 9],
            })),
            ..v1::Open::default()
        };
        let open = v1::ConsumeRequest {
            message: Some(v1::consume_request::Message::Open(open)),
        };
        assert_eq!(weight(&open), 9 * size_of::<v1::ConsumePartition>());
    }

    #[test]
    fn what_groups_send_is_counted_likewise() {
        let commit = v1::CommitOffsetsRequest {
            offsets: vec![v1::OffsetCommit::default(); 9],
            ..v1::CommitOffsetsRequest::default()
        };
        assert_eq!(weight(&commit), 9 * size_of::<v1::OffsetCommit>());
        let get = v1::GetOffsetsRequest {
            partitions: vec![v1::OffsetWanted::default(); 9],
            ..v1::GetOffsetsRequest::default()
        };
        assert_eq!(weight(&get), 9 * size_of::<v1::OffsetWanted>());
        let reset = v1::ResetOffsetsRequest {
            topics: vec![v1::ResetTopic::default(); 9],
            ..v1::ResetOffsetsRequest::default()
        };
        assert_eq!(weight(&reset), 9 * size_of::<v1::ResetTopic>());
        let heartbeat = v1::GroupHeartbeatRequest {
            owned: Some(v1::OwnedPartitions {
                partitions: vec![v1::OwnedPartition::default(); 9],
            }),
            ..v1::GroupHeartbeatRequest::default()
        };
        assert_eq!(weight(&heartbeat), 9 * size_of::<v1::OwnedPartition>());
        let commit = v1::ConsumeRequest {
            message: Some(v1::consume_request::Message::Commit(v1::Commit {
                request_id: 1,
                offsets: vec![v1::StreamOffset::default(); 9],
            })),
        };
        assert_eq!(weight(&commit), 9 * size_of::<v1::StreamOffset>());
        let ack = v1::ConsumeRequest {
            message: Some(v1::consume_request::Message::AssignmentAck(v1::AssignmentAck {
                partitions: vec![v1::StreamPartition::default(); 9],
            })),
        };
        assert_eq!(weight(&ack), 9 * size_of::<v1::StreamPartition>());
    }

    #[test]
    fn an_encoded_batch_weighs_nothing_whatever_is_in_it() {
        let nested = with_records(vec![v1::Record::default(); 100]).encode_to_vec();
        let request = v1::ProduceStreamRequest {
            batch: Some(v1::Batch {
                payload: Some(v1::batch::Payload::Encoded(nested.into())),
                ..v1::Batch::default()
            }),
            ..v1::ProduceStreamRequest::default()
        };
        assert_eq!(weight(&request), 0);
    }

    #[test]
    fn too_many_parts_are_refused_and_the_walk_ends_early() {
        let million = v1::ProduceRequest {
            batches: vec![with_records(vec![v1::Record::default(); 1_000_000])],
            ..v1::ProduceRequest::default()
        };
        let refused = check(&PRODUCE, &mut &million.encode_to_vec()[..]).unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidRequest);
        assert!(weight(&million) < WEIGHT_MAX + size_of::<v1::Record>() + 1);
        let honest = v1::ProduceRequest {
            batches: vec![with_records(vec![v1::Record::default(); 10_000])],
            ..v1::ProduceRequest::default()
        };
        let wire = honest.encode_to_vec();
        assert_eq!(check(&PRODUCE, &mut &wire[..]), Ok(weight(&honest)));
    }

    #[test]
    fn any_bytes_at_all_are_weighed_without_a_fault() {
        let mut wire = v1::ProduceRequest {
            batches: vec![with_records(vec![v1::Record::default(); 3])],
            timeout_ms: 9,
            ..v1::ProduceRequest::default()
        }
        .encode_to_vec();
        for at in 0..wire.len() {
            assert!(check(&PRODUCE, &mut &wire[..at]).is_ok());
            for bit in 0..8 {
                wire[at] ^= 1 << bit;
                assert!(check(&PRODUCE, &mut &wire[..]).is_ok());
                wire[at] ^= 1 << bit;
            }
        }
    }

    /// The tag and length of a field that holds a submessage.
    fn field(tag: u32, len: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_key(tag, WireType::LengthDelimited, &mut bytes);
        encode_varint(len as u64, &mut bytes);
        bytes
    }

    #[test]
    fn nothing_the_decoder_reads_hides_from_the_scales() {
        let batch = v1::Batch {
            topic: String::new(),
            ..with_records(vec![v1::Record::default(); 200_000])
        };
        let batch = batch.encode_to_vec();
        let group = [0x7b, 0x7c];
        assert_eq!(
            v1::ProduceStreamRequest::decode(&group[..]),
            Ok(v1::ProduceStreamRequest::default())
        );
        let after_a_group = [&group[..], &field(2, batch.len()), &batch].concat();
        let in_a_batch_said_to_be_shorter = [&field(2, 1)[..], &batch].concat();
        for wire in [after_a_group, in_a_batch_said_to_be_shorter] {
            let refused = check(&PRODUCE_STREAM, &mut &wire[..]).unwrap_err();
            assert_eq!(refused.code, ErrorCode::InvalidRequest);
        }
    }

    #[test]
    fn what_lies_in_pieces_weighs_the_same() {
        let request = v1::ProduceRequest {
            batches: vec![with_records(vec![v1::Record::default(); 3]); 2],
            ..v1::ProduceRequest::default()
        };
        let wire = request.encode_to_vec();
        for at in 0..=wire.len() {
            let mut pieces = wire[..at].chain(&wire[at..]);
            assert_eq!(check(&PRODUCE, &mut pieces), Ok(weight(&request)), "cut at {at}");
        }
    }
}
