//! What leaves a log at its beginning: by age, by size, by request.
//!
//! The log start moves at once, and so do readers; the files go only after the log start is durable. Otherwise a crash
//! could bring back some of them, with a hole between.

use super::{Log, Retained};
use crate::files::{is_full, lock};
use crate::segment::Segment;
use crate::{DeleteRecordsError, Disk, IoFailure, RetainError};
use quipu_record::{Offset, Timestamp};
use std::sync::Arc;

impl<D: Disk> Log<D> {
    /// Removes whole segments by time, then by size, oldest first, none that reaches past `high_watermark`. The log
    /// start moves at once; files go after a flush made that durable.
    ///
    /// # Errors
    /// [`RetainError`].
    pub fn retain(&mut self, now: Timestamp, high_watermark: Offset) -> Result<Retained, RetainError> {
        if let Some(failure) = self.failure() {
            return Err(RetainError::Failed(failure));
        }
        if self.damage.is_some() {
            return Ok(Retained::default());
        }
        let segments = self.shared.view(|view| view.segments.clone());
        let count = self.expired(&segments, now, high_watermark);
        if count == 0 {
            return Ok(Retained::default());
        }
        if count == segments.len() {
            self.roll_for_retention(&segments, now)?;
        }
        let removed = &segments[..count];
        let start = removed.last().map_or(Offset::ZERO, |last| last.end().next);
        self.move_log_start(self.log_start().max(start));
        Ok(Retained {
            segments: count,
            bytes: removed.iter().map(size).sum(),
        })
    }

    /// How many of the oldest segments are past a limit.
    fn expired(&self, segments: &[Arc<Segment<D>>], now: Timestamp, high_watermark: Offset) -> usize {
        let within = |segment: &Arc<Segment<D>>| {
            let end = segment.end();
            end.position > 0 && end.next <= high_watermark
        };
        let old = |segment: &Arc<Segment<D>>| {
            let latest = segment.end().max_timestamp;
            let age = latest.map_or(0, |latest| now.get().saturating_sub(latest.get()));
            let limit = self.config.retention_ms;
            limit.is_some_and(|limit| u64::try_from(age).is_ok_and(|age| age > limit))
        };
        let by_age = segments.iter().take_while(|it| within(it) && old(it)).count();
        let Some(limit) = self.config.retention_bytes else {
            return by_age;
        };
        let rest = &segments[by_age..];
        let mut bytes: u64 = rest.iter().map(size).sum();
        let too_many = |segment: &&Arc<Segment<D>>| {
            let enough = bytes.saturating_sub(size(segment)) >= limit;
            bytes -= if enough { size(segment) } else { 0 };
            enough && within(segment)
        };
        by_age + rest.iter().take_while(too_many).count()
    }

    /// The active segment goes only by being completed: an empty one takes its place and remembers where the log ends.
    fn roll_for_retention(
        &mut self,
        segments: &[Arc<Segment<D>>],
        now: Timestamp,
    ) -> Result<(), RetainError> {
        let Some(active) = segments.last() else {
            return Ok(());
        };
        let Err(failure) = self.roll(active, now) else {
            return Ok(());
        };
        if !is_full(&failure.source) {
            return Err(RetainError::Failed(self.fail(failure)));
        }
        match self.unroll(active) {
            Ok(()) => Err(RetainError::StorageFull(failure)),
            Err(failure) => Err(RetainError::Failed(self.fail(failure))),
        }
    }

    /// Moves the log start up to `before`, at most to `high_watermark`; lower than it is already changes nothing.
    /// Durable once [`Log::durable_log_start`] says so.
    ///
    /// # Errors
    /// [`DeleteRecordsError`].
    pub fn delete_records(
        &mut self,
        before: Offset,
        high_watermark: Offset,
    ) -> Result<Offset, DeleteRecordsError> {
        if let Some(failure) = self.failure() {
            return Err(DeleteRecordsError::Failed(failure));
        }
        let limit = high_watermark.min(self.log_end());
        if before > limit {
            return Err(DeleteRecordsError::OutOfRange { before, limit });
        }
        if before > self.log_start() {
            self.move_log_start(before);
        }
        Ok(self.log_start())
    }

    /// Moves the log start, and takes leave of the segments that lie wholly below it. The active one stays.
    fn move_log_start(&mut self, start: Offset) {
        self.shared.set_log_start(start);
        let leaves = self.shared.view(|view| {
            let complete = view
                .segments
                .split_last()
                .map_or(&[][..], |(_, complete)| complete);
            complete.first().is_some_and(|first| first.end().next <= start)
        });
        // Not while their files are being given other names.
        let shared = Arc::clone(&self.shared);
        let mut cleaning = leaves.then(|| lock(&shared.cleaning));
        if let Some(cleaning) = &mut cleaning {
            // What leaves is not cleaned any more, and a crash may bring it back.
            cleaning.cuts += 1;
        }
        let leaving: Vec<_> = self.shared.change_view(|view| {
            let active = view.segments.len().saturating_sub(1);
            let below = view.segments[..active].partition_point(|it| it.end().next <= start);
            view.segments.drain(..below).collect()
        });
        drop(cleaning);
        if let Some(first) = self.first_base() {
            self.change_epochs(|epochs| epochs.clamp(first));
        }
        if let Some(files) = self.files.as_mut() {
            files.leaving.extend(leaving);
            files.unsynced.log_start = true;
            self.shared.dir().marks().set_log_start(files.slot, start);
        }
    }

    /// Takes back a roll for which there was no room.
    fn unroll(&self, active: &Arc<Segment<D>>) -> Result<(), IoFailure> {
        let files = self.shared.dir().files();
        let dir = self.shared.path();
        let next = active.end().next;
        files.remove(&crate::paths::at_offset(&dir, next, crate::paths::Kind::Log))?;
        files.remove(&crate::paths::at_offset(
            &dir,
            active.base(),
            crate::paths::Kind::Seal,
        ))?;
        active.unseal();
        active.close(files);
        Ok(())
    }
}

fn size<D: Disk>(segment: &Arc<Segment<D>>) -> u64 {
    u64::from(segment.end().position)
}
