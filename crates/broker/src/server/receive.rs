//! Bounds what half-received messages hold, over all clients. A service sees a message only when its last byte has come,
//! so nothing behind the gate can bound this: a thousand streams that each send all of a large message but its last byte.
//!
//! Bytes of a message are charged as they arrive and given back when the next message of its stream begins, or the
//! request ends. Past the limit the stream fails with `THROTTLED`; waiting could wait for ever, since every half message
//! may wait for another. Frames pass through untouched.

use crate::admit::ConnectionInfo;
use crate::service::error;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use quipu_record::ErrorCode;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::service::Routes;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Of gRPC: a flag and a length of 4 bytes before each message.
const PREFIX: usize = 5;

/// Bytes that half-received messages may hold together.
#[derive(Debug)]
pub(super) struct ReceiveBudget {
    held: AtomicU64,
    limit: u64,
}

impl ReceiveBudget {
    pub(super) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self {
            held: AtomicU64::new(0),
            limit,
        })
    }

    fn take(&self, bytes: u64) -> bool {
        let before = self.held.fetch_add(bytes, Ordering::Relaxed);
        let granted = before.saturating_add(bytes) <= self.limit;
        if !granted {
            self.give_back(bytes);
        }
        granted
    }

    fn give_back(&self, bytes: u64) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The services, with the budget around every request's body.
#[derive(Clone, Debug)]
pub(super) struct Receiving {
    routes: Routes,
    budget: Arc<ReceiveBudget>,
}

impl Receiving {
    pub(super) fn new(routes: Routes, budget: Arc<ReceiveBudget>) -> Self {
        Self { routes, budget }
    }

    /// For the requests of one connection.
    pub(super) fn by(&self, connection: ConnectionInfo) -> By {
        By {
            receiving: self.clone(),
            connection,
        }
    }
}

/// The services as one connection sees them: each request knows whose it is.
#[derive(Clone, Debug)]
pub(super) struct By {
    receiving: Receiving,
    connection: ConnectionInfo,
}

impl hyper::service::Service<http::Request<Incoming>> for By {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = <Routes as Service<http::Request<Body>>>::Future;

    fn call(&self, request: http::Request<Incoming>) -> Self::Future {
        let charge = Charge::new(self.receiving.budget.clone());
        let mut request = request.map(|body| Body::new(Charged { body, charge }));
        request.extensions_mut().insert(self.connection.clone());
        // Routes are always ready: they wait for nothing but their handlers.
        self.receiving.routes.clone().call(request)
    }
}

/// What one request's body holds of the budget.
#[derive(Debug)]
struct Charge {
    budget: Arc<ReceiveBudget>,
    held: u64,
    /// Of the message that arrives: its prefix as far as it is there, what it has got, what it still lacks.
    prefix: [u8; PREFIX],
    prefix_len: usize,
    got: u64,
    lacks: u64,
}

impl Charge {
    fn new(budget: Arc<ReceiveBudget>) -> Self {
        Self {
            budget,
            held: 0,
            prefix: [0; PREFIX],
            prefix_len: 0,
            got: 0,
            lacks: 0,
        }
    }

    /// Charges for a frame; false if there is no room for it.
    fn arrived(&mut self, data: &[u8]) -> bool {
        self.follow(data);
        // The decoder holds at least this frame, and of the message that is not complete all of it.
        let hold = self.got.max(data.len() as u64);
        let granted = match hold.checked_sub(self.held) {
            Some(more) => self.budget.take(more),
            None => {
                self.budget.give_back(self.held - hold);
                true
            }
        };
        if granted {
            self.held = hold;
        }
        granted
    }

    /// Follows the messages through a frame, which ends anywhere.
    fn follow(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let len = if self.lacks > 0 {
                let len = usize::try_from(self.lacks).map_or(data.len(), |lacks| lacks.min(data.len()));
                self.lacks -= len as u64;
                len
            } else {
                if self.prefix_len == 0 {
                    self.got = 0;
                }
                let len = (PREFIX - self.prefix_len).min(data.len());
                self.prefix[self.prefix_len..][..len].copy_from_slice(&data[..len]);
                self.prefix_len += len;
                if self.prefix_len == PREFIX {
                    let [_, length @ ..] = self.prefix;
                    self.lacks = u32::from_be_bytes(length).into();
                    self.prefix_len = 0;
                }
                len
            };
            self.got += len as u64;
            data = &data[len..];
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.give_back(self.held);
    }
}

struct Charged {
    body: Incoming,
    charge: Charge,
}

impl HttpBody for Charged {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        let data = frame.as_ref().and_then(|f| f.as_ref().ok()?.data_ref());
        if data.is_some_and(|data| !this.charge.arrived(data)) {
            let refused = error::status(
                ErrorCode::Throttled,
                "this broker receives more than limits.receive.bytes allows; try again in a moment",
            );
            return Poll::Ready(Some(Err(refused.into())));
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(lengths: &[usize]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for length in lengths {
            bytes.push(0);
            bytes.extend(u32::try_from(*length).unwrap().to_be_bytes());
            bytes.resize(bytes.len() + length, 7);
        }
        bytes
    }

    #[test]
    fn half_a_message_is_charged_and_a_new_one_gives_back_the_old() {
        let budget = ReceiveBudget::new(1000);
        let mut charge = Charge::new(budget.clone());
        let bytes = messages(&[300, 200]);
        for frame in bytes[..300].chunks(100) {
            assert!(charge.arrived(frame));
        }
        assert_eq!(budget.held.load(Ordering::Relaxed), 300);
        // The first ends at 305 and the second begins.
        assert!(charge.arrived(&bytes[300..400]));
        assert_eq!(budget.held.load(Ordering::Relaxed), 100);
        drop(charge);
        assert_eq!(budget.held.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_is_held_does_not_depend_on_how_bytes_are_cut() {
        let bytes = messages(&[0, 1, 700, 0, 90, 5]);
        for cut in 1..bytes.len() {
            let budget = ReceiveBudget::new(10_000);
            let mut charge = Charge::new(budget.clone());
            for frame in bytes.chunks(cut) {
                assert!(charge.arrived(frame));
            }
            assert_eq!(
                (charge.got, charge.lacks, charge.prefix_len),
                (10, 0, 0),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn past_the_limit_it_refuses_and_holds_no_more() {
        let budget = ReceiveBudget::new(1000);
        let mut streams: Vec<_> = (0..3).map(|_| Charge::new(budget.clone())).collect();
        let bytes = messages(&[500]);
        let granted = streams
            .iter_mut()
            .filter_map(|s| s.arrived(&bytes[..400]).then_some(()))
            .count();
        assert_eq!(granted, 2);
        assert_eq!(budget.held.load(Ordering::Relaxed), 800);
        streams.clear();
        assert_eq!(budget.held.load(Ordering::Relaxed), 0);
    }
}
