//! The requests of a produce stream, decoded from the frames of its body as they came: the mirror image of what our client
//! sends (`quipu-client`, `producer/body.rs`).
//!
//! tonic would copy every batch into a buffer of its own. Here it answers the call, and just before it sees the request the
//! body is taken out, for the handler to read.

use super::Produce;
use http_body::Body as _;
use quipu_proto::Deframer;
use quipu_proto::v1::ProduceStreamRequest;
use quipu_proto::v1::produce_service_server::ProduceServiceServer;
use std::convert::Infallible;
use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::{Code, Request, Status};

/// Its handler reads the body itself.
const PRODUCE_STREAM: &str = "/quipu.v1.ProduceService/ProduceStream";

/// The service as a server takes it.
#[derive(Clone, Debug)]
pub struct ProduceServer(pub(super) ProduceServiceServer<Produce>);

impl NamedService for ProduceServer {
    const NAME: &'static str = <ProduceServiceServer<Produce> as NamedService>::NAME;
}

impl Service<http::Request<Body>> for ProduceServer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = <ProduceServiceServer<Produce> as Service<http::Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<http::Request<Body>>::poll_ready(&mut self.0, cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        if request.uri().path() == PRODUCE_STREAM {
            let body = mem::take(request.body_mut());
            request.extensions_mut().insert(TakenBody::from(body));
        }
        self.0.call(request)
    }
}

/// A body on its way to the handler. What travels with a request could be cloned and shared, so this can; but it is taken
/// once.
#[derive(Clone, Debug)]
struct TakenBody(Arc<Mutex<Option<Body>>>);

impl From<Body> for TakenBody {
    fn from(body: Body) -> Self {
        Self(Arc::new(Mutex::new(Some(body))))
    }
}

impl TakenBody {
    fn take(&self) -> Option<Body> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The requests of one stream. Ends where tonic's own stream would, and with the same status.
#[derive(Debug)]
pub(super) struct Requests {
    /// None once it has ended: what it holds is given back then.
    body: Option<Body>,
    deframer: Deframer<ProduceStreamRequest>,
}

impl Requests {
    /// Of a call that came by [`ProduceServer`].
    pub(super) fn of<T>(request: &mut Request<T>, message_bytes_max: usize) -> Result<Self, Status> {
        let taken = request.extensions_mut().remove::<TakenBody>();
        let body = taken.and_then(|taken| taken.take());
        let body = body.ok_or_else(|| Status::internal("a bug: the body of this call is gone"))?;
        Ok(Self::new(body, message_bytes_max))
    }

    fn new(body: Body, message_bytes_max: usize) -> Self {
        Self {
            body: Some(body),
            deframer: Deframer::new(message_bytes_max),
        }
    }

    /// The next request, `None` at the end. Cancel safe.
    pub(super) async fn message(&mut self) -> Result<Option<ProduceStreamRequest>, Status> {
        let next = self.read().await;
        if !matches!(next, Ok(Some(_))) {
            self.body = None;
        }
        next
    }

    async fn read(&mut self) -> Result<Option<ProduceStreamRequest>, Status> {
        while let Some(body) = &mut self.body {
            // A further frame is asked for when there is no message left in those before: by this the budget of what is
            // received sees that they are taken (`server/receive`).
            if let Some(message) = self.deframer.message()? {
                return Ok(Some(message));
            }
            let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await;
            match frame.transpose() {
                // Trailers say nothing to us.
                Ok(frame) => match frame.and_then(|frame| frame.into_data().ok()) {
                    Some(data) => self.deframer.push(data),
                    None => return self.deframer.end().map(|()| None),
                },
                // The client went away, which is nobody's error.
                Err(status) if status.code() == Code::Cancelled => return Ok(None),
                Err(status) => return Err(status),
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::error;
    use bytes::Bytes;
    use http_body::Frame;
    use proptest::prelude::*;
    use quipu_proto::{Codec, plain_frame, v1};
    use quipu_record::ErrorCode;
    use std::collections::VecDeque;
    use std::pin::pin;
    use std::task::Waker;
    use tonic::Streaming;
    use tonic::codec::Codec as _;

    const MESSAGE_BYTES_MAX: usize = 200_000;

    /// A body of these, and then the end; whoever has it holds the token.
    struct Frames {
        frames: VecDeque<Result<Frame<Bytes>, Status>>,
        _token: Arc<()>,
    }

    impl http_body::Body for Frames {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Ready(self.frames.pop_front())
        }
    }

    fn body(frames: impl IntoIterator<Item = Result<Frame<Bytes>, Status>>, token: &Arc<()>) -> Body {
        Body::new(Frames {
            frames: frames.into_iter().collect(),
            _token: Arc::clone(token),
        })
    }

    fn data(bytes: impl Into<Bytes>) -> Result<Frame<Bytes>, Status> {
        Ok(Frame::data(bytes.into()))
    }

    fn now<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("it waits, and nothing would wake it"),
        }
    }

    type Read = (Vec<ProduceStreamRequest>, Result<(), (Code, String)>);

