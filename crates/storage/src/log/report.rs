//! What operations on a log say they did.

use crate::Corruption;
use quipu_record::Offset;
use std::path::PathBuf;

/// What an append did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    /// The log end before it.
    pub base_offset: Offset,
    /// The log end after it.
    pub log_end: Offset,
    /// Bytes written.
    pub bytes: u64,
    /// Whether a segment was completed: a good time for a producer snapshot.
    pub rolled: bool,
}

/// What retention did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Retained {
    /// Segments removed.
    pub segments: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// A torn tail that recovery cut. Nothing above the mark was ever reported as flushed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cut {
    /// The log end now.
    pub log_end: Offset,
    /// Where the first bad batch began, and what was wrong with it.
    pub at: Corruption,
    /// Bytes removed.
    pub bytes: u64,
}

/// A file that was wrong and was made anew from others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Repair {
    /// The file.
    pub file: PathBuf,
    /// What was wrong with it.
    pub what: String,
}

/// What opening a log found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OpenReport {
    /// The torn tail, if there was one: the replica registers as cut.
    pub cut: Option<Cut>,
    /// Bad bytes below the mark. If there are any, the log serves its good ranges and takes no appends.
    pub corrupt: Vec<Corruption>,
    /// Derived files that were wrong.
    pub repaired: Vec<Repair>,
    /// Bytes that recovery read.
    pub scanned: u64,
}
