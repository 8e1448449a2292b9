//! A log's first files. An empty partition has none.

use super::flushing::Unsynced;
use super::{EpochFile, Log, OnDisk};
use crate::files::failed;
use crate::marks::{LogSlot, SlotId};
use crate::segment::{Boundary, Segment};
use crate::{Access, Disk, IoFailure, paths};
use quipu_record::Timestamp;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

impl<D: Disk> Log<D> {
    /// Creates directory, journal of epochs and first segment, if they are not there. On an error all is as it was.
    pub(super) fn lay_out(&mut self, now: Timestamp) -> Result<(), IoFailure> {
        if self.files.is_some() {
            return Ok(());
        }
        let dir = self.shared.path();
        let laid_out = self.create_all(&dir, now);
        if laid_out.is_err() {
            // What is left of it is found at the next start, and is nothing: no flush was ever complete.
            let files = self.shared.dir().files();
            let base = self.log_end();
            let removed = [
                files.remove(&paths::at_offset(&dir, base, paths::Kind::Log)),
                files.remove(&dir.join(paths::EPOCHS)),
            ];
            if removed.iter().all(Result::is_ok) {
                let _still_there = self.shared.dir().disk().remove_dir(&dir);
            }
        }
        laid_out
    }

    fn create_all(&mut self, dir: &Path, now: Timestamp) -> Result<(), IoFailure> {
        let data_dir = self.shared.dir();
        let incarnation = data_dir.marks().next_number();
        create_dirs(data_dir.disk(), data_dir.root(), dir)?;
        let journal = dir.join(paths::EPOCHS);
        let epochs = data_dir
            .files()
            .open(&journal, Access::CreateNew)
            .map_err(failed("creating", &journal))?;
        epochs.write_all(&mut [IoSlice::new(&EpochFile::encode(incarnation, &[]))], 0)?;
        let base = self.log_end();
        let segment = Arc::new(Segment::active(base, Boundary::start(base), now, 0, 0));
        let log = self.shared.at_place(|place| segment.create(place))?;
        let slot = self.claim_slot(incarnation)?;
        let mut unsynced = Unsynced::nothing();
        unsynced.add(epochs);
        unsynced.add(log);
        unsynced.names = true;
        unsynced.dir_itself = true;
        self.files = Some(Box::new(OnDisk {
            slot,
            incarnation,
            epochs_written: (0, None),
            room: super::Room::default(),
            unsynced,
            leaving: Vec::new(),
            snapshots: Vec::new(),
        }));
        self.shared.change_view(|view| view.segments = vec![segment]);
        Ok(())
    }

    /// A slot of the flush marks that says where the log starts, and nothing of what is durable.
    pub(super) fn claim_slot(&self, incarnation: u64) -> Result<SlotId, IoFailure> {
        self.shared.dir().marks().allocate(LogSlot {
            partition: self.partition(),
            incarnation,
            log_start: self.log_start(),
            mark: None,
        })
    }
}

/// Creates the directory of a log, and of its topic if need be. Another thread may remove that one, empty, meanwhile.
fn create_dirs<D: Disk>(disk: &D, root: &Path, dir: &Path) -> Result<(), IoFailure> {
    let topic = dir.parent().unwrap_or(root);
    for _ in 0..16 {
        match disk.create_dir(topic) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed("creating", topic)(error));
            }
            _ => {}
        }
        match disk.create_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed("creating", dir)(error));
            }
            _ => return Ok(()),
        }
    }
    Err(failed("creating", dir)(io::ErrorKind::NotFound.into()))
}
