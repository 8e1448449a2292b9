//! A client that sends and sends and never reads an answer is held back; the broker's memory stays bounded, and others
//! are served meanwhile.

use crate::support::{Broker, PATIENCE, Result, anonymous_memory, quipu, quipu_with_input};
use bytes::Bytes;
use quipu_proto::v1::produce_service_client::ProduceServiceClient;
use quipu_proto::v1::{Batch, ProduceStreamRequest, batch};
use quipu_record::{BatchBuilder, Codec, Timestamp};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;

const ANONYMOUS_BYTES: u64 = 256 << 20;
const STREAMS: usize = 8;
/// So little for answers that they soon stand still.
const ANSWER_WINDOW: u32 = 1024;
/// A flood that has not moved for so long is held back.
const STILL: Duration = Duration::from_secs(3);
/// A flood that gets so far was never held back.
const FLOOD_BYTES: u64 = 8 << 30;

fn batch_of(value_bytes: usize) -> Result<Bytes> {
    let mut builder = BatchBuilder::new(Codec::None, value_bytes + 1024);
    let now = Timestamp::new(jiff::Timestamp::now().as_millisecond());
    builder.push(now, None, Some(&vec![b'x'; value_bytes]), &[])?;
    Ok(builder.finish(None)?)
}

/// Floods one stream and never reads an answer; counts the bytes that went into it. Never returns by itself.
async fn flood(address: String, batch: Bytes, sent: Arc<AtomicU64>) -> Result<()> {
    let channel = Endpoint::from_shared(format!("http://{address}"))?
        .initial_stream_window_size(ANSWER_WINDOW)
        .initial_connection_window_size(ANSWER_WINDOW)
        .connect()
        .await?;
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let mut client = ProduceServiceClient::new(channel);
    let answers = client.produce_stream(ReceiverStream::new(receiver));
    let bytes = batch.len() as u64;
    let sending = async {
        for request_id in 0.. {
            let encoded = Some(batch::Payload::Encoded(batch.clone()));
            let batch = Batch {
                topic: "t".into(),
                partition: Some(0),
                payload: encoded,
                ..Batch::default()
            };
            let message = ProduceStreamRequest {
                request_id,
                batch: Some(batch),
                ..ProduceStreamRequest::default()
            };
            if sender.send(message).await.is_err() {
                return;
            }
            sent.fetch_add(bytes, Ordering::Relaxed);
        }
    };
    // The answers are held, and not read.
    let (_answers, ()) = tokio::join!(answers, sending);
    Ok(())
}

/// Floods until nothing moves any more: how much went in, and the most memory the broker had meanwhile.
async fn until_held_back(broker: &Broker, value_bytes: usize) -> Result<(u64, u64)> {
    let sent = Arc::new(AtomicU64::new(0));
    let mut floods = tokio::task::JoinSet::new();
    for _ in 0..STREAMS {
        let flood = flood(
            broker.address().to_owned(),
            batch_of(value_bytes)?,
            Arc::clone(&sent),
        );
        floods.spawn(async { flood.await.map_err(|error| error.to_string()) });
    }
    let (mut highest, mut before, mut moved) = (0, 0, Instant::now());
    let deadline = Instant::now() + PATIENCE * 2;
    while moved.elapsed() < STILL {
        highest = highest.max(anonymous_memory(broker.pid())?);
        let now = sent.load(Ordering::Relaxed);
        if now != before {
            (before, moved) = (now, Instant::now());
        }
        if now > FLOOD_BYTES || Instant::now() > deadline {
            return Err(format!("{now} bytes went in, and it was never held back").into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok((before, highest))
}

/// Both kinds of flood: few large batches, and very many small ones.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_held_back() -> Result<()> {
    for value_bytes in [512 << 10, 100] {
        let broker = Broker::start()?;
        quipu(broker.address(), &["topic", "create", "t"])?;
        quipu(broker.address(), &["topic", "create", "other"])?;
        let (sent, highest) = until_held_back(&broker, value_bytes).await?;
        println!(
            "flood of {value_bytes}-byte records: held back after {} MiB, RssAnon at most {} MiB",
            sent >> 20,
            highest >> 20
        );
        assert!(highest < ANONYMOUS_BYTES, "RssAnon {highest}\n{}", broker.log());
        // The streams still stand there, full; others are served.
        quipu_with_input(broker.address(), &["produce", "other"], b"served\n")?;
        assert_eq!(
            quipu(broker.address(), &["consume", "other", "--exit-at-end"])?,
            "served\n"
        );
    }
    Ok(())
}
