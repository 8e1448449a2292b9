//! The fake disk.

use crate::{Access, DirEntry, Disk, DiskFile};
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

/// Faults to come, each with a chance in 65,536 a call, decided from the disk's seed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    /// A write fails with EIO.
    pub write_eio: u16,
    /// A write or a creation finds the disk full.
    pub no_space: u16,
    /// A write is short.
    pub short_write: u16,
    /// A sync fails with EIO: dirty pages are dropped, and the next sync says that all is well.
    pub sync_eio: u16,
    /// A read fails with EIO.
    pub read_eio: u16,
}

/// What was done to a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Writes.
    pub writes: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Reads.
    pub reads: u64,
    /// Syncs of a file.
    pub file_syncs: u64,
    /// Syncs of a directory.
    pub dir_syncs: u64,
    /// Syncs of everything.
    pub filesystem_syncs: u64,
    /// Files that are open.
    pub open_files: u64,
    /// The most that were open at a time.
    pub open_files_most: u64,
}

/// A disk in memory that keeps what is live and what is durable apart, for contents and for names. Cheap to clone: the
/// clones are one disk. Deterministic from its seed.
#[derive(Clone, Debug)]
pub struct FakeDisk(Arc<()>);

impl FakeDisk {
    /// An empty disk with its root directory.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let _ = seed;
        Self(Arc::new(()))
    }

    /// The power goes: of what was not synced each page, each length and each change of a name is kept, dropped or
    /// torn, as `seed` decides. Open files and locks are gone: every call on them fails.
    pub fn crash(&self, seed: u64) {
        let _ = (seed, &self.0);
        todo!("API")
    }

    /// The process dies and the machine lives: all that was written is kept. Open files and locks are gone.
    pub fn kill(&self) {
        todo!("API")
    }

    /// Sets what goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        let _ = faults;
        todo!("API")
    }

    /// How many more bytes there is room for; `None` for no limit.
    pub fn set_room(&self, bytes: Option<u64>) {
        let _ = bytes;
        todo!("API")
    }

    /// What was done so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        todo!("API")
    }
}

impl Disk for FakeDisk {
    type File = FakeFile;
    type Lock = FakeLock;
    const PARALLEL: bool = false;

    fn open(&self, path: &Path, access: Access) -> io::Result<FakeFile> {
        let _ = (path, access);
        todo!("API")
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let _ = path;
        todo!("API")
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let _ = path;
        todo!("API")
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        let _ = path;
        todo!("API")
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let _ = (from, to);
        todo!("API")
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let _ = dir;
        todo!("API")
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let _ = dir;
        todo!("API")
    }
    fn sync_filesystem(&self) -> io::Result<()> {
        todo!("API")
    }
    fn lock(&self, path: &Path) -> io::Result<Option<FakeLock>> {
        let _ = path;
        todo!("API")
    }
}

/// An open file of a [`FakeDisk`].
#[derive(Debug)]
pub struct FakeFile(());

/// A lock on a [`FakeDisk`].
#[derive(Debug)]
pub struct FakeLock {
    _held: (),
}

impl DiskFile for FakeFile {
    type Map = Vec<u8>;

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let _ = (buf, position, self.0);
        todo!("API")
    }
    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        let _ = (parts, position);
        todo!("API")
    }
    fn len(&self) -> io::Result<u64> {
        todo!("API")
    }
    fn sync_data(&self) -> io::Result<()> {
        todo!("API")
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        let _ = len;
        todo!("API")
    }
    fn preallocate(&self, len: u64) -> io::Result<()> {
        let _ = len;
        todo!("API")
    }
    fn map(&self, len: usize) -> io::Result<Vec<u8>> {
        let _ = len;
        todo!("API")
    }
}
