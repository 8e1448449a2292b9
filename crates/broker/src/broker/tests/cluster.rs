//! Whole clusters in this process, on addresses of their own on loopback, with fast timers.

use super::*;
use crate::Controllers;
use crate::config::{HostPort, Role};
use std::sync::atomic::{AtomicU8, Ordering};

/// What takes longer than this will never come.
const PATIENCE: Duration = Duration::from_secs(60);

/// The internal address of a node that no other test has: loopback is wide.
fn internal_address() -> HostPort {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let pid = std::process::id();
    let node = NEXT.fetch_add(1, Ordering::Relaxed);
    HostPort {
        host: format!("127.{node}.{}.{}", (pid >> 8) & 0xff, (pid & 0xff).clamp(1, 254)),
        port: 4601,
    }
}

/// `QUIPU_TEST_LOG=info,quipu_broker=debug` shows what the nodes say.
fn show_the_log() {
    if let Ok(filter) = std::env::var("QUIPU_TEST_LOG") {
        // A second test finds it there.
        let _ = tracing_subscriber::fmt().with_env_filter(filter).try_init();
    }
}

/// A node's place: what outlives its process.
pub(super) struct Place {
    dir: TempDir,
    config: Config,
}

impl Place {
    fn new(id: u32, internal: HostPort, voters: &[HostPort]) -> Self {
        show_the_log();
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::ephemeral(dir.path());
        config.broker.id = BrokerId::new(id);
        config.internal.bind = internal;
        config.controllers.voters = voters.to_vec();
        config.controllers.heartbeat = Duration::from_millis(100);
        config.controllers.session_timeout = Duration::from_secs(2);
        config.controllers.raft_heartbeat = Duration::from_millis(50);
        config.controllers.raft_silence = Duration::from_millis(800);
        Self { dir, config }
    }

    fn with_roles(mut self, roles: &[Role]) -> Self {
        self.config.broker.roles = roles.to_vec();
        self
    }

    async fn try_start(&self) -> Result<Broker, StartError> {
        let starting = Broker::start(self.config.clone(), LogControl::detached());
        tokio::time::timeout(PATIENCE, starting)
            .await
            .expect("it starts, or says why not")
    }

    /// Starts it, once a node that crashed or was refused here is gone.
    async fn settle(&self) -> Result<Broker, StartError> {
        loop {
            match self.try_start().await {
                Err(StartError::DataDir { .. } | StartError::Bind(_)) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                settled => return settled,
            }
        }
    }

    pub(super) async fn start(self) -> Node {
        let broker = self.settle().await.unwrap();
        Node { place: self, broker }
    }

    /// Why it does not start.
    async fn refused(&self) -> String {
        self.settle().await.unwrap_err().to_string()
    }
}

pub(super) struct Node {
    place: Place,
    broker: Broker,
}

impl Node {
    pub(super) fn id(&self) -> u32 {
        self.broker.addresses().broker_id.get()
    }

    pub(super) async fn channel(&self) -> Channel {
        let address = self.broker.addresses().listeners[0].bound;
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
        endpoint.connect().await.unwrap()
    }

    pub(super) async fn cluster(&self) -> v1::GetClusterResponse {
        let mut client = ClusterServiceClient::new(self.channel().await);
        client
            .get_cluster(v1::GetClusterRequest {})
            .await
            .unwrap()
            .into_inner()
    }

    async fn controllers(&self) -> v1::GetControllersResponse {
        let mut client = ClusterServiceClient::new(self.channel().await);
        let request = v1::GetControllersRequest {};
        client.get_controllers(request).await.unwrap().into_inner()
    }

    async fn check(&self) -> v1::CheckClusterResponse {
        let mut client = ClusterServiceClient::new(self.channel().await);
        let request = v1::CheckClusterRequest::default();
        client.check_cluster(request).await.unwrap().into_inner()
    }

    pub(super) async fn findings(&self) -> Vec<String> {
        let findings = self.check().await.findings.into_iter();
        let mine = findings.filter(|f| !f.subject.starts_with("data.dir"));
        mine.map(|f| format!("{}: {}", f.subject, f.problem)).collect()
    }

    pub(super) async fn create(&self, name: &str) -> v1::Topic {
        let mut client = TopicServiceClient::new(self.channel().await);
        let created = client.create_topic(new_topic(name, 6)).await.unwrap();
        created.into_inner().topic.unwrap()
    }

