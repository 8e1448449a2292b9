//! What Quipu stores and sends, and nothing else: ids, offsets and epochs as types, the record batch (Kafka's
//! RecordBatch v2, byte for byte), checksums, error codes, limits and the key partitioner.
//!
//! Invariants
//! - No bare integer with a meaning crosses a function of ours: every id, offset and epoch is a type here.
//! - Every length read from bytes is checked against what is there before anything is allocated.
//! - Decompression is bounded by the caller's limit, never by what a frame claims.
//!
//! Elsewhere: the wire's messages are in `quipu-proto`, files in `quipu-storage`, stored metadata records in
//! `quipu-metadata`.

#![warn(clippy::expect_used, clippy::panic)]

mod batch;
mod epoch;
mod error_code;
#[cfg(feature = "test-util")]
#[allow(clippy::expect_used, clippy::panic, reason = "test code")]
pub mod hostile;
mod ids;
mod limits;
mod newtype;
mod offset;
mod partitioner;
mod planted;
mod time;

pub use batch::{
    Batch, BatchBuilder, BatchError, BatchHeader, Codec, HEADER_LEN, Header, Headers, ProducerStamp,
    PushError, RecordIter, RecordView, Records, RecordsSummary, Rewritten, StoredBatch, StoredBatches,
    TimestampType, iter_batches,
};
pub use epoch::{BrokerEpoch, LeaderEpoch, MetadataVersion, PartitionEpoch};
pub use error_code::{ErrorCode, StatusClass};
pub use ids::{BrokerId, PartitionId, ProducerEpoch, ProducerId, Sequence, TopicId, TopicPartition};
pub use limits::{MESSAGE_BYTES_DEFAULT, TOPIC_NAME_LEN_MAX, TopicNameError, check_topic_name};
pub use offset::Offset;
pub use partitioner::{murmur2, partition_for_key};
pub use planted::PlantedBug;
pub use time::{Tick, Timestamp};
