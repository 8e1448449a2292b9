//! Looks at files offline: needs no lock, changes nothing. Everything is read: batches, seals, indexes, epochs, marks.

mod segment;
mod small;
mod through_swap;
mod tree;

use crate::files::{Files, failed};
use crate::segment::{Boundary, Rules, Step, Walk};
use crate::{Access, Corruption, DataDirOptions, Disk, DiskFile, ReadError};
use bytes::Bytes;
use quipu_record::{BatchHeader, Offset, StoredBatch};
use std::path::Path;

pub use through_swap::segment_files;

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

impl VerifyReport {
    fn find(&mut self, kind: FindingKind, file: &Path, position: u64, offset: Option<Offset>, what: &str) {
        self.findings.push(Finding {
            kind,
            at: Corruption {
                file: file.to_owned(),
                position,
                offset,
                what: what.to_owned(),
            },
        });
    }
}

/// Verifies a data directory, a topic's or partition's directory in it, or one segment file.
///
/// # Errors
/// [`ReadError::Io`] if the disk fails, or there is nothing at `path`.
pub fn verify_path<D: Disk>(disk: &D, path: &Path) -> Result<VerifyReport, ReadError> {
    let mut report = VerifyReport::default();
    let files = Files::new(disk.clone(), DataDirOptions::default());
    tree::verify(&files, path, &mut report).map_err(ReadError::Io)?;
    Ok(report)
}

/// Calls `each` with position and batch for every batch of one segment file, in order, and ends with the first that is
/// bad.
///
/// # Errors
/// [`ReadError::Corrupt`] at bad bytes, [`ReadError::Io`] if the disk fails.
pub fn dump_segment<D: Disk>(
    disk: &D,
    path: &Path,
    mut each: impl FnMut(u64, &BatchHeader, &StoredBatch),
) -> Result<(), ReadError> {
    let files = Files::new(disk.clone(), DataDirOptions::default());
    let log = files
        .open(path, Access::Read)
        .map_err(|error| ReadError::Io(failed("opening", path)(error)))?;
    let len = log.file().len();
    let len = len.map_err(|error| ReadError::Io(failed("reading", path)(error)))?;
    let base = through_swap::base_of(path);
    // A copy of a segment under another name is shown too, and one that compaction cleaned.
    let mut rules = Rules::new(None, true);
    let mut walk = Walk::new(&log, Boundary::start(base.unwrap_or(Offset::ZERO)), len);
    loop {
        let at = *walk.at();
        let bad = |what| {
            ReadError::Corrupt(Box::new(Corruption {
                file: path.to_owned(),
                position: u64::from(at.position),
                offset: Some(at.next),
                what,
            }))
        };
        match walk.step(&mut rules).map_err(ReadError::Io)? {
            Step::Batch(header, bytes) => {
                let batch = StoredBatch::parse(&Bytes::copy_from_slice(bytes));
                let batch = batch.map_err(|error| bad(error.to_string()))?;
                each(u64::from(at.position), &header, &batch);
            }
            Step::Bad(what) => return Err(bad(what)),
            Step::End => return Ok(()),
        }
    }
}
