//! Three data planes wired over loopback, and one truth that decides at once: what the controllers would say is applied to
//! every broker that is connected to it, in order.

use crate::harness::{Ids, at, decide_on};
use quipu_broker::data_plane::OpenSummary;
use quipu_broker::replication::{IsrChanges, IsrUnanswered, ProposeIsr, ReplicationConfig};
use quipu_broker::{
    Admission, ConnectionInfo, DataPlane, DataPlaneConfig, Fatal, Metrics, Phase, replication, service,
};
use quipu_metadata::{
    AlterPartitions, BrokerFence, ClusterId, CreateTopic, CutPartition, Delta, DirectoryId, FeatureLevel,
    FenceBrokers, Image, Incarnation, InitCluster, Listener, Partition, Record, RegisterBroker, Request,
    UnfenceBroker,
};
use quipu_proto::v1;
use quipu_proto::v1::consume_service_client::ConsumeServiceClient;
use quipu_proto::v1::produce_service_client::ProduceServiceClient;
use quipu_record::{BrokerId, MetadataVersion, TopicId, TopicPartition};
use quipu_replication::View;
use quipu_storage::{DataDir, DataDirOptions, RealDisk};
use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::InterceptorLayer;
use tonic::transport::{Channel, Endpoint, Server};

/// How long anything may take that a test waits for.
const LONG: Duration = Duration::from_secs(60);

/// What holds, and who is told.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    image: Image,
    told: BTreeMap<BrokerId, Arc<DataPlane>>,
}

impl Truth {
    fn new() -> Arc<Self> {
        let truth = Arc::new(Self::default());
        let init = InitCluster {
            cluster_id: ClusterId::from_u128(7),
            feature_level: FeatureLevel::V1,
        };
        truth.run(init).expect("made");
        truth
    }

    /// Decides, and has every broker apply it before it returns.
    fn run<R: Request>(&self, request: R) -> Result<R::Outcome, R::Refusal> {
        let mut state = self.lock();
        let (outcome, delta) = decide_on(&mut state.image, request);
        state.tell(&delta);
        outcome
    }

    /// Decides what no command here does.
    fn change(&self, at: TopicPartition, change: impl FnOnce(&mut Partition)) {
        let mut held = self.lock();
        let mut state = held.image.partition(at).expect("a partition").clone();
        change(&mut state);
        state.partition_epoch = state.partition_epoch.next();
        let delta = Delta {
            version: MetadataVersion::new(held.image.version().get() + 1),
            records: vec![Record::Partition { at, state }],
        };
        held.image.apply(&delta).expect("the next version");
        tokio::task::block_in_place(|| held.tell(&delta));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn partition(&self, at: TopicPartition) -> Partition {
        let state = self.lock();
        state.image.partition(at).expect("a partition").clone()
    }
}

impl State {
    fn tell(&self, delta: &Delta) {
        let image = Arc::new(self.image.clone());
        for plane in self.told.values() {
            plane.apply(&image, delta);
        }
    }
}

impl ProposeIsr for Truth {
    fn propose(
        &self,
        request: AlterPartitions,
    ) -> Pin<Box<dyn Future<Output = Result<IsrChanges, IsrUnanswered>> + Send + '_>> {
        Box::pin(
            async move { tokio::task::block_in_place(|| self.run(request)).map_err(IsrUnanswered::Refused) },
        )
    }
}

/// A broker that runs.
struct Node {
    plane: Arc<DataPlane>,
    admission: Arc<Admission>,
    fatal: Fatal,
    client: Channel,
    servers: Vec<JoinHandle<()>>,
}

/// Brokers 1 to 3.
pub(crate) struct Cluster {
    pub(crate) truth: Arc<Truth>,
    config: ReplicationConfig,
    dirs: BTreeMap<BrokerId, TempDir>,
    nodes: BTreeMap<BrokerId, Node>,
    lives: u128,
}

impl Cluster {
    /// Three brokers; a follower that is behind for so long is out of sync.
    pub(crate) async fn start(lag_max: Duration) -> Self {
        Self::start_waiting(lag_max, Duration::from_millis(100)).await
    }

    /// As [`Cluster::start`], with leaders that answer a quiet follower only after `fetch_wait`.
    pub(crate) async fn start_waiting(lag_max: Duration, fetch_wait: Duration) -> Self {
        let config = ReplicationConfig {
            lag_max,
            fetch_wait,
            ..ReplicationConfig::default()
        };
        Self::of([1, 2, 3].map(BrokerId::new), config).await
    }

