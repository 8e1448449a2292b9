//! `quipu.internal.v1.ControllerService`: what brokers, and controllers that come to be, ask of this process's controller.
//! It answers in every phase of the broker's life: without it nobody would leave the first.

use super::image_stream;
use super::sessions::{Beats, Sessions};
use bytes::Bytes;
use quipu_controller::grpc::{member_message, status_message};
use quipu_controller::{Controller, ControllerId, Member, Subscription, Unavailable, Update, encode_delta};
use quipu_metadata::{COMMAND_BYTES_MAX, ClusterId, Command, Delta, Heartbeat, HeartbeatAnswer, Image};
use quipu_proto::internal as wire;
use quipu_proto::internal::controller_service_server::{ControllerService, ControllerServiceServer};
use quipu_proto::internal::watch_metadata_response::Change;
use quipu_proto::{Failure, not_controller};
use quipu_record::{BrokerEpoch, BrokerId, ErrorCode, MetadataVersion, PartitionId, TopicId, TopicPartition};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// How often a stream of metadata says that it lives.
const WATCH_ALIVE: Duration = Duration::from_secs(1);
/// Messages that wait for a slow reader; past it, the subscription lags, and gets an image.
const QUEUE: usize = 16;
/// Fields around a command.
const SLACK: usize = 64 << 10;

/// The service.
#[derive(Debug)]
pub(crate) struct ControllerServer {
    controller: Controller,
    sessions: Sessions,
}

/// The service for the internal listener.
pub(crate) fn server(
    controller: Controller,
    sessions: Sessions,
) -> ControllerServiceServer<ControllerServer> {
    ControllerServiceServer::new(ControllerServer { controller, sessions })
        .max_decoding_message_size(COMMAND_BYTES_MAX + SLACK)
        .max_encoding_message_size(super::propose::MESSAGE_BYTES_MAX)
}

/// A change of the metadata, or of who votes on it, that was not made.
pub(crate) fn refused(unavailable: &Unavailable) -> Status {
    match unavailable {
        Unavailable::NotActive { address, .. } => not_controller(unavailable.to_string(), address.as_deref()),
        other => Failure::new(other.code(), other.to_string()).into_status(),
    }
}

impl ControllerServer {
    /// Refuses whoever means another cluster.
    fn check(&self, cluster: Option<&str>) -> Result<(), Status> {
        let (Some(theirs), Some(ours)) = (cluster, self.controller.image().cluster_id()) else {
            return Ok(());
        };
        if ClusterId::parse(theirs) == Some(ours) {
            return Ok(());
        }
        let told = format!(
            "this controller is of cluster {ours}, not {theirs}: set controllers.voters to the controllers of the cluster that \
             the data directory belongs to"
        );
        Err(Failure::new(ErrorCode::InvalidRequest, told).into_status())
    }

    fn not_active(&self) -> Status {
        let leader = self.controller.status().leader;
        let elsewhere = leader.filter(|leader| leader.id != self.controller.id());
        let address = elsewhere.map(|leader| leader.address);
        not_controller("this controller is not the active one", address.as_deref())
    }
}

type Answers<T> = ReceiverStream<Result<T, Status>>;

#[tonic::async_trait]
impl ControllerService for ControllerServer {
    async fn get_status(
        &self,
        _: Request<wire::GetStatusRequest>,
    ) -> Result<Response<wire::GetStatusResponse>, Status> {
        Ok(Response::new(status_message(&self.controller.peer_status())))
    }

    async fn propose(
        &self,
        request: Request<wire::ProposeRequest>,
    ) -> Result<Response<wire::ProposeResponse>, Status> {
        let request = request.into_inner();
        let command = Command::decode(&request.command)
            .map_err(|error| Failure::new(ErrorCode::InvalidRequest, error.to_string()).into_status())?;
        // A broker of another cluster that registers is refused by its own words, which say more.
        if !matches!(command, Command::RegisterBroker(_)) {
            self.check(request.cluster_id.as_deref())?;
        }
        let committed = self.controller.propose_command(command).await;
        let committed = committed.map_err(|unavailable| refused(&unavailable))?;
        Ok(Response::new(wire::ProposeResponse {
            version: committed.version.get(),
            reply: Bytes::from(committed.outcome.encode()),
        }))
    }

    type HeartbeatStream = Answers<wire::HeartbeatResponse>;

