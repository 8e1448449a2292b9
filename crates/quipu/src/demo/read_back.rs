//! Everything that a topic delivers, from its beginning to its end.

use super::proof::{Place, Read};
use crate::output::Failure;
use quipu_client::{Client, ConsumerConfig, Offset, PartitionId, Start};
use std::time::Duration;

/// A consumer that gets nothing for so long will get nothing any more.
const SILENCE: Duration = Duration::from_secs(30);

/// What there was to read, and where it ended.
pub(super) struct ReadBack {
    pub(super) records: Vec<Read>,
    /// High watermarks.
    pub(super) ends: Vec<(PartitionId, Offset)>,
}

/// The high watermark of each partition.
pub(super) async fn ends(
    client: &Client,
    topic: &str,
    partitions: u32,
) -> Result<Vec<(PartitionId, Offset)>, Failure> {
    let queries = (0..partitions).map(|p| (topic.to_owned(), PartitionId::new(p), Start::Latest));
    let ends = client.admin().list_offsets(queries.collect()).await?;
    Ok(ends.into_iter().map(|end| (end.partition, end.offset)).collect())
}

/// Reads all partitions up to their high watermarks.
pub(super) async fn all(client: &Client, topic: &str, partitions: u32) -> Result<ReadBack, Failure> {
    let ends = ends(client, topic, partitions).await?;
    let mut unread: Vec<_> = ends
        .iter()
        .copied()
        .filter(|(_, end)| *end > Offset::ZERO)
        .collect();

    let mut consumer = client.consumer(ConsumerConfig::default());
    consumer.add_topic(topic, Start::Earliest).await?;
    let mut records = Vec::new();
    while !unread.is_empty() {
        let Ok(batch) = tokio::time::timeout(SILENCE, consumer.next()).await else {
            let left = unread
                .iter()
                .map(|(partition, end)| format!("partition {partition} to {end}"));
            let left = left.collect::<Vec<_>>().join(", ");
            return Err(Failure::new(format_args!(
                "the broker delivers no more, though there is more to read: {left}"
            )));
        };
        let batch = batch?;
        for record in &batch {
            let record = record.map_err(|error| {
                Failure::new(format_args!(
                    "partition {}: a batch cannot be read: {error}",
                    batch.partition()
                ))
            })?;
            let bytes = |slice: &[u8]| batch.bytes().slice_ref(slice);
            records.push(Read {
                place: Place {
                    partition: batch.partition(),
                    offset: record.offset,
                },
                time: record.timestamp,
                key: record.key.map(bytes),
                value: record.value.map(bytes),
            });
        }
        unread.retain(|(partition, end)| *partition != batch.partition() || batch.next_offset() < *end);
    }
    Ok(ReadBack { records, ends })
}
