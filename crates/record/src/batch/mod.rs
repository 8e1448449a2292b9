//! The record batch, Kafka's RecordBatch v2 byte for byte (`docs/format.md`).
//!
//! - [`BatchBuilder`] makes one, in a client or for a thin one.
//! - [`Batch`] is one that a client sent, checked as a broker checks it; [`Batch::stamp`] makes it a [`StoredBatch`].
//! - [`StoredBatch`] is one as it stands in a log and in an answer to a fetch; [`StoredBatches`] walks many in a row.
//! - [`Records`] are what is inside, decompressed within a limit and read without a copy.

mod builder;
mod compression;
mod error;
mod header;
mod produced;
mod records;
mod rewrite;
mod stored;
mod validate;
mod varint;

pub use builder::{BatchBuilder, PushError};
pub use error::BatchError;
pub use header::{BatchHeader, Codec, HEADER_LEN, ProducerStamp, TimestampType};
pub use produced::Batch;
pub use records::{Header, Headers, RecordIter, RecordView, Records};
pub use rewrite::Rewritten;
pub use stored::{StoredBatch, StoredBatches, iter_batches};
pub use validate::RecordsSummary;