    /// These brokers.
    pub(crate) async fn of(brokers: impl IntoIterator<Item = BrokerId>, config: ReplicationConfig) -> Self {
        let mut cluster = Self {
            truth: Truth::new(),
            config,
            dirs: BTreeMap::new(),
            nodes: BTreeMap::new(),
            lives: 0,
        };
        for id in brokers {
            cluster.add(id).await;
        }
        cluster
    }

    /// A broker that is new.
    pub(crate) async fn add(&mut self, id: BrokerId) {
        self.dirs.insert(id, TempDir::new().expect("a directory"));
        self.boot(id).await;
    }

    /// Starts a broker on what is on its disk: it registers and is let in.
    pub(crate) async fn boot(&mut self, id: BrokerId) {
        let image = self.image();
        self.boot_with(id, &image).await;
    }

    /// As [`Cluster::boot`]; the metadata that the broker opens its logs by may be old.
    pub(crate) async fn boot_with(&mut self, id: BrokerId, known: &Arc<Image>) {
        let root = self.dirs[&id].path().to_owned();
        let disk = RealDisk::new(&root).expect("a disk");
        let (dir, boot) = DataDir::open(disk, root, DataDirOptions::default()).expect("a data directory");
        let config = DataPlaneConfig {
            broker: id,
            partition_threads: 2,
            read_threads: 1,
            heartbeat: Duration::from_millis(100),
            replication: self.config.clone(),
            ..DataPlaneConfig::default()
        };
        let fatal = Fatal::default();
        let plane = DataPlane::start(
            config,
            dir,
            Arc::new(Ids::default()),
            Arc::new(Metrics::default()),
            fatal.clone(),
        );
        let plane = Arc::new(plane.expect("threads"));
        let admission = Arc::new(Admission::default());
        admission.enter(Phase::Running);
        let (client, clients) = serve("client", &plane, &admission).await;
        let (internal, brokers) = serve("internal", &plane, &admission).await;
        self.lives += 1;
        let life = self.lives;
        let truth = Arc::clone(&self.truth);
        tokio::task::block_in_place(|| {
            let opened = plane.open(known, &boot.logs).expect("logs open");
            {
                let mut state = truth.lock();
                state.told.insert(id, Arc::clone(&plane));
                plane.reset(&Arc::new(state.image.clone()));
            }
            let listeners = [("client", client), ("internal", internal)];
            let register = registration(id, life, &listeners, &opened);
            let epoch = truth.run(register).expect("registered").epoch;
            plane.registered(epoch);
            plane.propose_by(epoch, truth.clone());
            truth.run(UnfenceBroker { id, epoch }).expect("unfenced");
        });
        let channel = Endpoint::from_shared(format!("http://{client}")).expect("an address");
        let node = Node {
            plane,
            admission,
            fatal,
            client: channel.connect_lazy(),
            servers: vec![clients, brokers],
        };
        self.nodes.insert(id, node);
    }

    /// Ends a broker as a crash would. The truth learns nothing of it.
    pub(crate) async fn crash(&mut self, id: BrokerId) {
        self.cut_off(id);
        let node = self.nodes.remove(&id).expect("it runs");
        assert_eq!(node.fatal.reason(), None);
        for server in &node.servers {
            server.abort();
        }
        tokio::task::block_in_place(|| node.plane.halt());
        node.admission.enter(Phase::Draining);
        let alone = Arc::downgrade(&node.plane);
        drop(node);
        // Streams end by themselves; each holds the plane, and with it the directory's lock.
        until("the directory is free", || alone.strong_count() == 0).await;
    }

    /// A broker hears nothing of the metadata any more.
    pub(crate) fn cut_off(&self, id: BrokerId) {
        self.truth.lock().told.remove(&id);
    }

    /// A broker that heard nothing is told all of it, and everything from now on.
    pub(crate) fn reconnect(&self, id: BrokerId) {
        tokio::task::block_in_place(|| {
            let mut state = self.truth.lock();
            state.told.insert(id, Arc::clone(&self.nodes[&id].plane));
            self.nodes[&id].plane.reset(&Arc::new(state.image.clone()));
        });
    }

    /// The metadata as it is now.
    pub(crate) fn image(&self) -> Arc<Image> {
        Arc::new(self.truth.lock().image.clone())
    }

