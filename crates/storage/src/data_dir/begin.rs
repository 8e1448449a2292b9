//! Opening a data directory.

use super::{Boot, DataDir, DataDirOptions, Inner, ReplaceFile};
use crate::files::{Files, failed};
use crate::log::EpochFile;
use crate::marks::{Known, Marks};
use crate::segment::is_gone;
use crate::{DataDirError, DirEntry, Disk, IoFailure, Repair, paths};
use quipu_record::{BrokerEpoch, TopicId, TopicPartition};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

/// A directory that was renamed to be deleted, or to be set aside.
struct Away {
    partition: TopicPartition,
    dir: PathBuf,
    delete: bool,
}

/// What the topics' directories have.
#[derive(Default)]
struct Inventory {
    logs: Vec<TopicPartition>,
    away: Vec<Away>,
    /// The greatest number in a name that was renamed away.
    last_name: u64,
}

pub(super) fn open<D: Disk>(
    disk: D,
    root: PathBuf,
    options: DataDirOptions,
) -> Result<(DataDir<D>, Boot), DataDirError> {
    make_dir(&disk, &root)?;
    let lock = root.join(paths::LOCK);
    let lock = match disk.lock(&lock).map_err(failed("locking", &lock)) {
        Ok(Some(lock)) => lock,
        Ok(None) => return Err(DataDirError::Locked(root)),
        Err(failure) => return Err(DataDirError::Io(failure)),
    };
    let mut repaired = Vec::new();
    let clean_shutdown = take_marker(&disk, &root, &mut repaired)?;
    let logs = root.join(paths::LOGS);
    make_dir(&disk, &logs)?;
    let inventory = Inventory::of(&disk, &logs).map_err(DataDirError::Io)?;
    let any = !inventory.logs.is_empty();
    if clean_shutdown.is_none() && !inventory.is_empty() {
        // A process that was killed may have renamed, removed or cut something, and not for good; what this one finds is
        // to stay as it is.
        let synced = disk.sync_filesystem().map_err(failed("syncing", &root));
        synced.map_err(DataDirError::Io)?;
    }
    let (marks, wrong) = Marks::open(&disk, &root, any).map_err(DataDirError::Io)?;
    repaired.extend(wrong);
    let dir = DataDir(Arc::new(Inner {
        files: Files::new(disk, options),
        marks,
        clean: clean_shutdown.is_some(),
        trash: Mutex::new(Vec::new()),
        next_name: AtomicU64::new(inventory.last_name + 1),
        _lock: lock,
        root,
    }));
    for away in &inventory.away {
        dir.finish(away).map_err(DataDirError::Io)?;
    }
    if dir.marks().lost() {
        for log in &inventory.logs {
            // What cannot be read now is for whoever opens that log to hear of.
            let _ = dir.note_number(&paths::log_dir(dir.root(), *log));
        }
    }
    dir.marks().begin_numbers().map_err(DataDirError::Io)?;
    let mut logs = inventory.logs;
    logs.extend(dir.marks().partitions());
    logs.sort_unstable();
    logs.dedup();
    let boot = Boot {
        clean_shutdown,
        logs,
        repaired,
    };
    Ok((dir, boot))
}

/// Makes a directory, by a name that lasts. One that is there may have been made by a life that ended before it had
/// synced the name; a parent that may not be looked into is not one that it was made in.
fn make_dir<D: Disk>(disk: &D, dir: &Path) -> Result<(), DataDirError> {
    let there = match disk.create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => true,
        made => {
            made.map_err(failed("creating", dir)).map_err(DataDirError::Io)?;
            false
        }
    };
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    match disk.sync_dir(parent) {
        Err(error) if there && error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced
            .map_err(failed("syncing", parent))
            .map_err(DataDirError::Io),
    }
}

