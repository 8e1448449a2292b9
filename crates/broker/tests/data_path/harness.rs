//! A data plane behind a real server on loopback, with a controller that is a pure image: what is decided is applied.

use quipu_broker::{Admission, DataPlane, DataPlaneConfig, Fatal, Metrics, Phase, service};
use quipu_metadata::{
    ClusterId, CreateTopic, Delta, DirectoryId, FeatureLevel, Image, Incarnation, InitCluster, Listener,
    ProducerIdBlock, RegisterBroker, Request, UnfenceBroker,
};
use quipu_proto::v1::consume_service_client::ConsumeServiceClient;
use quipu_proto::v1::produce_service_client::ProduceServiceClient;
use quipu_proto::{Failure, v1};
use quipu_record::{
    BatchBuilder, BrokerEpoch, BrokerId, Codec, MetadataVersion, PartitionId, ProducerEpoch, ProducerId,
    ProducerStamp, Sequence, Timestamp, TopicId, TopicPartition,
};
use quipu_storage::{DataDir, DataDirOptions, RealDisk};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint, Server};

pub(crate) const ME: BrokerId = BrokerId::new(1);

/// Producer ids without a controller.
#[derive(Debug, Default)]
pub(crate) struct Ids(AtomicU64);

impl service::produce::ProducerIdSource for Ids {
    fn next_block(&self) -> Pin<Box<dyn Future<Output = Result<ProducerIdBlock, Failure>> + Send + '_>> {
        let first = ProducerId::new(self.0.fetch_add(1000, Ordering::Relaxed));
        Box::pin(async move { Ok(ProducerIdBlock { first, count: 1000 }) })
    }
}

pub(crate) struct MiniBroker {
    pub(crate) plane: Arc<DataPlane>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) fatal: Fatal,
    pub(crate) epoch: BrokerEpoch,
    image: Image,
    config: DataPlaneConfig,
    dir: TempDir,
    address: SocketAddr,
    channel: Channel,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
    life: u128,
}

pub(crate) fn config() -> DataPlaneConfig {
    DataPlaneConfig {
        broker: ME,
        partition_threads: 2,
        read_threads: 2,
        heartbeat: Duration::from_millis(100),
        ..DataPlaneConfig::default()
    }
}

impl MiniBroker {
    pub(crate) async fn start() -> Self {
        Self::with(config()).await
    }

    pub(crate) async fn with(config: DataPlaneConfig) -> Self {
        let mut image = Image::default();
        let init = InitCluster {
            cluster_id: ClusterId::from_u128(7),
            feature_level: FeatureLevel::V1,
        };
        decide(&mut image, init);
        let dir = TempDir::new().expect("a directory");
        Self::boot(config, dir, image, 1, None).await
    }

