//! Snapshots as files.

use super::Contents;
use super::codec::{self, SnapshotError};
use crate::StartError;
use quipu_storage::{Access, Disk, DiskFile};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Snapshots that stay: the newest, and the one before.
const KEPT: usize = 2;
const SUFFIX: &str = ".snap";
const UNFINISHED: &str = ".snap.tmp";

/// The snapshots of one directory. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotStore<D: Disk> {
    disk: D,
    dir: PathBuf,
    /// Held while one is written; true once nothing more is.
    closed: Arc<Mutex<bool>>,
}

impl<D: Disk> SnapshotStore<D> {
    /// The snapshots in `dir`, which exists. What was not finished goes.
    pub(crate) fn open(disk: D, dir: &Path) -> io::Result<Self> {
        let store = Self {
            disk,
            dir: dir.to_owned(),
            closed: Arc::default(),
        };
        for entry in store.disk.list(dir)? {
            if entry.name.ends_with(UNFINISHED) {
                store.disk.remove(&dir.join(&entry.name))?;
            }
        }
        Ok(store)
    }

    /// The index of the last entry in each snapshot, newest first.
    pub(crate) fn indexes(&self) -> io::Result<Vec<u64>> {
        let entries = self.disk.list(&self.dir)?;
        let index = |name: &str| {
            name.strip_suffix(SUFFIX)
                .filter(|n| n.len() == 20)
                .and_then(|n| n.parse().ok())
        };
        let mut indexes: Vec<u64> = entries.iter().filter_map(|entry| index(&entry.name)).collect();
        indexes.sort_unstable_by(|a, b| b.cmp(a));
        Ok(indexes)
    }

    /// Writes a snapshot; durable under its name on return. Older ones than the last two go.
    ///
    /// # Errors
    ///
    /// The disk's; `BrokenPipe` once it is closed.
    pub(crate) fn write(&self, contents: &Contents) -> io::Result<()> {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        if *closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let index = contents.last.map_or(0, |last| last.index);
        let path = self.path(index);
        let beside = self.dir.join(format!("{index:020}{UNFINISHED}"));
        match self.disk.remove(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.disk.open(&beside, Access::CreateNew)?;
        let mut position = 0;
        codec::write(contents, |mut bytes| {
            while !bytes.is_empty() {
                let written = file.write_at(&[IoSlice::new(bytes)], position)?;
                if written == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                position += u64::try_from(written).unwrap_or(0);
                bytes = &bytes[written..];
            }
            Ok(())
        })?;
        file.sync_data()?;
        self.disk.rename(&beside, &path)?;
        self.disk.sync_dir(&self.dir)?;
        for old in self.indexes()?.into_iter().skip(KEPT) {
            self.disk.remove(&self.path(old))?;
        }
        Ok(())
    }

    /// Waits for the one that is being written; none is written after it, so that the directory is the next owner's.
    pub(crate) fn close(&self) {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    fn read(&self, index: u64) -> Result<Contents, SnapshotError> {
        let file = self.disk.open(&self.path(index), Access::Read)?;
        let mut position = 0;
        codec::read(|mut buf| {
            while !buf.is_empty() {
                let read = file.read_at(buf, position)?;
                if read == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                position += u64::try_from(read).unwrap_or(0);
                buf = &mut buf[read..];
            }
            Ok(())
        })
    }

    /// The newest snapshot. If it is damaged, the one before serves as well, as long as the log still has every entry
    /// after it (`purged` is the last that it has not).
    pub(crate) fn newest(&self, purged: Option<u64>) -> Result<Option<Contents>, StartError> {
        let indexes = self.indexes().map_err(|source| StartError::Io {
            path: self.dir.clone(),
            source,
        })?;
        let mut first_error = None;
        for index in indexes {
            if first_error.is_some() && purged.is_some_and(|purged| index < purged) {
                break;
            }
            match self.read(index) {
                Ok(contents) => return Ok(Some(contents)),
                Err(error) => {
                    let path = self.path(index);
                    tracing::warn!(file = %path.display(), %error, "a snapshot of the metadata cannot be read");
                    first_error.get_or_insert(start_error(path, error));
                }
            }
        }
        match first_error {
            // The log has everything: no snapshot is needed.
            Some(_) if purged.is_none() => Ok(None),
            Some(error) => Err(error),
            None => Ok(None),
        }
    }

    fn path(&self, index: u64) -> PathBuf {
        self.dir.join(format!("{index:020}{SUFFIX}"))
    }
}

fn start_error(path: PathBuf, error: SnapshotError) -> StartError {
    match error {
        SnapshotError::Io(source) => StartError::Io { path, source },
        SnapshotError::Bad { position, what } => StartError::Corrupt { path, position, what },
        error => StartError::Corrupt {
            path,
            position: 0,
            what: error.to_string(),
        },
    }
}
