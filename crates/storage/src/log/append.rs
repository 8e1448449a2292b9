//! Appending: what waits goes into the file with one vectored write, all or nothing.

use super::{Appended, Log, epoch_file};
use crate::files::{OpenFile, failed, is_full};
use crate::paths::{self, Kind};
use crate::segment::{Before, Boundary, Segment};
use crate::{Access, AppendError, Disk, DiskFile, EpochCache, EpochEntry, IoFailure};
use quipu_record::{LeaderEpoch, Offset, StoredBatch, Timestamp};
use std::sync::Arc;

/// What an append that fails goes back to.
struct Undo<D: Disk> {
    active: Option<(Arc<Segment<D>>, Before)>,
    unsynced: usize,
    epochs: Arc<EpochCache>,
    epochs_written: (usize, Option<EpochEntry>),
}

impl<D: Disk> Log<D> {
    /// Appends batches that follow the log end, all or none, with one vectored write where no segment is rolled and
    /// `IOV_MAX` allows. A batch of a newer epoch begins that epoch. `now` is for `segment.ms`.
    ///
    /// # Errors
    /// [`AppendError`]; the log is then as it was, except that after [`AppendError::Failed`] it takes nothing more.
    pub fn append(&mut self, now: Timestamp, batches: &[StoredBatch]) -> Result<Appended, AppendError> {
        self.append_copied(now, batches, Offset::ZERO)
    }

    /// Appends batches copied from a leader, whose offsets may leave gaps below `cleaned_to` (compaction).
    ///
    /// # Errors
    /// As [`Log::append`].
    pub fn append_copied(
        &mut self,
        now: Timestamp,
        batches: &[StoredBatch],
        cleaned_to: Offset,
    ) -> Result<Appended, AppendError> {
        if let Some(failure) = self.failure() {
            return Err(AppendError::Failed(failure));
        }
        if let Some(damage) = &self.damage {
            return Err(AppendError::Damaged(damage.clone()));
        }
        self.check_batches(batches, cleaned_to)?;
        let base_offset = self.log_end();
        let mut appended = Appended {
            base_offset,
            log_end: base_offset,
            bytes: 0,
            rolled: false,
        };
        if batches.is_empty() {
            return Ok(appended);
        }
        let files = self.shared.dir().files();
        if files.too_many() && !self.is_dirty() {
            return Err(AppendError::TooManyDirtyFiles {
                open: files.open_now(),
            });
        }
        self.lay_out(now)
            .map_err(|failure| self.full_or_failed(failure))?;
        self.save_purged()
            .map_err(|failure| self.full_or_failed(failure))?;
        let undo = self.remember();
        match self.append_runs(now, batches) {
            Ok(rolled) => {
                appended.rolled = rolled;
                appended.bytes = batches.iter().map(|batch| batch.len() as u64).sum();
                appended.log_end = batches.last().map_or(base_offset, StoredBatch::next_offset);
                self.shared.set_log_end(appended.log_end);
                if let Some(active) = self.shared.active().filter(|active| active.index_due()) {
                    self.shared.at_place(|place| active.write_index(place));
                }
                Ok(appended)
            }
            Err(failure) if is_full(&failure.source) => {
                self.undo(undo)
                    .map_err(|failure| AppendError::Failed(self.fail(failure)))?;
                Err(AppendError::StorageFull(failure))
            }
            Err(failure) => Err(AppendError::Failed(self.fail(failure))),
        }
    }

    fn full_or_failed(&mut self, failure: IoFailure) -> AppendError {
        if is_full(&failure.source) {
            AppendError::StorageFull(failure)
        } else {
            AppendError::Failed(self.fail(failure))
        }
    }

    fn check_batches(&self, batches: &[StoredBatch], cleaned_to: Offset) -> Result<(), AppendError> {
        let mut expected = self.log_end();
        let mut newest = self.epochs.latest().map(|latest| latest.epoch);
        for batch in batches {
            let found = batch.base_offset();
            if found < expected || (found > expected && found > cleaned_to) {
                return Err(AppendError::NotNext { expected, found });
            }
            let epoch = batch.leader_epoch();
            if let Some(newest) = newest
                && epoch < newest
            {
                return Err(AppendError::StaleEpoch { newest, found: epoch });
            }
            let size = batch.len();
            if size > i32::MAX as usize {
                return Err(AppendError::TooLarge { size });
            }
            expected = batch.next_offset();
            newest = Some(epoch);
        }
        Ok(())
    }

