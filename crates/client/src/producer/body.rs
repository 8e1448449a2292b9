//! The body of a produce stream that copies no batch: each goes to the socket from where it was built.
//!
//! tonic would encode each request into a buffer of its own. Here tonic makes the call, and just before the request
//! leaves its body is replaced by ours.

use bytes::Bytes;
use http_body::Frame;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use tonic::codegen::{Service, http};

/// One request: what stands before the batch on the wire, and the batch.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) head: Bytes,
    pub(super) batch: Bytes,
}

/// The requests of one stream as they go out.
struct Requests {
    requests: mpsc::UnboundedReceiver<Outgoing>,
    /// Its head has gone.
    batch: Option<Bytes>,
}

impl http_body::Body for Requests {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        if let Some(batch) = self.batch.take() {
            return Poll::Ready(Some(Ok(Frame::data(batch))));
        }
        self.requests.poll_recv(cx).map(|next| {
            let Outgoing { head, batch } = next?;
            self.batch = Some(batch).filter(|batch| !batch.is_empty());
            Some(Ok(Frame::data(head)))
        })
    }
}

/// A connection that sends these requests as the body of its one call.
#[derive(Debug)]
pub(super) struct Carrying<C> {
    connection: C,
    requests: Option<mpsc::UnboundedReceiver<Outgoing>>,
}

impl<C> Carrying<C> {
    pub(super) fn new(connection: C, requests: mpsc::UnboundedReceiver<Outgoing>) -> Self {
        Self {
            connection,
            requests: Some(requests),
        }
    }
}

impl<C: Service<http::Request<tonic::body::Body>>> Service<http::Request<tonic::body::Body>> for Carrying<C> {
    type Response = C::Response;
    type Error = C::Error;
    type Future = C::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.connection.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let request = match self.requests.take() {
            Some(requests) => request.map(|_| {
                tonic::body::Body::new(Requests {
                    requests,
                    batch: None,
                })
            }),
            None => request,
        };
        self.connection.call(request)
    }
}
