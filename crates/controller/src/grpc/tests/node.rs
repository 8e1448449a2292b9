//! A controller with a server of its own on loopback.

use crate::grpc::{GrpcTransport, raft_service, status_message};
use crate::{Controller, ControllerConfig, ControllerStatus};
use quipu_proto::internal as wire;
use quipu_storage::test_util::FakeDisk;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_stream::Empty;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming};
use wire::controller_service_server::{ControllerService, ControllerServiceServer};

const PATIENCE: Duration = Duration::from_secs(60);

/// A controller, its disk, its server.
pub(super) struct Node {
    pub(super) controller: Controller,
    pub(super) address: SocketAddr,
    disk: FakeDisk,
    config: ControllerConfig,
    server: tokio::task::JoinHandle<()>,
    end: oneshot::Sender<()>,
}

pub(super) fn config(address: SocketAddr, voters: &[SocketAddr]) -> ControllerConfig {
    ControllerConfig {
        address: address.to_string(),
        voters: voters.iter().map(ToString::to_string).collect(),
        heartbeat_interval: Duration::from_millis(50),
        election_timeout_min: Duration::from_millis(300),
        election_timeout_max: Duration::from_millis(600),
        join_patience: PATIENCE,
        ..ControllerConfig::new(PathBuf::from("/metadata"))
    }
}

pub(super) async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

impl Node {
    pub(super) async fn start(listener: TcpListener, config: ControllerConfig, disk: FakeDisk) -> Self {
        let address = listener.local_addr().expect("bound");
        let controller = Controller::start(config.clone(), disk.clone(), GrpcTransport::new())
            .await
            .expect("starts");
        let (end, ended) = oneshot::channel::<()>();
        let serving = tonic::transport::Server::builder()
            .add_service(raft_service(controller.clone()))
            .add_service(ControllerServiceServer::new(OnlyStatus(controller.clone())))
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), async {
                let _ = ended.await;
            });
        let server = tokio::spawn(async {
            serving.await.expect("serves");
        });
        Self {
            controller,
            address,
            disk,
            config,
            server,
            end,
        }
    }

    /// It ends, and its connections with it.
    pub(super) async fn kill(self) -> (ControllerConfig, FakeDisk) {
        self.controller.shutdown().await;
        self.disk.kill();
        drop(self.end);
        self.server.await.expect("no panic");
        (self.config, self.disk)
    }
}

/// `ControllerService` as far as controllers ask it.
struct OnlyStatus(Controller);

#[tonic::async_trait]
impl ControllerService for OnlyStatus {
    type HeartbeatStream = Empty<Result<wire::HeartbeatResponse, Status>>;
    type WatchMetadataStream = Empty<Result<wire::WatchMetadataResponse, Status>>;

    async fn get_status(
        &self,
        _: Request<wire::GetStatusRequest>,
    ) -> Result<Response<wire::GetStatusResponse>, Status> {
        Ok(Response::new(status_message(&self.0.peer_status())))
    }

    async fn propose(
        &self,
        _: Request<wire::ProposeRequest>,
    ) -> Result<Response<wire::ProposeResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn heartbeat(
        &self,
        _: Request<Streaming<wire::HeartbeatRequest>>,
    ) -> Result<Response<Self::HeartbeatStream>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn watch_metadata(
        &self,
        _: Request<wire::WatchMetadataRequest>,
    ) -> Result<Response<Self::WatchMetadataStream>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn join_controller(
        &self,
        _: Request<wire::JoinControllerRequest>,
    ) -> Result<Response<wire::JoinControllerResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn leave_controller(
        &self,
        _: Request<wire::LeaveControllerRequest>,
    ) -> Result<Response<wire::LeaveControllerResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }
}

/// Waits until some controller's status is as it should be.
pub(super) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(super) fn statuses(nodes: &[Node]) -> Vec<ControllerStatus> {
    nodes.iter().map(|node| node.controller.status()).collect()
}

/// The one that is active, once one is.
pub(super) async fn active(nodes: &[Node]) -> usize {
    let find = || {
        nodes
            .iter()
            .position(|node| node.controller.activity().borrow().is_active())
    };
    until("one is active", || find().is_some()).await;
    find().expect("just found")
}
