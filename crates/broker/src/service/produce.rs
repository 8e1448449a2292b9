//! Produce, ProduceStream, InitProducer.
//!
//! What happens here happens on the network's threads: finding the partition, checking header, size, checksum and
//! records (`intake`), waiting for memory (`submit`). The partition's thread gets what may be appended and nothing else.

mod ids;
mod intake;
mod outcome;
mod requests;
mod stream;
mod submit;
mod unary;
mod window;

pub use ids::ProducerIdSource;
pub(crate) use ids::ProducerIds;
pub use requests::ProduceServer;
pub use stream::Answers;

use crate::admit::{Admission, Api};
use crate::data_plane::DataPlane;
use crate::metrics::Stage;
use quipu_proto::v1::produce_service_server::{ProduceService, ProduceServiceServer};
use quipu_proto::{Failure, scalars, v1};
use quipu_record::{ErrorCode, ProducerEpoch};
use requests::Requests;
use std::sync::Arc;
use tonic::{Request, Response, Status, Streaming};

/// The service.
#[derive(Debug)]
pub struct Produce {
    plane: Arc<DataPlane>,
    admission: Arc<Admission>,
}

/// The service as a server takes it.
#[must_use]
pub fn server(plane: Arc<DataPlane>, admission: Arc<Admission>) -> ProduceServer {
    let message_bytes_max = plane.config.message_bytes_max;
    let server = ProduceServiceServer::new(Produce { plane, admission });
    ProduceServer(server.max_decoding_message_size(message_bytes_max))
}

#[tonic::async_trait]
impl ProduceService for Produce {
    async fn produce(
        &self,
        request: Request<v1::ProduceRequest>,
    ) -> Result<Response<v1::ProduceResponse>, Status> {
        let context = self.admission.admit(Api::Produce, &request)?;
        let response = unary::produce(&self.plane, &context, request.into_inner()).await;
        let metrics = &self.plane.metrics;
        metrics.observe(Api::Produce, Stage::Total, context.admitted.elapsed());
        response.map(Response::new).map_err(|failure| {
            metrics.error(Api::Produce, failure.code);
            failure.into_status()
        })
    }

    type ProduceStreamStream = Answers;

    async fn produce_stream(
        &self,
        mut request: Request<Streaming<v1::ProduceStreamRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let context = self.admission.admit(Api::ProduceStream, &request)?;
        let requests = Requests::of(&mut request, self.plane.config.message_bytes_max)?;
        let answers = stream::open(Arc::clone(&self.plane), context, requests);
        Ok(Response::new(answers))
    }

    async fn init_producer(
        &self,
        request: Request<v1::InitProducerRequest>,
    ) -> Result<Response<v1::InitProducerResponse>, Status> {
        let context = self.admission.admit(Api::InitProducer, &request)?;
        let response = self.init(request.into_inner()).await;
        let metrics = &self.plane.metrics;
        metrics.observe(Api::InitProducer, Stage::Total, context.admitted.elapsed());
        match response {
            Ok(response) => Ok(Response::new(v1::InitProducerResponse {
                throttle_ms: context.throttle_ms(),
                ..response
            })),
            Err(failure) => {
                metrics.error(Api::InitProducer, failure.code);
                Err(failure.into_status())
            }
        }
    }
}

impl Produce {
    async fn init(&self, request: v1::InitProducerRequest) -> Result<v1::InitProducerResponse, Failure> {
        let ids = &self.plane.producer_ids;
        let (id, epoch) = match (request.producer_id, request.producer_epoch) {
            (None, None) => (ids.next().await?, ProducerEpoch::FIRST),
            (Some(id), Some(epoch)) => {
                let (id, epoch) = (scalars::producer_id(id)?, scalars::producer_epoch(epoch)?);
                ids.bump(id, epoch).await?
            }
            _ => {
                return Err(Failure::new(
                    ErrorCode::InvalidRequest,
                    "producer_id and producer_epoch go together: give both for a newer epoch, none for a new id",
                ));
            }
        };
        Ok(v1::InitProducerResponse {
            producer_id: id.get(),
            producer_epoch: u32::from(epoch.get()),
            throttle_ms: 0,
        })
    }
}
