//! Verifies the small files: marks, hints, epochs, snapshots.

use super::{FindingKind, VerifyReport, tree};
use crate::compact::CleanState;
use crate::files::{Files, failed, read_small};
use crate::log::{EpochFile, decode_snapshot};
use crate::marks::{Mark, find_log, read_slots};
use crate::paths::{self, Kind};
use crate::{DataDirError, Disk, EpochCache, IoFailure, ReplaceFile};
use quipu_record::Offset;
use std::path::Path;

/// What is known of a log besides its segments.
pub(super) struct About {
    /// Its epochs, if they can be read.
    pub(super) epochs: Option<EpochCache>,
    pub(super) mark: Option<Mark>,
    pub(super) log_start: Option<Offset>,
}

impl About {
    pub(super) fn of_log<D: Disk>(
        files: &Files<D>,
        dir: &Path,
        report: &mut VerifyReport,
    ) -> Result<Self, IoFailure> {
        let mut about = Self {
            epochs: None,
            mark: None,
            log_start: None,
        };
        let path = dir.join(paths::EPOCHS);
        let journal = EpochFile::read(files.disk(), &path)?;
        let journal = match journal {
            Some(Some(journal)) => journal,
            _ => {
                let what = "the header is gone or does not match its checksum";
                report.find(FindingKind::Repairable, &path, 0, None, what);
                return Ok(about);
            }
        };
        about.find_mark(files, dir, journal.incarnation)?;
        if let Some(position) = journal.bad {
            let what = "an entry does not match its checksum";
            report.find(FindingKind::Repairable, &path, position, None, what);
        } else {
            about.epochs = Some(journal.cache());
        }
        if about.lacks_epoch() {
            about.epochs = None;
            let what = "the epoch of what was flushed last is not in it";
            report.find(FindingKind::Repairable, &path, journal.len, None, what);
        }
        Ok(about)
    }

    fn find_mark<D: Disk>(
        &mut self,
        files: &Files<D>,
        dir: &Path,
        incarnation: u64,
    ) -> Result<(), IoFailure> {
        let Some((partition, root)) = tree::place_of(dir) else {
            return Ok(());
        };
        let Some(bytes) = read_small(files.disk(), &root.join(paths::FLUSHED))? else {
            return Ok(());
        };
        if let Some(slot) = find_log(&bytes, partition).filter(|slot| slot.incarnation == incarnation) {
            self.mark = slot.mark;
            self.log_start = Some(slot.log_start);
        }
        Ok(())
    }

    fn lacks_epoch(&self) -> bool {
        let (Some(epochs), Some(mark)) = (&self.epochs, &self.mark) else {
            return false;
        };
        let last = mark.end.next.get().checked_sub(1).map(Offset::new);
        mark.epoch.is_some() && last.and_then(|last| epochs.at(last)) != mark.epoch
    }
}

/// The files of the data directory itself.
pub(super) fn of_data_dir<D: Disk>(
    files: &Files<D>,
    root: &Path,
    report: &mut VerifyReport,
) -> Result<(), IoFailure> {
    let path = root.join(paths::FLUSHED);
    let Some(bytes) = read_small(files.disk(), &path)? else {
        let what = "the file is gone, and with it how far logs were flushed";
        report.find(FindingKind::Repairable, &path, 0, None, what);
        return Ok(());
    };
    for finding in read_slots(&bytes).1 {
        report.find(
            FindingKind::Repairable,
            &path,
            finding.position,
            None,
            finding.what,
        );
    }
    for name in [paths::HIGH_WATERMARKS, paths::CLEAN_SHUTDOWN] {
        let path = root.join(name);
        match ReplaceFile::read(files.disk(), &path) {
            Ok(_) => {}
            Err(DataDirError::Io(failure)) => return Err(failure),
            Err(error) => report.find(FindingKind::Repairable, &path, 0, None, &error.to_string()),
        }
    }
    Ok(())
}

/// How far the log is compacted.
pub(super) fn compaction<D: Disk>(
    files: &Files<D>,
    dir: &Path,
    report: &mut VerifyReport,
) -> Result<(), IoFailure> {
    if CleanState::read(files.disk(), dir)?.is_none() {
        let what = "the file does not match its checksum";
        report.find(
            FindingKind::Repairable,
            &dir.join(paths::COMPACTION),
            0,
            None,
            what,
        );
    }
    Ok(())
}

pub(super) fn snapshots<D: Disk>(
    files: &Files<D>,
    dir: &Path,
    report: &mut VerifyReport,
) -> Result<(), IoFailure> {
    let entries = files.disk().list(dir).map_err(failed("listing", dir))?;
    for entry in entries {
        let Some((at, Kind::Producers)) = paths::parse_at_offset(&entry.name) else {
            continue;
        };
        let path = dir.join(&entry.name);
        let right =
            read_small(files.disk(), &path)?.is_none_or(|bytes| decode_snapshot(at, &bytes).is_some());
        if !right {
            let what = "the snapshot does not match its checksum";
            report.find(FindingKind::Repairable, &path, 0, Some(at), what);
        }
    }
    Ok(())
}
