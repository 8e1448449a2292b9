//! What a compacted log must be: the checks of `tests/compaction`, and that cleaning keeps to what it may clean.

use crate::model::Model;
use crate::table::{self, Replica, Written, ensure};
use quipu_record::{Offset, Timestamp};
use quipu_storage::Log;
use quipu_storage::test_util::FakeDisk;

/// What is known of a log because it is compacted.
#[derive(Clone, Default)]
pub(crate) struct Keyed {
    /// Committed: nothing below is ever cut.
    pub(crate) high_watermark: Offset,
    /// The highest place that was committed as a cleaning was planned: from here on all is byte for byte as appended.
    pub(crate) cleaned_to: Offset,
    pub(crate) replica: Replica,
}

impl Keyed {
    /// Of a log that begins anew.
    pub(crate) fn begins_at(offset: Offset) -> Self {
        Self {
            high_watermark: offset,
            ..Self::default()
        }
    }
}

impl Model {
    /// The log as a table, if it is compacted.
    pub(crate) fn written(&self) -> Option<Written<'_>> {
        let keyed = self.keyed.as_ref()?;
        Some(Written {
            log_start: self.log_start,
            flushed: self.flushed,
            high_watermark: keyed.high_watermark,
            batches: self.batches.iter().map(|batch| &batch.keyed).collect(),
        })
    }

    /// From here on nothing was cleaned.
    pub(crate) fn whole_from(&self) -> Offset {
        let cleaned_to = self.keyed.as_ref().map_or(Offset::ZERO, |keyed| keyed.cleaned_to);
        cleaned_to.max(self.log_start)
    }

    /// The high watermark moves on to the end of a batch that is flushed, or stays.
    pub(crate) fn commit(&mut self, draw: u64) {
        let flushed = self.flushed;
        let Some(keyed) = &mut self.keyed else { return };
        let span = flushed.since(keyed.high_watermark.min(flushed));
        let to = keyed.high_watermark.plus(draw % (span + 1));
        let ends = self.batches.iter().map(|batch| batch.next);
        let at_a_batch = ends.filter(|end| *end <= to).max();
        keyed.high_watermark = keyed.high_watermark.max(at_a_batch.unwrap_or_default());
    }

    /// Reads once where compaction may have been: whatever is served was appended.
    pub(crate) fn read_of_table(
        &self,
        log: &Log<FakeDisk>,
        from: Offset,
        limit: Offset,
    ) -> Result<(), String> {
        let Some(written) = self.written() else {
            return Ok(());
        };
        written.check_appended(&table::served(log, from, limit)?)
    }

    /// The first record at a time or later that is still there, below a limit.
    pub(crate) fn table_at_time(
        &self,
        log: &Log<FakeDisk>,
        time: Timestamp,
        limit: Offset,
    ) -> Result<Option<(Offset, Timestamp)>, String> {
        let served = table::served(log, self.log_start, limit)?;
        let mut found = served.entries.iter();
        let found = found.find(|it| it.offset >= self.log_start && it.time >= time);
        Ok(found.map(|it| (it.offset, it.time)))
    }

    /// The replica comes back and copies on from where it was. False: not now, since a crash may take a deletion back.
    pub(crate) fn catch_up(&mut self, log: &Log<FakeDisk>) -> Result<bool, String> {
        if self.log_start != self.durable_start {
            return Ok(false);
        }
        let Some(mut replica) = self.keyed.as_ref().map(|keyed| keyed.replica.clone()) else {
            return Ok(false);
        };
        if let Some(written) = self.written() {
            replica.catch_up(log, &written)?;
        }
        if let Some(keyed) = &mut self.keyed {
            keyed.replica = replica;
        }
        Ok(true)
    }

    /// All that must hold of the log as a table.
    pub(crate) fn is_right_table(&self, log: &Log<FakeDisk>) -> Result<(), String> {
        let Some(written) = self.written() else {
            return Ok(());
        };
        written.check(log)?;
        let (compacted, whole_from) = (log.compacted_to(), self.whole_from());
        ensure!(
            compacted <= whole_from,
            "compacted to {compacted}, and cleaned to {whole_from} only"
        );
        Ok(())
    }
}
