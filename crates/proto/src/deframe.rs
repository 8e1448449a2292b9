//! gRPC messages out of the frames of data that a body comes in, with what is large in them not copied.
//!
//! tonic copies every frame into one buffer, and decodes from that. Here a payload that came in one frame is a slice of it.
//! A slice keeps all of its frame in memory, for as long as the payload is of use to anybody: so it must be most of it,
//! and all else is copied. Nothing here is kept of a frame from which no further message can be taken: what waits for
//! more is a copy, and is held in one piece however many frames it comes in.

use crate::framing::PREFIX_LEN;
use crate::weigh::{self, Shape};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;
use std::marker::PhantomData;
use std::mem;
use tonic::Status;

/// A slice of fewer bytes is copied. h2 gives frames out as slices of what it reads into, which is a buffer of 64 KiB for
/// all frames that fit, and one for each that does not.
const SLICE_MIN: usize = 64 << 10;
/// As much of a message as may stand before its payload, in frames of its own: room for the whole message is made only
/// for what is longer.
const HEAD_MAX: usize = 4 << 10;

/// Takes frames in, gives messages out.
#[derive(Debug)]
pub struct Deframer<M> {
    message: PhantomData<fn() -> M>,
    /// What `M` is made of, if it must be weighed.
    shape: Option<&'static Shape>,
    message_bytes_max: usize,
    /// gRPC's prefix of the next message, as far as it is here.
    prefix: [u8; PREFIX_LEN],
    prefix_len: usize,
    /// Of the message that is to be completed: its length, and what came of it in frames before.
    len: Option<usize>,
    gathered: BytesMut,
    /// What nobody has looked at yet.
    rest: Bytes,
    /// The length of the frame that `rest` is the rest of; `None` if it is a copy.
    frame_len: Option<usize>,
    slice_min: usize,
}

impl<M: Message + Default + 'static> Deframer<M> {
    /// For the messages of one body, none of which may be longer than this.
    #[must_use]
    pub fn new(message_bytes_max: usize) -> Self {
        Self {
            message: PhantomData,
            shape: weigh::shape_of::<M>(),
            message_bytes_max,
            prefix: [0; PREFIX_LEN],
            prefix_len: 0,
            len: None,
            gathered: BytesMut::new(),
            rest: Bytes::new(),
            frame_len: None,
            slice_min: SLICE_MIN,
        }
    }

    /// The same, with slices as short as this: so that tests need no long messages.
    #[cfg(feature = "test-util")]
    pub(crate) fn with_slices_of(mut self, slice_min: usize) -> Self {
        self.slice_min = slice_min;
        self
    }

    /// The next frame, for when there is no further message in those before.
    pub fn push(&mut self, frame: Bytes) {
        if self.rest.is_empty() {
            self.frame_len = Some(frame.len());
            self.rest = frame;
        } else {
            self.frame_len = None;
            self.rest = [&self.rest[..], &frame[..]].concat().into();
        }
    }

    /// The next message, if all of it is here.
    ///
    /// # Errors
    /// As tonic's own: for a message that is compressed, is too long, or is none. And for one of too many small parts.
    /// What comes after an error means nothing.
    pub fn message(&mut self) -> Result<Option<M>, Status> {
        let Some(len) = self.len()? else {
            self.rest = Bytes::new();
            return Ok(None);
        };
        let lacks = len - self.gathered.len();
        if self.rest.len() < lacks {
            self.gather(len);
            return Ok(None);
        }
        self.len = None;
        let head = mem::take(&mut self.gathered);
        let tail = self.rest.split_to(lacks);
        let frame_len = self.frame_len.take();
        if frame_len.is_some() {
            // Whoever takes the message may be a while with it.
            self.rest = Bytes::copy_from_slice(&self.rest);
        }
        self.decode(head, tail, frame_len).map(Some)
    }

    /// Whether a body may end here.
    ///
    /// # Errors
    /// Not within a message.
    pub fn end(&self) -> Result<(), Status> {
        if self.prefix_len > 0 || self.len.is_some() || !self.rest.is_empty() {
            return Err(Status::internal("Unexpected EOF decoding stream."));
        }
        Ok(())
    }

    /// The length of the message that is to be completed, once its prefix is here.
    fn len(&mut self) -> Result<Option<usize>, Status> {
        if self.len.is_none() {
            let more = (PREFIX_LEN - self.prefix_len).min(self.rest.len());
            self.rest
                .copy_to_slice(&mut self.prefix[self.prefix_len..][..more]);
            self.prefix_len += more;
            if self.prefix_len == PREFIX_LEN {
                self.prefix_len = 0;
                self.len = Some(checked_len(self.prefix, self.message_bytes_max)?);
            }
        }
        Ok(self.len)
    }

    /// Copies what is here of a message of `len` bytes that is not complete.
    fn gather(&mut self, len: usize) {
        if self.gathered.len() + self.rest.len() > HEAD_MAX {
            // At once: in many pieces it would else be moved each time the buffer grows.
            self.gathered.reserve(len - self.gathered.len());
        }
        self.gathered.extend_from_slice(&self.rest);
        self.rest = Bytes::new();
    }

    /// Decodes the message that lies in these two, the second of which may be the slice of a frame.
    fn decode(&self, mut head: BytesMut, tail: Bytes, frame_len: Option<usize>) -> Result<M, Status> {
        let weigh = |shape| weigh::check(shape, &mut Buf::chain(&head[..], &tail[..]));
        let weight = self.shape.map(weigh).transpose()?;
        // Of small parts each would be copied alone: they are slices of a copy of their message.
        let has_no_small_parts = weight == Some(0) && head.len() <= HEAD_MAX;
        // Whoever keeps a slice of a frame keeps all of it: what is held is at most twice what is counted.
        let slice_min = frame_len.map(|len| self.slice_min.max(len.div_ceil(2)));
        let message = match slice_min {
            Some(slice_min) if has_no_small_parts && tail.len() >= slice_min => {
                let head = head.freeze();
                M::decode(Pieces {
                    head,
                    tail,
                    slice_min,
                })
            }
            _ => {
                head.reserve(tail.len());
                head.extend_from_slice(&tail);
                M::decode(head.freeze())
            }
        };
        // As prost's own codec has it: whoever sends what is no message has another protocol.
        message.map_err(|error| Status::internal(error.to_string()))
    }
}

