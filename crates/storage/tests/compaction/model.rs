//! What was done to a log, and what of it a start must find again.

use crate::table::{Appended, Written, ensure};
use quipu_record::Offset;
use quipu_storage::Log;
use quipu_storage::test_util::FakeDisk;

/// All that was appended to one log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) log_start: Offset,
    pub(crate) durable_start: Offset,
    pub(crate) flushed: Offset,
    /// Committed: nothing below is ever cut.
    pub(crate) high_watermark: Offset,
    pub(crate) batches: Vec<Appended>,
    pub(crate) maybe: Vec<Appended>,
}

impl Model {
    pub(crate) fn log_end(&self) -> Offset {
        self.batches.last().map_or(Offset::ZERO, |last| last.next)
    }

    pub(crate) fn truncate(&mut self, end: Offset) {
        self.batches.retain(|batch| batch.next <= end);
        self.flushed = self.flushed.min(self.log_end());
    }

    /// As the checks look at it.
    pub(crate) fn written(&self) -> Written<'_> {
        Written {
            log_start: self.log_start,
            flushed: self.flushed,
            high_watermark: self.high_watermark,
            batches: self.batches.iter().collect(),
        }
    }

    /// The end of the log must be one of a batch, and everything committed must be there.
    pub(crate) fn reopened(&mut self, log: &Log<FakeDisk>, kept: bool) -> Result<(), String> {
        let (start, end) = (log.log_start(), log.log_end());
        ensure!(
            end >= self.flushed,
            "log end {end} is below flushed {}",
            self.flushed
        );
        ensure!(
            start >= self.durable_start && start <= self.log_start,
            "log start {start} is not within {} to {}",
            self.durable_start,
            self.log_start
        );
        ensure!(!kept || end >= self.log_end(), "a kill lost what was written");
        let mut maybe = std::mem::take(&mut self.maybe);
        self.batches.append(&mut maybe);
        self.truncate(end);
        ensure!(self.log_end() == end, "the log ends at {end}, within a batch");
        self.log_start = start;
        self.durable_start = log.durable_log_start();
        self.flushed = self.flushed.max(log.flushed());
        self.check(log)
    }

    /// Reads everything and holds it against what was appended.
    pub(crate) fn check(&self, log: &Log<FakeDisk>) -> Result<(), String> {
        let (start, end) = (log.log_start(), log.log_end());
        ensure!(
            (start, end) == (self.log_start, self.log_end()),
            "the log is {start} to {end}, and should be {} to {}",
            self.log_start,
            self.log_end()
        );
        self.written().check(log)
    }
}
