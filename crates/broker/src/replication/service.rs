//! ReplicaService: each stream of a follower is a task over a [`Session`].

use super::leader::{Asked, Session};
use crate::admit::{Admission, Api, RequestContext};
use crate::data_plane::DataPlane;
use quipu_proto::internal::replica_service_server::{ReplicaService, ReplicaServiceServer};
use quipu_proto::{Failure, internal};
use quipu_record::{BrokerEpoch, BrokerId, ErrorCode};
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// A request names every partition of a session, at its beginning: some fifty bytes each.
const REQUEST_BYTES_MAX: usize = 32 << 20;
/// Answers that wait for the network. A slow follower holds up its own stream.
const ANSWERS: usize = 2;

/// The service.
#[derive(Debug)]
pub struct Replicas {
    plane: Arc<DataPlane>,
    admission: Arc<Admission>,
}

/// The answers of one stream.
pub type Answers = ReceiverStream<Result<internal::ReplicateResponse, Status>>;

/// The service as a server takes it: for the internal listener only.
#[must_use]
pub fn server(plane: Arc<DataPlane>, admission: Arc<Admission>) -> ReplicaServiceServer<Replicas> {
    ReplicaServiceServer::new(Replicas { plane, admission }).max_decoding_message_size(REQUEST_BYTES_MAX)
}

#[tonic::async_trait]
impl ReplicaService for Replicas {
    type ReplicateStream = Answers;

    async fn replicate(
        &self,
        request: Request<Streaming<internal::ReplicateRequest>>,
    ) -> Result<Response<Answers>, Status> {
        // What this broker has taken in waits for its followers: they go on while it drains, and nobody waits for them.
        self.admission.admit(Api::Replicate, &request)?;
        let (out, answers) = mpsc::channel(ANSWERS);
        let plane = Arc::clone(&self.plane);
        let requests = request.into_inner();
        tokio::spawn(async move {
            if let Err(status) = run(plane, requests, &out).await {
                // Who is gone gets no last word.
                let _ = out.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}

type Out = mpsc::Sender<Result<internal::ReplicateResponse, Status>>;

async fn run(
    plane: Arc<DataPlane>,
    mut requests: Streaming<internal::ReplicateRequest>,
    out: &Out,
) -> Result<(), Status> {
    let mut ended = pin!(plane.replication.ended());
    let first = tokio::select! {
        first = requests.message() => first?,
        () = &mut ended => return Err(RequestContext::draining_status()),
    };
    let Some(first) = first else { return Ok(()) };
    check_cluster(&plane, &first)?;
    let broker = BrokerId::new(first.broker_id);
    let mut stream = Stream {
        session: Session::new(plane, broker, BrokerEpoch::new(first.broker_epoch)),
        asked: None,
        out,
    };
    stream.take(first).await?;
    let news = Arc::clone(&stream.session.news);
    loop {
        stream.answer().await?;
        let until = stream.asked.map(|asked| asked.until);
        let late = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = out.closed() => return Ok(()),
            () = &mut ended => return Err(RequestContext::draining_status()),
            request = requests.message() => match request? {
                Some(request) => stream.take(request).await?,
                None => return Ok(()),
            },
            keys = news.next() => {
                stream.session.changed(keys).await;
                if news.take_release() {
                    stream.answer().await?;
                    stream.give_up().await?;
                }
            }
            () = late => stream.give_up().await?,
        }
    }
}

/// A session, the request that waits in it, and the way back.
struct Stream<'a> {
    session: Session,
    asked: Option<Asked>,
    out: &'a Out,
}

impl Stream<'_> {
    /// Takes in a request, which ends the wait of the one before.
    async fn take(&mut self, request: internal::ReplicateRequest) -> Result<(), Status> {
        self.give_up().await?;
        let epoch = request.session_epoch;
        self.asked = self.session.take(request).await.map_err(Failure::into_status)?;
        if self.asked.is_none() {
            let lost = internal::ReplicateResponse {
                session_epoch: epoch,
                session_lost: true,
                ..internal::ReplicateResponse::default()
            };
            self.send(lost).await?;
        }
        Ok(())
    }

    /// Answers, if there is a request and something to say.
    async fn answer(&mut self) -> Result<(), Status> {
        if let Some(asked) = self.asked
            && let Some(answer) = self.session.answer(asked).await
        {
            self.asked = None;
            self.send(answer).await?;
        }
        Ok(())
    }

    /// The request that waits is answered by nothing.
    async fn give_up(&mut self) -> Result<(), Status> {
        match self.asked.take() {
            Some(asked) => self.send(asked.nothing()).await,
            None => Ok(()),
        }
    }

    async fn send(&mut self, answer: internal::ReplicateResponse) -> Result<(), Status> {
        self.session.answering(answer.session_epoch);
        let sent = self.out.send(Ok(answer)).await;
        sent.map_err(|_| Status::cancelled("the follower is gone"))
    }
}

/// An address may have come to belong to another cluster.
fn check_cluster(plane: &DataPlane, first: &internal::ReplicateRequest) -> Result<(), Failure> {
    let ours = plane.image.load().cluster_id().map(|id| id.to_string());
    if ours.as_deref() == Some(&first.cluster_id) {
        return Ok(());
    }
    let ours = ours.unwrap_or_default();
    Err(Failure::new(
        ErrorCode::InvalidRequest,
        format!(
            "this broker is of cluster {ours:?}, not {:?}: a broker of another cluster has its address",
            first.cluster_id.chars().take(40).collect::<String>()
        ),
    ))
}
