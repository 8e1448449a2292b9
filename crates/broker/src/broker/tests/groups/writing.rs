//! How a coordinator's records get into the log: here those of no group, into a topic of their own.

use super::*;
use crate::groups::Writer;
use bytes::Bytes;
use quipu_coordinator::GroupRecord;
use quipu_record::PartitionId;

fn record(key: &str, value: Bytes) -> GroupRecord {
    GroupRecord {
        key: key.to_owned().into(),
        value: Some(value),
    }
}

/// Bytes that do not compress.
fn noise(len: usize) -> Bytes {
    let mut state = 1u64;
    let byte = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..len).map(byte).collect()
}

#[tokio::test]
async fn nothing_follows_on_a_batch_that_was_refused() {
    let running = Running::start().await;
    running.create("records", 1).await;
    let plane = &running
        .broker
        .running
        .as_ref()
        .unwrap()
        .broker
        .as_ref()
        .unwrap()
        .data;
    let topic = plane.topics.named("records").unwrap();
    let replica = topic.replica(PartitionId::new(0)).flatten().unwrap();
    let mut writer = Writer::new(replica.clone(), plane.clock);
    let write = |writer: &mut Writer, records: Vec<GroupRecord>| {
        let now = plane.clock.now();
        let after = writer.push(records.into_iter(), now).unwrap();
        writer.close(now).unwrap();
        after
    };

    let small = |key| record(key, Bytes::from_static(b"v"));
    assert_eq!(write(&mut writer, vec![small("a"), small("b")]), 1);
    assert_eq!(
        write(&mut writer, Vec::new()),
        1,
        "nothing is written, and nothing new to wait for"
    );
    while writer.committed() < 1 {
        writer.progress().await.unwrap();
    }
    assert_eq!(replica.view().high_watermark.get(), 2, "one batch");

    // Too large for the topic, and one right behind it that is not.
    assert_eq!(write(&mut writer, vec![record("c", noise(3 << 20))]), 2);
    assert_eq!(write(&mut writer, vec![small("d")]), 3);
    assert!(writer.progress().await.is_err());
    assert!(
        writer.progress().await.is_err(),
        "the one behind it was refused as well"
    );
    assert_eq!((writer.committed(), replica.view().log_end.get()), (1, 2));

    // A new one begins anew.
    let mut writer = Writer::new(replica.clone(), plane.clock);
    write(&mut writer, vec![small("e")]);
    while writer.committed() < 1 {
        writer.progress().await.unwrap();
    }
    assert_eq!(replica.view().log_end.get(), 3);
    drop(replica);
    running.stop().await;
}
