//! Records, or batches as they are stored, as the member asks.

use super::super::groups::{commit, committed, offset};
use super::*;
use quipu_record::iter_batches;

fn open(format: v1::Format) -> v1::Open {
    v1::Open {
        source: Some(v1::open::Source::Group(group("g"))),
        format: format.into(),
        ..v1::Open::default()
    }
}

/// Offset and value of each record of a frame.
fn decoded(data: &v1::PartitionData) -> Vec<(u64, String)> {
    let bytes = data.encoded.clone().expect("encoded").into_bytes();
    let mut all = Vec::new();
    for batch in iter_batches(bytes) {
        let batch = batch.unwrap();
        let records = batch.records(1 << 20).unwrap();
        for record in &records {
            let record = record.unwrap();
            let value = record.value.expect("a value").to_vec();
            all.push((record.offset.get(), String::from_utf8(value).unwrap()));
        }
    }
    all
}

fn values(offsets: std::ops::Range<u64>) -> Vec<(u64, String)> {
    offsets.map(|offset| (offset, offset.to_string())).collect()
}

/// Two batches of three, of which the group has processed one record.
async fn written(running: &Running) {
    topic(&running.channel, 2).await;
    write(&running.channel, 0, &["0", "1", "2"]).await;
    write(&running.channel, 0, &["3", "4", "5"]).await;
    commit(&running.channel, "g", &[offset("t", 0, 1)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_encoded_batches_gets_them_as_they_are_stored() {
    let running = Running::start().await;
    let channel = &running.channel;
    written(&running).await;
    let mut a = Member::open_as(channel, open(v1::Format::Encoded)).await;
    let all = |a: &Member| a.encoded.last().is_some_and(|data| data.next_offset == 6);
    a.until("all of it comes", all).await;
    assert_eq!(a.got, [], "no records besides");
    // The first batch comes whole, though the group is within it, and says where to begin.
    assert_eq!(a.begun[&0].opened.as_ref().unwrap().offset, 1);
    let came: Vec<_> = a.encoded.iter().flat_map(decoded).collect();
    assert_eq!(came, values(0..6));

    // What was sent so is acknowledged and given up as records are.
    let mut b = Member::open_as(channel, open(v1::Format::Encoded)).await;
    tokio::join!(
        a.until("one is left", |a| a.has.len() == 1),
        b.until("one is given", |b| b.has.len() == 1),
    );
    a.leave().await;
    b.until("both", |b| b.has.len() == 2).await;
    assert_eq!(committed(channel, "g", "t", 1).await, [Some(6)]);
    write(channel, 0, &["6"]).await;
    b.until("it comes", |b| !b.encoded.is_empty()).await;
    assert_eq!(decoded(&b.encoded[0]), values(6..7));
    b.leave().await;
    assert_eq!(committed(channel, "g", "t", 1).await, [Some(7)]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_records_gets_records_from_where_the_group_is() {
    for format in [v1::Format::Records, v1::Format::Unspecified] {
        let running = Running::start().await;
        written(&running).await;
        let mut member = Member::open_as(&running.channel, open(format)).await;
        member
            .until("all of it comes", |member| member.got.len() == 5)
            .await;
        assert!(member.encoded.is_empty());
        let came = member
            .got
            .iter()
            .map(|(_, offset, value)| (*offset, value.clone()));
        assert_eq!(came.collect::<Vec<_>>(), values(1..6));
        member.leave().await;
        running.stop().await;
    }
}

/// What another broker leads goes the same way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn encoded_batches_come_through_any_broker() {
    let nodes = start_all(places(3)).await;
    until("all are unfenced", async || {
        let brokers = nodes[0].cluster().await.brokers;
        brokers.len() == 3 && brokers.iter().all(|broker| !broker.fenced)
    })
    .await;
    let channel = nodes[0].channel().await;
    topic(&channel, 6).await;
    let leaders = async || {
        let partitions = nodes[0].topic("t").await.partitions;
        partitions.iter().filter_map(|p| p.leader).collect::<Vec<_>>()
    };
    until("it has leaders", async || leaders().await.len() == 6).await;
    let elsewhere: BTreeSet<_> = leaders().await.into_iter().collect();
    assert!(elsewhere.len() > 1, "{elsewhere:?}");
    for partition in 0..6 {
        write(&channel, partition, &["0", "1"]).await;
    }
    let mut member = Member::open_as(&channel, open(v1::Format::Encoded)).await;
    member
        .until("all of it comes", |member| member.encoded.len() == 6)
        .await;
    for data in &member.encoded {
        assert_eq!((data.next_offset, decoded(data)), (2, values(0..2)));
    }
    assert_eq!(member.got, []);
    member.leave().await;
    assert_eq!(committed(&channel, "g", "t", 6).await, [Some(2); 6]);
    stop_all(nodes).await;
}
