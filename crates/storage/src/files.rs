//! Open files: how many there are, and which of them stay open although nobody uses them.
//!
//! A file that waits for a flush is held by whoever wrote it, and so is one that is being read; those are never closed
//! here. The rest is a ring: a hand goes round and closes what was not used since it last came by.

use crate::{Access, DataDirOptions, Disk, DiskFile, IO_PARTS_MAX, IoFailure, Taken};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Locks, and goes on after a panic elsewhere: what is guarded here is never left half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A map of an index.
type Map<D> = <<D as Disk>::File as DiskFile>::Map;

/// An open file and its path. A segment's may have the map of its index with it, so that both go at once.
#[derive(Debug)]
pub(crate) struct OpenFile<D: Disk> {
    file: D::File,
    path: PathBuf,
    index: Mutex<Option<(usize, Arc<Map<D>>)>>,
    used: AtomicBool,
    open: Arc<AtomicUsize>,
}

impl<D: Disk> Drop for OpenFile<D> {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<D: Disk> OpenFile<D> {
    pub(crate) fn file(&self) -> &D::File {
        &self.file
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps it from being closed the next time the hand comes by.
    pub(crate) fn touch(&self) {
        self.used.store(true, Ordering::Relaxed);
    }

    /// The map of the first `len` bytes of its index, which `open` opens if it is not mapped so far.
    pub(crate) fn index_map(
        &self,
        len: usize,
        open: impl FnOnce() -> io::Result<Arc<Self>>,
    ) -> io::Result<Arc<Map<D>>> {
        let mut index = lock(&self.index);
        if let Some((mapped, map)) = &*index
            && *mapped >= len
        {
            return Ok(Arc::clone(map));
        }
        let file = open()?;
        if file.file.len()? < len as u64 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let map = Arc::new(file.file.map(len)?);
        *index = Some((len, Arc::clone(&map)));
        Ok(map)
    }

    /// Drops the map: the index was made anew.
    pub(crate) fn forget_index(&self) {
        *lock(&self.index) = None;
    }

    /// An error with this file's name.
    pub(crate) fn failure(&self, doing: &'static str) -> impl FnOnce(io::Error) -> IoFailure + '_ {
        move |source| failed(doing, &self.path)(source)
    }

    /// Writes all the parts, in as few calls as the disk allows.
    pub(crate) fn write_all(&self, parts: &mut [IoSlice<'_>], position: u64) -> Result<(), IoFailure> {
        write_all::<D>(&self.file, parts, position).map_err(self.failure("writing"))
    }

    /// The same behind the caller.
    pub(crate) fn write_all_behind(&self, parts: &mut [IoSlice<'_>], position: u64) -> Result<(), IoFailure> {
        let write = |parts: &[IoSlice<'_>], position| self.file.write_behind(parts, position);
        write_all_by(parts, position, write).map_err(self.failure("writing"))
    }

    pub(crate) fn sync(&self) -> Result<(), IoFailure> {
        self.sync_taken(self.file.taken())
    }

    /// The same for what had been taken by then.
    pub(crate) fn sync_taken(&self, taken: Taken) -> Result<(), IoFailure> {
        self.file.sync_taken(taken).map_err(self.failure("syncing"))
    }
}

/// Makes an [`IoFailure`] of an error.
pub(crate) fn failed(doing: &'static str, file: &Path) -> impl FnOnce(io::Error) -> IoFailure {
    let file = file.to_owned();
    move |source| IoFailure { doing, file, source }
}

/// Writes all the parts, in as few calls as the disk allows.
pub(crate) fn write_all<D: Disk>(file: &D::File, parts: &mut [IoSlice<'_>], position: u64) -> io::Result<()> {
    write_all_by(parts, position, |parts, position| file.write_at(parts, position))
}

/// The same by another way of writing.
pub(crate) fn write_all_by(
    mut parts: &mut [IoSlice<'_>],
    mut position: u64,
    write: impl Fn(&[IoSlice<'_>], u64) -> io::Result<usize>,
) -> io::Result<()> {
    IoSlice::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        let now = parts.len().min(IO_PARTS_MAX);
        let written = write(&parts[..now], position)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        position += written as u64;
        IoSlice::advance_slices(&mut parts, written);
    }
    Ok(())
}

/// Fills the buffer from `position` on as far as the file goes.
pub(crate) fn read_full<D: Disk>(file: &D::File, buf: &mut [u8], position: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        let read = file.read_at(&mut buf[filled..], position + filled as u64)?;
        if read == 0 {
            break;
        }
        filled += read;
    }
    Ok(filled)
}

/// Reads a whole small file; `None` if there is none.
pub(crate) fn read_small<D: Disk>(disk: &D, path: &Path) -> Result<Option<Vec<u8>>, IoFailure> {
    let file = match disk.open(path, Access::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("opening", path)(error)),
    };
    let len = file.len().map_err(failed("reading", path))?;
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
    let read = read_full::<D>(&file, &mut bytes, 0).map_err(failed("reading", path))?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// Whether an error says that there is no room: a nuisance and no failure.
pub(crate) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull, WriteZero};
    matches!(
        error.kind(),
        StorageFull | QuotaExceeded | FileTooLarge | WriteZero
    )
}

/// The open files of one data directory.
#[derive(Debug)]
pub(crate) struct Files<D: Disk> {
    disk: D,
    options: DataDirOptions,
    open: Arc<AtomicUsize>,
    ring: Mutex<Ring<D>>,
}

#[derive(Debug)]
struct Ring<D: Disk> {
    files: Vec<Arc<OpenFile<D>>>,
    hand: usize,
}

impl<D: Disk> Files<D> {
    pub(crate) fn new(disk: D, options: DataDirOptions) -> Self {
        let ring = Ring {
            files: Vec::new(),
            hand: 0,
        };
        Self {
            disk,
            options,
            open: Arc::default(),
            ring: Mutex::new(ring),
        }
    }

    /// How many files are open.
    pub(crate) fn open_now(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Whether so many files wait for a flush that no more should begin to.
    pub(crate) fn too_many(&self) -> bool {
        self.open_now() >= self.options.open_files_max
    }

    /// Opens a file, for the caller alone.
    pub(crate) fn open(&self, path: &Path, access: Access) -> io::Result<Arc<OpenFile<D>>> {
        let file = self.disk.open(path, access)?;
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(OpenFile {
            file,
            path: path.to_owned(),
            index: Mutex::new(None),
            used: AtomicBool::new(true),
            open: Arc::clone(&self.open),
        }))
    }

    /// Removes a file that may be there.
    pub(crate) fn remove(&self, path: &Path) -> Result<(), IoFailure> {
        match self.disk.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("removing", path)(error)),
            _ => Ok(()),
        }
    }

    /// Makes a directory's names durable.
    pub(crate) fn sync_dir(&self, dir: &Path) -> Result<(), IoFailure> {
        self.disk.sync_dir(dir).map_err(failed("syncing", dir))
    }

    /// The disk.
    pub(crate) const fn disk(&self) -> &D {
        &self.disk
    }

    /// Renames a file.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    /// Keeps a file open for its next user, and closes others for it if need be.
    pub(crate) fn keep(&self, file: &Arc<OpenFile<D>>) {
        let mut closed = Vec::new();
        let mut ring = lock(&self.ring);
        ring.files.push(Arc::clone(file));
        let mut looks = ring.files.len() * 2;
        while ring.files.len() > self.options.open_files && looks > 0 {
            looks -= 1;
            ring.hand = if ring.hand < ring.files.len() {
                ring.hand
            } else {
                0
            };
            let at = ring.hand;
            // One owner is the ring itself: nobody can come by another, since segments hold theirs weakly.
            let idle = Arc::strong_count(&ring.files[at]) == 1;
            if idle && !ring.files[at].used.swap(false, Ordering::Relaxed) {
                closed.push(ring.files.swap_remove(at));
            } else {
                ring.hand += 1;
            }
        }
        drop(ring);
    }

    /// Closes a file as soon as its users are done with it.
    pub(crate) fn forget(&self, file: &Arc<OpenFile<D>>) {
        let mut ring = lock(&self.ring);
        let at = ring.files.iter().position(|other| Arc::ptr_eq(other, file));
        let gone = at.map(|at| ring.files.swap_remove(at));
        drop(ring);
        drop(gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_util::FakeDisk;

    fn files(open_files: usize) -> (FakeDisk, Files<FakeDisk>) {
        let disk = FakeDisk::new(1);
        let options = DataDirOptions {
            open_files,
            open_files_max: 100,
        };
        (disk.clone(), Files::new(disk, options))
    }

    #[test]
    fn files_that_nobody_uses_are_closed_beyond_the_budget() {
        let (disk, files) = files(4);
        let mut held = Vec::new();
        for at in 0..20 {
            let file = files
                .open(Path::new(&format!("/{at}")), Access::CreateNew)
                .unwrap();
            files.keep(&file);
            if at < 3 {
                held.push(file);
            }
        }
        assert_eq!(files.open_now(), 4);
        assert_eq!(disk.counts().open_files, 4);
        assert!(held.iter().all(|file| file.file().len().is_ok()));
    }

    #[test]
    fn files_in_use_stay_open_past_the_budget() {
        let (_, files) = files(2);
        let held: Vec<_> = (0..6)
            .map(|at| {
                let file = files
                    .open(Path::new(&format!("/{at}")), Access::CreateNew)
                    .unwrap();
                files.keep(&file);
                file
            })
            .collect();
        assert_eq!(files.open_now(), 6);
        drop(held);
        let last = files.open(Path::new("/last"), Access::CreateNew).unwrap();
        files.keep(&last);
        files.keep(&last);
        assert!(files.open_now() <= 3);
        files.forget(&last);
    }

    #[test]
    fn a_write_of_many_parts_and_short_writes_writes_all() {
        let (disk, files) = files(2);
        disk.set_faults(crate::test_util::Faults {
            short_write: 20_000,
            ..Default::default()
        });
        let file = files.open(Path::new("/f"), Access::CreateNew).unwrap();
        let bytes: Vec<u8> = (0..5000_u16).map(|at| at.to_le_bytes()[0]).collect();
        let mut parts: Vec<_> = bytes.chunks(2).map(IoSlice::new).collect();
        assert!(parts.len() > IO_PARTS_MAX);
        file.write_all(&mut parts, 0).unwrap();
        assert_eq!(disk.contents(Path::new("/f")).unwrap(), bytes);
    }
}
