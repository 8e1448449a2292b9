//! A produce request on the wire around a batch that is not copied: what stands before the batch. The batch's bytes
//! follow and end the message.

use crate::v1;
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

/// Tags of `ProduceStreamRequest.batch` and `Batch.encoded`.
const BATCH_TAG: u32 = 2;
const ENCODED_TAG: u32 = 5;
/// gRPC's own prefix: not compressed, and the length.
pub(crate) const PREFIX_LEN: usize = 5;

/// The gRPC frame of this request but for the last `encoded_len` bytes, which are the encoded batch. The request's own
/// payload is not looked at. `None`: longer than a gRPC message can be.
#[must_use]
pub fn frame_of_encoded(mut request: v1::ProduceStreamRequest, encoded_len: usize) -> Option<Bytes> {
    let mut batch = request.batch.take().unwrap_or_default();
    batch.payload = None;
    let field_len = key_len(ENCODED_TAG) + encoded_len_varint(encoded_len as u64) + encoded_len;
    let batch_len = batch.encoded_len() + field_len;
    let request_len = request.encoded_len();
    let message_len = request_len + key_len(BATCH_TAG) + encoded_len_varint(batch_len as u64) + batch_len;
    let mut head = BytesMut::with_capacity(PREFIX_LEN + message_len - encoded_len);
    head.put_u8(0);
    head.put_u32(u32::try_from(message_len).ok()?);
    // Fields may come in any order: the batch last, and in it the payload.
    request.encode_raw(&mut head);
    encode_key(BATCH_TAG, WireType::LengthDelimited, &mut head);
    encode_varint(batch_len as u64, &mut head);
    batch.encode_raw(&mut head);
    encode_key(ENCODED_TAG, WireType::LengthDelimited, &mut head);
    encode_varint(encoded_len as u64, &mut head);
    Some(head.freeze())
}

/// The whole gRPC frame of a small message.
#[must_use]
pub fn plain_frame(message: &impl Message) -> Bytes {
    let len = message.encoded_len();
    let mut frame = BytesMut::with_capacity(PREFIX_LEN + len);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
    message.encode_raw(&mut frame);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(id: u64, topic: String, partition: u32, payload: Vec<u8>) -> v1::ProduceStreamRequest {
        v1::ProduceStreamRequest {
            request_id: id,
            batch: Some(v1::Batch {
                topic,
                topic_id: Some("id".into()),
                partition: Some(partition),
                payload: Some(v1::batch::Payload::Encoded(payload.into())),
                identity: None,
            }),
            acks: v1::Acks::All.into(),
            timeout_ms: 30_000,
            routing: v1::Routing::LeaderOnly.into(),
        }
    }

    proptest! {
        #[test]
        fn head_and_batch_together_are_the_request(
            id: u64,
            topic in "[a-z]{0,200}",
            partition: u32,
            payload in proptest::collection::vec(any::<u8>(), 0..5000),
        ) {
            let whole = request(id, topic, partition, payload.clone());
            let mut wire = frame_of_encoded(whole.clone(), payload.len()).unwrap().to_vec();
            wire.extend_from_slice(&payload);
            let (prefix, message) = wire.split_at(PREFIX_LEN);
            prop_assert_eq!(prefix[0], 0);
            prop_assert_eq!(u32::from_be_bytes(prefix[1..].try_into().unwrap()) as usize, message.len());
            prop_assert_eq!(v1::ProduceStreamRequest::decode(message).unwrap(), whole);
        }
    }

    #[test]
    fn a_message_too_long_for_grpc_is_not_begun() {
        assert_eq!(
            frame_of_encoded(v1::ProduceStreamRequest::default(), u32::MAX as usize),
            None
        );
    }
}
