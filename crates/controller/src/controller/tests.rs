use super::*;
use quipu_metadata::{
    CreateTopic, CreateTopicError, DirectoryId, Incarnation, Listener, RegisterBroker, UnfenceBroker,
};
use quipu_record::{BrokerEpoch, BrokerId, TopicId};
use quipu_storage::RealDisk;
use std::path::Path;
use std::time::Instant;

fn config(dir: &Path) -> ControllerConfig {
    ControllerConfig::new(dir.join("metadata"))
}

async fn start(dir: &Path) -> Controller {
    Controller::start(config(dir), RealDisk::new(dir).expect("a disk"))
        .await
        .expect("starts")
}

fn register(incarnation: u128) -> RegisterBroker {
    RegisterBroker {
        id: BrokerId::new(1),
        incarnation: Incarnation::from_u128(incarnation),
        cluster_id: None,
        directory: DirectoryId::from_u128(1),
        listeners: vec![Listener {
            name: "client".to_owned(),
            advertised: "127.0.0.1:4600".to_owned(),
            protocol: "grpc".to_owned(),
        }],
        rack: None,
        version: "test".to_owned(),
        feature_level: FeatureLevel::SUPPORTED,
        clean_epoch: None,
        page_cache_kept: true,
        cut: Vec::new(),
        damaged: Vec::new(),
    }
}

async fn broker(controller: &Controller, incarnation: u128) -> BrokerEpoch {
    let epoch = controller
        .propose(register(incarnation))
        .await
        .expect("registers")
        .outcome
        .epoch;
    controller
        .propose(UnfenceBroker {
            id: BrokerId::new(1),
            epoch,
        })
        .await
        .expect("unfences");
    epoch
}

fn topic(name: &str, id: u128) -> CreateTopic {
    CreateTopic {
        name: name.to_owned(),
        topic_id: TopicId::from_u128(id),
        partitions: 2,
        replication_factor: None,
        configs: Vec::new(),
        internal: false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_committed_is_there_after_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = start(dir.path()).await;
    let (id, cluster) = (first.status().id, first.image().cluster_id());
    assert!(cluster.is_some());
    broker(&first, 1).await;
    let made = first.propose(topic("flights", 7)).await.expect("created");
    assert_eq!(first.image().version(), made.version);
    let image = first.image();
    first.shutdown().await;

    let before = Instant::now();
    let second = start(dir.path()).await;
    let took = before.elapsed();
    assert_eq!((second.status().id, second.image().cluster_id()), (id, cluster));
    assert!(second.status().is_active());
    assert!(second.image().version() >= image.version());
    assert_eq!(
        second.image().topic_named("flights"),
        image.topic_named("flights")
    );
    let refused = second
        .propose(topic("flights", 8))
        .await
        .expect_err("it is there");
    assert!(matches!(
        refused,
        ProposeError::Refused(CreateTopicError::Exists { .. })
    ));
    println!("started again in {took:?}");
    second.shutdown().await;
}
