//! Produce streams frame by frame: what a client may do with them, and what it may not.

use crate::harness::{MiniBroker, encode, encoded, records};
use bytes::Bytes;
use http_body::{Body as _, Frame};
use quipu_proto::{Failure, frame_of_encoded, plain_frame, v1};
use quipu_record::{Codec, ErrorCode};
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::{Code, Status};

/// A body of what comes.
struct Frames(mpsc::UnboundedReceiver<Bytes>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|data| Some(Ok(Frame::data(data?))))
    }
}

/// Opens a produce stream with these frames; more may follow.
async fn open(
    broker: &MiniBroker,
    headers: &[(&str, &str)],
    frames: impl IntoIterator<Item = Bytes>,
) -> (mpsc::UnboundedSender<Bytes>, http::Response<Body>) {
    let (send, receive) = mpsc::unbounded_channel();
    for frame in frames {
        send.send(frame).expect("open");
    }
    let mut request = http::Request::post("/quipu.v1.ProduceService/ProduceStream")
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::new(Frames(receive))).expect("a request");
    let mut channel = broker.channel();
    poll_fn(|cx| channel.poll_ready(cx)).await.expect("a connection");
    (send, channel.call(request).await.expect("a response"))
}

/// What the stream ends with, and the bytes of its answers before that.
async fn end(response: http::Response<Body>) -> (Vec<u8>, Status) {
    let ended = tokio::time::timeout(Duration::from_secs(10), read(response)).await;
    ended.expect("an end in time")
}

async fn read(response: http::Response<Body>) -> (Vec<u8>, Status) {
    let (parts, mut body) = response.into_parts();
    if let Some(status) = Status::from_header_map(&parts.headers) {
        return (Vec::new(), status);
    }
    let mut answers = Vec::new();
    loop {
        let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        let frame = frame.expect("trailers").expect("a frame");
        match frame.into_data() {
            Ok(data) => answers.extend(data),
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                return (answers, Status::from_header_map(&trailers).expect("a status"));
            }
        }
    }
}

fn request(batch: v1::Batch) -> v1::ProduceStreamRequest {
    v1::ProduceStreamRequest {
        request_id: 1,
        batch: Some(batch),
        ..v1::ProduceStreamRequest::default()
    }
}

/// The prefix of a message.
fn prefix(flag: u8, len: u32) -> Bytes {
    [&[flag][..], &len.to_be_bytes()].concat().into()
}

/// It is refused before it has come: the body stays open.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_ends_the_stream_at_once() {
    let mut broker = MiniBroker::start().await;
    broker.create("t", 1);
    let many = vec![v1::Record::default(); 200_000];
    let mut small_parts = records("t", 0, &[]);
    if let Some(v1::batch::Payload::Records(list)) = &mut small_parts.payload {
        list.records = many;
    }
    let cases = [
        (prefix(1, 0), Code::Internal, "compressed-flag"),
        (prefix(2, 0), Code::Internal, "invalid compression flag: 2"),
        (
            prefix(0, u32::MAX),
            Code::InvalidArgument,
            "too large for this broker",
        ),
        (
            plain_frame(&request(small_parts)),
            Code::InvalidArgument,
            "many small parts",
        ),
        (Bytes::from_static(b"\0\0\0\0\x01\xff"), Code::Internal, "varint"),
    ];
    for (frame, code, word) in cases {
        let good = plain_frame(&request(encoded("t", 0, encode(&["v"], Codec::None, None))));
        let (_open, response) = open(&broker, &[], [good, frame]).await;
        let (answers, status) = end(response).await;
        assert!(!answers.is_empty(), "what came before is answered: {status}");
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(word), "{status}");
        let named = Failure::from_status(&status).map(|failure| failure.code);
        assert_eq!(
            named == Some(ErrorCode::BatchTooLarge),
            word.starts_with("too large"),
            "{status}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_ends_within_a_message_is_an_error() {
    let mut broker = MiniBroker::start().await;
    broker.create("t", 1);
    let whole = plain_frame(&request(encoded("t", 0, encode(&["v"], Codec::None, None))));
    for cut in [3, 5, 20, whole.len()] {
        let (send, response) = open(&broker, &[], [whole.slice(..cut)]).await;
        drop(send);
        let (_, status) = end(response).await;
        let expected = if cut < whole.len() {
            Code::Internal
        } else {
            Code::Ok
        };
        assert_eq!(status.code(), expected, "cut at {cut}: {status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_says_it_is_compressed_is_refused() {
    let broker = MiniBroker::start().await;
    let (_open, response) = open(&broker, &[("grpc-encoding", "gzip")], []).await;
    let (_, status) = end(response).await;
    assert_eq!(status.code(), Code::Unimplemented, "{status}");
    let (send, response) = open(&broker, &[("grpc-encoding", "identity")], []).await;
    drop(send);
    assert_eq!(end(response).await.1.code(), Code::Ok);
}

/// Large batches, which are slices of their frames, and such as are cut in many ways.
#[tokio::test(flavor = "multi_thread")]
async fn batches_are_what_they_were_however_they_are_cut() {
    let mut broker = MiniBroker::start().await;
    broker.create("t", 1);
    // By its answer the connection knows how large frames may be: until then they are cut small.
    broker.produce(records("t", 0, &["first"])).await;
    let mut frames = Vec::new();
    let mut expected = vec!["first".to_owned()];
    let sizes = [800_000, 100, 70_000, 300_000];
    for (cut, size) in [usize::MAX, 100_000, 777, 65_536].into_iter().zip(sizes) {
        let value = char::from(b'a' + u8::try_from(expected.len()).expect("few"))
            .to_string()
            .repeat(size);
        let batch = encode(&[&value], Codec::None, None);
        let head = frame_of_encoded(request(encoded("t", 0, batch.clone())), batch.len()).expect("short");
        let (head, ends) = head.split_at(head.len().min(cut));
        frames.push(Bytes::copy_from_slice(head));
        frames.extend(ends.chunks(cut).map(Bytes::copy_from_slice));
        frames.extend(batch.chunks(cut).map(Bytes::copy_from_slice));
        expected.push(value);
    }
    // And several in one frame, a large one among them.
    let mut together = Vec::new();
    for size in [10, 500_000, 20] {
        let value = "z".repeat(size);
        let batch = encode(&[&value], Codec::None, None);
        together.extend(plain_frame(&request(encoded("t", 0, batch))));
        expected.push(value);
    }
    frames.push(together.into());
    let (send, response) = open(&broker, &[], frames).await;
    drop(send);
    let (_, status) = end(response).await;
    assert_eq!(status.code(), Code::Ok, "{status}");
    let stored = broker.all_values("t", 0).await;
    assert!(stored == expected, "{} of {}", stored.len(), expected.len());
}
