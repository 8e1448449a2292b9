//! Whether a leader knows that it still is one.

use crate::cluster::{Cluster, until};
use crate::harness::{reason, records};
use quipu_proto::v1;
use quipu_record::{BrokerId, ErrorCode, Offset, TopicPartition};
use std::time::Duration;

const NEVER: Duration = Duration::from_secs(600);
const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(300);

async fn latest(cluster: &Cluster, by: BrokerId, at: TopicPartition) -> v1::OffsetResult {
    let query = v1::OffsetQuery {
        topic: "t".to_owned(),
        partition: at.partition.get(),
        at: Some(v1::StartPosition {
            position: Some(v1::start_position::Position::Latest(v1::Latest {})),
        }),
        ..v1::OffsetQuery::default()
    };
    let request = v1::ListOffsetsRequest {
        queries: vec![query],
        routing: v1::Routing::LeaderOnly.into(),
    };
    let mut request = tonic::Request::new(request);
    request.set_timeout(LONG);
    let response = cluster
        .consuming(by)
        .list_offsets(request)
        .await
        .expect("an answer");
    response.into_inner().results.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_of_quiet_followers_asks_them() {
    // By themselves they would be heard once in ten minutes.
    let cluster = Cluster::start_waiting(NEVER, NEVER).await;
    let at = cluster.create("t", &[]);
    let leader = cluster.leader(at);
    for n in 1..=3 {
        let result = cluster
            .produce(leader, records("t", 0, &["x"]), v1::ProduceRequest::default())
            .await;
        assert_eq!(result.error, None);
        let found = latest(&cluster, leader, at).await;
        assert_eq!((found.error, found.offset), (None, n));
        let plane = cluster.plane(leader);
        let view = plane.vouched(at, plane.tick(), LONG).await.expect("vouched for");
        assert_eq!(view.high_watermark, Offset::new(n));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_replaced_and_does_not_know_says_nothing() {
    let cluster = Cluster::start(NEVER).await;
    let at = cluster.create("t", &[]);
    let old = cluster.leader(at);
    let result = cluster
        .produce(old, records("t", 0, &["x"]), v1::ProduceRequest::default())
        .await;
    assert_eq!(result.error, None);
    let plane = cluster.plane(old);
    plane.vouched(at, plane.tick(), LONG).await.expect("it leads");

    cluster.cut_off(old);
    cluster.fence(old);
    let new = cluster.leader(at);
    assert_ne!(new, old);
    let result = cluster
        .produce(new, records("t", 0, &["y"]), v1::ProduceRequest::default())
        .await;
    assert_eq!((result.error, result.base_offset), (None, Some(1)));
    until("the new leader has committed", || {
        cluster.view(new, at).high_watermark == Offset::new(2)
    })
    .await;
    assert!(cluster.view(old, at).leading.is_some(), "it does not know");
    assert_eq!(cluster.view(old, at).high_watermark, Offset::new(1));
    let refused = plane
        .vouched(at, plane.tick(), SHORT)
        .await
        .expect_err("nobody follows it");
    assert_eq!(refused.code, ErrorCode::OffsetNotAvailable);
    assert!(refused.retryable);
    let found = latest(&cluster, old, at).await;
    assert_eq!(reason(found.error.as_ref()), v1::ErrorReason::OffsetNotAvailable);
    let found = latest(&cluster, new, at).await;
    assert_eq!((found.error, found.offset), (None, 2));
}
