//! Each thing that can be wrong is found, named, and comes with what to do.

use super::*;
use crate::service::test_image;
use quipu_metadata::{BrokerFence, FenceBrokers, UnfenceBroker};

fn fence(image: &mut Image, id: u32) {
    let id = BrokerId::new(id);
    let epoch = image.broker(id).unwrap().epoch;
    let brokers = vec![BrokerFence { id, epoch }];
    test_image::run(image, FenceBrokers { brokers });
}

fn found(image: &Image) -> Vec<String> {
    let mut findings = Vec::new();
    findings.extend(image.brokers().filter_map(|b| broker(b)));
    for (topic, index, state) in image.partitions() {
        partition(image, topic, index, state, &mut findings);
    }
    let all = response(image, findings).findings;
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