/// Reads the marker of a clean shutdown and removes it for good: whatever happens from now on, this start is the only
/// one that it speaks for.
fn take_marker<D: Disk>(
    disk: &D,
    root: &Path,
    repaired: &mut Vec<Repair>,
) -> Result<Option<BrokerEpoch>, DataDirError> {
    let path = root.join(paths::CLEAN_SHUTDOWN);
    let epoch = match ReplaceFile::read(disk, &path) {
        Ok(None) => return Ok(None),
        Ok(Some(bytes)) => bytes
            .first_chunk::<8>()
            .map(|epoch| BrokerEpoch::new(u64::from_be_bytes(*epoch))),
        // A marker that cannot be read says nothing, and the start is as after a crash.
        Err(DataDirError::Corrupt(corrupt)) => {
            repaired.push(Repair {
                file: path.clone(),
                what: corrupt.what.clone(),
            });
            None
        }
        Err(error) => return Err(error),
    };
    disk.remove(&path)
        .map_err(failed("removing", &path))
        .and_then(|()| disk.sync_dir(root).map_err(failed("syncing", root)))
        .map_err(DataDirError::Io)?;
    Ok(epoch)
}

impl Inventory {
    const fn is_empty(&self) -> bool {
        self.logs.is_empty() && self.away.is_empty()
    }

    fn of<D: Disk>(disk: &D, logs: &Path) -> Result<Self, IoFailure> {
        let mut found = Self::default();
        for topic in disk.list(logs).map_err(failed("listing", logs))? {
            let Some(id) = TopicId::parse(&topic.name).filter(|_| topic.is_dir) else {
                continue;
            };
            let dir = logs.join(&topic.name);
            let entries = match disk.list(&dir) {
                Err(error) if is_gone(&error) => continue,
                entries => entries.map_err(failed("listing", &dir))?,
            };
            for entry in entries.iter().filter(|entry| entry.is_dir) {
                found.add(id, &dir, entry);
            }
        }
        Ok(found)
    }

    fn add(&mut self, topic: TopicId, dir: &Path, entry: &DirEntry) {
        let (name, number) = match entry.name.split_once('.') {
            None => (entry.name.as_str(), None),
            Some((name, rest)) => (name, Some(rest)),
        };
        let Some(partition) = paths::parse_partition(name) else {
            return;
        };
        let partition = TopicPartition { topic, partition };
        let Some(rest) = number else {
            return self.logs.push(partition);
        };
        let (number, suffix) = rest.split_at(rest.find('.').unwrap_or(rest.len()));
        self.last_name = self.last_name.max(number.parse().unwrap_or(0));
        let delete = suffix == paths::DELETED;
        if delete || suffix == paths::CORRUPT {
            self.away.push(Away {
                partition,
                dir: dir.join(&entry.name),
                delete,
            });
        }
    }
}

impl<D: Disk> DataDir<D> {
    /// Finishes what was begun: if the slot speaks of the log that went, or of one before it, it is to speak of nothing.
    fn finish(&self, away: &Away) -> Result<(), IoFailure> {
        let number = self.note_number(&away.dir);
        if let Known::Slot(_, slot) = self.marks().known(away.partition) {
            let stale = match number? {
                Some(number) => slot.incarnation <= number,
                None => slot.mark.is_some() && !self.has_dir(away.partition),
            };
            if stale {
                self.marks().release_now(away.partition)?;
            }
        }
        if away.delete {
            self.discard_dir(away.dir.clone());
        }
        Ok(())
    }

    /// The number of the log in this directory, if its journal tells; no other log is to have it.
    fn note_number(&self, dir: &Path) -> Result<Option<u64>, IoFailure> {
        let journal = EpochFile::read(self.disk(), &dir.join(paths::EPOCHS))?.flatten();
        let number = journal.map(|epochs| epochs.incarnation);
        if let Some(number) = number {
            self.marks().number_was_used(number);
        }
        Ok(number)
    }

    fn has_dir(&self, partition: TopicPartition) -> bool {
        self.disk().list(&paths::log_dir(self.root(), partition)).is_ok()
    }
}
