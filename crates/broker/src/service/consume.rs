//! ConsumeService: Consume is here and in `consume/`, Fetch in `fetch.rs`, ListOffsets in `list_offsets.rs`.
//!
//! A consume stream is a task (`session`) over a set of cursors (`cursor`): it reads where there is data, up to its
//! credit, a frame at a time, round robin; where there is none it waits for the high watermark. Nothing is pushed at a
//! client that gave no credit, and nothing is dropped for one that is slow: its cursor stays where it is.

mod cursor;
mod deliver;
mod frame;
mod group;
mod open;
mod remote;
mod session;

use super::{fetch, list_offsets};
use crate::admit::{Admission, Api, ConnectionInfo, RequestContext};
use crate::data_plane::DataPlane;
use crate::groups::Groups;
use crate::metrics::Stage;
use quipu_proto::v1::consume_service_server::{ConsumeService, ConsumeServiceServer};
use quipu_proto::{Failure, v1};
use std::sync::Arc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// The largest answer: a fetch of the most bytes, the batch that passes them, and what is around.
const ANSWER_BYTES_MAX: usize = 48 << 20;

/// The service.
#[derive(Debug)]
pub struct Consume {
    plane: Arc<DataPlane>,
    admission: Arc<Admission>,
    groups: Option<Groups>,
    seats: Arc<group::Seats>,
}

/// The service as a server takes it, without groups.
#[must_use]
pub fn server(plane: Arc<DataPlane>, admission: Arc<Admission>) -> ConsumeServiceServer<Consume> {
    served(plane, admission, None, Arc::default())
}

/// Streams of members of groups; one for all listeners of a broker.
#[derive(Clone, Debug)]
pub(crate) struct Members {
    groups: Groups,
    seats: Arc<group::Seats>,
}

impl Members {
    /// None yet.
    pub(crate) fn new(groups: Groups) -> Self {
        Self {
            groups,
            seats: Arc::default(),
        }
    }
}

/// The service with groups.
pub(crate) fn server_of_groups(
    plane: Arc<DataPlane>,
    admission: Arc<Admission>,
    members: Members,
) -> ConsumeServiceServer<Consume> {
    served(plane, admission, Some(members.groups), members.seats)
}

fn served(
    plane: Arc<DataPlane>,
    admission: Arc<Admission>,
    groups: Option<Groups>,
    seats: Arc<group::Seats>,
) -> ConsumeServiceServer<Consume> {
    let message_bytes_max = plane.config.message_bytes_max;
    ConsumeServiceServer::new(Consume {
        plane,
        admission,
        groups,
        seats,
    })
    .max_decoding_message_size(message_bytes_max)
    .max_encoding_message_size(ANSWER_BYTES_MAX)
}

impl Consume {
    fn answer<T>(&self, context: &RequestContext, result: Result<T, Failure>) -> Result<Response<T>, Status> {
        let metrics = &self.plane.metrics;
        metrics.observe(context.api, Stage::Total, context.admitted.elapsed());
        result.map(Response::new).map_err(|failure| {
            metrics.error(context.api, failure.code);
            failure.into_status()
        })
    }
}

#[tonic::async_trait]
impl ConsumeService for Consume {
    async fn fetch(&self, request: Request<v1::FetchRequest>) -> Result<Response<v1::FetchResponse>, Status> {
        let context = self.admission.admit(Api::Fetch, &request)?;
        let result = fetch::fetch(&self.plane, &context, request.into_inner()).await;
        self.answer(&context, result)
    }

    type ConsumeStream = ReceiverStream<Result<v1::ConsumeResponse, Status>>;

    async fn consume(
        &self,
        request: Request<Streaming<v1::ConsumeRequest>>,
    ) -> Result<Response<Self::ConsumeStream>, Status> {
        let context = self.admission.admit(Api::Consume, &request)?;
        let connection = request.extensions().get::<ConnectionInfo>();
        let host = session::Host {
            plane: Arc::clone(&self.plane),
            groups: self.groups.clone(),
            seats: Arc::clone(&self.seats),
            peer: connection.map(|connection| connection.peer),
        };
        let frames = session::start(host, context, request.into_inner());
        Ok(Response::new(ReceiverStream::new(frames)))
    }

    async fn list_offsets(
        &self,
        request: Request<v1::ListOffsetsRequest>,
    ) -> Result<Response<v1::ListOffsetsResponse>, Status> {
        let context = self.admission.admit(Api::ListOffsets, &request)?;
        let result = list_offsets::list(&self.plane, &context, request.into_inner()).await;
        self.answer(&context, result)
    }
}
