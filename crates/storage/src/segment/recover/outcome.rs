//! What a recovery comes to.

use super::super::Segment;
use crate::files::OpenFile;
use crate::{Corruption, Cut, Disk, Repair};
use quipu_record::Offset;
use std::sync::Arc;

/// The segments of a log as a start left them.
#[derive(Debug)]
pub(crate) struct Recovered<D: Disk> {
    /// Oldest first; the last one is the active one.
    pub(crate) segments: Vec<Arc<Segment<D>>>,
    pub(crate) cut: Option<Cut>,
    pub(crate) corrupt: Vec<Corruption>,
    pub(crate) repaired: Vec<Repair>,
    /// Bytes read.
    pub(crate) scanned: u64,
    /// The end that the log had, if the segment that had it is gone.
    pub(crate) lost_end: Option<Offset>,
    /// Files written now, oldest first.
    pub(crate) unsynced: Vec<Arc<OpenFile<D>>>,
}

impl<D: Disk> Default for Recovered<D> {
    fn default() -> Self {
        Self {
            segments: Vec::new(),
            cut: None,
            corrupt: Vec::new(),
            repaired: Vec::new(),
            scanned: 0,
            lost_end: None,
            unsynced: Vec::new(),
        }
    }
}

impl<D: Disk> Recovered<D> {
    /// The offset after the last batch so far.
    pub(crate) fn end(&self) -> Option<Offset> {
        self.segments.last().map(|segment| segment.end().next)
    }
}
