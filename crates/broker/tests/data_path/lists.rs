//! ListOffsets and DeleteRecords.

use crate::cluster::until;
use crate::harness::{MiniBroker, at, reason, records};
use quipu_proto::v1;
use quipu_proto::v1::start_position::Position;
use quipu_record::Offset;
use quipu_replication::DeleteBefore;
use std::time::Duration;

async fn offset(broker: &MiniBroker, position: Position) -> v1::OffsetResult {
    let request = v1::ListOffsetsRequest {
        queries: vec![v1::OffsetQuery {
            topic: "t".to_owned(),
            at: Some(v1::StartPosition {
                position: Some(position),
            }),
            ..v1::OffsetQuery::default()
        }],
        ..v1::ListOffsetsRequest::default()
    };
    let response = broker.consuming().list_offsets(request).await.expect("an answer");
    response.into_inner().results.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_by_place_and_by_time() {
    let mut broker = MiniBroker::start().await;
    let topic = broker.create("t", 1);
    for (value, time) in [("a", 1_000), ("b", 2_000), ("c", 3_000)] {
        let mut batch = records("t", 0, &[value]);
        if let Some(v1::batch::Payload::Records(list)) = &mut batch.payload {
            list.records[0].timestamp_ms = Some(time);
        }
        broker.produce(batch).await;
    }
    assert_eq!(
        offset(&broker, Position::Earliest(v1::Earliest {})).await.offset,
        0
    );
    assert_eq!(offset(&broker, Position::Latest(v1::Latest {})).await.offset, 3);
    let found = offset(&broker, Position::TimestampMs(1_001)).await;
    assert_eq!((found.offset, found.timestamp_ms), (1, Some(2_000)));
    let none = offset(&broker, Position::TimestampMs(3_001)).await;
    assert_eq!((none.offset, none.timestamp_ms), (3, None));

    let before = DeleteBefore::Offset(Offset::new(2));
    let patience = Duration::from_secs(10);
    let log_start = broker.plane.delete_records(at(topic, 0), before, patience).await;
    assert_eq!(log_start.expect("deleted"), Offset::new(2));
    assert_eq!(
        offset(&broker, Position::Earliest(v1::Earliest {})).await.offset,
        2
    );
    let gone = broker.fetch("t", 0, 1, v1::Format::Records).await;
    assert_eq!(reason(gone.error.as_ref()), v1::ErrorReason::OffsetOutOfRange);
    let left = broker.fetch("t", 0, 2, v1::Format::Records).await;
    assert_eq!(left.records.len(), 1);
}

/// Found by a benchmark that filled its disk: deleted segments kept their bytes until the next start.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_gives_its_bytes_back_while_the_broker_runs() {
    let mut broker = MiniBroker::start().await;
    let topic = broker.create_with("t", 1, &[("segment.bytes", "65536")]);
    let value = "x".repeat(16 << 10);
    for _ in 0..40 {
        broker.produce(records("t", 0, &[&value])).await;
    }
    let before = broker.bytes_of_logs();
    assert!(before > 40 * (16 << 10), "{before}");
    let patience = Duration::from_secs(10);
    let all = DeleteBefore::HighWatermark;
    let log_start = broker.plane.delete_records(at(topic, 0), all, patience).await;
    assert_eq!(log_start.expect("deleted"), Offset::new(40));
    until("the bytes are given back", || broker.bytes_of_logs() < 4 * 65_536).await;
}
