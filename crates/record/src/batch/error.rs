//! What can be wrong with the bytes of a batch.

use crate::{ErrorCode, Timestamp};
use thiserror::Error;

/// Why bytes are not a batch, or not one that is taken. The message names the fault and, where it is the sender's,
/// what to do.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The bytes end before the batch does: a torn tail, or a fetch cut off at its size limit.
    #[error("the batch is cut off: it needs {needed} bytes and {have} are there")]
    Truncated {
        /// Bytes that the batch (or, before its size is known, its header) takes.
        needed: usize,
        /// Bytes that are there.
        have: usize,
    },
    /// Something follows the one batch that a request may hold for a partition.
    #[error("{extra} bytes follow the batch: send exactly one batch for a partition in a request")]
    TrailingBytes {
        /// How many.
        extra: usize,
    },
    /// Not format version 2.
    #[error("the batch has magic {magic}, and only version 2 of the record batch is taken")]
    UnsupportedMagic {
        /// The version it claims.
        magic: i8,
    },
    /// A codec that Kafka defines and Quipu does not take, or a number that nobody defines.
    #[error("the batch is compressed with {name} (codec {codec}): Quipu takes none and zstd")]
    UnsupportedCodec {
        /// Its name.
        name: &'static str,
        /// Its number in the attributes.
        codec: u8,
    },
    /// A header field has a value that no writer may give it.
    #[error("the batch header's {field} is {value}: {rule}")]
    BadHeader {
        /// The field, as `docs/format.md` names it.
        field: &'static str,
        /// Its value.
        value: i64,
        /// What it must be.
        rule: &'static str,
    },
    /// Something in the attributes is for brokers only, or for features that Quipu lacks.
    #[error("the batch is marked {mark}: {rule}")]
    NotForProducers {
        /// The mark.
        mark: &'static str,
        /// What the rule is.
        rule: &'static str,
    },
    /// More bytes than a batch may have.
    #[error("the batch has {size} bytes, more than the {limit} that max.message.bytes allows")]
    TooLarge {
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// More bytes than a batch may have once decompressed.
    #[error("the batch decompresses to more than the {limit} bytes allowed")]
    DecodedTooLarge {
        /// The limit.
        limit: usize,
    },
    /// The checksum does not match.
    #[error(
        "the batch's CRC-32C is {computed:08x} and its header says {stored:08x}: the bytes were damaged on the way"
    )]
    CrcMismatch {
        /// In the header.
        stored: u32,
        /// Of the bytes.
        computed: u32,
    },
    /// The compressed part is not a zstd frame, or a damaged one.
    #[error("the batch does not decompress: {reason}")]
    BadCompression {
        /// What zstd says.
        reason: &'static str,
    },
    /// A record is not one.
    #[error("record {index} of the batch is malformed: {fault}")]
    BadRecord {
        /// Its place in the batch, from 0.
        index: u32,
        /// What is wrong.
        fault: &'static str,
    },
    /// There are fewer or more records than the header says.
    #[error("the batch's recordsCount is {claimed}, but its {bytes} bytes of records {fault}")]
    WrongCount {
        /// By the header.
        claimed: u32,
        /// Decoded bytes of records.
        bytes: usize,
        /// What they do.
        fault: &'static str,
    },
    /// The header's maximum timestamp, on which retention and the time index rest, is not that of the records.
    #[error("the batch header's maxTimestamp is {claimed}, but the latest record's timestamp is {actual}")]
    WrongMaxTimestamp {
        /// By the header.
        claimed: Timestamp,
        /// Of the records.
        actual: Timestamp,
    },
}

impl BatchError {
    /// The code that tells a client.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::TooLarge { .. } | Self::DecodedTooLarge { .. } => ErrorCode::BatchTooLarge,
            Self::UnsupportedCodec { .. } => ErrorCode::UnsupportedCodec,
            Self::WrongMaxTimestamp { .. } => ErrorCode::InvalidTimestamp,
            Self::NotForProducers { .. } | Self::TrailingBytes { .. } => ErrorCode::InvalidRequest,
            Self::Truncated { .. }
            | Self::UnsupportedMagic { .. }
            | Self::BadHeader { .. }
            | Self::CrcMismatch { .. }
            | Self::BadCompression { .. }
            | Self::BadRecord { .. }
            | Self::WrongCount { .. } => ErrorCode::CorruptBatch,
        }
    }
}