    async fn boot(
        config: DataPlaneConfig,
        temp: TempDir,
        mut image: Image,
        life: u128,
        clean_epoch: Option<BrokerEpoch>,
    ) -> Self {
        let root = temp.path().to_owned();
        let disk = RealDisk::new(&root).expect("a disk");
        let (dir, boot) = DataDir::open(disk, root, DataDirOptions::default()).expect("a data directory");
        assert_eq!(boot.clean_shutdown, clean_epoch, "the marker of a clean shutdown");
        let fatal = Fatal::default();
        let plane = DataPlane::start(
            config.clone(),
            dir,
            Arc::new(Ids::default()),
            Arc::new(Metrics::default()),
            fatal.clone(),
        );
        let plane = Arc::new(plane.expect("threads"));
        let before = Arc::new(image.clone());
        tokio::task::block_in_place(|| plane.open(&before, &boot.logs)).expect("logs open");
        let (registered, _) = decide(&mut image, register(life, clean_epoch));
        let epoch = registered.epoch;
        plane.registered(epoch);
        let (_, delta) = decide(&mut image, UnfenceBroker { id: ME, epoch });
        let after = Arc::new(image.clone());
        tokio::task::block_in_place(|| plane.apply(&after, &delta));

        let admission = Arc::new(Admission::default());
        admission.enter(Phase::Running);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (stop, stopped) = oneshot::channel();
        let serving = Server::builder()
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20)
            .max_frame_size(1 << 20)
            .add_service(service::produce::server(plane.clone(), admission.clone()))
            .add_service(service::consume::server(plane.clone(), admission.clone()))
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), async {
                let _ = stopped.await;
            });
        let server = tokio::spawn(async move { serving.await.expect("serving") });
        let channel = Endpoint::from_shared(format!("http://{address}"))
            .expect("an address")
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20)
            .connect_lazy();
        Self {
            plane,
            admission,
            fatal,
            epoch,
            image,
            config,
            dir: temp,
            address,
            channel,
            stop,
            server,
            life,
        }
    }

    /// Ends, cleanly or as a crash would, and starts again on what is on disk.
    pub(crate) async fn restart(self, clean: bool) -> Self {
        let Self {
            plane,
            admission,
            epoch,
            image,
            config,
            dir,
            channel,
            stop,
            server,
            life,
            ..
        } = self;
        admission.enter(Phase::Draining);
        if clean {
            let patience = Duration::from_secs(10);
            tokio::task::block_in_place(|| plane.shut_down(epoch, patience)).expect("a clean end");
        } else {
            tokio::task::block_in_place(|| plane.halt());
        }
        drop(channel);
        let _ = stop.send(());
        server.abort();
        let _ = server.await;
        // Streams end by themselves; each holds the plane, and with it the directory's lock.
        let mut plane = plane;
        loop {
            match Arc::try_unwrap(plane) {
                Ok(last) => break drop(last),
                Err(shared) => plane = shared,
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Self::boot(config, dir, image, life + 1, clean.then_some(epoch)).await
    }

    /// Has a command decided and applied.
    pub(crate) fn run<R: Request>(&mut self, request: R) -> R::Outcome {
        let (outcome, delta) = decide(&mut self.image, request);
        let image = Arc::new(self.image.clone());
        tokio::task::block_in_place(|| self.plane.apply(&image, &delta));
        outcome
    }

    pub(crate) fn create(&mut self, name: &str, partitions: u32) -> TopicId {
        self.create_with(name, partitions, &[])
    }

    pub(crate) fn create_with(&mut self, name: &str, partitions: u32, configs: &[(&str, &str)]) -> TopicId {
        let version = self.image.version().get();
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        self.run(CreateTopic {
            name: name.to_owned(),
            topic_id: TopicId::from_u128((u128::from(version) << 64) + 1),
            partitions,
            replication_factor: Some(1),
            configs: configs.iter().map(own).collect(),
            internal: false,
        })
        .topic_id
    }

    /// Bytes of the files of logs, of those that are deleted as well.
    pub(crate) fn bytes_of_logs(&self) -> u64 {
        let mut bytes = 0;
        let mut directories = vec![self.dir.path().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
                match entry.metadata() {
                    Ok(found) if found.is_dir() => directories.push(entry.path()),
                    Ok(found) if entry.file_name().to_string_lossy().contains(".log") => bytes += found.len(),
                    _ => {}
                }
            }
        }
        bytes
    }

    /// A producer with a connection of its own, on which so few bytes of answers wait to be read.
    pub(crate) async fn producing_with_room_for(&self, bytes: u32) -> ProduceServiceClient<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).expect("an address");
        let endpoint = endpoint
            .initial_stream_window_size(bytes)
            .initial_connection_window_size(bytes);
        ProduceServiceClient::new(endpoint.connect().await.expect("it listens"))
    }

    /// For requests that no client of ours would make.
    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub(crate) fn producing(&self) -> ProduceServiceClient<Channel> {
        ProduceServiceClient::new(self.channel.clone()).max_decoding_message_size(64 << 20)
    }

    pub(crate) fn consuming(&self) -> ConsumeServiceClient<Channel> {
        ConsumeServiceClient::new(self.channel.clone()).max_decoding_message_size(64 << 20)
    }

    /// Produces one batch, and insists on the answer being good.
    pub(crate) async fn produce(&self, batch: v1::Batch) -> v1::BatchResult {
        let result = self.try_produce(batch).await;
        assert_eq!(result.error, None);
        result
    }

    /// Produces one batch.
    pub(crate) async fn try_produce(&self, batch: v1::Batch) -> v1::BatchResult {
        let request = v1::ProduceRequest {
            batches: vec![batch],
            ..v1::ProduceRequest::default()
        };
        let response = self.producing().produce(request).await.expect("an answer");
        response.into_inner().results.remove(0)
    }

    /// Fetches one partition once; of a new leader, once it knows how far the log is committed.
    pub(crate) async fn fetch(
        &self,
        topic: &str,
        partition: u32,
        offset: u64,
        format: v1::Format,
    ) -> v1::PartitionData {
        let request = v1::FetchRequest {
            partitions: vec![v1::FetchPartition {
                topic: topic.to_owned(),
                partition,
                offset,
                max_bytes: 8 << 20,
                ..v1::FetchPartition::default()
            }],
            format: format.into(),
            max_bytes: 8 << 20,
            ..v1::FetchRequest::default()
        };
        loop {
            let response = self.consuming().fetch(request.clone()).await.expect("an answer");
            let data = response.into_inner().partitions.remove(0);
            if !data.error.as_ref().is_some_and(|error| error.retryable) {
                return data;
            }
        }
    }

    /// Every value of a partition, from the log start, by fetches that follow each other.
    pub(crate) async fn all_values(&self, topic: &str, partition: u32) -> Vec<String> {
        let mut values = Vec::new();
        let mut offset = 0;
        loop {
            let data = self.fetch(topic, partition, offset, v1::Format::Records).await;
            assert_eq!(data.error, None);
            if data.records.is_empty() {
                assert_eq!(offset, data.high_watermark, "all of it was read");
                return values;
            }
            for stored in data.records {
                assert_eq!(stored.offset, offset, "offsets are dense");
                offset += 1;
                let value = stored.record.and_then(|record| record.value).expect("a value");
                values.push(String::from_utf8(value.to_vec()).expect("text"));
            }
            assert_eq!(data.next_offset, offset);
        }
    }
}

