//! The server over real sockets: who came in by which listener, limits, and a drain that ends every stream.

use super::*;
use crate::admit::{Admission, Api, Phase, RequestContext};
use crate::config::{Config, HostPort};
use crate::metrics::Metrics;
use quipu_proto::v1;
use quipu_proto::v1::cluster_service_client::ClusterServiceClient;
use quipu_proto::v1::cluster_service_server::{ClusterService, ClusterServiceServer};
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

/// Says by which listener a client came in; its watches end with the drain alone.
#[derive(Clone)]
struct Echo(Arc<Admission>);

#[tonic::async_trait]
impl ClusterService for Echo {
    type WatchRoutingStream = ReceiverStream<Result<v1::WatchRoutingResponse, Status>>;

    async fn get_cluster(
        &self,
        request: Request<v1::GetClusterRequest>,
    ) -> Result<Response<v1::GetClusterResponse>, Status> {
        let context = self.0.admit(Api::GetCluster, &request)?;
        Ok(Response::new(v1::GetClusterResponse {
            cluster_id: context.listener.to_string(),
            ..v1::GetClusterResponse::default()
        }))
    }

    async fn watch_routing(
        &self,
        request: Request<v1::WatchRoutingRequest>,
    ) -> Result<Response<Self::WatchRoutingStream>, Status> {
        let context = self.0.admit(Api::WatchRouting, &request)?;
        let (answers, stream) = mpsc::channel(1);
        tokio::spawn(async move {
            context.drained().await;
            let _ = answers.send(Err(RequestContext::draining_status())).await;
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn get_routing(
        &self,
        _: Request<v1::GetRoutingRequest>,
    ) -> Result<Response<v1::GetRoutingResponse>, Status> {
        Ok(Response::new(v1::GetRoutingResponse::default()))
    }

    async fn list_brokers(
        &self,
        _: Request<v1::ListBrokersRequest>,
    ) -> Result<Response<v1::ListBrokersResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn check_cluster(
        &self,
        _: Request<v1::CheckClusterRequest>,
    ) -> Result<Response<v1::CheckClusterResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn set_log_level(
        &self,
        _: Request<v1::SetLogLevelRequest>,
    ) -> Result<Response<v1::SetLogLevelResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_controllers(
        &self,
        _: Request<v1::GetControllersRequest>,
    ) -> Result<Response<v1::GetControllersResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn join_controller(
        &self,
        _: Request<v1::JoinControllerRequest>,
    ) -> Result<Response<v1::JoinControllerResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn leave_controller(
        &self,
        _: Request<v1::LeaveControllerRequest>,
    ) -> Result<Response<v1::LeaveControllerResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

struct Serving {
    admission: Arc<Admission>,
    addresses: Vec<Address>,
    metrics: Metrics,
    cut: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Serving {
    /// Serves on listeners `client` and `far`.
    async fn start(change: impl FnOnce(&mut LimitsConfig)) -> Self {
        let mut config = Config::ephemeral(Path::new("unused"));
        change(&mut config.limits);
        let mut far = config.listeners[0].clone();
        far.name = Arc::from("far");
        far.advertised = Some(HostPort {
            host: "broker.example".to_owned(),
            port: 0,
        });
        config.listeners.push(far);

        let (admission, metrics) = (Arc::new(Admission::default()), Metrics::default());
        admission.enter(Phase::Running);
        let slots = Arc::new(Semaphore::new(config.limits.connections));
        let cut = watch::Sender::new(false);
        let mut bound = Vec::new();
        for listener in &config.listeners {
            bound.push(Bound::bind(listener, slots.clone(), &metrics).await.unwrap());
        }
        let addresses = bound.iter().map(|bound| bound.address.clone()).collect();
        let service = ClusterServiceServer::new(Echo(admission.clone()))
            .max_decoding_message_size(message_bytes_max(&config.limits));
        let (limits, drain, cut_off) = (config.limits, admission.clone(), cut.subscribe());
        let task = tokio::spawn(async move {
            let drained = async move { drain.drained().await };
            serve(bound, Routes::new(service), limits, drained, cut_off).await;
        });
        Self {
            admission,
            addresses,
            metrics,
            cut,
            task,
        }
    }

    async fn connect(
        &self,
        listener: usize,
    ) -> Result<ClusterServiceClient<Channel>, tonic::transport::Error> {
        let address = self.addresses[listener].bound;
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}"))?;
        Ok(ClusterServiceClient::new(endpoint.connect().await?))
    }
}

/// A request of `bytes` bytes: names of topics.
fn large(bytes: usize) -> v1::GetRoutingRequest {
    v1::GetRoutingRequest {
        topics: vec!["x".repeat(bytes)],
        min_version: 0,
    }
}

#[tokio::test]
async fn a_client_is_known_by_its_listener_and_told_that_ones_address() {
    let serving = Serving::start(|_| {}).await;
    for (at, name) in ["client", "far"].into_iter().enumerate() {
        let mut client = serving.connect(at).await.unwrap();
        let answer = client.get_cluster(v1::GetClusterRequest {}).await.unwrap();
        assert_eq!(answer.into_inner().cluster_id, name);
    }
    let [client, far] = &serving.addresses[..] else {
        panic!()
    };
    assert_eq!(client.advertised.to_string(), client.bound.to_string());
    assert_eq!(
        far.advertised.to_string(),
        format!("broker.example:{}", far.bound.port())
    );
    let page = serving.metrics.scrape();
    assert!(page.contains(r#"quipu_connections{listener="far"}"#), "{page}");
}

#[tokio::test]
async fn a_connection_too_many_is_closed_and_its_place_is_given_back() {
    let serving = Serving::start(|limits| limits.connections = 1).await;
    let address = serving.addresses[0].bound;
    let mut first = serving.connect(0).await.unwrap();
    first.get_cluster(v1::GetClusterRequest {}).await.unwrap();

    let mut second = tokio::net::TcpStream::connect(address).await.unwrap();
    assert!(
        matches!(second.read(&mut [0]).await, Ok(0) | Err(_)),
        "closed at once"
    );
    drop(first);
    // The place is free as soon as the server has seen the end of the first.
    let again = async {
        loop {
            if let Ok(mut client) = serving.connect(0).await
                && client.get_cluster(v1::GetClusterRequest {}).await.is_ok()
            {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), again)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_request_too_large_is_refused_and_the_connection_lives() {
    let serving = Serving::start(|limits| limits.request_bytes = 1 << 20).await;
    let mut client = serving.connect(0).await.unwrap();
    let refused = client.get_routing(large(2 << 20)).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
    client.get_routing(large(1 << 20)).await.unwrap();
}

#[tokio::test]
async fn requests_that_are_received_at_once_share_a_bound() {
    let serving = Serving::start(|limits| {
        limits.request_bytes = 4 << 20;
        limits.receive_bytes = 1 << 20;
    })
    .await;
    let mut client = serving.connect(0).await.unwrap();
    let refused = client.get_routing(large(3 << 20)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(refused.message().contains("limits.receive.bytes"), "{refused}");
    // What it held was given back; and many that fit one by one wait for one another.
    let calls = (0..32).map(|_| {
        let mut client = client.clone();
        tokio::spawn(async move { client.get_routing(large(900 << 10)).await })
    });
    for call in calls.collect::<Vec<_>>() {
        if let Err(refused) = call.await.unwrap() {
            assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
        }
    }
    client.get_routing(large(900 << 10)).await.unwrap();
}

#[tokio::test]
async fn a_drain_ends_streams_with_a_status_and_then_the_server() {
    let serving = Serving::start(|_| {}).await;
    let mut client = serving.connect(0).await.unwrap();
    let mut watch = client
        .watch_routing(v1::WatchRoutingRequest::default())
        .await
        .unwrap()
        .into_inner();
    serving.admission.enter(Phase::Draining);
    let end = watch.message().await.unwrap_err();
    assert_eq!(end.code(), Code::Unavailable);
    assert!(end.message().contains("shutting down"), "{end}");
    serving.admission.idle().await;
    // The client still holds its connection: GOAWAY ends it.
    serving.task.await.unwrap();
    let address = serving.addresses[0].bound;
    assert!(
        tokio::net::TcpStream::connect(address).await.is_err(),
        "the port is closed"
    );
    drop(client);
}

#[tokio::test]
async fn what_holds_a_connection_open_for_ever_can_be_cut() {
    let serving = Serving::start(|_| {}).await;
    let mut silent = tokio::net::TcpStream::connect(serving.addresses[0].bound)
        .await
        .unwrap();
    silent.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
    serving.admission.enter(Phase::Draining);
    serving.cut.send_replace(true);
    tokio::time::timeout(Duration::from_secs(10), serving.task)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_its_key() {
    let serving = Serving::start(|_| {}).await;
    let taken = HostPort {
        host: "127.0.0.1".to_owned(),
        port: serving.addresses[0].bound.port(),
    };
    let error = listener::bind("listeners.client.bind", &taken)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("listeners.client.bind: cannot listen on 127.0.0.1:"),
        "{error}"
    );
    assert!(
        error.contains("stop it, or set listeners.client.bind to another port"),
        "{error}"
    );
}

#[tokio::test]
async fn connections_within_the_machine_are_not_paced() {
    let any = HostPort {
        host: "127.0.0.1".to_owned(),
        port: 0,
    };
    let (listener, address) = listener::bind("listen", &any).await.unwrap();
    let (client, accepted) = tokio::join!(tokio::net::TcpStream::connect(address), listener.accept());
    drop(client.unwrap());
    let congestion = rustix::net::sockopt::tcp_congestion(&accepted.unwrap().0).unwrap();
    assert_eq!(congestion, "reno");
}