    /// Writes the batches, a segment at a time. Returns whether one was rolled.
    fn append_runs(&mut self, now: Timestamp, batches: &[StoredBatch]) -> Result<bool, IoFailure> {
        let mut rest = batches;
        let mut rolled = false;
        while let (Some(first), Some(active)) = (rest.first(), self.shared.active()) {
            let end = active.end();
            if self.must_roll(&active, &end, first, now) {
                self.roll(&active, now)?;
                rolled = true;
                continue;
            }
            let run = self.run_length(&end, rest);
            let (this, later) = rest.split_at(run);
            self.write_run(&active, end, this)?;
            rest = later;
        }
        Ok(rolled)
    }

    fn must_roll(&self, active: &Segment<D>, end: &Boundary, batch: &StoredBatch, now: Timestamp) -> bool {
        if end.position == 0 {
            return false;
        }
        let age = now.get().saturating_sub(active.created().get());
        u64::from(end.position) + batch.len() as u64 > u64::from(self.config.segment_bytes)
            || u64::try_from(age).is_ok_and(|age| age >= self.config.segment_ms)
            || batch.next_offset().since(active.base()) > u64::from(i32::MAX.cast_unsigned())
    }

    /// How many batches go into the active segment at once: as many as fit, and one at the least.
    fn run_length(&self, end: &Boundary, batches: &[StoredBatch]) -> usize {
        let mut position = u64::from(end.position);
        let fits = |batch: &&StoredBatch| {
            position += batch.len() as u64;
            position <= u64::from(self.config.segment_bytes)
        };
        batches.iter().take_while(fits).count().max(1)
    }

    fn write_run(
        &mut self,
        active: &Arc<Segment<D>>,
        end: Boundary,
        batches: &[StoredBatch],
    ) -> Result<(), IoFailure> {
        self.begin_epochs_of(batches)?;
        let mut at = end;
        let mut last_entry = active.last_entry();
        let mut entries = Vec::new();
        let mut parts = Vec::with_capacity(batches.len() * 2);
        for batch in batches {
            if batch.base_offset() > at.next {
                self.shared.raise_cleaned_to(batch.base_offset());
                self.mark_cleaned(active)?;
            }
            if at.position - last_entry >= self.config.index_interval_bytes.max(1) {
                entries.push(at);
                last_entry = at.position;
            }
            at = at.after(batch.header());
            parts.extend(batch.io_slices());
        }
        let log = self.open_segment(active)?;
        self.note_unsynced(Arc::clone(&log));
        let has_room = self.take_room(&log, end.position, at.position);
        let (position, len) = (u64::from(end.position), u64::from(at.position - end.position));
        if self.goes_past_cache(len) && has_room {
            log.write_all_behind(&mut parts, position)?;
        } else {
            log.write_all(&mut parts, position)?;
        }
        active.publish(at, &entries);
        Ok(())
    }

    pub(super) fn open_segment(&self, segment: &Segment<D>) -> Result<Arc<OpenFile<D>>, IoFailure> {
        if let Some(file) = segment.opened() {
            return Ok(file);
        }
        self.shared.at_place(|place| {
            let path = place.path(segment.base(), Kind::Log);
            segment.open(place).map_err(failed("opening", &path))
        })
    }

    fn note_unsynced(&mut self, file: Arc<OpenFile<D>>) {
        if let Some(files) = self.files.as_mut() {
            files.note_unsynced(self.shared.dir().files(), file);
        }
    }

    /// Notes the epochs that begin with these batches, in the journal and in memory, before the batches are written.
    fn begin_epochs_of(&mut self, batches: &[StoredBatch]) -> Result<(), IoFailure> {
        for batch in batches {
            let epoch = batch.leader_epoch();
            let base = batch.base_offset();
            if self.epochs.latest().is_none_or(|latest| latest.epoch < epoch) {
                self.change_epochs(|epochs| epochs.begin(EpochEntry { epoch, start: base }));
            }
            self.write_epoch(epoch)?;
        }
        Ok(())
    }

    /// Writes the newest epoch into the journal, unless it is there.
    fn write_epoch(&mut self, epoch: LeaderEpoch) -> Result<(), IoFailure> {
        let Some(newest) = self.epochs.latest().filter(|latest| latest.epoch == epoch) else {
            return Ok(());
        };
        let Some(files) = self.files.as_mut() else {
            return Ok(());
        };
        let (number, last) = files.epochs_written;
        // The first entry is clamped in memory as the log start moves, and stays as it was in the journal.
        if last.is_some_and(|last| last.epoch == newest.epoch && last.start <= newest.start) {
            return Ok(());
        }
        let path = self.shared.path().join(paths::EPOCHS);
        let file = self.shared.dir().files().open(&path, Access::Write);
        let file = file.map_err(failed("opening", &path))?;
        files.note_unsynced(self.shared.dir().files(), Arc::clone(&file));
        epoch_file::append(&file, files.incarnation, number, &newest)?;
        files.epochs_written = (number + 1, Some(newest));
        Ok(())
    }