fn register(life: u128, clean_epoch: Option<BrokerEpoch>) -> RegisterBroker {
    RegisterBroker {
        id: ME,
        incarnation: Incarnation::from_u128(life),
        cluster_id: Some(ClusterId::from_u128(7)),
        directory: DirectoryId::from_u128(1),
        listeners: vec![Listener {
            name: "client".to_owned(),
            advertised: "here:4600".to_owned(),
            protocol: "grpc".to_owned(),
        }],
        rack: None,
        version: "1".to_owned(),
        feature_level: FeatureLevel::V1,
        clean_epoch,
        page_cache_kept: false,
        cut: Vec::new(),
        damaged: Vec::new(),
    }
}

/// Decides a command as the next entry of the log, and replays it; it must not be refused.
fn decide<R: Request>(image: &mut Image, request: R) -> (R::Outcome, Delta) {
    let (outcome, delta) = decide_on(image, request);
    (outcome.unwrap_or_else(|refusal| panic!("{refusal}")), delta)
}

/// Decides a command as the next entry of the log, and replays it.
pub(crate) fn decide_on<R: Request>(
    image: &mut Image,
    request: R,
) -> (Result<R::Outcome, R::Refusal>, Delta) {
    let version = MetadataVersion::new(image.version().get() + 1);
    image.advance_to(version);
    let (records, reply) = image.decide(&request.into_command());
    let delta = Delta { version, records };
    image.apply(&delta).expect("records of this version");
    let outcome = R::from_reply(reply).expect("its own reply");
    (outcome, delta)
}

/// A batch of plain records.
pub(crate) fn records(topic: &str, partition: u32, values: &[&str]) -> v1::Batch {
    let record = |value: &&str| v1::Record {
        value: Some((*value).to_owned().into()),
        ..v1::Record::default()
    };
    v1::Batch {
        topic: topic.to_owned(),
        partition: Some(partition),
        payload: Some(v1::batch::Payload::Records(v1::RecordList {
            records: values.iter().map(record).collect(),
            compression: 0,
        })),
        ..v1::Batch::default()
    }
}

/// An encoded batch of these values.
pub(crate) fn encode(values: &[&str], codec: Codec, stamp: Option<ProducerStamp>) -> bytes::Bytes {
    let mut builder = BatchBuilder::new(codec, 1024);
    for value in values {
        let now = Timestamp::new(1_700_000_000_000);
        builder
            .push(now, None, Some(value.as_bytes()), &[])
            .expect("it fits");
    }
    builder.finish(stamp).expect("a batch")
}

/// A batch that carries encoded bytes.
pub(crate) fn encoded(topic: &str, partition: u32, bytes: bytes::Bytes) -> v1::Batch {
    v1::Batch {
        topic: topic.to_owned(),
        partition: Some(partition),
        payload: Some(v1::batch::Payload::Encoded(bytes)),
        ..v1::Batch::default()
    }
}

pub(crate) fn stamp(id: u64, epoch: u16, sequence: u32) -> ProducerStamp {
    ProducerStamp {
        id: ProducerId::new(id),
        epoch: ProducerEpoch::new(epoch),
        base_sequence: Sequence::new(sequence),
    }
}

pub(crate) fn at(topic: TopicId, partition: u32) -> TopicPartition {
    TopicPartition {
        topic,
        partition: PartitionId::new(partition),
    }
}

/// The reason of an item's error.
pub(crate) fn reason(error: Option<&v1::ItemError>) -> v1::ErrorReason {
    error.map_or(v1::ErrorReason::Unspecified, v1::ItemError::reason)
}
