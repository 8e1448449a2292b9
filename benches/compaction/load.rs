//! What is written, and what must be read back.

use crate::support::Result;
use bytes::Bytes;
use quipu_client::{Client, ClientConfig, ConsumerConfig, PartitionId, Start};
use quipu_proto::v1::produce_service_client::ProduceServiceClient;
use quipu_proto::v1::{Batch, ProduceStreamRequest, batch};
use quipu_record::{BatchBuilder, Codec, Timestamp};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;

/// Records of a batch.
const BATCH: u64 = 1_000;
const VALUE_BYTES: usize = 64;
/// Batches that wait to be sent, or for their answer.
const DEPTH: usize = 64;

/// The key of an update: every key in turn at first, and then any.
fn key(update: u64, keys: u64) -> u64 {
    if update < keys {
        return update;
    }
    let mut x = update.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ x >> 31) % keys
}

fn encode(
    builder: &mut BatchBuilder,
    updates: std::ops::Range<u64>,
    keys: u64,
) -> std::result::Result<Bytes, String> {
    let now = Timestamp::new(jiff::Timestamp::now().as_millisecond());
    let mut value = [b'.'; VALUE_BYTES];
    for update in updates {
        value[..8].copy_from_slice(&update.to_be_bytes());
        builder
            .push(now, Some(&key(update, keys).to_be_bytes()), Some(&value), &[])
            .map_err(|error| error.to_string())?;
    }
    builder.finish(None).map_err(|error| error.to_string())
}

/// Sends what `next` gives to partition 0 of a topic, so much at a time; `acknowledged` is told of each batch's bytes.
async fn send(
    address: &str,
    topic: &str,
    mut next: impl FnMut() -> Option<std::result::Result<Bytes, String>> + Send + 'static,
    mut acknowledged: impl FnMut(u64),
) -> Result<()> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    let mut client = ProduceServiceClient::new(endpoint.connect().await?);
    let (sender, receiver) = mpsc::channel(DEPTH);
    let (sizes, mut sent) = mpsc::channel(DEPTH);
    let topic = topic.to_owned();
    let sending = tokio::spawn(async move {
        let mut request_id = 0;
        while let Some(encoded) = next() {
            let encoded = encoded?;
            let size = encoded.len() as u64;
            let batch = Batch {
                topic: topic.clone(),
                partition: Some(0),
                payload: Some(batch::Payload::Encoded(encoded)),
                ..Batch::default()
            };
            let message = ProduceStreamRequest {
                request_id,
                batch: Some(batch),
                ..ProduceStreamRequest::default()
            };
            request_id += 1;
            // So many wait for their answers, and no more.
            if sizes.send(size).await.is_err() || sender.send(message).await.is_err() {
                break;
            }
        }
        Ok::<_, String>(())
    });
    let mut answers = client
        .produce_stream(ReceiverStream::new(receiver))
        .await?
        .into_inner();
    while let Some(size) = sent.recv().await {
        let answer = answers.message().await?.ok_or("the stream ended early")?;
        if let Some(error) = answer.result.and_then(|result| result.error) {
            return Err(error.message.into());
        }
        acknowledged(size);
    }
    sending.await??;
    Ok(())
}

/// Writes the table, and then enough of its last key that everything before is in complete segments.
pub(crate) async fn fill(address: &str, updates: u64, keys: u64) -> Result<()> {
    let mut builder = BatchBuilder::new(Codec::None, 128 * 1024);
    let mut from = 0;
    let next = move || {
        let range = from..(from + BATCH).min(updates);
        from = range.end;
        (!range.is_empty()).then(|| encode(&mut builder, range, keys))
    };
    send(address, "table", next, |_| ()).await
}

/// Writes to another topic until told to stop; returns the bytes acknowledged in each second.
pub(crate) async fn produce(
    address: &str,
    stop: &std::sync::Arc<AtomicBool>,
    until: Instant,
) -> Result<Vec<u64>> {
    let mut builder = BatchBuilder::new(Codec::None, 128 * 1024);
    let encoded = encode(&mut builder, 0..BATCH, BATCH)?;
    let stop = std::sync::Arc::clone(stop);
    let next = move || {
        let go_on = Instant::now() < until && !stop.load(Ordering::Acquire);
        go_on.then(|| Ok(encoded.clone()))
    };
    let begun = Instant::now();
    let mut seconds = Vec::new();
    send(address, "other", next, |bytes| {
        let second = usize::try_from(begun.elapsed().as_secs()).unwrap_or(usize::MAX);
        seconds.resize(second + 1, 0);
        seconds[second] += bytes;
    })
    .await?;
    // The last second was not a whole one.
    seconds.pop();
    Ok(seconds)
}

/// Deletes what was produced, every second: a minute of it could fill a disk.
pub(crate) async fn trim(address: String) {
    let Ok(client) = Client::connect(ClientConfig::new([address])).await else {
        return;
    };
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let all = vec![(PartitionId::new(0), None)];
        // What fails now is deleted a second later.
        drop(client.admin().delete_records("other", all, false).await);
    }
}

/// What a reader of the whole table finds.
pub(crate) struct Found {
    /// Keys whose latest value is not the last one written.
    pub(crate) wrong: u64,
    /// Records read.
    pub(crate) records: u64,
}

/// Reads the table from its beginning.
pub(crate) async fn check(address: &str, updates: u64, keys: u64) -> Result<Found> {
    let size = usize::try_from(keys)?;
    let mut expected = vec![u64::MAX; size];
    for update in 0..updates {
        expected[usize::try_from(key(update, keys))?] = update;
    }
    let mut latest = vec![u64::MAX; size];
    let client = Client::connect(ClientConfig::new([address.to_owned()])).await?;
    let mut consumer = client.consumer(ConsumerConfig::default());
    consumer.add_topic("table", Start::Earliest).await?;
    let mut records = 0;
    let mut next = 0;
    while next < updates {
        let batch = consumer.next().await?;
        for record in &batch {
            let record = record?;
            let key = u64::from_be_bytes(record.key.ok_or("a record without a key")?.try_into()?);
            let value = record
                .value
                .and_then(|value| value.first_chunk::<8>())
                .ok_or("a value is too short")?;
            latest[usize::try_from(key)?] = u64::from_be_bytes(*value);
            next = record.offset.get() + 1;
            records += 1;
        }
    }
    let wrong = latest
        .iter()
        .zip(&expected)
        .filter(|(found, expected)| found != expected)
        .count();
    Ok(Found {
        wrong: wrong as u64,
        records,
    })
}
