//! What must hold of the decoders in this crate that are not prost's own, for any bytes at all. Each body takes bytes as
//! an enemy chose them and panics if something does not hold: `fuzz/` runs them under a fuzzer, `tests/hostile.rs` as
//! property tests.

use crate::weigh;
use crate::{Deframer, EncodedBatches, v1};
use bytes::Bytes;
use prost::Message;
use tonic::Code;

/// Panics if something does not hold for these bytes.
pub type Body = fn(&[u8]);

/// The bodies by the names of their fuzz targets.
pub const BODIES: &[(&str, Body)] = &[
    ("encoded_batches", encoded_batches),
    ("produce_requests", produce_requests),
];

/// The same message as prost itself derives it.
#[derive(Clone, PartialEq, Message)]
struct Derived {
    #[prost(bytes = "bytes", tag = "1")]
    batches: Bytes,
}

/// Our decoder takes and refuses what prost's takes and refuses, and encodes as prost does.
pub fn encoded_batches(data: &[u8]) {
    let derived = Derived::decode(data);
    let ours = EncodedBatches::decode(Bytes::copy_from_slice(data));
    assert_eq!(ours.is_ok(), derived.is_ok());
    let (Ok(ours), Ok(derived)) = (ours, derived) else {
        return;
    };
    assert_eq!(ours.encoded_len(), derived.encoded_len());
    assert_eq!(ours.encode_to_vec(), derived.encode_to_vec());
    assert_eq!(ours.into_bytes(), derived.batches);
}

/// Of a request.
const REQUEST_BYTES_MAX: usize = 10_000;

/// Frames of the lengths that the first bytes say give the messages, and end as badly, as all of it in one piece does. And
/// none is kept by what is not most of it.
pub fn produce_requests(data: &[u8]) {
    let (lens, mut body) = data.split_at(data.len().min(4));
    let (expected, end) = in_one_piece(body);
    let mut requests = Deframer::<v1::ProduceStreamRequest>::new(REQUEST_BYTES_MAX).with_slices_of(8);
    let mut got = Vec::new();
    let mut ended = None;
    // Of no length at all: one for all that is left.
    let lens = lens.iter().map(|len| usize::from(*len));
    for len in lens.cycle().take(data.len()).chain([usize::MAX]) {
        let (frame, rest) = body.split_at(len.min(body.len()));
        body = rest;
        let frame = Bytes::copy_from_slice(frame);
        requests.push(frame.clone());
        let before = got.len();
        while let Some(message) = requests.message().unwrap_or_else(|refused| {
            ended = Some(refused.code());
            None
        }) {
            got.push(message);
        }
        if ended.is_some() {
            break;
        }
        let mut payloads = got[before..].iter().filter_map(encoded);
        let kept = payloads.any(|payload| payload.len() * 2 >= frame.len());
        assert!(kept || frame.is_empty() || frame.is_unique());
    }
    assert_eq!(got, expected);
    assert_eq!(
        ended.map_or_else(|| requests.end().map_err(|refused| refused.code()), Err),
        end
    );
}

fn encoded(request: &v1::ProduceStreamRequest) -> Option<&Bytes> {
    match request.batch.as_ref()?.payload.as_ref()? {
        v1::batch::Payload::Encoded(payload) => Some(payload),
        v1::batch::Payload::Records(_) => None,
    }
}

/// What the ordinary codec makes of it, and how that ends.
fn in_one_piece(mut body: &[u8]) -> (Vec<v1::ProduceStreamRequest>, Result<(), Code>) {
    let mut messages = Vec::new();
    let end = loop {
        if body.is_empty() {
            break Ok(());
        }
        let Some(([flag, len @ ..], rest)) = body.split_first_chunk::<5>() else {
            break Err(Code::Internal);
        };
        let len = u32::from_be_bytes(*len) as usize;
        if *flag == 0 && len > REQUEST_BYTES_MAX {
            break Err(Code::OutOfRange);
        }
        let Some((message, rest)) = rest.split_at_checked(len).filter(|_| *flag == 0) else {
            break Err(Code::Internal);
        };
        let shape = weigh::shape_of::<v1::ProduceStreamRequest>().expect("it is weighed");
        if weigh::check(shape, &mut &message[..]).is_err() {
            break Err(Code::InvalidArgument);
        }
        match v1::ProduceStreamRequest::decode(message) {
            Ok(message) => messages.push(message),
            Err(_) => break Err(Code::Internal),
        }
        body = rest;
    };
    (messages, end)
}
