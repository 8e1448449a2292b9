//! Looks at files offline: needs no lock, changes nothing.

use crate::{Corruption, Disk, ReadError};
use quipu_record::{BatchHeader, StoredBatch};
use std::path::Path;

/// What a finding means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FindingKind {
    /// Above the flush mark: the next start cuts it. A running broker may be writing it.
    TornTail,
    /// Bad bytes of a log.
    Corrupt,
    /// A file that can be made anew is wrong: an index, a seal, one of two copies of a mark.
    Repairable,
}

/// Something that is not as it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What it means.
    pub kind: FindingKind,
    /// Where, and what.
    pub at: Corruption,
}

/// What a verification saw.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VerifyReport {
    /// Logs.
    pub logs: u64,
    /// Segments.
    pub segments: u64,
    /// Batches that are right.
    pub batches: u64,
    /// Records in them, by their headers.
    pub records: u64,
    /// Bytes read.
    pub bytes: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Verifies a data directory, a topic's or partition's directory in it, or one segment file.
///
/// # Errors
/// [`ReadError::Io`] if the disk fails, or there is nothing at `path`.
pub fn verify_path<D: Disk>(disk: &D, path: &Path) -> Result<VerifyReport, ReadError> {
    let _ = (disk, path);
    todo!("API")
}

/// Calls `each` with position and batch for every batch of one segment file, in order, and ends with the first that is
/// bad.
///
/// # Errors
/// [`ReadError::Corrupt`] at bad bytes, [`ReadError::Io`] if the disk fails.
pub fn dump_segment<D: Disk>(
    disk: &D,
    path: &Path,
    each: impl FnMut(u64, &BatchHeader, &StoredBatch),
) -> Result<(), ReadError> {
    let _ = (disk, path, each);
    let _: Option<Corruption> = None;
    todo!("API")
}
