//! What partitions cost that nobody uses. A process of its own: it is the process that is measured.

#[expect(dead_code, reason = "this needs only a part of it")]
#[path = "data_path/harness.rs"]
mod harness;

use harness::{MiniBroker, records};
use quipu_proto::v1;

const PARTITIONS: u32 = 10_000;
/// The budget of one idle partition.
const BYTES_EACH: u64 = 4 << 10;
const DESCRIPTORS_MAX: usize = 4096;

/// Bytes of anonymous memory that are resident.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("this is Linux");
    let line = status
        .lines()
        .find(|line| line.starts_with("RssAnon:"))
        .expect("RssAnon");
    let kib = line.split_whitespace().nth(1).expect("a number");
    kib.parse::<u64>().expect("a number") << 10
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("this is Linux").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_partitions_fit_their_budget() {
    let mut broker = MiniBroker::start().await;
    broker.create("first", 1);
    broker.produce(records("first", 0, &["warm"])).await;
    let before = resident();
    broker.create("t", PARTITIONS);
    let each = (resident() - before) / u64::from(PARTITIONS);
    println!("{each} bytes for each idle partition, metadata included");
    assert!(each < BYTES_EACH, "{each} bytes");

    // Each takes a record, and goes back to holding nothing open.
    let mut partitions = (0..PARTITIONS).step_by(5);
    loop {
        let batches: Vec<_> = partitions.by_ref().take(500).collect();
        let batches: Vec<_> = batches.into_iter().map(|at| records("t", at, &["x"])).collect();
        if batches.is_empty() {
            break;
        }
        let request = v1::ProduceRequest {
            batches,
            ..v1::ProduceRequest::default()
        };
        let response = broker
            .producing()
            .produce(request)
            .await
            .expect("an answer")
            .into_inner();
        assert!(response.results.iter().all(|result| result.error.is_none()));
    }
    assert!(descriptors() < DESCRIPTORS_MAX, "{} descriptors", descriptors());
    broker = broker.restart(false).await;
    assert!(descriptors() < DESCRIPTORS_MAX, "{} descriptors", descriptors());
    for partition in [0, 5, 9_995] {
        assert_eq!(broker.all_values("t", partition).await, ["x"]);
    }
    let last = broker.produce(records("t", 9_999, &["y"])).await;
    assert_eq!(last.base_offset, Some(0));
}