    fn read(mut next: impl FnMut() -> Result<Option<ProduceStreamRequest>, Status>) -> Read {
        let mut messages = Vec::new();
        loop {
            match next() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => return (messages, Ok(())),
                Err(status) => return (messages, Err((status.code(), status.message().to_owned()))),
            }
        }
    }

    fn by_us(body: Body) -> Read {
        let mut requests = Requests::new(body, MESSAGE_BYTES_MAX);
        read(|| now(requests.message()))
    }

    fn by_tonic(body: Body) -> Read {
        let decoder = Codec::<v1::ProduceStreamResponse, ProduceStreamRequest>::default().decoder();
        let mut requests = Streaming::new_request(decoder, body, None, Some(MESSAGE_BYTES_MAX));
        read(|| now(requests.message()))
    }

    fn message(payload: usize) -> Bytes {
        plain_frame(&ProduceStreamRequest {
            batch: Some(v1::Batch {
                topic: "t".into(),
                payload: Some(v1::batch::Payload::Encoded(vec![7; payload].into())),
                ..v1::Batch::default()
            }),
            ..ProduceStreamRequest::default()
        })
    }

    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            4 => (0..300usize).prop_map(|len| message(len).to_vec()),
            4 => (0..=MESSAGE_BYTES_MAX).prop_map(|len| message(len).to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..20),
            1 => (0..=2u8, 0..400_000u32).prop_map(|(flag, len)| [&[flag][..], &len.to_be_bytes()].concat()),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_stream_is_read_as_tonic_reads_it(
            pieces in prop::collection::vec(pieces(), 0..5),
            cuts in prop::collection::vec(prop_oneof![0..20usize, 0..2 * MESSAGE_BYTES_MAX], 0..12),
            reset: bool,
        ) {
            let mut bytes = Bytes::from(pieces.concat());
            let mut frames = Vec::new();
            for cut in cuts.into_iter().chain([usize::MAX]) {
                frames.push(bytes.split_to(cut.min(bytes.len())));
            }
            let token = Arc::default();
            let frames = || {
                let frames = frames.iter().cloned().map(data);
                body(frames.chain(reset.then(|| Err(Status::cancelled("reset")))), &token)
            };
            let (ours, tonics) = (by_us(frames()), by_tonic(frames()));
            prop_assert_eq!(&ours.0, &tonics.0);
            // tonic forgets a prefix that no byte of its message follows.
            let forgotten = tonics.1.is_ok() && ours.1.as_ref().is_err_and(|(_, said)| said.contains("EOF"));
            prop_assert!(forgotten || ours.1 == tonics.1, "{:?} and {:?}", ours.1, tonics.1);
        }
    }

    #[test]
    fn a_prefix_without_its_message_is_no_end() {
        let ended = by_us(body([data(message(10).slice(..5))], &Arc::default())).1;
        assert_eq!(ended.map_err(|(code, _)| code), Err(Code::Internal));
    }

    #[test]
    fn trailers_end_it_between_messages() {
        let trailers = || Ok(Frame::trailers(http::HeaderMap::new()));
        let (messages, end) = by_us(body(
            [data(message(10)), trailers(), data(message(10))],
            &Arc::default(),
        ));
        assert_eq!((messages.len(), end), (1, Ok(())));
    }

    #[test]
    fn what_the_body_says_is_said_and_the_body_is_given_back() {
        let throttled = || error::status(ErrorCode::Throttled, "later");
        let cases = [
            (
                vec![data(message(10)), Err(throttled())],
                Err(Code::ResourceExhausted),
            ),
            (vec![data(message(10)), Err(Status::cancelled("reset"))], Ok(())),
            (vec![data(message(10))], Ok(())),
            (vec![data(message(10)), data(vec![1; 5])], Err(Code::Internal)),
        ];
        for (frames, expected) in cases {
            let token = Arc::default();
            let mut requests = Requests::new(body(frames, &token), MESSAGE_BYTES_MAX);
            assert!(now(requests.message()).unwrap().is_some());
            assert_eq!(Arc::strong_count(&token), 2);
            let end = now(requests.message());
            assert_eq!(
                end.map(|none| assert_eq!(none, None))
                    .map_err(|status| status.code()),
                expected
            );
            assert_eq!(Arc::strong_count(&token), 1);
            assert_eq!(now(requests.message()).unwrap(), None, "and it stays so");
        }
        let token = Arc::default();
        drop(Requests::new(
            body([data(message(10))], &token),
            MESSAGE_BYTES_MAX,
        ));
        assert_eq!(Arc::strong_count(&token), 1);
    }

    #[test]
    fn a_body_is_taken_once() {
        let mut request = Request::new(());
        request.extensions_mut().insert(TakenBody::from(Body::empty()));
        Requests::of(&mut request, MESSAGE_BYTES_MAX).unwrap();
        assert_eq!(
            Requests::of(&mut request, MESSAGE_BYTES_MAX).unwrap_err().code(),
            Code::Internal
        );
    }
}
