//! Compaction as the log's owner sees it: when there is something to clean, and what is remembered of it.

use super::Log;
use crate::compact::{CleanJob, CleanLimits, CleanState};
use crate::files::lock;
use crate::segment::Segment;
use crate::{Disk, IoFailure};
use quipu_record::{Offset, PlantedBug, Timestamp};
use std::sync::Arc;

impl<D: Disk> Log<D> {
    /// Below this no key has two records.
    #[must_use]
    pub fn compacted_to(&self) -> Offset {
        lock(&self.shared.cleaning).compacted_to
    }

    /// Tombstones below may have been purged, here or where this log was copied from: a replica that ends below cannot
    /// be brought up to date with what is here, and is to begin anew.
    #[must_use]
    pub fn purged_to(&self) -> Offset {
        lock(&self.shared.cleaning).purged_to
    }

    /// Notes that an empty log is going to be a copy of one that may lack tombstones below `purged_to`. Durable before
    /// anything is appended.
    pub fn note_purged(&mut self, purged_to: Offset) {
        let mut state = lock(&self.shared.cleaning);
        if purged_to > state.purged_to {
            state.purged_to = purged_to;
            self.purged_unsaved = true;
            self.shared.raise_tombstone_floor(purged_to);
        }
    }

    /// Every assigned replica has flushed what lies below `floor`: tombstones may go there.
    pub fn raise_tombstone_floor(&self, floor: Offset) {
        self.shared.raise_tombstone_floor(floor.min(self.log_end()));
    }

    /// How far tombstones may go, or have gone.
    #[must_use]
    pub fn tombstone_floor(&self) -> Offset {
        self.shared.tombstone_floor()
    }

    /// A cleaning, if enough of the log is not clean: for a thread of its own. One at a time.
    #[must_use]
    pub fn plan_cleaning(&self, limits: CleanLimits) -> Option<CleanJob<D>> {
        let config = self.config.compaction?;
        if self.failed.is_some() || self.damage.is_some() || self.purged_unsaved {
            return None;
        }
        // Segments that a crash would bring back must not come back as they were.
        if self.files.as_ref().is_none_or(|files| !files.leaving.is_empty()) {
            return None;
        }
        let state = *lock(&self.shared.cleaning);
        let dirty_from = state.compacted_to.max(self.durable_log_start);
        let segments = self.shared.view(|view| view.segments.clone());
        let cleanable = self.cleanable(&segments, &limits);
        let end = cleanable.last()?.end().next;
        let size = |segment: &Arc<Segment<D>>| u64::from(segment.end().position);
        let total: u64 = cleanable.iter().map(size).sum();
        let dirty = cleanable.iter().filter(|it| it.end().next > dirty_from);
        let dirty: u64 = dirty.map(size).sum();
        let enough =
            u128::from(dirty) * 1_000_000 >= u128::from(total) * u128::from(config.min_cleanable_dirty_ratio);
        if dirty == 0 || !enough {
            return None;
        }
        Some(CleanJob::new(
            Arc::clone(&self.shared),
            self.config,
            limits,
            (state.cuts, dirty_from),
            end,
        ))
    }

    /// The segments that may be cleaned: complete, committed and durable to their last record, and old enough.
    fn cleanable<'s>(&self, segments: &'s [Arc<Segment<D>>], limits: &CleanLimits) -> &'s [Arc<Segment<D>>] {
        let Some(slot) = self.files.as_ref().map(|files| files.slot) else {
            return &[];
        };
        let Some(durable) = self.shared.dir().marks().durable_segment(slot) else {
            return &[];
        };
        let lag = self.config.compaction.map_or(0, |it| it.min_compaction_lag_ms);
        let old_enough = |latest: Option<Timestamp>| {
            let age = latest.map_or(i64::MAX, |latest| limits.now.get().saturating_sub(latest.get()));
            lag == 0 || u64::try_from(age).is_ok_and(|age| age >= lag)
        };
        let committed =
            |next: Offset| next <= limits.high_watermark || PlantedBug::CompactPastHighWatermark.planted();
        let cleanable = segments.iter().take_while(|segment| {
            let end = segment.end();
            segment.is_sealed()
                && segment.base() < durable
                && end.next <= self.flushed
                && committed(end.next)
                && old_enough(end.max_timestamp)
        });
        &segments[..cleanable.count()]
    }

    /// Writes what [`Log::note_purged`] noted.
    pub(super) fn save_purged(&mut self) -> Result<(), IoFailure> {
        if self.purged_unsaved {
            let state = *lock(&self.shared.cleaning);
            state.write(self.shared.dir().disk(), &self.shared.path())?;
            self.purged_unsaved = false;
        }
        Ok(())
    }

    /// The log is about to end at `end`: what is remembered of its cleaning goes down first, and durably. The caller holds
    /// the lock.
    pub(super) fn cut_cleaning(&self, state: &mut CleanState, end: Offset) -> Result<(), IoFailure> {
        let cut = state.cut(end);
        let lower = (cut.compacted_to, cut.purged_to) != (state.compacted_to, state.purged_to);
        *state = cut;
        self.shared.cut_tombstone_floor(end);
        if lower && self.files.is_some() {
            cut.write(self.shared.dir().disk(), &self.shared.path())?;
        }
        Ok(())
    }
}
