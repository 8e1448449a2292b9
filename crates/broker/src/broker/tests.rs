//! A whole broker in this process, over a temporary directory and real sockets.

mod cluster;
mod groups;
mod members;
mod stopping;

use super::*;
use quipu_proto::v1::cluster_service_client::ClusterServiceClient;
use quipu_proto::v1::consume_service_client::ConsumeServiceClient;
use quipu_proto::v1::produce_service_client::ProduceServiceClient;
use quipu_proto::v1::topic_service_client::TopicServiceClient;
use quipu_proto::{Failure, v1};
use quipu_record::{BrokerId, ErrorCode};
use std::collections::BTreeSet;
use std::path::Path;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::Status;
use tonic::transport::Channel;

struct Running {
    broker: Broker,
    channel: Channel,
    dir: TempDir,
}

impl Running {
    async fn start() -> Self {
        Self::again(tempfile::tempdir().unwrap()).await
    }

    async fn again(dir: TempDir) -> Self {
        let broker = start_after_crash(dir.path()).await;
        let address = broker.addresses().listeners[0].bound;
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
        Self {
            broker,
            channel: endpoint.connect().await.unwrap(),
            dir,
        }
    }

    fn topics(&self) -> TopicServiceClient<Channel> {
        TopicServiceClient::new(self.channel.clone())
    }

    fn cluster(&self) -> ClusterServiceClient<Channel> {
        ClusterServiceClient::new(self.channel.clone())
    }

    async fn create(&self, name: &str, partitions: u32) -> v1::CreateTopicResponse {
        self.topics()
            .create_topic(new_topic(name, partitions))
            .await
            .unwrap()
            .into_inner()
    }

    async fn stop(self) -> TempDir {
        self.broker.shutdown().await.unwrap();
        self.dir
    }

    /// Ends as by a crash: nothing is flushed or said. Its directory is free once the last of it is gone.
    fn crash(self) -> TempDir {
        drop(self.broker);
        self.dir
    }
}

async fn start(dir: &Path) -> Result<Broker, StartError> {
    Broker::start(Config::ephemeral(dir), LogControl::detached()).await
}

