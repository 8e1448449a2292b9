//! Cutting a log, so that it ends earlier, or begins anew. Durable on return.
//!
//! The order is what makes a crash in the middle harmless: first the flush mark goes down, durably, so that bytes missing
//! above it are no corruption; then segments go, newest first; then the one that holds the end is cut.

use super::flushing::is_of;
use super::{Log, epoch_file};
use crate::files::{failed, lock};
use crate::marks::{LogSlot, Mark};
use crate::paths::{self, Kind};
use crate::segment::{Boundary, Rules, Segment, Step, Walk};
use crate::{Corruption, Disk, DiskFile, IoFailure, TruncateError};
use quipu_record::Offset;
use std::path::PathBuf;
use std::sync::Arc;

/// Why the place to cut was not found.
enum NotFound {
    Damaged(Box<Corruption>),
    Failed(IoFailure),
}

impl<D: Disk> Log<D> {
    /// Cuts the log so that it ends at `to` (rounded down to the begin of the batch that holds it), with its epochs and
    /// producer snapshots. Durable on return. At the log end it still drops epochs that have no records (KAFKA-10706).
    ///
    /// # Errors
    /// [`TruncateError`].
    pub fn truncate_to(&mut self, to: Offset) -> Result<(), TruncateError> {
        self.check_truncation(to)?;
        let shared = Arc::clone(&self.shared);
        let mut cleaning = lock(&shared.cleaning);
        if to == self.log_end() {
            return self
                .cut_epochs(to)
                .map_err(|failure| self.truncate_failed(failure));
        }
        let (at, end, entries) = match self.place_of(to) {
            Ok(place) => place,
            Err(NotFound::Damaged(damage)) => return Err(TruncateError::Damaged(damage)),
            Err(NotFound::Failed(failure)) => return Err(self.truncate_failed(failure)),
        };
        if end.next < self.log_start() {
            drop(cleaning);
            return self.restart_at(self.log_start());
        }
        self.cut_cleaning(&mut cleaning, end.next)
            .and_then(|()| self.cut_at(at, end, entries))
            .map_err(|failure| self.truncate_failed(failure))
    }

    /// Deletes everything and begins again, empty, at `start`. Durable on return.
    ///
    /// # Errors
    /// [`TruncateError`].
    pub fn restart_at(&mut self, start: Offset) -> Result<(), TruncateError> {
        if let Some(failure) = self.failure() {
            return Err(TruncateError::Failed(failure));
        }
        self.begin_anew(start)
            .map_err(|failure| self.truncate_failed(failure))
    }

    fn truncate_failed(&mut self, failure: IoFailure) -> TruncateError {
        TruncateError::Failed(self.fail(failure))
    }

    fn check_truncation(&self, to: Offset) -> Result<(), TruncateError> {
        if let Some(failure) = self.failure() {
            return Err(TruncateError::Failed(failure));
        }
        if let Some(damage) = &self.damage {
            return Err(TruncateError::Damaged(damage.clone()));
        }
        let (log_start, log_end) = (self.log_start(), self.log_end());
        if to < log_start || to > log_end {
            return Err(TruncateError::OutOfRange {
                to,
                log_start,
                log_end,
            });
        }
        Ok(())
    }

    /// The segment in which the log is to end, where in it, and what its index has before that.
    fn place_of(&self, to: Offset) -> Result<(usize, Boundary, Vec<Boundary>), NotFound> {
        let at = self
            .shared
            .view(|view| view.segments.partition_point(|segment| segment.base() <= to));
        let at = at.saturating_sub(1);
        let segment = self.shared.view(|view| view.segments.get(at).cloned());
        let Some(segment) = segment else {
            return Ok((0, Boundary::start(to), Vec::new()));
        };
        let entries = self.shared.at_place(|place| segment.entries(place));
        let mut entries = entries.map_err(NotFound::Failed)?;
        entries.truncate(entries.partition_point(|entry| entry.next <= to));
        let from = entries.last().copied();
        let from = from.unwrap_or(Boundary::start(segment.base()));
        let end = self.walk_to(&segment, from, to)?;
        // The end is no entry: what comes after it may begin elsewhere.
        entries.retain(|entry| entry.position < end.position);
        Ok((at, end, entries))
    }

