//! What sending a record costs in the SDK, beside a bare stream that carries the same batches to the same sink, which
//! answers and stores nothing: `cargo bench -p quipu-client`.
//!
//! Client and sink share this process and two threads. CPU time is what counts where a machine is busy.

#![expect(clippy::print_stdout, reason = "figures are for a person to read")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot run has nothing to say")]

use bytes::Bytes;
use quipu_client::{Client, ClientConfig, ProducerConfig, Record};
use quipu_proto::v1;
use quipu_proto::v1::cluster_service_server::{ClusterService, ClusterServiceServer};
use quipu_proto::v1::produce_service_client::ProduceServiceClient;
use quipu_proto::v1::produce_service_server::{ProduceService, ProduceServiceServer};
use quipu_record::{BatchBuilder, Codec, Timestamp};
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::{Duration, Instant};
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

const WINDOW: u32 = 8 << 20;
/// As many as the SDK has of one partition.
const IN_FLIGHT: u64 = 5;
const FRAME: u32 = 1 << 20;
const RUN: Duration = Duration::from_secs(3);

/// Answers everything and keeps nothing.
struct Sink(SocketAddr);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl ProduceService for Sink {
    async fn produce(&self, _: Request<v1::ProduceRequest>) -> Answer<v1::ProduceResponse> {
        Err(Status::unimplemented(""))
    }

    type ProduceStreamStream = Answers<v1::ProduceStreamResponse>;

