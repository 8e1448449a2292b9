//! A replica's final log of one partition, put together from its pieces.

use super::KeyIndex;
use crate::history::{EventId, Final, FinalBatch, ValueId};
use quipu_record::{BrokerId, Offset};
use std::collections::BTreeMap;

/// All that one replica holds of one partition in the end.
#[derive(Clone, Debug)]
pub(crate) struct FinalLog {
    pub(crate) key: KeyIndex,
    pub(crate) replica: BrokerId,
    pub(crate) log_start: Offset,
    pub(crate) high_watermark: Option<Offset>,
    /// One of the events that told it.
    pub(crate) event: EventId,
    /// Ascending.
    records: Vec<(Offset, Option<ValueId>)>,
    /// Ascending.
    pub(crate) batches: Vec<FinalBatch>,
    /// Of a compacted log.
    pub(crate) latest: Option<BTreeMap<String, u32>>,
}

impl FinalLog {
    pub(super) const fn new(key: KeyIndex, replica: BrokerId, event: EventId) -> Self {
        Self {
            key,
            replica,
            log_start: Offset::ZERO,
            high_watermark: None,
            event,
            records: Vec::new(),
            batches: Vec::new(),
            latest: None,
        }
    }

    pub(super) fn take(&mut self, piece: &Final) {
        self.log_start = self.log_start.max(piece.log_start);
        self.high_watermark = self.high_watermark.max(piece.high_watermark);
        let records = piece.records.iter().map(|record| (record.offset, record.value));
        self.records.extend(records);
        self.batches.extend(&piece.batches);
        if let Some(latest) = &piece.latest {
            let known = self.latest.get_or_insert_default();
            known.extend(latest.iter().map(|(key, hash)| (key.clone(), *hash)));
        }
    }

    pub(super) fn order(&mut self) {
        self.records.sort_by_key(|(offset, _)| *offset);
        self.batches.sort_by_key(|batch| batch.base);
    }

    /// What stands at an offset: outer `None`: nothing.
    pub(crate) fn at(&self, offset: Offset) -> Option<Option<ValueId>> {
        // Most logs have no holes.
        let first = self.records.first()?.0;
        let guess = usize::try_from(offset.get().checked_sub(first.get())?).ok()?;
        if let Some((found, value)) = self.records.get(guess)
            && *found == offset
        {
            return Some(*value);
        }
        let at = self
            .records
            .binary_search_by_key(&offset, |(found, _)| *found)
            .ok()?;
        Some(self.records[at].1)
    }

    /// Whether it holds this value there, as far as it tells: batches alone do not name their values.
    pub(crate) fn holds(&self, offset: Offset, value: ValueId) -> bool {
        if !self.records.is_empty() || self.batches.is_empty() {
            return self.at(offset) == Some(Some(value));
        }
        let later = self.batches.partition_point(|batch| batch.base <= offset);
        later
            .checked_sub(1)
            .is_some_and(|at| offset <= self.batches[at].last)
    }

    pub(crate) fn records(&self) -> usize {
        self.records.len()
    }

    /// The offset that the next record would get.
    pub(crate) fn log_end(&self) -> Offset {
        let record = self.records.last().map(|(offset, _)| offset.next());
        let batch = self.batches.last().map(|batch| batch.last.next());
        record.max(batch).unwrap_or(self.log_start)
    }
}