    fn walk_to(&self, segment: &Segment<D>, from: Boundary, to: Offset) -> Result<Boundary, NotFound> {
        let log = self.open_segment(segment).map_err(NotFound::Failed)?;
        let mut rules = Rules::new(Some(&self.epochs), segment.cleaned());
        let mut walk = Walk::new(&log, from, u64::from(segment.end().position));
        loop {
            let at = *walk.at();
            match walk.step(&mut rules).map_err(NotFound::Failed)? {
                Step::Batch(header, _) if header.next_offset() <= to => {}
                Step::Batch(..) | Step::End => return Ok(at),
                Step::Bad(what) => {
                    return Err(NotFound::Damaged(Box::new(Corruption {
                        file: log.path().to_owned(),
                        position: u64::from(at.position),
                        offset: Some(at.next),
                        what,
                    })));
                }
            }
        }
    }

    fn cut_at(&mut self, at: usize, end: Boundary, entries: Vec<Boundary>) -> Result<(), IoFailure> {
        let data_dir = self.shared.dir().clone();
        let dir = self.shared.path();
        self.shared.set_log_end(end.next);
        self.shared.change();
        self.generation = data_dir.marks().next_number();
        self.flushed = self.flushed.min(end.next);
        self.lower_mark(at, &end)?;
        let gone = self
            .shared
            .change_view(|view| view.segments.split_off((at + 1).min(view.segments.len())));
        for segment in gone.iter().rev() {
            segment.close(data_dir.files());
            for kind in Kind::OF_SEGMENT {
                data_dir
                    .files()
                    .remove(&paths::at_offset(&dir, segment.base(), kind))?;
            }
        }
        if let Some(active) = self.shared.active() {
            active.close(data_dir.files());
            let seal = paths::at_offset(&dir, active.base(), Kind::Seal);
            data_dir.files().remove(&seal)?;
            self.shared.at_place(|place| active.cut(place, end, entries))?;
            let log = self.open_segment(&active)?;
            self.forget_room();
            let cut = log.file().truncate(u64::from(end.position));
            cut.map_err(log.failure("cutting"))?;
            log.sync()?;
            self.shared.at_place(|place| active.write_index(place));
        }
        self.remove_snapshots_above(end.next)?;
        data_dir.files().sync_dir(&dir)?;
        self.shared.change();
        self.cut_epochs(end.next)?;
        self.note_unflushed(&gone);
        Ok(())
    }

    /// Lowers the flush mark to the new end, if it is above. Marks under way are void in any case.
    fn lower_mark(&mut self, at: usize, end: &Boundary) -> Result<(), IoFailure> {
        let segment = self.shared.view(|view| view.segments.get(at).cloned());
        let (Some(files), Some(segment)) = (self.files.as_ref(), segment) else {
            return Ok(());
        };
        let marks = self.shared.dir().marks();
        let Some(mut slot) = marks.current(files.slot) else {
            return Ok(());
        };
        if slot.mark.is_some_and(|mark| mark.end.next > end.next) {
            let last = end.next.get().checked_sub(1).map(Offset::new);
            let last = last.filter(|last| self.first_base().is_some_and(|first| *last >= first));
            slot.mark = Some(Mark {
                segment: segment.base(),
                end: *end,
                epoch: last.and_then(|last| self.epochs.at(last)),
                created: segment.created(),
            });
        }
        slot.log_start = self.log_start();
        marks.set_now(files.slot, slot)?;
        self.durable_log_start = self.log_start();
        Ok(())
    }

    /// What a flush under way was to prove is void: what lies above `flushed` waits for a flush again. So does what no mark
    /// speaks of: a log that a start found to hold nothing above its log start is flushed up to its end without one.
    fn note_unflushed(&mut self, gone: &[Arc<Segment<D>>]) {
        let dir = self.shared.path();
        let slot = self.files.as_ref().map(|files| files.slot);
        let slot = slot.and_then(|slot| self.shared.dir().marks().current(slot));
        let mark = slot.and_then(|slot| slot.mark);
        let flushed = self.flushed.min(mark.map_or(Offset::ZERO, |mark| mark.end.next));
        let above: Vec<_> = self.shared.view(|view| {
            let above = view.segments.iter().filter(|it| it.end().next > flushed);
            above.map(|it| (it.base(), it.is_sealed())).collect()
        });
        let Some(files) = self.files.as_mut() else { return };
        files
            .unsynced
            .retain(|path| !gone.iter().any(|it| is_of(path, it.base())));
        for (base, sealed) in above {
            files.unsynced.add_found(paths::at_offset(&dir, base, Kind::Log));
            if sealed {
                files.unsynced.add_found(paths::at_offset(&dir, base, Kind::Seal));
            }
            files.unsynced.names = true;
            files.unsynced.dir_itself = true;
            files.unsynced.add_found(dir.join(paths::EPOCHS));
        }
    }

