//! Calls that any broker answers: deadlines, retries, and outcomes that cannot be known.

use crate::fake::Cluster;
use quipu_client::{
    CallError, Client, ClientConfig, ConnectError, ErrorCode, NewTopic, Offset, PartitionId, Severity, Start,
};
use quipu_proto::Failure;
use std::time::{Duration, Instant};
use tonic::Status;

/// Calls that were given less than a second are over long before those of the default half minute would be.
const HALF_OF_THE_DEFAULT: Duration = Duration::from_secs(15);

fn config(cluster: &Cluster) -> ClientConfig {
    ClientConfig::new(cluster.bootstrap()).with_client_id("tester")
}

fn fail(cluster: &Cluster, call: &'static str, with: impl IntoIterator<Item = Status>) {
    cluster.shared.state().fail.entry(call).or_default().extend(with);
}

fn refused(code: ErrorCode) -> Status {
    Failure::new(code, "as told").into_status()
}

#[tokio::test]
async fn a_dead_address_is_passed_over_and_none_alive_is_said() {
    let mut cluster = Cluster::start(2, 1);
    cluster.kill(0);
    let client = Client::connect(config(&cluster)).await.unwrap();
    assert_eq!(client.cluster_id(), "c1");
    cluster.kill(1);
    let begun = Instant::now();
    let config = config(&cluster).with_call_timeout(Duration::from_millis(700));
    let error = Client::connect(config).await.unwrap_err();
    assert!(
        matches!(&error, ConnectError::Unreachable { reasons } if reasons.contains("refused")),
        "{error}"
    );
    assert!(error.retryable());
    assert!(begun.elapsed() < HALF_OF_THE_DEFAULT);
}

#[tokio::test]
async fn nonsense_in_the_configuration_is_named() {
    let error = Client::connect(ClientConfig::new(Vec::<String>::new()))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ConnectError::Config(error) if error.field == "bootstrap"),
        "{error}"
    );
    let config = ClientConfig::new(["127.0.0.1:1"]).with_client_id("two\nlines");
    let error = Client::connect(config).await.unwrap_err();
    assert!(
        matches!(&error, ConnectError::Config(error) if error.field == "client_id"),
        "{error}"
    );
    let config = ClientConfig::new(["no port/ no host"]).with_call_timeout(Duration::from_millis(200));
    let error = Client::connect(config).await.unwrap_err();
    assert!(error.to_string().contains("is not host:port"), "{error}");
}

#[tokio::test]
async fn what_may_be_repeated_is_repeated() {
    let cluster = Cluster::start(1, 2);
    let client = Client::connect(config(&cluster)).await.unwrap();
    fail(
        &cluster,
        "check_cluster",
        [
            Status::unavailable("gone"),
            refused(ErrorCode::NoQuorum),
            Status::unknown("?"),
        ],
    );
    client.admin().check().await.unwrap();
    assert_eq!(
        cluster.calls("check_cluster"),
        5,
        "three failed; then the metadata, then the only broker"
    );
    fail(&cluster, "list_offsets", [refused(ErrorCode::RequestTimedOut)]);
    let found = client
        .admin()
        .list_offsets(vec![("t".into(), PartitionId::new(1), Start::Latest)])
        .await
        .unwrap();
    assert_eq!(
        (found[0].offset, found[0].partition),
        (Offset::ZERO, PartitionId::new(1))
    );
}

#[tokio::test]
async fn a_change_is_repeated_only_if_it_was_certainly_not_made() {
    let cluster = Cluster::start(1, 1);
    let client = Client::connect(config(&cluster)).await.unwrap();
    let admin = client.admin();
    fail(
        &cluster,
        "create_topic",
        [refused(ErrorCode::NotReady), refused(ErrorCode::NoQuorum)],
    );
    let created = admin.create_topic(NewTopic::new("a")).await.unwrap();
    assert_eq!(created.topic.name, "a");
    assert_eq!(cluster.calls("create_topic"), 3);

    fail(&cluster, "create_topic", [Status::unavailable("reset")]);
    let error = admin.create_topic(NewTopic::new("b")).await.unwrap_err();
    assert!(
        matches!(
            error,
            CallError::OutcomeUnknown {
                operation: "create topic",
                ..
            }
        ),
        "{error}"
    );
    assert!(!error.retryable());
    fail(&cluster, "create_topic", [refused(ErrorCode::RequestTimedOut)]);
    let error = admin.create_topic(NewTopic::new("b")).await.unwrap_err();
    assert!(matches!(error, CallError::OutcomeUnknown { .. }), "{error}");
    assert_eq!(cluster.calls("create_topic"), 5);

    let error = admin.create_topic(NewTopic::new("a")).await.unwrap_err();
    assert_eq!(
        (error.code(), error.retryable()),
        (ErrorCode::TopicAlreadyExists, false)
    );
}

#[tokio::test]
async fn time_is_up_when_it_is_up() {
    let cluster = Cluster::start(1, 1);
    let client = Client::connect(config(&cluster).with_call_timeout(Duration::from_millis(600)))
        .await
        .unwrap();
    fail(
        &cluster,
        "check_cluster",
        (0..1000).map(|_| refused(ErrorCode::NotReady)),
    );
    let begun = Instant::now();
    let error = client.admin().check().await.unwrap_err();
    assert!(matches!(error, CallError::Unreachable { .. }), "{error}");
    assert!(begun.elapsed() < HALF_OF_THE_DEFAULT);
    // Jittered pauses that double from 50 ms: no storm.
    assert!(cluster.calls("check_cluster") < 15);
}

#[tokio::test]
async fn every_broker_is_asked_what_is_wrong_with_it() {
    let mut cluster = Cluster::start(3, 1);
    let admin = Client::connect(config(&cluster)).await.unwrap().admin();
    assert_eq!(admin.check().await.unwrap().findings, []);
    cluster.shared.state().disk_full.insert(1);
    cluster.kill(2);
    let found = admin.check().await.unwrap().findings;
    let told: Vec<_> = found
        .iter()
        .map(|finding| (finding.severity, &*finding.subject))
        .collect();
    assert_eq!(
        told,
        [
            (Severity::Critical, "broker 2"),
            (Severity::Warning, "broker 1: disk")
        ],
        "{found:?}"
    );
}

#[tokio::test]
async fn a_topic_that_is_not_there_is_said_not_to_be() {
    let cluster = Cluster::start(1, 1);
    let client = Client::connect(config(&cluster)).await.unwrap();
    let error = client.admin().get_topic("nowhere").await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::UnknownTopicOrPartition);
    let error = client.admin().list_topics(false).await.unwrap_err();
    assert!(
        matches!(&error, CallError::BadAnswer { problem, .. } if problem.contains("does not know this call"))
    );
}

/// Found by the harness: brokers differ in how far they are, and who asked one and then another went back in time.
#[tokio::test]
async fn routes_that_are_shown_are_never_older_than_those_before() {
    let cluster = Cluster::start(2, 1);
    let client = Client::connect(config(&cluster)).await.unwrap();
    let admin = client.admin();
    let mut last = admin.routing(Vec::new()).await.unwrap().metadata_version;
    cluster.cut_off(0);
    cluster.elect(0, Some(1));
    for _ in 0..30 {
        let now = admin.routing(Vec::new()).await.unwrap().metadata_version;
        assert!(now >= last, "{now:?} after {last:?}");
        last = now;
    }
}