/// The length that a prefix says, of a message that is welcome. In tonic's words.
fn checked_len([flag, len @ ..]: [u8; PREFIX_LEN], max: usize) -> Result<usize, Status> {
    match flag {
        0 => {}
        1 => {
            return Err(Status::internal(
                "protocol error: received message with compressed-flag but no grpc-encoding was specified",
            ));
        }
        flag => {
            return Err(Status::internal(format!(
                "protocol error: received message with invalid compression flag: {flag} (valid flags are 0 and 1), while sending request"
            )));
        }
    }
    let len = usize::try_from(u32::from_be_bytes(len)).unwrap_or(usize::MAX);
    if len > max {
        return Err(Status::out_of_range(format!(
            "Error, decoded message length too large: found {len} bytes, the limit is: {max} bytes"
        )));
    }
    Ok(len)
}

/// A message as the decoder reads it: what was copied of it, and a slice of the frame that it ends in.
#[derive(Debug)]
struct Pieces {
    head: Bytes,
    tail: Bytes,
    /// What is shorter is copied.
    slice_min: usize,
}

impl Buf for Pieces {
    fn remaining(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    fn chunk(&self) -> &[u8] {
        if self.head.is_empty() {
            &self.tail
        } else {
            &self.head
        }
    }

    fn advance(&mut self, count: usize) {
        let of_head = count.min(self.head.len());
        self.head.advance(of_head);
        self.tail.advance(count - of_head);
    }

    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        if self.head.is_empty() && len >= self.slice_min {
            return self.tail.split_to(len);
        }
        debug_assert!(len <= self.remaining(), "the decoder looks before it takes");
        let mut copy = BytesMut::with_capacity(len);
        copy.put(self.take(len));
        copy.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{frame_of_encoded, plain_frame, v1};
    use proptest::prelude::*;
    use std::slice;
    use tonic::Code;

    type Requests = Deframer<v1::ProduceStreamRequest>;

    const BIG: usize = 1 << 20;

    fn requests() -> Requests {
        Requests::new(8 << 20)
    }

    fn sent(payload: Option<v1::batch::Payload>) -> v1::ProduceStreamRequest {
        v1::ProduceStreamRequest {
            request_id: 7,
            batch: Some(v1::Batch {
                topic: "topic".into(),
                payload,
                ..v1::Batch::default()
            }),
            ..v1::ProduceStreamRequest::default()
        }
    }

    fn encoded(payload: Vec<u8>) -> v1::ProduceStreamRequest {
        sent(Some(v1::batch::Payload::Encoded(payload.into())))
    }

    fn records(records: Vec<v1::Record>) -> v1::ProduceStreamRequest {
        let list = v1::RecordList {
            records,
            compression: 0,
        };
        sent(Some(v1::batch::Payload::Records(list)))
    }

    fn payload(request: &v1::ProduceStreamRequest) -> Bytes {
        match request.batch.as_ref().and_then(|batch| batch.payload.clone()) {
            Some(v1::batch::Payload::Encoded(payload)) => payload,
            other => panic!("{other:?}"),
        }
    }

    fn wire(requests: &[v1::ProduceStreamRequest]) -> Vec<u8> {
        requests.iter().flat_map(plain_frame).collect()
    }

    /// Everything that is there.
    fn all(requests: &mut Requests) -> Vec<v1::ProduceStreamRequest> {
        std::iter::from_fn(|| requests.message().unwrap()).collect()
    }

    fn lies_in(slice: &[u8], frame: &[u8]) -> bool {
        frame.as_ptr_range().contains(&slice.as_ptr())
    }

    #[test]
    fn a_batch_in_one_frame_is_a_slice_of_it() {
        let request = encoded(vec![1; BIG]);
        let head = frame_of_encoded(request.clone(), BIG).unwrap();
        // As our client sends it; and as one that sends all of a request in a frame.
        let whole = plain_frame(&request);
        for (frames, at) in [(vec![head, vec![1; BIG].into()], 1), (vec![whole], 0)] {
            let mut requests = requests();
            let mut got = Vec::new();
            for frame in &frames {
                requests.push(frame.clone());
                got.extend(all(&mut requests));
            }
            assert_eq!(got, slice::from_ref(&request));
            assert!(lies_in(&payload(&got[0]), &frames[at]));
            requests.end().unwrap();
            drop((got, requests));
            assert!(frames.iter().all(Bytes::is_unique));
        }
    }

    #[test]
    fn a_batch_in_two_frames_is_copied_and_keeps_neither() {
        let request = encoded(vec![1; BIG]);
        let frames = plain_frame(&request);
        let frames = [&frames[..BIG / 2], &frames[BIG / 2..]].map(Bytes::copy_from_slice);
        let mut requests = requests();
        requests.push(frames[0].clone());
        assert_eq!(requests.message().unwrap(), None);
        assert!(frames[0].is_unique(), "what waits for more is a copy");
        let (room, capacity) = (requests.gathered.as_ptr(), requests.gathered.capacity());
        assert!((BIG..BIG + 100).contains(&capacity), "room at once: {capacity}");
        requests.push(frames[1].clone());
        let got = all(&mut requests);
        assert_eq!(got, [request]);
        assert!(frames.iter().all(Bytes::is_unique));
        let at = payload(&got[0]).as_ptr().addr() - room.addr();
        assert!(at < capacity, "it stays where it was gathered");
    }

    #[test]
    fn a_message_may_be_cut_wherever_it_likes() {
        let request = encoded(vec![1; 300]);
        // With a field of the future.
        let mut message = vec![0x7a, 100];
        message.resize(102, 9);
        message.extend(request.encode_to_vec());
        let mut bytes = vec![0];
        bytes.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        bytes.extend(message);
        for cut in 0..bytes.len() {
            let mut requests = requests().with_slices_of(1);
            requests.push(Bytes::copy_from_slice(&bytes[..cut]));
            assert_eq!(requests.message().unwrap(), None);
            requests.push(Bytes::copy_from_slice(&bytes[cut..]));
            assert_eq!(all(&mut requests), slice::from_ref(&request), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_small_keeps_no_large_frame() {
        // Each is less than half of the frame; and the first, though it may be kept, leaves others in its frame behind.
        for sizes in [[1000; 500].to_vec(), vec![BIG / 3; 3], vec![BIG, 1000, 1000]] {
            let sent: Vec<_> = sizes.iter().map(|size| encoded(vec![1; *size])).collect();
            let frame = Bytes::from(wire(&sent));
            let mut requests = requests();
            requests.push(frame.clone());
            let first = requests.message().unwrap().unwrap();
            assert_eq!(lies_in(&payload(&first), &frame), sizes[0] == BIG);
            drop(first);
            assert!(frame.is_unique(), "the rest of a frame is a copy too");
            assert_eq!(all(&mut requests), sent[1..]);
        }
        // The last of a field is the one that counts: a frame is worth keeping for the first only.
        let mut twice = encoded(vec![1; BIG]).encode_to_vec();
        twice.extend(encoded(vec![2; 10]).encode_to_vec());
        let mut frame = vec![0];
        frame.extend(u32::try_from(twice.len()).unwrap().to_be_bytes());
        frame.extend(twice);
        let frame = Bytes::from(frame);
        let mut requests = requests();
        requests.push(frame.clone());
        let got = all(&mut requests);
        assert_eq!(payload(&got[0]), [2; 10][..]);
        assert!(frame.is_unique());
    }

    #[test]
    fn a_short_batch_keeps_no_frame_however_short() {
        let frame = Bytes::from(wire(&[encoded(vec![1; 32 << 10])]));
        let mut requests = requests();
        requests.push(frame.clone());
        let got = all(&mut requests);
        assert!(frame.is_unique());
        assert_eq!(got.len(), 1);
    }

    #[test]
    fn records_are_slices_of_a_copy_of_their_message() {
        let record = |value: Vec<u8>| v1::Record {
            value: Some(value.into()),
            ..v1::Record::default()
        };
        let sent = records(vec![record(vec![1; BIG]), record(vec![2; 10])]);
        let frame = plain_frame(&sent);
        let mut requests = requests();
        requests.push(frame.clone());
        let got = all(&mut requests);
        assert_eq!(got, [sent]);
        assert!(frame.is_unique());
        let Some(v1::batch::Payload::Records(list)) = &got[0].batch.as_ref().unwrap().payload else {
            panic!()
        };
        let value = |at: usize| list.records[at].value.as_ref().unwrap();
        let gap = value(1).as_ptr().addr() - value(0).as_ptr().addr();
        assert!((BIG..BIG + 20).contains(&gap), "one after the other: {gap}");
    }

    #[test]
    fn what_comes_byte_by_byte_is_held_in_one_piece() {
        let sent = [
            encoded(vec![1; BIG]),
            v1::ProduceStreamRequest::default(),
            encoded(vec![2; 100]),
        ];
        let mut requests = requests();
        let mut got = Vec::new();
        for byte in wire(&sent) {
            let before = requests.gathered.as_ptr();
            requests.push(Bytes::copy_from_slice(&[byte]));
            got.extend(requests.message().unwrap());
            let held = requests.gathered.len();
            assert!(
                held <= HEAD_MAX + 1 || requests.gathered.as_ptr() == before,
                "moved at {held}"
            );
        }
        requests.end().unwrap();
        assert_eq!(got, sent);
    }

    #[test]
    fn what_is_no_message_is_refused_as_tonic_refuses_it() {
        let cases: [(&[u8], Code, &str); 4] = [
            (
                &[1, 0, 0, 0, 0],
                Code::Internal,
                "compressed-flag but no grpc-encoding",
            ),
            (&[7, 0, 0, 0, 0], Code::Internal, "invalid compression flag: 7"),
            (
                &[0, 0, 0x80, 0, 1],
                Code::OutOfRange,
                "found 8388609 bytes, the limit is: 8388608 bytes",
            ),
            (&[0, 0, 0, 0, 1, 0xff], Code::Internal, "varint"),
        ];
        for (bytes, code, word) in cases {
            let mut requests = requests();
            requests.push(Bytes::copy_from_slice(bytes));
            let refused = requests.message().unwrap_err();
            assert_eq!(refused.code(), code, "{refused}");
            assert!(refused.message().contains(word), "{refused}");
            assert_eq!(requests.gathered.capacity(), 0, "no room was made for it");
        }
    }

    #[test]
    fn too_many_small_parts_are_refused_in_pieces_too() {
        let bytes = Bytes::from(wire(&[records(vec![v1::Record::default(); 200_000])]));
        for cut in [3, 7, 20, 100_000, bytes.len()] {
            let mut requests = requests();
            requests.push(bytes.slice(..cut));
            let refused = requests.message().and_then(|none| {
                assert_eq!(none, None);
                requests.push(bytes.slice(cut..));
                requests.message()
            });
            let refused = refused.unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        }
    }

    #[test]
    fn a_body_may_end_between_messages_only() {
        let bytes = Bytes::from(wire(&[encoded(vec![1; 100]), encoded(vec![])]));
        let first = plain_frame(&encoded(vec![1; 100])).len();
        for cut in 0..=bytes.len() {
            let mut requests = requests();
            requests.push(bytes.slice(..cut));
            let count = all(&mut requests).len();
            let ends = [0, first, bytes.len()];
            let at = ends.iter().position(|end| *end == cut);
            assert_eq!(requests.end().is_ok(), at.is_some(), "cut at {cut}");
            assert!(at.is_none_or(|messages| messages == count), "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn messages_do_not_depend_on_how_they_are_cut(
            sizes in prop::collection::vec(prop_oneof![0..200usize, 0..3 * SLICE_MIN], 0..6),
            cuts in prop::collection::vec(prop_oneof![0..20usize, 0..2 * SLICE_MIN], 0..20),
        ) {
            let sent: Vec<_> = sizes.iter().map(|size| encoded(vec![7; *size])).collect();
            let mut bytes = Bytes::from(wire(&sent));
            let mut requests = requests();
            let mut got = Vec::new();
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let frame = Bytes::copy_from_slice(&bytes.split_to(cut.min(bytes.len())));
                requests.push(frame.clone());
                let new = all(&mut requests);
                let mut payloads = new.iter().map(payload);
                let kept = payloads.find(|payload| lies_in(payload, &frame));
                prop_assert!(kept.is_none_or(|kept| kept.len() >= SLICE_MIN && kept.len() * 2 >= frame.len()));
                got.extend(new);
            }
            prop_assert_eq!(got, sent);
            prop_assert!(requests.end().is_ok());
        }
    }
}
