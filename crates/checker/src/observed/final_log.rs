//! A replica's final log of one partition, put together from its pieces.

use super::KeyIndex;
use crate::history::{EventId, Final, FinalBatch, ReadRecord, ValueId};
use quipu_record::{BrokerId, Offset};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// All that one replica holds of one partition in the end.
#[derive(Clone, Debug)]
pub(crate) struct FinalLog<'h> {
    pub(crate) key: KeyIndex,
    pub(crate) replica: BrokerId,
    pub(crate) log_start: Offset,
    pub(crate) high_watermark: Option<Offset>,
    /// One of the events that told it.
    pub(crate) event: EventId,
    /// Ascending; the history's own, if it tells them in one piece and in order.
    records: Cow<'h, [ReadRecord]>,
    /// Likewise.
    pub(crate) batches: Cow<'h, [FinalBatch]>,
    /// Of a compacted log.
    pub(crate) latest: Option<BTreeMap<String, u32>>,
}

impl<'h> FinalLog<'h> {
    pub(super) const fn new(key: KeyIndex, replica: BrokerId, event: EventId) -> Self {
        Self {
            key,
            replica,
            log_start: Offset::ZERO,
            high_watermark: None,
            event,
            records: Cow::Borrowed(&[]),
            batches: Cow::Borrowed(&[]),
            latest: None,
        }
    }

    pub(super) fn take(&mut self, piece: &'h Final) {
        self.log_start = self.log_start.max(piece.log_start);
        self.high_watermark = self.high_watermark.max(piece.high_watermark);
        join(&mut self.records, &piece.records);
        join(&mut self.batches, &piece.batches);
        if let Some(latest) = &piece.latest {
            let known = self.latest.get_or_insert_default();
            known.extend(latest.iter().map(|(key, hash)| (key.clone(), *hash)));
        }
    }

    pub(super) fn order(&mut self) {
        if !self.records.is_sorted_by_key(|record| record.offset) {
            self.records.to_mut().sort_by_key(|record| record.offset);
        }
        if !self.batches.is_sorted_by_key(|batch| batch.base) {
            self.batches.to_mut().sort_by_key(|batch| batch.base);
        }
    }

    /// What stands at an offset: outer `None`: nothing.
    pub(crate) fn at(&self, offset: Offset) -> Option<Option<ValueId>> {
        // Most logs have no holes.
        let first = self.records.first()?.offset;
        let guess = usize::try_from(offset.get().checked_sub(first.get())?).ok()?;
        if let Some(record) = self.records.get(guess)
            && record.offset == offset
        {
            return Some(record.value);
        }
        let at = self
            .records
            .binary_search_by_key(&offset, |record| record.offset)
            .ok()?;
        Some(self.records[at].value)
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
        let record = self.records.last().map(|record| record.offset.next());
        let batch = self.batches.last().map(|batch| batch.last.next());
        record.max(batch).unwrap_or(self.log_start)
    }
}

fn join<'h, T: Clone>(all: &mut Cow<'h, [T]>, piece: &'h [T]) {
    if all.is_empty() {
        *all = Cow::Borrowed(piece);
    } else if !piece.is_empty() {
        all.to_mut().extend_from_slice(piece);
    }
}
