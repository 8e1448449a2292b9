//! What can go wrong: one enum an operation, and the two findings that several share.

use quipu_record::{ErrorCode, LeaderEpoch, Offset};
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Stored bytes that are bad: where, and what is wrong with them.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{file}, byte {position}{}: {what}", .offset.map(|o| format!(", offset {o}")).unwrap_or_default(), file = .file.display())]
pub struct Corruption {
    /// The file.
    pub file: PathBuf,
    /// The byte in it at which the bad piece begins.
    pub position: u64,
    /// The offset expected there, where the file holds batches.
    pub offset: Option<Offset>,
    /// The fault.
    pub what: String,
}

/// A call to the disk that failed.
#[derive(Debug, Error)]
#[error("{doing} {}: {source}", .file.display())]
pub struct IoFailure {
    /// What was being done, as in "writing".
    pub doing: &'static str,
    /// To which file.
    pub file: PathBuf,
    /// What the system says.
    pub source: io::Error,
}

/// Why nothing was appended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The disk is full. The log is as it was.
    #[error("the disk is full: free space, or lower retention; nothing was appended ({0})")]
    StorageFull(#[source] IoFailure),
    /// Too many files wait for a flush already. The log is as it was.
    #[error("{open} files wait for a flush; append again after the next round")]
    TooManyDirtyFiles {
        /// How many.
        open: usize,
    },
    /// A batch does not follow the log.
    #[error("the batch begins at offset {found} and the log ends at {expected}")]
    NotNext {
        /// The log end.
        expected: Offset,
        /// The batch's.
        found: Offset,
    },
    /// A batch carries an older epoch than the log's newest.
    #[error("the batch has leader epoch {found}, older than {newest} of the log")]
    StaleEpoch {
        /// The log's newest.
        newest: LeaderEpoch,
        /// The batch's.
        found: LeaderEpoch,
    },
    /// One batch is larger than any segment may be.
    #[error("a batch of {size} bytes is larger than a segment can be")]
    TooLarge {
        /// Its size.
        size: usize,
    },
    /// The log holds bad bytes and takes nothing until it was copied again.
    #[error("the log is damaged: {0}")]
    Damaged(#[source] Box<Corruption>),
    /// The disk failed, now or before. Final: the broker goes down.
    #[error("the disk failed while {0}")]
    Failed(#[source] IoFailure),
}

/// Why a truncation did not happen.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TruncateError {
    /// Not within the log.
    #[error("offset {to} is not within {log_start} to {log_end}")]
    OutOfRange {
        /// What was asked for.
        to: Offset,
        /// Where the log begins.
        log_start: Offset,
        /// Where it ends.
        log_end: Offset,
    },
    /// Bad bytes stand in the way.
    #[error("the log is damaged: {0}")]
    Damaged(#[source] Box<Corruption>),
    /// The disk failed, now or before. Final: the broker goes down.
    #[error("the disk failed while {0}")]
    Failed(#[source] IoFailure),
}

/// Why retention did not run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RetainError {
    /// The disk has no room for the new active segment.
    #[error("the disk is full: {0}")]
    StorageFull(#[source] IoFailure),
    /// The disk failed, now or before. Final: the broker goes down.
    #[error("the disk failed while {0}")]
    Failed(#[source] IoFailure),
}

/// Why records were not deleted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DeleteRecordsError {
    /// Beyond what may be deleted.
    #[error("offset {before} is beyond the high watermark {limit}")]
    OutOfRange {
        /// What was asked for.
        before: Offset,
        /// The high watermark, or the log end.
        limit: Offset,
    },
    /// The disk failed, now or before. Final: the broker goes down.
    #[error("the disk failed while {0}")]
    Failed(#[source] IoFailure),
}

/// Why a producer snapshot was not written or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The disk is full; go on without.
    #[error("the disk is full: {0}")]
    StorageFull(#[source] IoFailure),
    /// The disk failed, now or before. Final: the broker goes down.
    #[error("the disk failed while {0}")]
    Failed(#[source] IoFailure),
}

/// Why a read gave nothing.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The offset is not within the log.
    #[error("offset {offset} is not within {log_start} to {log_end}")]
    OutOfRange {
        /// What was asked for.
        offset: Offset,
        /// Where the log begins.
        log_start: Offset,
        /// Where it ends.
        log_end: Offset,
    },
    /// Stored bytes are bad. They are not served; others of the log are.
    #[error("stored bytes are bad: {0}")]
    Corrupt(#[source] Box<Corruption>),
    /// The log was deleted.
    #[error("the log was deleted")]
    Deleted,
    /// The disk failed.
    #[error("the disk failed while {0}")]
    Io(#[source] IoFailure),
}

/// Why a round is not durable. Final: whoever gets this announces it and exits.
#[derive(Debug, Error)]
#[error("a flush failed while {0}; what was not flushed may be lost, and nothing more is accepted")]
pub struct FlushError(#[source] pub IoFailure);

/// Why a log does not open at all. Damage that leaves something to read is in the [`crate::OpenReport`] instead.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(#[from] crate::LogConfigError),
    /// The disk failed.
    #[error("the disk failed while {0}")]
    Io(#[source] IoFailure),
}

/// Why a data directory does not open, or one of its files cannot be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataDirError {
    /// Another process uses it.
    #[error("{} is in use by another process: stop it, or choose another data directory", .0.display())]
    Locked(PathBuf),
    /// A file of the directory itself is bad.
    #[error("{0}")]
    Corrupt(#[source] Box<Corruption>),
    /// The disk failed.
    #[error("the disk failed while {0}")]
    Io(#[source] IoFailure),
}

macro_rules! codes {
    ($($error:ident { $($variant:pat => $code:ident),+ $(,)? })+) => { $(
        impl $error {
            /// The code that tells a client.
            #[must_use]
            pub const fn code(&self) -> ErrorCode {
                match self { $( $variant => ErrorCode::$code, )+ }
            }
        }
    )+ };
}

codes! {
    AppendError {
        Self::StorageFull(_) => StorageFull,
        Self::TooManyDirtyFiles { .. } => Throttled,
        Self::NotNext { .. } | Self::StaleEpoch { .. } => Internal,
        Self::TooLarge { .. } => BatchTooLarge,
        Self::Damaged(_) => CorruptLog,
        Self::Failed(_) => StorageFailed,
    }
    TruncateError {
        Self::OutOfRange { .. } => Internal,
        Self::Damaged(_) => CorruptLog,
        Self::Failed(_) => StorageFailed,
    }
    RetainError { Self::StorageFull(_) => StorageFull, Self::Failed(_) => StorageFailed }
    DeleteRecordsError { Self::OutOfRange { .. } => OffsetOutOfRange, Self::Failed(_) => StorageFailed }
    SnapshotError { Self::StorageFull(_) => StorageFull, Self::Failed(_) => StorageFailed }
    ReadError {
        Self::OutOfRange { .. } => OffsetOutOfRange,
        Self::Corrupt(_) => CorruptLog,
        Self::Deleted => UnknownTopicOrPartition,
        Self::Io(_) => StorageFailed,
    }
    FlushError { _ => StorageFailed }
    OpenError { Self::Config(_) => InvalidConfig, Self::Io(_) => StorageFailed }
    DataDirError { Self::Locked(_) => NotReady, Self::Corrupt(_) => CorruptLog, Self::Io(_) => StorageFailed }
}