/// As [`start`], once a broker that crashed here has let go of the directory.
async fn start_after_crash(dir: &Path) -> Broker {
    let freed = async {
        loop {
            match start(dir).await {
                Ok(broker) => return broker,
                Err(StartError::DataDir {
                    source: quipu_storage::DataDirError::Locked(_),
                    ..
                }) => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), freed)
        .await
        .unwrap()
}

fn new_topic(name: &str, partitions: u32) -> v1::CreateTopicRequest {
    v1::CreateTopicRequest {
        name: name.to_owned(),
        partitions,
        ..v1::CreateTopicRequest::default()
    }
}

fn code(status: &Status) -> ErrorCode {
    Failure::from_status(status)
        .unwrap_or_else(|| panic!("{status} is not a broker's"))
        .code
}

async fn produce(running: &Running, topic: &str, value: &str) -> u64 {
    let record = v1::Record {
        value: Some(value.to_owned().into()),
        ..v1::Record::default()
    };
    let request = v1::ProduceRequest {
        batches: vec![v1::Batch {
            topic: topic.to_owned(),
            partition: Some(0),
            payload: Some(v1::batch::Payload::Records(v1::RecordList {
                records: vec![record],
                ..v1::RecordList::default()
            })),
            ..v1::Batch::default()
        }],
        ..v1::ProduceRequest::default()
    };
    let mut client = ProduceServiceClient::new(running.channel.clone());
    let result = client
        .produce(request)
        .await
        .unwrap()
        .into_inner()
        .results
        .remove(0);
    assert_eq!(result.error, None);
    result.base_offset.unwrap()
}

/// The values of partition 0, once there are `count`: a new leader may know of a shorter committed prefix at first.
async fn values(running: &Running, topic: &str, count: usize) -> Vec<String> {
    let reading = async {
        loop {
            let read = read(running, topic).await;
            if read.len() >= count {
                return read;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reading)
        .await
        .unwrap()
}

/// What can be read of partition 0 now.
async fn read(running: &Running, topic: &str) -> Vec<String> {
    let partition = v1::FetchPartition {
        topic: topic.to_owned(),
        ..v1::FetchPartition::default()
    };
    let request = v1::FetchRequest {
        partitions: vec![partition],
        ..v1::FetchRequest::default()
    };
    let mut client = ConsumeServiceClient::new(running.channel.clone());
    let data = client
        .fetch(request)
        .await
        .unwrap()
        .into_inner()
        .partitions
        .remove(0);
    assert!(
        data.error.as_ref().is_none_or(|error| error.retryable),
        "{:?}",
        data.error
    );
    let value = |stored: v1::StoredRecord| stored.record.unwrap().value.unwrap();
    let text = |value: bytes::Bytes| String::from_utf8(value.to_vec()).unwrap();
    data.records
        .into_iter()
        .map(|stored| text(value(stored)))
        .collect()
}

#[tokio::test]
async fn a_topics_life() {
    let running = Running::start().await;
    let mut topics = running.topics();

    let only_looked = v1::CreateTopicRequest {
        validate_only: true,
        ..new_topic("flights", 6)
    };
    let would_be = topics
        .create_topic(only_looked)
        .await
        .unwrap()
        .into_inner()
        .topic
        .unwrap();
    assert_eq!(would_be.partitions.len(), 6);
    let named = v1::GetTopicRequest {
        name: "flights".to_owned(),
        ..v1::GetTopicRequest::default()
    };
    assert_eq!(
        code(&topics.get_topic(named.clone()).await.unwrap_err()),
        ErrorCode::UnknownTopicOrPartition
    );

    let created = running.create("flights", 6).await;
    let id = created.topic.unwrap().topic_id;
    let request = v1::GetTopicRequest {
        topic_id: Some(id.clone()),
        min_version: created.metadata_version,
        ..named
    };
    let topic = topics
        .get_topic(request)
        .await
        .unwrap()
        .into_inner()
        .topic
        .unwrap();
    assert!(
        topic
            .partitions
            .iter()
            .all(|p| p.leader == Some(0) && p.in_sync_replicas == [0])
    );
    assert_eq!(
        code(&topics.create_topic(new_topic("flights", 1)).await.unwrap_err()),
        ErrorCode::TopicAlreadyExists
    );

    let change = |version: u64, value: &str| v1::UpdateTopicConfigRequest {
        name: "flights".to_owned(),
        set: [("retention.ms".to_owned(), value.to_owned())].into(),
        expected_version: Some(version),
        ..v1::UpdateTopicConfigRequest::default()
    };
    let changed = topics
        .update_topic_config(change(topic.config_version, "-1"))
        .await
        .unwrap()
        .into_inner();
    let changed = changed.topic.unwrap();
    assert!(
        changed
            .configs
            .iter()
            .any(|c| c.key == "retention.ms" && c.value == "-1" && !c.is_default)
    );
    let stale = topics
        .update_topic_config(change(topic.config_version, "5"))
        .await
        .unwrap_err();
    assert_eq!(code(&stale), ErrorCode::VersionMismatch);
    let wrong = topics
        .update_topic_config(change(changed.config_version, "soon"))
        .await
        .unwrap_err();
    assert_eq!(code(&wrong), ErrorCode::InvalidConfig);

    let more = v1::CreatePartitionsRequest {
        name: "flights".to_owned(),
        total_count: 8,
        ..v1::CreatePartitionsRequest::default()
    };
    let more = topics
        .create_partitions(more)
        .await
        .unwrap()
        .into_inner()
        .topic
        .unwrap();
    assert_eq!(more.partitions.len(), 8);

    let delete = v1::DeleteTopicRequest {
        name: "flights".to_owned(),
        topic_id: Some(id.clone()),
        ..v1::DeleteTopicRequest::default()
    };
    assert_eq!(
        topics
            .delete_topic(delete.clone())
            .await
            .unwrap()
            .into_inner()
            .topic_id,
        id
    );
    running.create("flights", 1).await;
    assert_eq!(
        code(&topics.delete_topic(delete).await.unwrap_err()),
        ErrorCode::UnknownTopicId
    );
    running.stop().await;
}

#[tokio::test]
async fn every_mistake_in_a_new_topic_is_named() {
    let running = Running::start().await;
    let request = v1::CreateTopicRequest {
        replication_factor: 3,
        configs: [("retention.mss", "1"), ("segment.bytes", "x")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        ..new_topic("no/slash", 20_000)
    };
    let refused = running.topics().create_topic(request).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    for part in [
        "topic's name has a '/'",
        "20000",
        "replication factor 3",
        "retention.mss",
        "segment.bytes",
    ] {
        assert!(
            refused.message().contains(part),
            "{part} is not named in {refused}"
        );
    }
    running.stop().await;
}

#[tokio::test]
async fn what_would_be_answered_a_thousandfold_is_refused() {
    let running = Running::start().await;
    running.create("flights", 1000).await;
    let again = vec!["flights".to_owned(); 10_000];
    let request = v1::GetRoutingRequest {
        topics: again.clone(),
        min_version: 0,
    };
    let refused = running.cluster().get_routing(request).await.unwrap_err();
    assert_eq!(code(&refused), ErrorCode::InvalidRequest);
    let refused = running
        .cluster()
        .watch_routing(v1::WatchRoutingRequest { topics: again })
        .await
        .unwrap_err();
    assert_eq!(code(&refused), ErrorCode::InvalidRequest);

    let request = v1::GetRoutingRequest {
        topics: vec!["a".to_owned(); 1 << 20],
        min_version: 0,
    };
    let refused = running.cluster().get_routing(request).await.unwrap_err();
    assert_eq!(
        refused.code(),
        tonic::Code::OutOfRange,
        "not even decoded: {refused}"
    );

    let name = "é".repeat(50_000);
    let refused = running
        .topics()
        .create_topic(new_topic(&name, 1))
        .await
        .unwrap_err();
    assert_eq!(code(&refused), ErrorCode::InvalidTopic);
    let delete = v1::DeleteTopicRequest {
        name,
        ..v1::DeleteTopicRequest::default()
    };
    let refused = running.topics().delete_topic(delete).await.unwrap_err();
    assert_eq!(code(&refused), ErrorCode::UnknownTopicOrPartition);
    assert!(refused.message().len() < 1000, "{refused}");
    running.stop().await;
}

#[tokio::test]
async fn topics_are_listed_by_pages() {
    let running = Running::start().await;
    let names: Vec<_> = (0..7).map(|n| format!("topic-{n}")).collect();
    for name in names.iter().rev() {
        running.create(name, 1).await;
    }
    let (mut listed, mut request) = (Vec::new(), v1::ListTopicsRequest::default());
    request.page_size = 3;
    loop {
        let page = running
            .topics()
            .list_topics(request.clone())
            .await
            .unwrap()
            .into_inner();
        assert!(page.topics.len() <= 3);
        listed.extend(page.topics.into_iter().map(|topic| topic.name));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, names);
    running.stop().await;
}

#[tokio::test]
async fn the_cluster_is_described_and_watched() {
    let running = Running::start().await;
    let mut cluster = running.cluster();
    let watched = v1::WatchRoutingRequest {
        topics: vec!["flights".to_owned()],
    };
    let mut watch = cluster.watch_routing(watched).await.unwrap().into_inner();
    let first = watch.message().await.unwrap().unwrap().routing.unwrap();
    assert_eq!(first.topics[0].topic_id, "");

    running.create("weather", 1).await;
    let created = running.create("flights", 2).await;
    let next = watch.message().await.unwrap().unwrap().routing.unwrap();
    assert_eq!(next.topics[0].topic_id, created.topic.unwrap().topic_id);
    assert!(next.topics[0].partitions.iter().all(|p| p.leader == Some(0)));

    let addresses = running.broker.addresses().clone();
    let described = cluster
        .get_cluster(v1::GetClusterRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(described.cluster_id, addresses.cluster_id.to_string());
    assert_eq!(
        (described.controller, described.topics, described.partitions),
        (Some(0), 2, 3)
    );
    let brokers = cluster
        .list_brokers(v1::ListBrokersRequest {})
        .await
        .unwrap()
        .into_inner()
        .brokers;
    assert_eq!(brokers[0].endpoint, addresses.listeners[0].advertised.to_string());
    assert!(!brokers[0].fenced);

    let everything = v1::GetRoutingRequest {
        min_version: created.metadata_version,
        ..v1::GetRoutingRequest::default()
    };
    let routing = cluster.get_routing(everything).await.unwrap().into_inner();
    assert_eq!(
        routing.topics.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(),
        ["flights", "weather"]
    );

    let check = cluster
        .check_cluster(v1::CheckClusterRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!((check.partitions, check.brokers), (3, 1));
    // How full this machine's disk is, is its own affair.
    let findings: Vec<_> = check
        .findings
        .iter()
        .filter(|f| !f.subject.starts_with("data.dir"))
        .collect();
    assert!(findings.is_empty(), "{findings:?}");

    let set = |filter: &str| v1::SetLogLevelRequest {
        filter: filter.to_owned(),
    };
    assert_eq!(
        cluster
            .set_log_level(set("debug"))
            .await
            .unwrap()
            .into_inner()
            .previous,
        "info,openraft=off"
    );
    assert_eq!(
        code(&cluster.set_log_level(set("loud")).await.unwrap_err()),
        ErrorCode::InvalidRequest
    );

    let stopped = tokio::spawn(running.stop());
    let end = loop {
        match watch.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a stream ends with a status"),
            Err(status) => break status,
        }
    };
    assert_eq!(code(&end), ErrorCode::ShuttingDown);
    stopped.await.unwrap();
}

#[tokio::test]
async fn a_version_that_does_not_come_is_waited_for_no_longer_than_the_client_waits() {
    let running = Running::start().await;
    let mut request = tonic::Request::new(v1::GetRoutingRequest {
        min_version: u64::MAX,
        ..v1::GetRoutingRequest::default()
    });
    request.set_timeout(Duration::from_millis(50));
    let late = running.cluster().get_routing(request).await.unwrap_err();
    assert!(
        matches!(
            late.code(),
            tonic::Code::DeadlineExceeded | tonic::Code::Cancelled
        ),
        "{late}"
    );
    running.stop().await;
}

#[tokio::test]
async fn a_clean_restart_finds_everything_and_no_need_to_recover() {
    let running = Running::start().await;
    let id = running.create("flights", 3).await.topic.unwrap().topic_id;
    for n in 0..10 {
        assert_eq!(produce(&running, "flights", &format!("flight {n}")).await, n);
    }
    let cluster_id = running.broker.addresses().cluster_id;
    let dir = running.stop().await;
    assert!(dir.path().join("clean_shutdown").exists());
    assert!(!dir.path().join("addresses").exists());

    let running = Running::again(dir).await;
    assert!(
        !running.dir.path().join("clean_shutdown").exists(),
        "a crash from here on is no clean shutdown"
    );
    assert_eq!(running.broker.addresses().cluster_id, cluster_id);
    let named = v1::GetTopicRequest {
        name: "flights".to_owned(),
        ..v1::GetTopicRequest::default()
    };
    let topic = running
        .topics()
        .get_topic(named)
        .await
        .unwrap()
        .into_inner()
        .topic
        .unwrap();
    assert_eq!(topic.topic_id, id);
    assert!(
        topic
            .partitions
            .iter()
            .all(|p| p.leader == Some(0) && p.leader_epoch > 0),
        "{:?}",
        topic.partitions
    );
    assert_eq!(values(&running, "flights", 10).await.len(), 10);
    assert_eq!(produce(&running, "flights", "and one more").await, 10);
    running.stop().await;
}

#[tokio::test]
async fn after_a_crash_everything_acknowledged_is_there() {
    let mut running = Running::start().await;
    running.create("flights", 1).await;
    let mut sent = Vec::new();
    for n in 0..3 {
        let value = format!("flight {n}");
        produce(&running, "flights", &value).await;
        sent.push(value);
        running = Running::again(running.crash()).await;
        assert_eq!(values(&running, "flights", sent.len()).await, sent);
    }
    running.stop().await;
}

#[tokio::test]
async fn records_are_deleted_below_an_offset() {
    let running = Running::start().await;
    running.create("flights", 1).await;
    for n in 0..5 {
        produce(&running, "flights", &format!("flight {n}")).await;
    }
    let part = |partition, before_offset| v1::DeleteRecordsPartition {
        partition,
        before_offset,
    };
    let request = v1::DeleteRecordsRequest {
        name: "flights".to_owned(),
        partitions: vec![part(0, Some(3)), part(0, None), part(7, None)],
        ..v1::DeleteRecordsRequest::default()
    };
    let results = running
        .topics()
        .delete_records(request)
        .await
        .unwrap()
        .into_inner()
        .results;
    assert_eq!((results[0].log_start, &results[0].error), (3, &None));
    let reason = |at: usize| results[at].error.as_ref().unwrap().reason();
    assert_eq!(reason(1), v1::ErrorReason::InvalidRequest, "named twice");
    assert_eq!(reason(2), v1::ErrorReason::UnknownTopicOrPartition);
    running.stop().await;
}

#[tokio::test]
async fn the_offsets_topic_is_read_by_anybody_and_changed_by_nobody() {
    let running = Running::start().await;
    let reserved = running.topics().create_topic(new_topic("__mine", 1)).await;
    assert_eq!(code(&reserved.unwrap_err()), ErrorCode::InvalidTopic);

    let ensure = || quipu_metadata::EnsureOffsetsTopic {
        topic_id: quipu_record::TopicId::from_u128(77),
    };
    let controller = running
        .broker
        .running
        .as_ref()
        .unwrap()
        .controller
        .clone()
        .unwrap();
    let made = controller.propose(ensure()).await.unwrap();
    let again = controller.propose(ensure()).await.unwrap();
    assert_eq!(made.outcome, again.outcome);
    let name = quipu_metadata::OFFSETS_TOPIC.to_owned();
    let described = running
        .topics()
        .get_topic(v1::GetTopicRequest {
            name: name.clone(),
            min_version: made.version.get(),
            ..v1::GetTopicRequest::default()
        })
        .await
        .unwrap()
        .into_inner()
        .topic
        .unwrap();
    assert!(described.internal);
    assert_eq!(described.partitions.len(), 16);
    let policy = described
        .configs
        .iter()
        .find(|c| c.key == "cleanup.policy")
        .unwrap();
    assert_eq!(policy.value, "compact");

    let record = v1::Record {
        key: Some("k".into()),
        value: Some("v".into()),
        ..v1::Record::default()
    };
    let batch = v1::Batch {
        topic: name.clone(),
        partition: Some(0),
        payload: Some(v1::batch::Payload::Records(v1::RecordList {
            records: vec![record],
            ..v1::RecordList::default()
        })),
        ..v1::Batch::default()
    };
    let produced = ProduceServiceClient::new(running.channel.clone())
        .produce(v1::ProduceRequest {
            batches: vec![batch],
            ..v1::ProduceRequest::default()
        })
        .await
        .unwrap()
        .into_inner();
    let refused = produced.results[0].error.as_ref().unwrap();
    assert_eq!(refused.reason(), v1::ErrorReason::InternalTopic);
    let deleted = running
        .topics()
        .delete_topic(v1::DeleteTopicRequest {
            name,
            ..v1::DeleteTopicRequest::default()
        })
        .await;
    assert_eq!(code(&deleted.unwrap_err()), ErrorCode::InternalTopic);
    running.stop().await;
}

#[tokio::test]
async fn another_brokers_directory_and_one_in_use_are_refused_by_name() {
    let running = Running::start().await;
    let error = start(running.dir.path()).await.unwrap_err().to_string();
    assert!(error.contains("in use by another process"), "{error}");
    let dir = running.stop().await;

    let mut config = Config::ephemeral(dir.path());
    config.broker.id = BrokerId::new(5);
    let error = Broker::start(config, LogControl::detached())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("belongs to broker 0, and broker.id is 5"),
        "{error}"
    );

    std::fs::remove_file(dir.path().join("meta.properties")).unwrap();
    let error = start(dir.path()).await.unwrap_err().to_string();
    assert!(
        error.contains("meta.properties is missing, though this data directory was in use"),
        "{error}"
    );
}

async fn http(running: &Running, path: &str) -> (u16, String) {
    let address = running.broker.addresses().http.unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: quipu\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// The names in the tables of `docs/operations.md`.
fn documented_metrics() -> BTreeSet<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
    let text = std::fs::read_to_string(path).unwrap();
    let names = text
        .split('`')
        .skip(1)
        .step_by(2)
        .map(|code| code.split('{').next().unwrap());
    let ours = names.filter(|name| name.starts_with("quipu_") || name.starts_with("process_"));
    ours.map(|name| {
        name.trim_end_matches("_total")
            .trim_end_matches("_info")
            .to_owned()
    })
    .collect()
}

/// The names in a scrape.
fn measured_metrics(page: &str) -> BTreeSet<String> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn probes_metrics_and_addresses_are_where_people_look() {
    let running = Running::start().await;
    for probe in ["/livez", "/readyz", "/startupz"] {
        assert_eq!(http(&running, probe).await, (200, "ok\n".to_owned()), "{probe}");
    }
    running.create("flights", 3).await;
    running
        .topics()
        .create_topic(new_topic("flights", 3))
        .await
        .unwrap_err();
    produce(&running, "flights", "a flight").await;
    assert_eq!(values(&running, "flights", 1).await, ["a flight"]);
    let (_, page) = http(&running, "/metrics").await;
    for line in [
        "quipu_partitions 3",
        "quipu_partitions_leading 3",
        "quipu_partitions_under_replicated 0",
        "quipu_partitions_under_min_isr 0",
        "quipu_partitions_offline 0",
        "quipu_raft_is_leader 1",
        r#"quipu_records_in_total{topic="flights"} 1"#,
        r#"quipu_request_duration_seconds_count{api="CreateTopic",stage="total"} 2"#,
        r#"quipu_request_errors_total{api="CreateTopic",code="TOPIC_ALREADY_EXISTS"} 1"#,
    ] {
        assert!(page.lines().any(|l| l == line), "{line} is missing in\n{page}");
    }
    let documented = documented_metrics();
    let measured = measured_metrics(&page);
    assert_eq!(
        documented, measured,
        "docs/operations.md names exactly what is measured"
    );

    let file = std::fs::read_to_string(running.dir.path().join("addresses")).unwrap();
    let addresses = running.broker.addresses();
    let http = addresses.http.unwrap();
    assert_eq!(
        file,
        format!(
            "client={}\ninternal={}\nhttp={http}\n",
            addresses.listeners[0].advertised, addresses.internal.advertised
        )
    );
    running.stop().await;
}

#[tokio::test]
async fn health_and_reflection_are_served() {
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::health_client::HealthClient;
    let running = Running::start().await;
    let mut health = HealthClient::new(running.channel.clone());
    for service in ["", "quipu.v1.ProduceService", "quipu.v1.TopicService"] {
        let request = tonic_health::pb::HealthCheckRequest {
            service: service.to_owned(),
        };
        let mut watch = health.watch(request).await.unwrap().into_inner();
        while watch.message().await.unwrap().unwrap().status() != ServingStatus::Serving {}
    }
    use tonic_reflection::pb::v1 as reflection;
    let mut client =
        reflection::server_reflection_client::ServerReflectionClient::new(running.channel.clone());
    let request = reflection::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            reflection::server_reflection_request::MessageRequest::ListServices(String::new()),
        ),
    };
    let mut answers = client
        .server_reflection_info(tokio_stream::once(request))
        .await
        .unwrap()
        .into_inner();
    let listed = format!("{:?}", answers.message().await.unwrap().unwrap());
    for service in [
        "quipu.v1.ConsumeService",
        "quipu.v1.ClusterService",
        "grpc.health.v1.Health",
    ] {
        assert!(listed.contains(service), "{service} is not in {listed}");
    }
    running.stop().await;
}