    /// The controllers let a broker in again.
    pub(crate) fn unfence(&self, id: BrokerId) {
        let epoch = self.truth.lock().image.broker(id).expect("registered").epoch;
        let unfenced = tokio::task::block_in_place(|| self.truth.run(UnfenceBroker { id, epoch }));
        unfenced.expect("registered");
    }

    /// A partition is given a replica, as one that grows is.
    pub(crate) fn add_replica(&self, at: TopicPartition, on: BrokerId) {
        self.truth.change(at, |state| {
            let mut rare = state.take_rare();
            rare.adding = [on].into_iter().collect();
            state.set_rare(rare);
            state.replicas = state.replicas.iter().chain([on]).collect();
        });
    }

    /// A replica that is being added is taken away.
    pub(crate) fn take_replica(&self, at: TopicPartition, from: BrokerId) {
        self.truth.change(at, |state| {
            assert!(!state.is_safe(from), "{state:?}");
            let mut rare = state.take_rare();
            rare.adding = rare.adding.without(|id| id == from);
            state.set_rare(rare);
            state.replicas = state.replicas.without(|id| id == from);
        });
    }

    /// The controllers count a broker as lost.
    pub(crate) fn fence(&self, id: BrokerId) {
        let epoch = self.truth.lock().image.broker(id).expect("registered").epoch;
        let brokers = vec![BrokerFence { id, epoch }];
        let fenced = tokio::task::block_in_place(|| self.truth.run(FenceBrokers { brokers }));
        assert_eq!(fenced.expect("infallible").fenced, [id]);
    }

    /// A topic of one partition on all brokers; who leads it.
    pub(crate) fn create(&self, name: &str, configs: &[(&str, &str)]) -> TopicPartition {
        at(self.create_of(name, 1, configs), 0)
    }

    /// A topic on all brokers.
    pub(crate) fn create_of(&self, name: &str, partitions: u32, configs: &[(&str, &str)]) -> TopicId {
        self.create_on(3, name, partitions, configs)
    }

    /// A topic on so many brokers.
    pub(crate) fn create_on(
        &self,
        brokers: u16,
        name: &str,
        partitions: u32,
        configs: &[(&str, &str)],
    ) -> TopicId {
        let version = self.truth.lock().image.version().get();
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let create = CreateTopic {
            name: name.to_owned(),
            topic_id: TopicId::from_u128((u128::from(version) << 64) + 1),
            partitions,
            replication_factor: Some(brokers),
            configs: configs.iter().map(own).collect(),
            internal: false,
        };
        let created = tokio::task::block_in_place(|| self.truth.run(create));
        created.expect("created").topic_id
    }

    pub(crate) fn leader(&self, at: TopicPartition) -> BrokerId {
        self.truth.partition(at).leader.expect("a leader")
    }

    /// The brokers that do not lead.
    pub(crate) fn followers(&self, at: TopicPartition) -> Vec<BrokerId> {
        let leader = self.leader(at);
        self.nodes.keys().copied().filter(|id| *id != leader).collect()
    }

    pub(crate) fn plane(&self, id: BrokerId) -> &Arc<DataPlane> {
        &self.nodes[&id].plane
    }

    pub(crate) fn view(&self, id: BrokerId, at: TopicPartition) -> View {
        self.plane(id).view(at).expect("a replica")
    }

    pub(crate) fn producing(&self, id: BrokerId) -> ProduceServiceClient<Channel> {
        ProduceServiceClient::new(self.nodes[&id].client.clone())
    }

    pub(crate) fn consuming(&self, id: BrokerId) -> ConsumeServiceClient<Channel> {
        ConsumeServiceClient::new(self.nodes[&id].client.clone())
    }

    /// A way to a broker as others have it.
    pub(crate) fn producing_internally(&self, id: BrokerId) -> ProduceServiceClient<Channel> {
        let address = {
            let state = self.truth.lock();
            let listeners = &state.image.broker(id).expect("registered").listeners;
            let internal = listeners.iter().find(|listener| listener.name == "internal");
            internal.expect("an internal listener").advertised.clone()
        };
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        ProduceServiceClient::new(endpoint.connect_lazy())
    }

    /// Produces one batch by way of a broker.
    pub(crate) async fn produce(
        &self,
        by: BrokerId,
        batch: v1::Batch,
        asked: v1::ProduceRequest,
    ) -> v1::BatchResult {
        let request = v1::ProduceRequest {
            batches: vec![batch],
            ..asked
        };
        let response = self.producing(by).produce(request).await.expect("an answer");
        response.into_inner().results.remove(0)
    }