    async fn heartbeat(
        &self,
        request: Request<Streaming<wire::HeartbeatRequest>>,
    ) -> Result<Response<Self::HeartbeatStream>, Status> {
        if !self.sessions.is_active() {
            return Err(self.not_active());
        }
        let beats = Beating {
            requests: request.into_inner(),
            cluster: self.controller.image().cluster_id(),
        };
        let (answer, mut answers) = mpsc::channel(1);
        let (out, stream) = mpsc::channel(1);
        let sessions = self.sessions.clone();
        tokio::spawn(async move {
            let hearing = sessions.clone().hear(beats, answer);
            let telling = async {
                while let Some(answer) = answers.recv().await {
                    if out.send(Ok(answer_message(answer))).await.is_err() {
                        break;
                    }
                }
                drop(answers);
            };
            tokio::join!(hearing, telling);
            let leader = sessions.status().leader.map(|leader| leader.address);
            let address = leader.filter(|_| !sessions.is_active());
            let end = not_controller("this controller hears no brokers any more", address.as_deref());
            let _ = out.send(Err(end)).await;
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    type WatchMetadataStream = Answers<wire::WatchMetadataResponse>;

    async fn watch_metadata(
        &self,
        request: Request<wire::WatchMetadataRequest>,
    ) -> Result<Response<Self::WatchMetadataStream>, Status> {
        let request = request.into_inner();
        self.check(request.cluster_id.as_deref())?;
        if self.controller.image().cluster_id().is_none() {
            let told = "this controller is not part of a cluster yet; try again in a moment";
            return Err(Failure::new(ErrorCode::NotReady, told).into_status());
        }
        let (out, stream) = mpsc::channel(QUEUE);
        let telling = Telling {
            subscription: self.controller.subscribe(),
            controller: self.controller.clone(),
            told: request.from_version.map(MetadataVersion::new),
            out,
        };
        tokio::spawn(telling.run());
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn join_controller(
        &self,
        request: Request<wire::JoinControllerRequest>,
    ) -> Result<Response<wire::JoinControllerResponse>, Status> {
        let request = request.into_inner();
        let id = ControllerId::new(request.controller_id);
        let replaces = request.replaces.map(ControllerId::new);
        let voters = self.controller.join(id, request.address, replaces).await;
        let voters = self.changed(voters)?;
        Ok(Response::new(wire::JoinControllerResponse { voters }))
    }

    async fn leave_controller(
        &self,
        request: Request<wire::LeaveControllerRequest>,
    ) -> Result<Response<wire::LeaveControllerResponse>, Status> {
        let id = ControllerId::new(request.into_inner().controller_id);
        let voters = self.changed(self.controller.leave(id).await)?;
        Ok(Response::new(wire::LeaveControllerResponse { voters }))
    }
}

impl ControllerServer {
    fn changed(
        &self,
        voters: Result<Vec<Member>, quipu_controller::MembershipError>,
    ) -> Result<Vec<wire::ControllerAddress>, Status> {
        match voters {
            Ok(voters) => Ok(voters.iter().map(member_message).collect()),
            Err(quipu_controller::MembershipError::Unavailable(unavailable)) => Err(refused(&unavailable)),
            Err(error) => Err(Failure::new(error.code(), error.to_string()).into_status()),
        }
    }
}

fn answer_message(answer: HeartbeatAnswer) -> wire::HeartbeatResponse {
    wire::HeartbeatResponse {
        fenced: answer.fenced,
        should_shutdown: answer.should_shutdown,
        stale: answer.stale,
    }
}

/// A broker's signs of life, as they come in.
struct Beating {
    requests: Streaming<wire::HeartbeatRequest>,
    cluster: Option<ClusterId>,
}

impl Beats for Beating {
    async fn next(&mut self) -> Option<Heartbeat> {
        let request = self.requests.message().await.ok().flatten()?;
        let cluster = ClusterId::parse(&request.cluster_id);
        if cluster.is_none() || cluster != self.cluster {
            tracing::warn!(
                broker = request.broker_id,
                cluster = request.cluster_id,
                "a broker of another cluster came by"
            );
            return None;
        }
        let offline = request.offline.iter().map(|at| {
            Some(TopicPartition {
                topic: TopicId::from_bytes(at.topic_id[..].try_into().ok()?),
                partition: PartitionId::new(at.partition),
            })
        });
        Some(Heartbeat {
            id: BrokerId::new(request.broker_id),
            epoch: BrokerEpoch::new(request.broker_epoch),
            metadata_version: MetadataVersion::new(request.metadata_version),
            want_fence: request.want_fence,
            want_shutdown: request.want_shutdown,
            offline: offline.collect::<Option<_>>()?,
        })
    }
}

/// Tells one broker of the metadata, until it goes or the controller stops.
struct Telling {
    subscription: Subscription,
    controller: Controller,
    /// The version that the broker has.
    told: Option<MetadataVersion>,
    out: mpsc::Sender<Result<wire::WatchMetadataResponse, Status>>,
}

/// The broker is gone.
struct Gone;

impl Telling {
    async fn run(mut self) {
        // Gone or stopped: there is nothing more to tell either way.
        if let Err(Gone) = self.tell_all().await {
            return;
        }
        let told = "this controller has stopped; ask another";
        let end = Failure::new(ErrorCode::ShuttingDown, told).into_status();
        let _ = self.out.send(Err(end)).await;
    }

    async fn tell_all(&mut self) -> Result<(), Gone> {
        let image = self.subscription.image().clone();
        // What the broker has already is not ahead of it: the changes in between are told of no more.
        if self.told.is_none_or(|told| told < image.version()) {
            self.tell_image(&image).await?;
        }
        loop {
            let update = tokio::select! {
                update = self.subscription.next() => update,
                () = tokio::time::sleep(WATCH_ALIVE) => {
                    self.tell(None).await?;
                    continue;
                }
                () = self.out.closed() => return Err(Gone),
            };
            match update {
                None => return Ok(()),
                Some(Update::Image(image)) => self.tell_image(&image).await?,
                Some(Update::Delta(delta)) => self.tell_delta(&delta).await?,
            }
        }
    }

    async fn tell_image(&mut self, image: &Arc<Image>) -> Result<(), Gone> {
        let chunks = image_stream::chunks(image).map_err(|error| {
            tracing::error!(%error, "the metadata cannot be sent");
            Gone
        })?;
        for chunk in chunks {
            self.tell(Some(Change::Image(chunk))).await?;
        }
        self.told = Some(image.version());
        Ok(())
    }

    async fn tell_delta(&mut self, delta: &Delta) -> Result<(), Gone> {
        if self.told.is_some_and(|told| delta.version <= told) {
            return Ok(());
        }
        let message = wire::MetadataDelta {
            version: delta.version.get(),
            records: encode_delta(delta),
        };
        self.tell(Some(Change::Delta(message))).await?;
        self.told = Some(delta.version);
        Ok(())
    }

    async fn tell(&self, change: Option<Change>) -> Result<(), Gone> {
        let committed = self.controller.image().version().get();
        let message = wire::WatchMetadataResponse { change, committed };
        self.out.send(Ok(message)).await.map_err(|_| Gone)
    }
}
