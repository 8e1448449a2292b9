//! What is described is what is in the image, by the listener that the client came in by.

use super::*;
use crate::service::test_image;
use quipu_metadata::DeleteTopic;

#[test]
fn a_topic_is_found_by_name_and_by_the_id_it_has_now() {
    let mut image = test_image::cluster(1);
    let old = test_image::create(&mut image, "flights", 1, 1);
    assert_eq!(find(&image, "flights", None).unwrap().id, old);
    assert_eq!(find(&image, "flights", Some(&old.to_string())).unwrap().id, old);

    test_image::run(&mut image, DeleteTopic { topic_id: old });
    assert_eq!(
        find(&image, "flights", None).unwrap_err().code,
        ErrorCode::UnknownTopicOrPartition
    );

    let new = test_image::create(&mut image, "flights", 1, 1);
    let stale = find(&image, "flights", Some(&old.to_string())).unwrap_err();
    assert_eq!(stale.code, ErrorCode::UnknownTopicId);
    assert!(stale.message.contains(&new.to_string()), "{}", stale.message);
    assert_eq!(
        find(&image, "flights", Some("no")).unwrap_err().code,
        ErrorCode::InvalidRequest
    );
}

#[test]
fn routing_names_leaders_and_the_addresses_of_the_clients_own_listener() {
    let mut image = test_image::cluster(3);
    let id = test_image::create(&mut image, "flights", 6, 3);
    let asked = ["flights".to_owned(), "nothing".to_owned()];
    let routing = routing(&image, &asked, "far");
    assert_eq!(routing.metadata_version, image.version().get());
    let endpoints: Vec<_> = routing.brokers.iter().map(|b| b.endpoint.as_str()).collect();
    assert_eq!(endpoints, ["far-0:4600", "far-1:4600", "far-2:4600"]);
    let [flights, nothing] = &routing.topics[..] else {
        panic!("{:?}", routing.topics)
    };
    assert_eq!(flights.topic_id, id.to_string());
    assert_eq!(flights.partitions.len(), 6);
    for (route, (_, state)) in flights
        .partitions
        .iter()
        .zip(image.topic(id).unwrap().partitions.iter())
    {
        assert_eq!(route.leader, state.leader.map(BrokerId::get));
        assert!(route.leader.is_some());
    }
    assert_eq!(
        (nothing.name.as_str(), nothing.topic_id.as_str()),
        ("nothing", "")
    );
    // A listener that a broker does not have: its first.
    assert_eq!(
        endpoint(image.broker(BrokerId::new(1)).unwrap(), "other"),
        "client-1:4600"
    );
}

#[test]
fn a_described_topic_has_every_config_and_its_replicas() {
    let mut image = test_image::cluster(3);
    let id = test_image::create(&mut image, "flights", 2, 3);
    let topic = topic(image.topic(id).unwrap());
    assert_eq!(topic.partitions[1].replicas.len(), 3);
    assert_eq!(topic.partitions[1].min_insync_replicas, 2);
    let config = |key: &str| topic.configs.iter().find(|c| c.key == key).unwrap();
    assert!(config("retention.ms").is_default);
    assert!(!config("min.insync.replicas").is_default, "stored resolved");
    let cluster = cluster(&image, "client", BrokerId::new(2), None);
    assert_eq!(
        (cluster.topics, cluster.partitions, cluster.answered_by),
        (1, 2, 2)
    );
}