    /// Waits until every running replica holds the same bytes, flushed and committed.
    pub(crate) async fn settled(&self, at: TopicPartition) {
        let leader = self.leader(at);
        until("all replicas are equal", || {
            let leads = self.view(leader, at);
            let equal = |view: View| {
                (view.log_end, view.flushed, view.high_watermark)
                    == (leads.log_end, leads.log_end, leads.log_end)
            };
            self.nodes.keys().all(|id| equal(self.view(*id, at)))
        })
        .await;
        let logs: Vec<_> = self.nodes.keys().map(|id| self.bytes(*id, at)).collect();
        assert!(
            logs.iter().all(|log| *log == logs[0]),
            "the same bytes everywhere"
        );
    }

    /// Waits until so many replicas are in sync.
    pub(crate) async fn in_sync(&self, at: TopicPartition, count: usize) {
        until("the in-sync replicas are as many", || {
            self.truth.partition(at).isr.len() == count
        })
        .await;
    }

    /// Takes away half of what a broker that does not run has flushed of a partition.
    pub(crate) fn spoil(&self, id: BrokerId, at: TopicPartition) {
        let mut files = Vec::new();
        segments(self.dirs[&id].path(), &at, &mut files);
        let file = files.first().expect("a segment");
        let bytes = std::fs::read(file).expect("a segment");
        std::fs::write(file, &bytes[..bytes.len() / 2]).expect("written");
    }

    /// What a broker has of a partition in its files.
    pub(crate) fn bytes(&self, id: BrokerId, at: TopicPartition) -> Vec<u8> {
        let mut files = Vec::new();
        segments(self.dirs[&id].path(), &at, &mut files);
        files.sort();
        files
            .iter()
            .flat_map(|file| std::fs::read(file).expect("a segment"))
            .collect()
    }
}

/// The segments of a partition below a directory.
fn segments(dir: &Path, at: &TopicPartition, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        let aside = [".corrupt", ".deleted"]
            .iter()
            .any(|away| path.to_string_lossy().contains(away));
        if path.is_dir() && !aside {
            segments(&path, at, found);
        } else if path.extension().is_some_and(|extension| extension == "log")
            && path.to_string_lossy().contains(&at.topic.to_string())
        {
            found.push(path);
        }
    }
}

async fn serve(
    name: &'static str,
    plane: &Arc<DataPlane>,
    admission: &Arc<Admission>,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let marked = InterceptorLayer::new(move |mut request: tonic::Request<()>| {
        request.extensions_mut().insert(ConnectionInfo {
            listener: Arc::from(name),
            peer: address,
        });
        Ok(request)
    });
    let serving = Server::builder()
        .layer(marked)
        .add_service(service::produce::server(plane.clone(), admission.clone()))
        .add_service(service::consume::server(plane.clone(), admission.clone()))
        .add_service(replication::server(plane.clone(), admission.clone()))
        .serve_with_incoming(TcpListenerStream::new(listener));
    let server = tokio::spawn(async move { serving.await.expect("serving") });
    (address, server)
}

fn registration(
    id: BrokerId,
    life: u128,
    listeners: &[(&str, SocketAddr)],
    opened: &OpenSummary,
) -> RegisterBroker {
    let listener = |(name, address): &(&str, SocketAddr)| Listener {
        name: (*name).to_owned(),
        advertised: address.to_string(),
        protocol: "grpc".to_owned(),
    };
    let cut = opened.cut.iter().map(|cut| CutPartition {
        at: cut.at,
        last_epoch: cut.last_epoch,
        log_end: cut.log_end,
    });
    RegisterBroker {
        id,
        incarnation: Incarnation::from_u128(life),
        cluster_id: Some(ClusterId::from_u128(7)),
        directory: DirectoryId::from_u128(id.get().into()),
        listeners: listeners.iter().map(listener).collect(),
        rack: None,
        version: "1".to_owned(),
        feature_level: FeatureLevel::V1,
        clean_epoch: None,
        page_cache_kept: false,
        cut: cut.collect(),
        damaged: opened.damaged.iter().map(|damaged| damaged.at).collect(),
    }
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let waited = tokio::time::timeout(LONG, wait).await;
    assert!(waited.is_ok(), "waited in vain until {what}");
}
