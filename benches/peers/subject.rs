//! What is carried: batches as the SDK would make them.

use bytes::Bytes;
use quipu_record::{BatchBuilder, Codec, Timestamp};

/// A batch, and how many records are in it.
pub(crate) struct Subject {
    pub(crate) bytes: Bytes,
    pub(crate) records: u64,
}

/// The fullest batch of at most `batch_size` bytes with values of `record_size` bytes.
pub(crate) fn batch(record_size: usize, batch_size: usize) -> Result<Subject, Box<dyn std::error::Error>> {
    let value = vec![b'x'; record_size];
    let bound = BatchBuilder::record_bound(None, Some(&value), &[]);
    let mut builder = BatchBuilder::new(Codec::None, batch_size);
    let mut records = 0;
    while records == 0 || builder.size() + bound <= batch_size {
        builder.push(Timestamp::new(1_357_035_300_000), None, Some(&value), &[])?;
        records += 1;
    }
    Ok(Subject {
        bytes: builder.finish(None)?,
        records,
    })
}
