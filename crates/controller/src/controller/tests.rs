use super::*;
use crate::test_util::{Seeded, StoppingDisk, start_seeded};
use crate::{Nowhere, Update};
use quipu_metadata::{
    AllocProducerIds, CreateTopic, CreateTopicError, DeleteTopic, DirectoryId, FeatureLevel, Incarnation,
    Listener, RegisterBroker, UnfenceBroker,
};
use quipu_record::{BrokerEpoch, BrokerId, TopicId};
use quipu_storage::test_util::{FakeDisk, Faults, Rng};
use quipu_storage::{Disk, RealDisk};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const BROKER: BrokerId = BrokerId::new(1);

async fn start(dir: &Path) -> Controller {
    let config = ControllerConfig::new(dir.join("metadata"));
    Controller::start(config, RealDisk::new(dir).expect("a disk"), Nowhere)
        .await
        .expect("starts")
}

fn register(incarnation: u128) -> RegisterBroker {
    let listener = Listener {
        name: "c".into(),
        advertised: "127.0.0.1:4600".into(),
        protocol: "grpc".into(),
    };
    RegisterBroker {
        id: BROKER,
        incarnation: Incarnation::from_u128(incarnation),
        cluster_id: None,
        directory: DirectoryId::from_u128(1),
        listeners: vec![listener],
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
        .propose(UnfenceBroker { id: BROKER, epoch })
        .await
        .expect("unfences");
    epoch
}

fn topic(id: u128) -> CreateTopic {
    CreateTopic {
        name: format!("topic-{id}"),
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
    let made = first.propose(topic(7)).await.expect("created");
    assert_eq!(first.image().version(), made.version);
    let image = first.image();
    first.shutdown().await;
    assert_eq!(
        first.propose(topic(9)).await,
        Err(ProposeError::Unavailable(Unavailable::Stopped))
    );

    let before = Instant::now();
    let second = start(dir.path()).await;
    println!("started again in {:?}", before.elapsed());
    assert_eq!((second.status().id, second.image().cluster_id()), (id, cluster));
    assert!(second.status().is_active());
    assert!(second.image().version() >= image.version());
    assert_eq!(
        second.image().topic_named("topic-7"),
        image.topic_named("topic-7")
    );
    let again = CreateTopic {
        topic_id: TopicId::from_u128(8),
        ..topic(7)
    };
    let refused = second.propose(again).await.expect_err("it is there");
    assert!(matches!(
        refused,
        ProposeError::Refused(CreateTopicError::Exists { .. })
    ));
    second.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proposals_that_wait_share_an_entry() {
    let dir = tempfile::tempdir().expect("a directory");
    let controller = start(dir.path()).await;
    let epoch = broker(&controller, 1).await;
    let before = controller.status().last_log.expect("entries");
    let asks = (0..500).map(|_| {
        let controller = controller.clone();
        tokio::spawn(async move { controller.propose(AllocProducerIds { id: BROKER, epoch }).await })
    });
    let mut firsts = BTreeSet::new();
    for ask in asks.collect::<Vec<_>>() {
        let block = ask.await.expect("no panic").expect("allocated").outcome;
        assert!(firsts.insert(block.first), "handed out twice");
    }
    let entries = controller.status().last_log.expect("entries") - before;
    assert!(entries < 250, "{entries} entries for 500 proposals");
    controller.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_sees_every_version_in_order_and_gets_to_the_same_image() {
    let dir = tempfile::tempdir().expect("a directory");
    let controller = start(dir.path()).await;
    let mut subscription = controller.subscribe();
    let mut image = subscription.image().as_ref().clone();
    let mut lagging = controller.subscribe();
    broker(&controller, 1).await;
    let mut last = controller.image().version();
    for id in 0..400 {
        last = controller.propose(topic(id)).await.expect("created").version;
        while image.version() < last {
            match subscription.next().await.expect("running") {
                Update::Delta(delta) => {
                    assert_eq!(
                        delta.version.get(),
                        image.version().get() + 1,
                        "a version was left out"
                    );
                    image.apply(&delta).expect("replays");
                }
                Update::Image(_) => panic!("it did not lag"),
            }
        }
    }
    assert_eq!(
        &image,
        controller.wait_for_version(last).await.expect("running").as_ref()
    );
    assert_eq!(&image, controller.read_index().await.expect("active").as_ref());
    match lagging.next().await.expect("running") {
        Update::Image(caught_up) => assert_eq!(caught_up.as_ref(), &image),
        Update::Delta(delta) => panic!("lagged 400 behind and got {}", delta.version),
    }
    let waiting = tokio::spawn(async move { lagging.next().await });
    controller.shutdown().await;
    assert!(waiting.await.expect("no panic").is_none(), "the end");
}

fn small(dir: PathBuf) -> ControllerConfig {
    let config = ControllerConfig::new(dir);
    ControllerConfig {
        snapshot_every: 40,
        entries_kept: 20,
        wal_segment_bytes: 2048,
        ..config
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_takes_the_place_of_the_log_before_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = small(dir.path().join("metadata"));
    let disk = RealDisk::new(dir.path()).expect("a disk");
    let controller = Controller::start(config.clone(), disk.clone(), Nowhere)
        .await
        .expect("starts");
    broker(&controller, 1).await;
    for id in 0..200 {
        controller.propose(topic(id)).await.expect("created");
        if id >= 3 {
            controller
                .propose(DeleteTopic {
                    topic_id: TopicId::from_u128(id - 3),
                })
                .await
                .expect("deleted");
        }
    }
    let status = wait_for(&controller, |status| {
        status.purged.is_some_and(|purged| purged > 300)
    })
    .await;
    assert!(status.snapshot > status.purged, "{status:?}");
    let image = controller.image();
    controller.shutdown().await;

    let files: Vec<String> = disk
        .list(&config.dir)
        .expect("there")
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    assert_eq!(
        files.iter().filter(|name| name.ends_with(".snap")).count(),
        2,
        "{files:?}"
    );
    assert!(
        files.iter().filter(|name| name.ends_with(".wal")).count() < 10,
        "{files:?}"
    );

    let again = Controller::start(config, disk, Nowhere).await.expect("starts");
    let found = again.image();
    assert!(found.topics().eq(image.topics()) && found.brokers().eq(image.brokers()));
    again.propose(topic(1000)).await.expect("created");
    again.shutdown().await;
}

async fn wait_for(controller: &Controller, holds: impl Fn(&ControllerStatus) -> bool) -> ControllerStatus {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let status = controller.status();
        if holds(&status) {
            return status;
        }
        assert!(Instant::now() < deadline, "{status:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_is_announced_and_nothing_is_acknowledged_after_it() {
    let disk = FakeDisk::new(1);
    let config = ControllerConfig::new("/metadata".into());
    let controller = Controller::start(config, disk.clone(), Nowhere)
        .await
        .expect("starts");
    broker(&controller, 1).await;
    disk.set_faults(Faults {
        sync_eio: u16::MAX,
        ..Faults::default()
    });
    let refused = controller.propose(topic(1)).await.expect_err("not durable");
    assert_eq!(refused, ProposeError::Unavailable(Unavailable::Stopped));
    let failure = tokio::time::timeout(Duration::from_secs(10), controller.failed())
        .await
        .expect("announced");
    assert!(failure.0.contains("metadata log"), "{failure}");
    assert_eq!(controller.status().failure, Some(failure));
    disk.set_faults(Faults::default());
    assert!(
        controller.propose(topic(2)).await.is_err(),
        "not even once the disk seems well again"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_waits_for_room_on_a_full_disk_and_the_controller_goes_on() {
    let disk = FakeDisk::new(1);
    let config = ControllerConfig {
        snapshot_every: 5,
        ..ControllerConfig::new("/metadata".into())
    };
    let controller = Controller::start(config, disk.clone(), Nowhere)
        .await
        .expect("starts");
    broker(&controller, 1).await;
    // What is preallocated can still be written.
    disk.set_faults(Faults {
        no_space: u16::MAX,
        ..Faults::default()
    });
    let mut next = 1..;
    let deadline = Instant::now() + Duration::from_secs(20);
    while disk.counts().no_space == 0 {
        let id = next.next().expect("without end");
        controller.propose(topic(id)).await.expect("created");
        assert!(Instant::now() < deadline, "no snapshot was tried");
    }
    controller
        .propose(topic(next.next().expect("without end")))
        .await
        .expect("it goes on");
    assert_eq!(controller.status().failure, None);
    disk.set_faults(Faults::default());
    let written = || {
        let names = disk.list(Path::new("/metadata")).expect("a directory");
        names.iter().any(|entry| entry.name.ends_with(".snap"))
    };
    while !written() {
        assert!(Instant::now() < deadline, "no snapshot once there is room");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    controller.shutdown().await;
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_name() {
    let start = |config| async {
        Controller::start(config, FakeDisk::new(1), Nowhere)
            .await
            .expect_err("wrong")
            .to_string()
    };
    let config = || ControllerConfig::new("/metadata".into());
    let text = start(ControllerConfig {
        entries_kept: 0,
        ..config()
    })
    .await;
    assert!(
        text.starts_with("controller setting entries_kept: it must not be 0"),
        "{text}"
    );
    let text = start(ControllerConfig {
        wal_segment_bytes: 1,
        ..config()
    })
    .await;
    assert!(text.starts_with("controller setting wal_segment_bytes"), "{text}");
    let text = start(ControllerConfig {
        election_timeout_max: Duration::from_millis(1),
        ..config()
    })
    .await;
    assert!(text.starts_with("controller setting timeouts"), "{text}");
}

#[tokio::test]
async fn a_command_that_could_not_be_read_back_is_not_logged() {
    let disk = FakeDisk::new(1);
    let controller = Controller::start(ControllerConfig::new("/metadata".into()), disk, Nowhere)
        .await
        .expect("starts");
    let configs = vec![("retention.ms".to_owned(), "9".repeat(5 * 1024 * 1024))];
    let refused = controller
        .propose(CreateTopic { configs, ..topic(1) })
        .await
        .expect_err("too large");
    assert!(
        matches!(refused, ProposeError::Unavailable(Unavailable::TooLarge { .. })),
        "{refused}"
    );
}

#[tokio::test]
async fn snapshots_without_a_log_are_not_taken_for_a_new_directory() {
    let disk = FakeDisk::new(1);
    let config = small("/metadata".into());
    let controller = Controller::start(config.clone(), disk.clone(), Nowhere)
        .await
        .expect("starts");
    let epoch = broker(&controller, 1).await;
    for _ in 0..60 {
        controller
            .propose(AllocProducerIds { id: BROKER, epoch })
            .await
            .expect("allocated");
    }
    wait_for(&controller, |status| status.snapshot.is_some()).await;
    controller.shutdown().await;
    for file in disk
        .files()
        .iter()
        .filter(|file| file.to_string_lossy().ends_with(".wal"))
    {
        disk.remove(file).expect("removed");
    }
    let error = Controller::start(config, disk, Nowhere)
        .await
        .expect_err("the log is gone")
        .to_string();
    assert!(error.contains("there are snapshots and no log"), "{error}");
}

#[tokio::test]
async fn what_is_for_another_controller_or_cluster_is_refused() {
    let disk = FakeDisk::new(1);
    let controller = Controller::start(ControllerConfig::new("/metadata".into()), disk, Nowhere)
        .await
        .expect("starts");
    let meant = Header {
        cluster: controller.image().cluster_id(),
        from: ControllerId::new(7),
        to: controller.id(),
    };
    let nothing = || Bytes::from_static(b"nothing");
    let other = Header {
        to: ControllerId::new(8),
        ..meant
    };
    let refused = controller.handle_append(other, nothing()).await;
    assert!(
        matches!(refused, Err(RpcError::OtherController { .. })),
        "{refused:?}"
    );
    let other = Header {
        cluster: Some(ClusterId::from_u128(9)),
        ..meant
    };
    let refused = controller.handle_vote(other, nothing()).await;
    assert!(
        matches!(refused, Err(RpcError::OtherCluster { .. })),
        "{refused:?}"
    );
    for cluster in [meant.cluster, None] {
        let refused = controller
            .handle_snapshot(Header { cluster, ..meant }, nothing(), Vec::new())
            .await;
        assert!(matches!(refused, Err(RpcError::Malformed(_))), "{refused:?}");
    }
    assert!(controller.status().is_active(), "nothing came of it");
    assert_eq!(ControllerId::parse(&meant.to.to_string()), Some(meant.to));
    assert_eq!(ControllerId::parse("0123"), None);
}

/// A controller's life with power cuts at any call to the disk, under the runtime that has no threads: whatever was
/// acknowledged is there afterwards, in the state it was acknowledged in, and the id never changes.
async fn power_cuts(seed: u64) -> (u64, u64) {
    Seeded::seed(seed);
    let mut rng = Rng::new(seed);
    let disk = FakeDisk::new(seed);
    let mut acked: BTreeSet<u128> = BTreeSet::new();
    let mut unsure: BTreeSet<u128> = BTreeSet::new();
    let (mut next, mut cuts, mut acks) = (1, 0, 0);
    let mut cluster = None;
    for life in 0..8u8 {
        let calls = if life == 7 { u64::MAX } else { rng.below(150) };
        let stopping = StoppingDisk::new(disk.clone(), calls);
        let started = start_seeded(small("/metadata".into()), stopping.clone(), seed).await;
        let controller = match started {
            Ok(controller) => controller,
            Err(_) if stopping.has_stopped() => {
                disk.crash(rng.next_u64());
                cuts += 1;
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        let image = controller.image();
        assert_eq!(
            *cluster.get_or_insert(image.cluster_id()),
            image.cluster_id(),
            "another cluster"
        );
        let found: BTreeSet<u128> = image.topics().map(|topic| topic.id.as_u128()).collect();
        let lost: Vec<_> = acked
            .difference(&found)
            .filter(|id| !unsure.contains(id))
            .collect();
        let made_up: Vec<_> = found
            .difference(&acked)
            .filter(|id| !unsure.contains(id))
            .collect();
        assert!(
            lost.is_empty() && made_up.is_empty(),
            "lost {lost:?}, made up {made_up:?}"
        );
        (acked, unsure) = (found, BTreeSet::new());
        if controller.propose(register(u128::from(life) + 1)).await.is_ok() {
            let epoch = controller.image().broker(BROKER).expect("registered").epoch;
            let _ = controller.propose(UnfenceBroker { id: BROKER, epoch }).await;
        }
        for _ in 0..40 {
            if stopping.has_stopped() {
                break;
            }
            let delete = acked.first().copied().filter(|_| rng.one_in(3));
            let id = delete.unwrap_or(next);
            next += u128::from(delete.is_none());
            let done = match delete {
                Some(id) => controller
                    .propose(DeleteTopic {
                        topic_id: TopicId::from_u128(id),
                    })
                    .await
                    .map(drop)
                    .ok(),
                None => controller.propose(topic(id)).await.map(drop).ok(),
            };
            match done {
                Some(()) if delete.is_some() => drop(acked.remove(&id)),
                Some(()) => drop(acked.insert(id)),
                None => drop(unsure.insert(id)),
            }
            acks += u64::from(done.is_some());
        }
        if stopping.has_stopped() || rng.one_in(3) {
            cuts += 1;
            disk.crash(rng.next_u64());
        }
        controller.shutdown().await;
        disk.kill();
    }
    (cuts, acks)
}

#[test]
fn no_power_cut_takes_back_what_was_acknowledged() {
    let one = std::env::var("QUIPU_CONTROLLER_SEED")
        .ok()
        .and_then(|seed| seed.parse::<u64>().ok());
    let seeds = one.map_or(0..150, |seed| seed..seed + 1);
    let (mut cuts, mut acks) = (0, 0);
    for seed in seeds.clone() {
        let run = std::panic::catch_unwind(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build();
            runtime.expect("a runtime").block_on(power_cuts(seed))
        });
        let Ok((seed_cuts, seed_acks)) = run else {
            panic!("seed {seed}: QUIPU_CONTROLLER_SEED={seed} cargo test -p quipu-controller power_cut");
        };
        cuts += seed_cuts;
        acks += seed_acks;
    }
    println!(
        "{} seeds, {cuts} power cuts, {acks} acknowledged",
        seeds.end - seeds.start
    );
    assert!(
        one.is_some() || (cuts > 500 && acks > 2_000),
        "too tame: {cuts} power cuts, {acks} acknowledged"
    );
}
