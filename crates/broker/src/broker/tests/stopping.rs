//! How a broker ends, with clients of every kind on it.

use super::*;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};
use v1::consume_request::Message;

type Sender<T> = mpsc::Sender<T>;

fn batch(n: u64) -> v1::ProduceStreamRequest {
    let record = v1::Record {
        value: Some(format!("flight {n}").into()),
        ..v1::Record::default()
    };
    v1::ProduceStreamRequest {
        request_id: n,
        batch: Some(v1::Batch {
            topic: "flights".to_owned(),
            partition: Some(0),
            payload: Some(v1::batch::Payload::Records(v1::RecordList {
                records: vec![record],
                ..v1::RecordList::default()
            })),
            ..v1::Batch::default()
        }),
        ..v1::ProduceStreamRequest::default()
    }
}

async fn produce_stream(
    running: &Running,
) -> (
    Sender<v1::ProduceStreamRequest>,
    Streaming<v1::ProduceStreamResponse>,
) {
    let (send, requests) = mpsc::channel(16);
    let mut client = ProduceServiceClient::new(running.channel.clone());
    let answers = client
        .produce_stream(ReceiverStream::new(requests))
        .await
        .unwrap();
    (send, answers.into_inner())
}

/// A consumer at the end of `flights`, with credit, waiting.
async fn consume_stream(running: &Running) -> (Sender<v1::ConsumeRequest>, Streaming<v1::ConsumeResponse>) {
    let (send, requests) = mpsc::channel(16);
    let partition = v1::ConsumePartition {
        topic: "flights".to_owned(),
        start: Some(v1::StartPosition {
            position: Some(v1::start_position::Position::Latest(v1::Latest {})),
        }),
        ..v1::ConsumePartition::default()
    };
    let open = v1::Open {
        source: Some(v1::open::Source::Partitions(v1::OpenPartitions {
            partitions: vec![partition],
        })),
        ..v1::Open::default()
    };
    let credit = v1::Credit {
        bytes: 1 << 20,
        records: None,
    };
    for message in [Message::Open(open), Message::Credit(credit)] {
        let message = Some(message);
        send.send(v1::ConsumeRequest { message }).await.unwrap();
    }
    let mut client = ConsumeServiceClient::new(running.channel.clone());
    let mut answers = client
        .consume(ReceiverStream::new(requests))
        .await
        .unwrap()
        .into_inner();
    let opened = answers.message().await.unwrap().unwrap().message.unwrap();
    assert!(
        matches!(opened, v1::consume_response::Message::Opened(_)),
        "{opened:?}"
    );
    (send, answers)
}

/// The status that ends a stream, and the answers before it.
async fn end<T>(answers: &mut Streaming<T>) -> (Vec<T>, Status) {
    let mut before = Vec::new();
    loop {
        match answers.message().await {
            Ok(Some(answer)) => before.push(answer),
            Ok(None) => panic!("a stream ends with a status"),
            Err(status) => return (before, status),
        }
    }
}

#[tokio::test]
async fn every_stream_ends_with_a_status_and_what_was_taken_in_is_answered() {
    let running = Running::start().await;
    running.create("flights", 1).await;
    let (send, mut acks) = produce_stream(&running).await;
    let (_credit, mut records) = consume_stream(&running).await;
    for n in 0..5 {
        send.send(batch(n)).await.unwrap();
    }
    let first = acks.message().await.unwrap().unwrap();
    assert_eq!(first.request_id, Some(0));

    let stopping = tokio::spawn(running.stop());
    let (acked, status) = end(&mut acks).await;
    assert_eq!(code(&status), ErrorCode::ShuttingDown);
    let (_, status) = end(&mut records).await;
    assert_eq!(code(&status), ErrorCode::ShuttingDown);
    let dir = stopping.await.unwrap();

    // Everything that was acknowledged is there, whether or not the rest was taken in before the drain.
    let acked = 1 + acked
        .iter()
        .filter(|ack| ack.result.as_ref().is_some_and(|r| r.error.is_none()))
        .count();
    let running = Running::again(dir).await;
    assert!(values(&running, "flights", acked).await.len() >= acked);
    running.stop().await;
}

#[tokio::test]
async fn what_others_hold_open_does_not_hold_up_the_end() {
    use tonic_health::pb::health_client::HealthClient;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    let running = Running::start().await;
    let mut health = HealthClient::new(running.channel.clone());
    let request = tonic_health::pb::HealthCheckRequest::default();
    let mut health = health.watch(request).await.unwrap().into_inner();
    // A reflection stream whose client asks nothing and does not end it.
    let (_ask, asked) = mpsc::channel(1);
    let mut reflection = ServerReflectionClient::new(running.channel.clone());
    let mut reflection = reflection
        .server_reflection_info(ReceiverStream::new(asked))
        .await
        .unwrap()
        .into_inner();

    let began = std::time::Instant::now();
    running.stop().await;
    let took = began.elapsed();
    assert!(
        took < Duration::from_secs(15),
        "{took:?}: the drain waited for its whole time"
    );
    let mut last = None;
    while let Ok(Some(status)) = health.message().await {
        last = Some(status.status());
    }
    assert_eq!(
        last,
        Some(tonic_health::pb::health_check_response::ServingStatus::NotServing)
    );
    let cut = reflection.message().await.unwrap_err();
    assert!(
        matches!(cut.code(), Code::Unavailable | Code::Unknown | Code::Cancelled),
        "{cut:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_recovered_from_ends_the_broker_uncleanly() {
    let running = Running::start().await;
    assert_eq!(http(&running, "/livez").await.0, 200);
    let fatal = running.broker.running.as_ref().unwrap().fatal.clone();
    fatal.announce("fsync of a segment failed");
    assert_eq!(&*running.broker.failed().await, "fsync of a segment failed");
    let (code, why) = http(&running, "/livez").await;
    assert_eq!(
        (code, why.as_str()),
        (503, "cannot go on: fsync of a segment failed\n")
    );
    let error = running.broker.shutdown().await.unwrap_err();
    assert!(matches!(error, StopError::Fatal(_)), "{error}");
    assert!(!running.dir.path().join("clean_shutdown").exists());
    let running = Running::again(running.dir).await;
    running.stop().await;
}

#[tokio::test]
async fn a_drain_has_an_end_even_with_a_client_that_reads_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::ephemeral(dir.path());
    config.drain_timeout = Duration::from_millis(300);
    let broker = Broker::start(config, LogControl::detached()).await.unwrap();
    let address = broker.addresses().listeners[0].bound;
    // Half a connection: its preface, and no more.
    let mut silent = tokio::net::TcpStream::connect(address).await.unwrap();
    silent
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    tokio::time::timeout(Duration::from_secs(15), broker.shutdown())
        .await
        .unwrap()
        .unwrap();
}
