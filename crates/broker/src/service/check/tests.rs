//! Each thing that can be wrong is found, named, and comes with what to do.

use super::*;
use crate::controllers::Node;
use crate::service::test_image;
use quipu_controller::{ControllerId, Member, PeerStatus};
use quipu_metadata::{BrokerFence, EnsureOffsetsTopic, FenceBrokers, GrowTopic, UnfenceBroker};
use quipu_record::MetadataVersion;

fn fence(image: &mut Image, id: u32) {
    let id = BrokerId::new(id);
    let epoch = image.broker(id).unwrap().epoch;
    let brokers = vec![BrokerFence { id, epoch }];
    test_image::run(image, FenceBrokers { brokers });
}

fn found(image: &Image) -> Vec<String> {
    let all = response(image, cluster(image)).findings;
    assert!(all.iter().all(|f| !f.remedy.is_empty() && !f.subject.is_empty()));
    all.iter()
        .map(|f| format!("{:?} {}: {}", f.severity(), f.subject, f.problem))
        .collect()
}

#[test]
fn a_healthy_cluster_has_no_findings() {
    let mut image = test_image::cluster(3);
    test_image::create(&mut image, "flights", 6, 3);
    assert_eq!(found(&image), Vec::<String>::new());
}

#[test]
fn a_lost_broker_its_replicas_and_then_no_leader() {
    let mut image = test_image::cluster(3);
    test_image::create(&mut image, "flights", 1, 3);
    let preferred = image.partitions().next().unwrap().2.replicas.as_slice().to_vec();

    fence(&mut image, preferred[0].get());
    let found_one = found(&image);
    assert_eq!(found_one.len(), 2, "{found_one:?}");
    assert!(found_one[0].starts_with(&format!("Critical broker {}: it is fenced", preferred[0])));
    assert_eq!(
        found_one[1],
        format!(
            "Warning flights partition 0: replicas on broker {} are not in sync",
            preferred[0]
        )
    );

    fence(&mut image, preferred[1].get());
    assert!(
        found(&image)
            .iter()
            .any(|f| f.contains("min.insync.replicas is 2: writes with acks=all are refused"))
    );

    fence(&mut image, preferred[2].get());
    assert!(found(&image).iter().any(|f| f.contains("it has no leader")));
}

#[test]
fn an_internal_topic_with_few_replicas_is_found_until_it_has_grown() {
    let mut image = test_image::cluster(1);
    let topic_id = quipu_record::TopicId::from_u128(7);
    test_image::run(&mut image, EnsureOffsetsTopic { topic_id });
    assert_eq!(found(&image), Vec::<String>::new());
    assert_eq!(notes(&image).len(), 1, "a cluster of one cannot do better");
    let few = "Warning __consumer_offsets: it has 1 of 3 replicas";
    for id in [1, 2].map(BrokerId::new) {
        let epoch = test_image::run(&mut image, test_image::register(id)).epoch;
        test_image::run(&mut image, UnfenceBroker { id, epoch });
    }
    assert_eq!(found(&image), [few]);
    assert_eq!(notes(&image), Vec::<String>::new());
    let gone = Vec::new();
    test_image::run(&mut image, GrowTopic { topic_id, gone });
    assert_eq!(found(&image), [few], "those that are added are not missed");
    let remedy = &cluster(&image)[0].remedy;
    assert!(remedy.contains("on broker 1, 2 are not in sync yet"), "{remedy}");
}

#[test]
fn controllers_that_are_down_or_behind_are_found() {
    let member = |n: u64| Member {
        id: ControllerId::new(n),
        address: format!("c{n}:4601"),
    };
    let status = |n: u64, version: u64| PeerStatus {
        id: ControllerId::new(n),
        cluster: None,
        leader: Some(member(1)),
        term: 3,
        last_log: None,
        version: MetadataVersion::new(version),
        voters: (1..=3).map(member).collect(),
        learners: Vec::new(),
        configured: Vec::new(),
    };
    let node = |n: u64, status: Option<PeerStatus>| Node {
        member: member(n),
        voter: true,
        status,
    };
    let all = |second: u64, third: Option<u64>| Survey {
        nodes: vec![
            node(1, Some(status(1, 5000))),
            node(2, Some(status(2, second))),
            node(3, third.map(|version| status(3, version))),
        ],
        active: Some(ControllerId::new(1)),
    };
    assert_eq!(controllers(&all(4999, Some(5000)), None), []);
    let found = controllers(&all(100, None), None);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].problem.contains("4900 changes behind"), "{found:?}");
    assert!(
        found[1].problem.contains("does not answer at c3:4601"),
        "{found:?}"
    );
    let leaderless = Survey {
        active: None,
        ..all(5000, Some(5000))
    };
    assert!(
        controllers(&leaderless, None)[0]
            .problem
            .contains("no controller is active")
    );
}

#[test]
fn a_broker_that_registered_and_is_not_unfenced_is_found() {
    let mut image = test_image::cluster(1);
    let id = BrokerId::new(1);
    let registered = test_image::run(&mut image, test_image::register(id));
    assert!(found(&image)[0].starts_with("Critical broker 1: it is fenced"));
    let epoch = registered.epoch;
    test_image::run(&mut image, UnfenceBroker { id, epoch });
    assert!(found(&image).is_empty());
}

#[test]
fn a_flood_of_findings_is_bounded_and_says_so() {
    let mut image = test_image::cluster(1);
    test_image::create(&mut image, "flights", 2000, 1);
    fence(&mut image, 0);
    let all = found(&image);
    assert_eq!(all.len(), FINDINGS_MAX + 1);
    assert_eq!(
        all.last().unwrap(),
        "Critical cluster: 1001 more findings are left out"
    );
}
