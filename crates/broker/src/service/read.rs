//! Reading a replica: from its tail in memory where that reaches back far enough, else from its files, on the read pool.
//! Batches stay encoded; who wants records decodes them (`decode.rs`).

use crate::data_plane::DataPlane;
use crate::partition::read_pool::PoolClosed;
use crate::partition::replica::Replica;
use bytes::{Bytes, BytesMut};
use quipu_proto::{EncodedBatches, Failure};
use quipu_record::{BatchHeader, ErrorCode, HEADER_LEN, Offset, StoredBatch};
use quipu_storage::{BatchesRead, Corruption, ReadError};
use std::future::Future;
use std::sync::Arc;

/// Batches that were read, in order. The first may begin below the offset asked for.
#[derive(Clone, Debug)]
pub(crate) enum Batches {
    /// From memory, as they came in.
    Tail(Vec<StoredBatch>),
    /// From a file, one after another.
    Stored(Bytes),
}

/// Encoded batches as they go out, and what they amount to.
#[derive(Debug, Default)]
pub(crate) struct Encoded {
    /// The batches.
    pub(crate) batches: EncodedBatches,
    /// Records in them.
    pub(crate) records: u64,
    /// Where to read on; `None`: there are none.
    pub(crate) next: Option<Offset>,
}

/// Reads from memory: batches from the one that holds `from` on, wholly below `limit`, `bytes_max` of them or one.
/// `None`: not in memory.
pub(crate) fn read_tail(replica: &Replica, from: Offset, limit: Offset, bytes_max: usize) -> Option<Batches> {
    replica.tail.read(from, limit, bytes_max).map(Batches::Tail)
}

/// As [`read_tail`], from the files.
pub(crate) fn read_stored(
    plane: &Arc<DataPlane>,
    replica: &Arc<Replica>,
    from: Offset,
    limit: Offset,
    bytes_max: usize,
) -> impl Future<Output = Result<Batches, Failure>> + Send + use<> {
    let (plane, replica) = (Arc::clone(plane), Arc::clone(replica));
    async move {
        let reader = replica.reader.clone();
        let read = plane.read_pool.run(move || reader.read(from, limit, bytes_max));
        match read.await {
            Ok(Ok(BatchesRead { bytes, .. })) => Ok(Batches::Stored(bytes)),
            Ok(Err(error)) => Err(read_failed(&plane, &replica, &error).await),
            Err(PoolClosed) => Err(shutting_down()),
        }
    }
}

/// Reads from wherever it is.
pub(crate) async fn read(
    plane: &Arc<DataPlane>,
    replica: &Arc<Replica>,
    from: Offset,
    limit: Offset,
    bytes_max: usize,
) -> Result<Batches, Failure> {
    match read_tail(replica, from, limit, bytes_max) {
        Some(batches) => Ok(batches),
        None => read_stored(plane, replica, from, limit, bytes_max).await,
    }
}

/// What a client is told whose read failed. Bad bytes that another replica has whole are its business no more.
pub(crate) async fn read_failed(plane: &DataPlane, replica: &Replica, error: &ReadError) -> Failure {
    let failure = Failure::new(error.code(), error.to_string());
    if failure.code != ErrorCode::OffsetOutOfRange {
        tracing::warn!(partition = %replica.at, topic = %replica.topic.name, %error, "a read failed");
    }
    if let ReadError::Corrupt(damage) = error
        && plane.found_damage(replica.at, Corruption::clone(damage)).await
    {
        let told = "stored bytes of this replica are bad: another one is to lead, ask again in a moment";
        return Failure::new(ErrorCode::LeaderNotAvailable, told);
    }
    failure
}

pub(crate) fn shutting_down() -> Failure {
    Failure::new(
        ErrorCode::ShuttingDown,
        "this broker is shutting down; ask another, or again in a moment",
    )
}

impl Batches {
    /// As they go out, up to the batch with which `records_max` is reached.
    pub(crate) fn encode(self, records_max: u64) -> Encoded {
        match self {
            Self::Tail(batches) => encode_tail(&batches, records_max),
            Self::Stored(bytes) => encode_stored(&bytes, records_max),
        }
    }
}

/// Heads and bodies in turn; all heads share one piece of memory.
fn encode_tail(batches: &[StoredBatch], records_max: u64) -> Encoded {
    let mut encoded = Encoded::default();
    let mut heads = BytesMut::with_capacity(batches.len() * HEADER_LEN);
    for batch in batches {
        if encoded.records >= records_max {
            break;
        }
        heads.extend_from_slice(batch.head());
        encoded.batches.push(heads.split().freeze());
        encoded.batches.push(batch.body().clone());
        encoded.records += u64::from(batch.header().records_count());
        encoded.next = Some(batch.next_offset());
    }
    encoded
}

fn encode_stored(bytes: &Bytes, records_max: u64) -> Encoded {
    let mut encoded = Encoded::default();
    let mut end = 0;
    while encoded.records < records_max
        && let Some(rest) = bytes.get(end..)
        // The reader has verified them: what does not parse is the end.
        && let Ok(header) = BatchHeader::parse(rest)
    {
        end = (end + header.size()).min(bytes.len());
        encoded.records += u64::from(header.records_count());
        encoded.next = Some(header.next_offset());
    }
    if end > 0 {
        encoded.batches.push(bytes.slice(..end));
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::test_batches::stored;

    fn both() -> [Batches; 2] {
        let batches = vec![stored(5, 2, 100), stored(7, 3, 200), stored(10, 1, 300)];
        let bytes: Vec<u8> = batches
            .iter()
            .flat_map(|batch| batch.to_bytes().to_vec())
            .collect();
        [Batches::Tail(batches), Batches::Stored(bytes.into())]
    }

    #[test]
    fn memory_and_files_encode_to_the_same_bytes() {
        for records_max in [u64::MAX, 6, 5, 3, 2, 1] {
            let [tail, file] = both().map(|batches| batches.encode(records_max));
            assert_eq!(tail.batches, file.batches);
            assert_eq!((tail.records, tail.next), (file.records, file.next));
        }
    }

    #[test]
    fn ends_with_the_batch_that_reaches_the_records() {
        for (records_max, bytes, next) in [(6, 600, 11), (5, 300, 10), (3, 300, 10), (2, 100, 7)] {
            for batches in both() {
                let encoded = batches.encode(records_max);
                assert_eq!(encoded.batches.len(), bytes);
                assert_eq!(encoded.next, Some(Offset::new(next)));
            }
        }
        for batches in both() {
            assert_eq!(batches.encode(0).next, None);
        }
    }
}
