//! A storage engine that never lies about what is durable: partitions' logs on disk, and the rounds that flush them.
//!
//! Invariants
//! - `flushed` reaches X only after every file that holds bytes below X, and every directory that names such a file,
//!   was synced without error, oldest first. A failed sync is final.
//! - Bad bytes are never served: each batch's checksum, place, epoch and length are verified on every read. Above the
//!   flush mark they are a torn tail, cut and reported; below it they are corruption, reported by file and position,
//!   and never cut.
//! - An empty partition has no file; one that nobody touches holds no descriptor and no map.
//! - A log has one owner, and no lock is held while a disk syncs. Readers take positioned reads beside it.
//!
//! Where to look
//! - `disk/`: all that is asked of a disk; `disk/real.rs` is the only place with system calls, and
//!   `disk/direct.rs` for those that go past the page cache.
//! - `segment/`: one file of batches, its index and seal; `segment/recover.rs` is what happens after a torn write.
//! - `compact/`: the latest record of each key stays; on a thread of its own.
//! - `log/`: one partition; `reader/` reads it from other threads; `flush/` decides what is durable.
//! - `data_dir/`: what a data directory has besides logs. `verify/` looks at one offline. `docs/format.md` has the bytes.

#![warn(clippy::expect_used, clippy::panic)]

mod compact;
mod config;
mod data_dir;
mod disk;
mod epochs;
mod error;
mod files;
mod flush;
#[cfg(feature = "test-util")]
#[allow(clippy::expect_used, clippy::panic, reason = "test code")]
pub mod hostile;
mod log;
mod marks;
mod paths;
mod reader;
mod segment;
#[cfg(any(test, feature = "test-util"))]
#[allow(clippy::expect_used, clippy::panic, reason = "test code")]
pub mod test_util;
mod verify;

pub use compact::{
    CleanBudget, CleanError, CleanJob, CleanLimits, CleanReport, CleanStep, CompactionConfig, HashSeed,
};
pub use config::{FlushMethod, LogConfig, LogConfigError};
pub use data_dir::{Boot, DataDir, DataDirOptions, ReplaceFile};
pub use disk::{Access, DirEntry, Disk, DiskFile, IO_PARTS_MAX, RealDisk, Taken};
pub use epochs::{EpochCache, EpochEntry};
pub use error::{
    AppendError, Corruption, DataDirError, DeleteRecordsError, FlushError, IoFailure, OpenError, ReadError,
    RetainError, SnapshotError, TruncateError,
};
pub use flush::{FlushDone, FlushJob, FlushJobs, Flusher, RoundReport};
pub use log::{Appended, Cut, Log, OpenReport, Repair, Retained};
pub use reader::{BatchesRead, LogReader, TimedOffset};
pub use verify::{Finding, FindingKind, VerifyReport, dump_segment, segment_files, verify_path};
