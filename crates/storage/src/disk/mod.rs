//! All that the log asks of a disk. Two implement it: [`RealDisk`], and the fake that loses what was not synced.

mod behind;
pub(crate) mod direct;
mod real;

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::ops::{Deref, Range};
use std::path::Path;

pub use real::RealDisk;

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// An existing file, for reading.
    Read,
    /// An existing file, for reading and writing.
    Write,
    /// A file that must not exist yet, for reading and writing. Its name is durable after [`Disk::sync_dir`].
    CreateNew,
}

/// What a directory has.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DirEntry {
    /// The last part of its path.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Bytes, if it is a file.
    pub len: u64,
}

/// A file system, as far as logs need one. A handle is cheap to clone. A change of names (create, rename, remove) is
/// durable once the directory was synced, contents once the file was; nothing orders them otherwise.
pub trait Disk: Clone + Debug + Send + Sync + 'static {
    /// An open file.
    type File: DiskFile;
    /// Held for as long as a lock is.
    type Lock: Debug + Send + Sync + 'static;
    /// Whether syncs gain by running in parallel; a simulated disk says no, and stays deterministic.
    const PARALLEL: bool;

    /// Opens a file.
    fn open(&self, path: &Path, access: Access) -> io::Result<Self::File>;
    /// Creates one directory; its parent is there.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Removes a file's name. Open handles go on reading it.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Renames a file or a directory, over a file that may be there: after a crash it is the one or the other.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// What the directory has, sorted by name.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;
    /// Makes the directory's names durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes everything durable, with one `syncfs` on a descriptor opened at start and never reopened.
    fn sync_filesystem(&self) -> io::Result<()>;
    /// Writes what is taken by now, of all files: before another may have the directory, or a kill must lose nothing.
    fn settle(&self) {}
    /// Takes an exclusive lock on the file, creating it; `None` if another process (or handle) has it.
    fn lock(&self, path: &Path) -> io::Result<Option<Self::Lock>>;
}

/// An open file. Positioned, so that readers and the writer share it. Closing one that has unsynced bytes may lose a
/// write error for good: whoever wrote keeps it open until it is synced.
#[expect(
    clippy::len_without_is_empty,
    reason = "a file's length may fail, and nobody asks for emptiness"
)]
pub trait DiskFile: Debug + Send + Sync + 'static {
    /// A read-only map of the beginning of the file. Only indexes are mapped: a fault on a map stalls its thread, and
    /// an I/O error there is a signal.
    type Map: Deref<Target = [u8]> + Debug + Send + Sync + 'static;

    /// Reads at most `buf.len()` bytes at `position`; 0 at the end of the file.
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize>;
    /// Writes the parts one after another at `position`. May write less than all; takes at most [`IO_PARTS_MAX`] parts.
    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize>;
    /// Takes the parts, or the first of them, to be written behind the caller, and past the cache if that can be: for many
    /// bytes that nobody is expected to read soon, and for which there is room ([`DiskFile::reserve`]). Says how much it took.
    /// They are written when somebody needs them there, at the next sync at the latest. Whoever reads finds them, or hears
    /// that they could not be written. What fails shows at the sync, as it may with any write; what the process has taken and
    /// not written goes with it.
    fn write_behind(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        self.write_at(parts, position)
    }
    /// What was taken so far.
    fn taken(&self) -> Taken {
        Taken::default()
    }
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Writes what had been taken by then, and makes it durable, with all other writes. After an error what was not durable
    /// before may be gone: never ask twice.
    fn sync_taken(&self, taken: Taken) -> io::Result<()>;
    /// Makes the contents durable.
    fn sync_data(&self) -> io::Result<()> {
        self.sync_taken(self.taken())
    }
    /// Cuts it, or extends it with zeros.
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// Extends it to `len` with zeros for which the disk has room.
    fn preallocate(&self, len: u64) -> io::Result<()>;
    /// Takes room for bytes that will be written there; its length stays. A disk that cannot need do nothing.
    fn reserve(&self, _room: Range<u64>) -> io::Result<()> {
        Ok(())
    }
    /// Gives back the room beyond its end.
    fn give_back(&self) -> io::Result<()> {
        Ok(())
    }
    /// Maps the first `len` bytes, which are there and will not be cut off while the map lives.
    fn map(&self, len: usize) -> io::Result<Self::Map>;
}

/// How many writes a file has taken to make them behind the caller.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Taken(pub(crate) u64);

/// The most parts that one [`DiskFile::write_at`] takes: Linux's `IOV_MAX`.
pub const IO_PARTS_MAX: usize = 1024;