    /// Drops epochs that begin at `end` or above, in memory and in the journal.
    fn cut_epochs(&mut self, end: Offset) -> Result<(), IoFailure> {
        self.change_epochs(|epochs| epochs.truncate(end));
        let path = self.shared.path().join(paths::EPOCHS);
        let Some(files) = self.files.as_mut() else {
            return Ok(());
        };
        let (written, last) = files.epochs_written;
        if last.is_none_or(|last| last.start < end) {
            return Ok(());
        }
        let disk = self.shared.dir().disk();
        let Some(Some(file)) = epoch_file::EpochFile::read(disk, &path)? else {
            let error = std::io::ErrorKind::InvalidData.into();
            return Err(failed("reading the epochs in", &path)(error));
        };
        let journal = &file.journal[..written.min(file.journal.len())];
        let keep = journal.iter().position(|entry| entry.start >= end);
        let keep = keep.unwrap_or(journal.len());
        epoch_file::cut_to(self.shared.dir().files(), &path, keep)?;
        files.epochs_written = (keep, journal[..keep].last().copied());
        Ok(())
    }

    /// Says in the marks, durably, that there is another log now and where it starts, and then renames the directory
    /// away. After a crash between the two the directory has a lower number than the slot, and the next start renames it.
    pub(super) fn begin_anew(&mut self, start: Offset) -> Result<(), IoFailure> {
        let shared = Arc::clone(&self.shared);
        let mut cleaning = lock(&shared.cleaning);
        *cleaning = cleaning.cut(Offset::ZERO);
        self.let_go_of_all(start);
        self.say_anew(start)?;
        self.shared.dir().rename_away(self.partition(), paths::DELETED)?;
        self.is_anew(start);
        Ok(())
    }

    /// Sets everything aside, for somebody to look at, and begins again, empty, at `start`: a damaged log that will be
    /// copied from another replica. Durable on return, which tells where the bytes are, if there were any.
    ///
    /// # Errors
    /// [`TruncateError`].
    pub fn set_aside(&mut self, start: Offset) -> Result<Option<PathBuf>, TruncateError> {
        if let Some(failure) = self.failure() {
            return Err(TruncateError::Failed(failure));
        }
        let shared = Arc::clone(&self.shared);
        let mut cleaning = lock(&shared.cleaning);
        *cleaning = cleaning.cut(Offset::ZERO);
        self.let_go_of_all(start);
        // The other way round than above: a crash between the two must not delete anything. The next start finds the
        // directory set aside, and that the marks speak of it.
        let away = self.shared.dir().rename_away(self.partition(), paths::CORRUPT);
        let said = away.and_then(|away| self.say_anew(start).map(|()| away));
        let away = said.map_err(|failure| self.truncate_failed(failure))?;
        self.is_anew(start);
        Ok(away)
    }

    fn let_go_of_all(&mut self, start: Offset) {
        let data_dir = self.shared.dir().clone();
        self.shared.set_log_end(start);
        self.shared.change();
        let segments = self.shared.change_view(|view| std::mem::take(&mut view.segments));
        for segment in segments {
            segment.close(data_dir.files());
        }
        if let Some(files) = self.files.take() {
            for segment in &files.leaving {
                segment.close(data_dir.files());
            }
            drop(files);
        }
    }

    fn say_anew(&self, start: Offset) -> Result<(), IoFailure> {
        let marks = self.shared.dir().marks();
        let slot = LogSlot {
            partition: self.partition(),
            incarnation: marks.next_number(),
            log_start: start,
            mark: None,
        };
        let id = marks.allocate(slot)?;
        marks.set_now(id, slot)?;
        Ok(())
    }

    fn is_anew(&mut self, start: Offset) {
        self.shared.set_log_start(start);
        self.shared.set_cleaned_to(Offset::ZERO);
        self.shared.cut_tombstone_floor(Offset::ZERO);
        self.purged_unsaved = false;
        self.shared.change();
        self.generation = self.shared.dir().marks().next_number();
        self.flushed = start;
        self.durable_log_start = start;
        self.damage = None;
        self.change_epochs(|epochs| *epochs = crate::EpochCache::default());
    }
}