    fn mark_cleaned(&mut self, active: &Segment<D>) -> Result<(), IoFailure> {
        if active.cleaned() {
            return Ok(());
        }
        let path = paths::at_offset(&self.shared.path(), active.base(), Kind::Cleaned);
        let files = self.shared.dir().files();
        let marker = files
            .open(&path, Access::CreateNew)
            .map_err(failed("creating", &path))?;
        active.set_cleaned();
        self.note_unsynced(marker);
        self.note_names();
        Ok(())
    }

    fn note_names(&mut self) {
        if let Some(files) = self.files.as_mut() {
            files.unsynced.names = true;
        }
    }

    /// Completes the active segment and begins the next one.
    pub(super) fn roll(&mut self, active: &Segment<D>, now: Timestamp) -> Result<(), IoFailure> {
        let base = active.end().next;
        let next = Arc::new(Segment::active(base, Boundary::start(base), now, 0, 0));
        self.give_back_room(active);
        let seal = self.shared.at_place(|place| active.seal(place))?;
        let log = self.shared.at_place(|place| next.create(place))?;
        self.note_unsynced(seal);
        self.note_unsynced(log);
        self.note_names();
        self.shared.change_view(|view| view.segments.push(next));
        Ok(())
    }

    fn remember(&self) -> Undo<D> {
        let active = self.shared.active().map(|active| {
            let before = active.before();
            (active, before)
        });
        let files = self.files.as_ref();
        Undo {
            active,
            unsynced: files.map_or(0, |files| files.unsynced.len()),
            epochs: Arc::clone(&self.epochs),
            epochs_written: files.map_or((0, None), |files| files.epochs_written),
        }
    }

    /// Goes back to where an append began: the segments it made go, the one that was active is cut back to its end, and
    /// so is the journal of epochs. All durably: were a crash to bring back what was refused, then two logs could hold
    /// different batches at one offset of one epoch.
    fn undo(&mut self, undo: Undo<D>) -> Result<(), IoFailure> {
        // By offset and not by number: a cleaning may have put one in the place of several meanwhile.
        let before = undo.active.as_ref().map(|(active, _)| active.base());
        let made = self.shared.change_view(|view| {
            let from = view.segments.partition_point(|it| Some(it.base()) <= before);
            view.segments.split_off(from)
        });
        let dir = self.shared.path();
        let data_dir = self.shared.dir();
        for segment in made.iter().rev() {
            segment.close(data_dir.files());
            for kind in Kind::OF_SEGMENT {
                data_dir
                    .files()
                    .remove(&paths::at_offset(&dir, segment.base(), kind))?;
            }
        }
        if let Some((active, before)) = undo.active {
            if active.is_sealed() {
                // Its file may be open for reading only by now.
                active.close(data_dir.files());
            }
            let position = before.end().position;
            let base = active.base();
            data_dir
                .files()
                .remove(&paths::at_offset(&dir, base, Kind::Seal))?;
            self.shared.at_place(|place| active.undo(place, before))?;
            let log = self.open_segment(&active)?;
            self.forget_room();
            let cut = log.file().truncate(u64::from(position));
            cut.map_err(log.failure("cutting"))?;
            log.sync()?;
            self.note_unsynced(log);
        }
        self.shared.dir().files().sync_dir(&dir)?;
        if let Some(files) = self.files.as_mut() {
            let gone = |path: &std::path::Path| made.iter().any(|it| super::flushing::is_of(path, it.base()));
            files.unsynced.forget_after(undo.unsynced, |path| !gone(path));
        }
        self.epochs = undo.epochs;
        self.publish_epochs();
        self.undo_epochs(undo.epochs_written)
    }

    fn undo_epochs(&mut self, before: (usize, Option<EpochEntry>)) -> Result<(), IoFailure> {
        let Some(files) = self.files.as_mut() else {
            return Ok(());
        };
        if files.epochs_written.0 > before.0 {
            let path = self.shared.path().join(paths::EPOCHS);
            epoch_file::cut_to(self.shared.dir().files(), &path, before.0)?;
        }
        files.epochs_written = before;
        Ok(())
    }
}