    /// As this node knows it, once it does.
    pub(super) async fn topic(&self, name: &str) -> v1::Topic {
        let mut client = TopicServiceClient::new(self.channel().await);
        let request = v1::GetTopicRequest {
            name: name.to_owned(),
            ..v1::GetTopicRequest::default()
        };
        let mut found = None;
        until("the topic is known here", async || {
            let got = client.get_topic(request.clone()).await;
            found = got.ok().and_then(|got| got.into_inner().topic);
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    /// Whether this node knows `broker` to be unfenced.
    pub(super) async fn sees_unfenced(&self, broker: u32) -> bool {
        let brokers = self.cluster().await.brokers;
        brokers.iter().any(|b| b.broker_id == broker && !b.fenced)
    }

    /// As by a crash.
    pub(super) fn crash(self) -> Place {
        drop(self.broker);
        self.place
    }

    pub(super) async fn stop(self) -> Place {
        self.broker.shutdown().await.unwrap();
        self.place
    }
}

/// Waits until it is so.
pub(super) async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
        panic!("{what}: not within {PATIENCE:?}");
    }
}

pub(super) fn places(count: u32) -> Vec<Place> {
    let voters: Vec<_> = (0..count).map(|_| internal_address()).collect();
    (0..count)
        .zip(&voters)
        .map(|(id, internal)| Place::new(id, internal.clone(), &voters))
        .collect()
}

pub(super) async fn start_all(places: Vec<Place>) -> Vec<Node> {
    let starting: Vec<_> = places
        .into_iter()
        .map(|place| tokio::spawn(place.start()))
        .collect();
    let mut nodes = Vec::new();
    for node in starting {
        nodes.push(node.await.unwrap());
    }
    nodes
}

pub(super) async fn stop_all(nodes: Vec<Node>) {
    // One after another, the majority goes: the last ones stop without controllers.
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_brokers_make_one_cluster_and_outlive_its_active_controller() {
    let mut nodes = start_all(places(3)).await;
    let id = nodes[0].cluster().await.cluster_id;
    for node in &nodes {
        until("all are unfenced", async || {
            let cluster = node.cluster().await;
            cluster.cluster_id == id
                && cluster.brokers.len() == 3
                && cluster.brokers.iter().all(|b| !b.fenced)
                && cluster.controller.is_some()
        })
        .await;
    }
    // By whichever node, the change comes to the active controller, and to all.
    for (at, node) in nodes.iter().enumerate() {
        let topic = node.create(&format!("topic-{at}")).await;
        assert!(topic.partitions.iter().all(|p| p.in_sync_replicas.len() == 3));
    }
    let controllers = nodes[1].controllers().await.controllers;
    assert_eq!(controllers.len(), 3);
    assert!(
        controllers.iter().all(|c| c.voter && c.reachable),
        "{controllers:?}"
    );
    assert_eq!(controllers.iter().filter(|c| c.active).count(), 1);
    until("nothing is wrong", async || nodes[0].findings().await.is_empty()).await;
    // Clients do not hear of the listener between brokers.
    let listeners = |broker: &v1::Broker| broker.listeners.iter().any(|l| l.name == "internal");
    assert!(!nodes[0].cluster().await.brokers.iter().any(listeners));

    let active = nodes[0].cluster().await.controller.unwrap();
    let at = nodes.iter().position(|node| node.id() == active).unwrap();
    let gone = nodes.remove(at).crash();
    // The first attempt may have been on its way as the connection broke: nobody knows what became of it.
    until("changes are made again", async || {
        let mut client = TopicServiceClient::new(nodes[0].channel().await);
        match client.create_topic(new_topic("after", 6)).await {
            Ok(_) => true,
            Err(status) => code(&status) == ErrorCode::TopicAlreadyExists,
        }
    })
    .await;
    until("it is fenced, and leads nothing", async || {
        let topic = nodes[1].topic("topic-0").await;
        !nodes[1].sees_unfenced(active).await
            && topic
                .partitions
                .iter()
                .all(|p| p.leader.is_some_and(|leader| leader != active))
    })
    .await;
    let findings = nodes[0].findings().await.join("\n");
    assert!(
        findings.contains(&format!("broker {active}: it is fenced")),
        "{findings}"
    );
    assert!(findings.contains("it does not answer"), "{findings}");

    nodes.push(gone.start().await);
    until("it is back", async || nodes[0].sees_unfenced(active).await).await;
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_goes_hands_over_first_and_comes_back() {
    let mut nodes = start_all(places(3)).await;
    until("all are unfenced", async || {
        nodes[0]
            .cluster()
            .await
            .brokers
            .iter()
            .filter(|b| !b.fenced)
            .count()
            == 3
    })
    .await;
    nodes[0].create("flights").await;
    let leaving = nodes.remove(1);
    let id = leaving.id();
    let place = leaving.stop().await;
    assert!(place.dir.path().join("clean_shutdown").exists());
    let topic = nodes[0].topic("flights").await;
    assert!(
        topic
            .partitions
            .iter()
            .all(|p| p.leader.is_some_and(|leader| leader != id)),
        "it leads nothing once it is gone: {:?}",
        topic.partitions
    );
    nodes.push(place.start().await);
    until("it is back", async || nodes[0].sees_unfenced(id).await).await;
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_without_a_controller_follows_those_elsewhere() {
    let voter = internal_address();
    let voters = [voter.clone()];
    let controller = Place::new(100, voter, &voters).with_roles(&[Role::Controller]);
    let controller = controller.start().await;
    assert_eq!(controller.broker.addresses().listeners, []);
    let mut brokers = Vec::new();
    for id in 0..2 {
        let place = Place::new(id, internal_address(), &voters).with_roles(&[Role::Broker]);
        brokers.push(place.start().await);
    }
    until("both are unfenced", async || {
        brokers[0].sees_unfenced(0).await && brokers[0].sees_unfenced(1).await
    })
    .await;
    brokers[1].create("flights").await;
    until("the change comes everywhere", async || {
        brokers[0].cluster().await.topics == 1
    })
    .await;

    // Without a controller brokers go on, and find it again.
    let gone = controller.crash();
    assert_eq!(brokers[0].cluster().await.topics, 1);
    let controller = gone.start().await;
    until("changes are made again", async || {
        let mut client = TopicServiceClient::new(brokers[0].channel().await);
        client.create_topic(new_topic("weather", 1)).await.is_ok()
    })
    .await;
    until("nobody was fenced for long", async || {
        brokers[1].sees_unfenced(0).await && brokers[1].sees_unfenced(1).await
    })
    .await;

    let second = brokers.pop().unwrap();
    let id = second.id();
    drop(second.crash());
    until("who is silent is fenced", async || {
        !brokers[0].sees_unfenced(id).await
    })
    .await;
    stop_all(brokers).await;
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_broker_of_one_id_and_another_clusters_directory_are_refused() {
    let voter = internal_address();
    let first = Place::new(0, voter.clone(), std::slice::from_ref(&voter))
        .start()
        .await;
    let twin = Place::new(0, internal_address(), std::slice::from_ref(&voter)).with_roles(&[Role::Broker]);
    let error = twin.refused().await;
    assert!(
        error.contains("broker id 0 is in use by a running broker with another data directory"),
        "{error}"
    );

    let other = internal_address();
    let mut stranger = Place::new(1, other.clone(), &[other]).start().await.stop().await;
    stranger.config.controllers.voters = vec![voter.clone()];
    let error = stranger.refused().await;
    assert!(
        error.contains("set controllers.voters to the controllers of"),
        "{error}"
    );
    let error = stranger.with_roles(&[Role::Broker]).refused().await;
    assert!(
        error.contains("set controllers.voters to the controllers of"),
        "{error}"
    );

    // The cluster that is asked for is not the one that is there.
    let mut asks = Place::new(2, internal_address(), &[voter]).with_roles(&[Role::Broker]);
    asks.config.cluster_id = Some(quipu_metadata::ClusterId::from_u128(7));
    let error = asks.refused().await;
    assert!(error.contains("belongs to cluster"), "{error}");
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn voters_that_disagree_are_refused() {
    let (one, two, three) = (internal_address(), internal_address(), internal_address());
    let first = Place::new(0, one.clone(), &[one.clone(), two.clone()]);
    let second = Place::new(1, two.clone(), &[one, two, three]);
    // Whichever gives up first; the other waits for it to come back, set right.
    let error = tokio::select! {
        error = first.refused() => error,
        error = second.refused() => error,
    };
    assert!(error.contains("controllers.voters differ"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_whose_place_another_process_took_ends() {
    let voter = internal_address();
    let node = Place::new(0, voter.clone(), std::slice::from_ref(&voter))
        .start()
        .await;
    // Another process over the same directory, as its lock does not tell on a disk that is mounted twice.
    let elsewhere = Controllers::new(None, String::new(), &[voter.to_string()]);
    let image = elsewhere.feed(|_| {}).await.unwrap().image().clone();
    let mine = image.broker(BrokerId::new(0)).unwrap();
    let twin = quipu_metadata::RegisterBroker {
        id: mine.id,
        incarnation: quipu_metadata::Incarnation::from_u128(1),
        cluster_id: image.cluster_id(),
        directory: mine.directory,
        listeners: mine.listeners.clone(),
        rack: None,
        version: String::new(),
        feature_level: mine.feature_level,
        clean_epoch: None,
        page_cache_kept: true,
        cut: Vec::new(),
        damaged: Vec::new(),
    };
    let registered = elsewhere.propose(twin).await.unwrap();
    assert!(registered.outcome.epoch > mine.epoch);
    let failed = tokio::time::timeout(PATIENCE, node.broker.failed())
        .await
        .unwrap();
    assert!(
        failed.contains("another process has registered as broker 0"),
        "{failed}"
    );
    let stopped = node.broker.shutdown().await.unwrap_err().to_string();
    assert!(stopped.contains("another process has registered"), "{stopped}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_offsets_topic_grows_with_the_cluster() {
    let voter = internal_address();
    let first = Place::new(0, voter.clone(), std::slice::from_ref(&voter))
        .start()
        .await;
    let controllers = Controllers::new(None, String::new(), &[voter.to_string()]);
    let topic_id = quipu_record::TopicId::from_u128(77);
    let ensure = quipu_metadata::EnsureOffsetsTopic { topic_id };
    let made = controllers.propose(ensure).await.unwrap();
    assert_eq!(made.outcome.replication_factor, 1);
    let name = quipu_metadata::OFFSETS_TOPIC;
    until("the topic is here", async || {
        !first.check().await.notes.is_empty()
    })
    .await;
    let check = first.check().await;
    assert!(check.notes[0].contains("has one replica"), "{check:?}");
    assert_eq!(first.findings().await, [""; 0]);

    let mut nodes = vec![first];
    for id in [1, 2] {
        let place = Place::new(id, internal_address(), std::slice::from_ref(&voter));
        nodes.push(place.with_roles(&[Role::Broker]).start().await);
    }
    let whole =
        |p: &v1::Partition| (p.replicas.len(), p.in_sync_replicas.len(), p.min_insync_replicas) == (3, 3, 2);
    until("every partition has three replicas", async || {
        nodes[0].topic(name).await.partitions.iter().all(whole)
    })
    .await;
    until("nothing is wrong", async || {
        nodes[0].findings().await.is_empty() && nodes[0].check().await.notes.is_empty()
    })
    .await;
    let topic = nodes[0].topic(name).await;
    let min = topic.configs.iter().find(|c| c.key == "min.insync.replicas");
    assert_eq!(min.unwrap().value, "2");
    nodes.reverse();
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_offsets_topic_grows_past_a_broker_that_is_lost() {
    let voter = internal_address();
    let mut place = Place::new(0, voter.clone(), std::slice::from_ref(&voter));
    place.config.controllers.session_timeout = Duration::from_secs(1);
    let first = place.start().await;
    let controllers = Controllers::new(None, String::new(), &[voter.to_string()]);
    let topic_id = quipu_record::TopicId::from_u128(77);
    let ensure = quipu_metadata::EnsureOffsetsTopic { topic_id };
    controllers.propose(ensure).await.unwrap();
    // A broker that registers, is given a replica of each partition, and is never heard of again.
    let image = controllers.feed(|_| {}).await.unwrap().image().clone();
    let known = image.broker(BrokerId::new(0)).unwrap();
    let id = BrokerId::new(9);
    let lost = quipu_metadata::RegisterBroker {
        id,
        incarnation: quipu_metadata::Incarnation::from_u128(9),
        cluster_id: image.cluster_id(),
        directory: quipu_metadata::DirectoryId::from_u128(9),
        listeners: known.listeners.clone(),
        rack: None,
        version: String::new(),
        feature_level: known.feature_level,
        clean_epoch: None,
        page_cache_kept: false,
        cut: Vec::new(),
        damaged: Vec::new(),
    };
    // It is fenced in no time: sooner, on a slow machine, than the topic grows.
    loop {
        let epoch = controllers.propose(lost.clone()).await.unwrap().outcome.epoch;
        let unfence = quipu_metadata::UnfenceBroker { id, epoch };
        controllers.propose(unfence).await.unwrap();
        let grow = quipu_metadata::GrowTopic {
            topic_id,
            gone: Vec::new(),
        };
        controllers.propose(grow).await.unwrap();
        let image = controllers.feed(|_| {}).await.unwrap().image().clone();
        let topic = image.topic(topic_id).unwrap();
        if topic.partitions.iter().all(|(_, state)| state.adding() == [id]) {
            break;
        }
    }

    let mut nodes = vec![first];
    for id in [1, 2] {
        let place = Place::new(id, internal_address(), std::slice::from_ref(&voter));
        nodes.push(place.with_roles(&[Role::Broker]).start().await);
    }
    let name = quipu_metadata::OFFSETS_TOPIC;
    let whole = |p: &v1::Partition| {
        let replicas: BTreeSet<u32> = p.replicas.iter().copied().collect();
        (replicas, p.in_sync_replicas.len(), p.min_insync_replicas) == (BTreeSet::from([0, 1, 2]), 3, 2)
    };
    until("every partition has three replicas that are alive", async || {
        nodes[0].topic(name).await.partitions.iter().all(whole)
    })
    .await;
    nodes.reverse();
    stop_all(nodes).await;
}
