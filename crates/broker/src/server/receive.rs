//! Bounds what received messages hold before a service has taken them, over all clients. A service sees a message only
//! when its last byte has come, so nothing behind the gate can bound this: a thousand streams that each send all of a large
//! message but its last byte.
//!
//! Bytes of a message are charged as they arrive and given back when its stream asks for the next one, or its call is
//! answered. Past the limit no further message begins: its client waits. What has begun goes on, up to twice the limit, and
//! then fails with `THROTTLED`: waiting could wait for ever, since every half message may wait for another. Frames pass
//! through untouched.

mod budget;

pub(super) use budget::ReceiveBudget;

use super::Served;
use crate::admit::ConnectionInfo;
use crate::service::error;
use budget::{Charge, Held};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use quipu_record::ErrorCode;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::service::Routes;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Answer = <Routes as Service<http::Request<Body>>>::Future;

/// The services, with the budget around every request's body.
#[derive(Clone, Debug)]
pub(super) struct Receiving {
    routes: Served,
    budget: Arc<ReceiveBudget>,
}

impl Receiving {
    pub(super) fn new(routes: Served, budget: Arc<ReceiveBudget>) -> Self {
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
    type Future = Answering;

    fn call(&self, request: http::Request<Incoming>) -> Answering {
        let held = Held::nothing(self.receiving.budget.clone());
        let charge = Charge::new(held.clone());
        let mut request = request.map(|body| Body::new(Charged { body, charge }));
        request.extensions_mut().insert(self.connection.clone());
        Answering {
            // Routes are always ready: they wait for nothing but their handlers.
            answer: self.receiving.routes.now().call(request),
            _held: held,
        }
    }
}

/// A handler at work: it holds the message of a call until it answers. (A stream's handler answers at once, and goes on
/// reading the body, which holds each message until the next.)
pub(super) struct Answering {
    answer: Answer,
    _held: Arc<Held>,
}

impl Future for Answering {
    type Output = Result<http::Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer).poll(cx)
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
        ready!(this.charge.poll_next(cx));
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
