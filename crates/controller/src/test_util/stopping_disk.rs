//! A disk that stops at a given call: the way to a crash at every point there is.

use quipu_storage::{Access, DirEntry, Disk, DiskFile, Taken};
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A disk that does so many calls which change something, and no more: the next one happens not at all, and all that
/// follow fail. Then crash the disk inside, and open it again. Cheap to clone; the clones count together.
#[derive(Clone, Debug)]
pub struct StoppingDisk<D> {
    inner: D,
    left: Arc<AtomicU64>,
}

impl<D> StoppingDisk<D> {
    /// A disk that stops after `calls` calls.
    pub fn new(inner: D, calls: u64) -> Self {
        Self {
            inner,
            left: Arc::new(AtomicU64::new(calls)),
        }
    }

    /// Whether it has stopped.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }

    /// How many calls are left.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }
}

fn take(left: &AtomicU64) -> io::Result<()> {
    let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
    taken
        .map(|_| ())
        .map_err(|_| io::Error::other("the machine has stopped"))
}

impl<D: Disk> Disk for StoppingDisk<D> {
    type File = StoppingFile<D::File>;
    type Lock = D::Lock;
    const PARALLEL: bool = false;

    fn open(&self, path: &Path, access: Access) -> io::Result<Self::File> {
        take(&self.left)?;
        Ok(StoppingFile {
            inner: self.inner.open(path, access)?,
            left: Arc::clone(&self.left),
        })
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        take(&self.left)?;
        self.inner.create_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        take(&self.left)?;
        self.inner.remove_dir(path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        take(&self.left)?;
        self.inner.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        take(&self.left)?;
        self.inner.rename(from, to)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.inner.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        take(&self.left)?;
        self.inner.sync_dir(dir)
    }

    fn sync_filesystem(&self) -> io::Result<()> {
        take(&self.left)?;
        self.inner.sync_filesystem()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<D::Lock>> {
        take(&self.left)?;
        self.inner.lock(path)
    }
}

/// A file of a [`StoppingDisk`].
#[derive(Debug)]
pub struct StoppingFile<F> {
    inner: F,
    left: Arc<AtomicU64>,
}

impl<F: DiskFile> DiskFile for StoppingFile<F> {
    type Map = F::Map;

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.inner.read_at(buf, position)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        take(&self.left)?;
        self.inner.write_at(parts, position)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn sync_taken(&self, taken: Taken) -> io::Result<()> {
        take(&self.left)?;
        self.inner.sync_taken(taken)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        take(&self.left)?;
        self.inner.truncate(len)
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        take(&self.left)?;
        self.inner.preallocate(len)
    }

    fn map(&self, len: usize) -> io::Result<F::Map> {
        self.inner.map(len)
    }
}