    async fn produce_stream(
        &self,
        request: Request<Streaming<v1::ProduceStreamRequest>>,
    ) -> Answer<Self::ProduceStreamStream> {
        let answers = request.into_inner().map(|request| {
            let request = request?;
            let result = request.batch.map(|batch| v1::BatchResult {
                partition: batch.partition.unwrap_or(0),
                base_offset: Some(0),
                ..Default::default()
            });
            Ok(v1::ProduceStreamResponse {
                request_id: Some(request.request_id),
                result,
                ..Default::default()
            })
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn init_producer(&self, _: Request<v1::InitProducerRequest>) -> Answer<v1::InitProducerResponse> {
        Ok(Response::new(v1::InitProducerResponse::default()))
    }
}

#[tonic::async_trait]
impl ClusterService for Sink {
    async fn get_cluster(&self, _: Request<v1::GetClusterRequest>) -> Answer<v1::GetClusterResponse> {
        Ok(Response::new(v1::GetClusterResponse::default()))
    }

    async fn get_routing(&self, request: Request<v1::GetRoutingRequest>) -> Answer<v1::GetRoutingResponse> {
        let topics = request
            .into_inner()
            .topics
            .into_iter()
            .map(|name| v1::TopicRoute {
                partitions: (0u32..)
                    .zip(name.bytes())
                    .map(|(partition, _)| v1::PartitionRoute {
                        partition,
                        leader: Some(0),
                        leader_epoch: 0,
                    })
                    .collect(),
                name,
                topic_id: "00000000-0000-0000-0000-000000000001".into(),
                max_message_bytes: (1 << 20) + 12,
            });
        let broker = v1::Broker {
            endpoint: self.0.to_string(),
            ..Default::default()
        };
        Ok(Response::new(v1::GetRoutingResponse {
            topics: topics.collect(),
            brokers: vec![broker],
            ..Default::default()
        }))
    }

    type WatchRoutingStream = Answers<v1::WatchRoutingResponse>;

    async fn watch_routing(&self, _: Request<v1::WatchRoutingRequest>) -> Answer<Self::WatchRoutingStream> {
        Err(Status::unimplemented(""))
    }

    async fn list_brokers(&self, _: Request<v1::ListBrokersRequest>) -> Answer<v1::ListBrokersResponse> {
        Err(Status::unimplemented(""))
    }

    async fn check_cluster(&self, _: Request<v1::CheckClusterRequest>) -> Answer<v1::CheckClusterResponse> {
        Err(Status::unimplemented(""))
    }

    async fn set_log_level(&self, _: Request<v1::SetLogLevelRequest>) -> Answer<v1::SetLogLevelResponse> {
        Err(Status::unimplemented(""))
    }

    async fn get_controllers(
        &self,
        _: Request<v1::GetControllersRequest>,
    ) -> Answer<v1::GetControllersResponse> {
        Err(Status::unimplemented(""))
    }

    async fn join_controller(
        &self,
        _: Request<v1::JoinControllerRequest>,
    ) -> Answer<v1::JoinControllerResponse> {
        Err(Status::unimplemented(""))
    }

    async fn leave_controller(
        &self,
        _: Request<v1::LeaveControllerRequest>,
    ) -> Answer<v1::LeaveControllerResponse> {
        Err(Status::unimplemented(""))
    }
}

async fn start_sink() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tonic::transport::Server::builder()
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(2 * WINDOW)
        .max_frame_size(FRAME)
        .tcp_nodelay(true)
        .add_service(ProduceServiceServer::new(Sink(address)).max_decoding_message_size(8 << 20))
        .add_service(ClusterServiceServer::new(Sink(address)));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

/// CPU time of this process so far. A tick is 10 ms.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11..13]
        .iter()
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(ticks * 10)
}

struct Measured {
    records: u64,
    bytes: u64,
    wall: Duration,
    cpu: Duration,
}

impl Measured {
    fn print(&self, what: &str) {
        let records = self.records as f64;
        println!(
            "{what:<44} {:>8.1} ns wall {:>8.1} ns cpu a record {:>7.2} M records/s {:>7.0} MB/s",
            self.wall.as_secs_f64() * 1e9 / records,
            self.cpu.as_secs_f64() * 1e9 / records,
            records / self.wall.as_secs_f64() / 1e6,
            self.bytes as f64 / self.wall.as_secs_f64() / 1e6,
        );
    }
}

/// Records through the SDK, to a topic with so many partitions.
async fn sdk(
    address: SocketAddr,
    partitions: usize,
    value: &[u8],
    keyed: bool,
    batch_bytes: usize,
) -> Measured {
    let client = Client::connect(ClientConfig::new([address.to_string()]))
        .await
        .unwrap();
    let config = ProducerConfig {
        batch_bytes,
        ..ProducerConfig::default()
    };
    let producer = client.producer(config).await.unwrap();
    let topic = producer.topic(&"t".repeat(partitions)).await.unwrap();
    let (begun, cpu_before) = (Instant::now(), cpu());
    let mut records = 0u64;
    while begun.elapsed() < RUN {
        for _ in 0..1000 {
            let key = records.to_le_bytes();
            let record = if keyed {
                Record::keyed(&key, value)
            } else {
                Record::new(value)
            };
            drop(topic.send(record).await.unwrap());
            records += 1;
        }
        tokio::task::yield_now().await;
    }
    producer.flush().await.unwrap();
    let bytes = producer.stats().bytes;
    Measured {
        records,
        bytes,
        wall: begun.elapsed(),
        cpu: cpu().saturating_sub(cpu_before),
    }
}

/// The same batches, made once, on a bare stream.
async fn bare(address: SocketAddr, value: &[u8], batch_bytes: usize) -> Measured {
    let mut builder = BatchBuilder::new(Codec::None, batch_bytes);
    while builder.size() + value.len() + 48 < batch_bytes {
        builder.push(Timestamp::new(0), None, Some(value), &[]).unwrap();
    }
    let count = u64::from(builder.count());
    let encoded: Bytes = builder.finish(None).unwrap();
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}"))
        .unwrap()
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW)
        .max_frame_size(FRAME);
    let mut client = ProduceServiceClient::new(endpoint.connect().await.unwrap());
    let (requests, stream) = tokio::sync::mpsc::unbounded_channel();
    let request = |request_id| v1::ProduceStreamRequest {
        request_id,
        batch: Some(v1::Batch {
            topic: "t".into(),
            partition: Some(0),
            payload: Some(v1::batch::Payload::Encoded(encoded.clone())),
            ..Default::default()
        }),
        ..Default::default()
    };
    let mut sent = 0;
    while sent < IN_FLIGHT {
        requests.send(request(sent)).unwrap();
        sent += 1;
    }
    let mut answers = client
        .produce_stream(UnboundedReceiverStream::new(stream))
        .await
        .unwrap()
        .into_inner();
    let (begun, cpu_before, mut answered) = (Instant::now(), cpu(), 0);
    while begun.elapsed() < RUN {
        answers.message().await.unwrap().unwrap();
        answered += 1;
        requests.send(request(sent)).unwrap();
        sent += 1;
    }
    Measured {
        records: answered * count,
        bytes: answered * encoded.len() as u64,
        wall: begun.elapsed(),
        cpu: cpu().saturating_sub(cpu_before),
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let address = start_sink().await;
    let only = std::env::args().skip(1).find(|arg| arg != "--bench");
    for len in [100, 1024] {
        let value = vec![b'x'; len];
        for batch_kib in [128, 256, 1024] {
            let batch_bytes = batch_kib * 1024;
            for what in [
                "bare stream",
                "SDK",
                "SDK, 6 partitions",
                "SDK, 6 partitions, keys",
            ] {
                let name = format!("{len} B, {batch_kib} KiB batches, {what}");
                if only.as_ref().is_some_and(|only| *only != name) {
                    continue;
                }
                let measured = match what {
                    "bare stream" => bare(address, &value, batch_bytes).await,
                    "SDK" => sdk(address, 1, &value, false, batch_bytes).await,
                    "SDK, 6 partitions" => sdk(address, 6, &value, false, batch_bytes).await,
                    _ => sdk(address, 6, &value, true, batch_bytes).await,
                };
                measured.print(&name);
            }
        }
    }
}
