//! The real disk: with [`super::behind`] and [`super::direct`] all of this crate that makes system calls.

use super::behind::{Behind, Written};
use super::{Access, DirEntry, Disk, DiskFile, Taken};
use memmap2::Mmap;
use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::Path;
use std::sync::Arc;

/// The machine's file system.
#[derive(Clone, Debug)]
pub struct RealDisk {
    /// A directory on the file system that `syncfs` is for. Opened once: a descriptor reports each write error of its
    /// file system since it was opened, and a new one would not know of the earlier ones.
    root: Arc<File>,
    /// `None`: the files are in memory. Room ahead would be memory taken and cleared, and gains nothing; and a write is a
    /// copy, for which nobody needs to wait.
    behind: Option<Arc<Behind>>,
}

/// What `statfs` says of a file system in memory: Linux's `TMPFS_MAGIC`.
const TMPFS: i64 = 0x0102_1994;

impl RealDisk {
    /// The file system of the directory `root`, which is created if need be, by a name that outlasts a power cut.
    ///
    /// # Errors
    /// Whatever the system says.
    #[expect(
        clippy::disallowed_methods,
        reason = "this file is where system calls are made"
    )]
    pub fn new(root: &Path) -> io::Result<Self> {
        let is_new = |dir: &&Path| !dir.as_os_str().is_empty() && !dir.exists();
        let new: Vec<&Path> = root.ancestors().take_while(is_new).collect();
        fs::create_dir_all(root)?;
        for dir in new {
            let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        Self::existing(root)
    }

    /// The file system of `root`, a file or directory that exists; for looking only.
    ///
    /// # Errors
    /// Whatever the system says.
    #[expect(
        clippy::disallowed_methods,
        reason = "this file is where system calls are made"
    )]
    pub fn existing(root: &Path) -> io::Result<Self> {
        let root = File::open(root)?;
        let kind = rustix::fs::fstatfs(&root)?.f_type;
        Ok(Self {
            root: Arc::new(root),
            behind: (kind != TMPFS).then(|| Arc::new(Behind::new())),
        })
    }
}

impl Disk for RealDisk {
    type File = RealFile;
    type Lock = File;
    const PARALLEL: bool = true;

    #[expect(
        clippy::disallowed_methods,
        reason = "this file is where system calls are made"
    )]
    fn open(&self, path: &Path, access: Access) -> io::Result<RealFile> {
        let mut options = OpenOptions::new();
        options.read(true);
        match access {
            Access::Read => &mut options,
            Access::Write => options.write(true),
            Access::CreateNew => options.write(true).create_new(true),
        };
        let file = Written::new(options.open(path)?.into(), self.behind.clone());
        file.settle_others();
        Ok(RealFile(Arc::new(file)))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this file is where system calls are made"
    )]
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this file is where system calls are made"
    )]
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this file is where system calls are made"
    )]
    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this file is where system calls are made"
    )]
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this file is where system calls are made"
    )]
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.settle();
        let mut found = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let about = match entry.metadata() {
                Ok(about) => about,
                Err(gone) if gone.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            found.push(DirEntry {
                name: entry.file_name().to_string_lossy().into_owned(),
                is_dir: about.is_dir(),
                len: about.len(),
            });
        }
        found.sort_unstable();
        Ok(found)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this file is where system calls are made"
    )]
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        Ok(rustix::fs::fsync(File::open(dir)?)?)
    }

    fn settle(&self) {
        if let Some(behind) = &self.behind {
            behind.settle();
        }
    }

    fn sync_filesystem(&self) -> io::Result<()> {
        if let Some(behind) = &self.behind {
            behind.complete()?;
        }
        Ok(rustix::fs::syncfs(self.root.as_fd())?)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this file is where system calls are made"
    )]
    fn lock(&self, path: &Path) -> io::Result<Option<File>> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// A file of the machine's.
#[derive(Debug)]
pub struct RealFile(Arc<Written>);

impl Drop for RealFile {
    /// What was taken by this handle is written for whoever has another.
    fn drop(&mut self) {
        self.0.settled();
    }
}

impl DiskFile for RealFile {
    type Map = Mmap;

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        // Where a write failed there are not the bytes that were taken.
        let file = self.0.complete(self.0.taken())?;
        Ok(rustix::io::retry_on_intr(|| {
            rustix::io::pread(file, &mut *buf, position)
        })?)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| {
            rustix::io::pwritev(self.0.file(), parts, position)
        })?)
    }

    fn write_behind(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        self.0.take(parts, position)
    }

    fn taken(&self) -> Taken {
        self.0.taken()
    }

    fn len(&self) -> io::Result<u64> {
        let about = rustix::fs::fstat(self.0.settled())?;
        u64::try_from(about.st_size).map_err(|_| io::ErrorKind::InvalidData.into())
    }

    fn sync_taken(&self, taken: Taken) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(self.0.complete(taken)?)?)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        Ok(rustix::fs::ftruncate(self.0.settled(), len)?)
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(self.0.settled(), FallocateFlags::empty(), 0, len) {
            // Not every file system can: the file has its length then, and its room when it is written.
            Err(Errno::OPNOTSUPP) if self.len()? < len => self.truncate(len),
            Err(Errno::OPNOTSUPP) => Ok(()),
            done => Ok(done?),
        }
    }

    fn reserve(&self, room: Range<u64>) -> io::Result<()> {
        if !self.0.is_on_disk() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let len = room.end.saturating_sub(room.start);
        Ok(rustix::fs::fallocate(
            self.0.file(),
            FallocateFlags::KEEP_SIZE,
            room.start,
            len,
        )?)
    }

    fn give_back(&self) -> io::Result<()> {
        // Cutting a file to the length it has frees what it holds beyond.
        self.truncate(self.len()?)
    }

    #[expect(
        unsafe_code,
        reason = "mapping a file is unsafe: another process could cut it, and the next look would be a signal"
    )]
    fn map(&self, len: usize) -> io::Result<Mmap> {
        // SAFETY: the map is read-only. The data directory is locked, so no other process of ours changes the file;
        // this one writes an index only beyond what is mapped, and removes or replaces it instead of cutting it.
        unsafe {
            memmap2::MmapOptions::new()
                .len(len)
                .map(self.0.settled().as_raw_fd())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(len: u32) -> Vec<u8> {
        (0..len)
            .map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[3])
            .collect()
    }

    fn take(file: &RealFile, bytes: &[u8], position: u64) {
        let (first, second) = bytes.split_at(bytes.len() / 3);
        let mut parts = [IoSlice::new(first), IoSlice::new(second)];
        crate::files::write_all_by(&mut parts, position, |parts, at| file.write_behind(parts, at)).unwrap();
    }

    #[test]
    fn what_is_written_behind_is_read_as_it_was_taken() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(dir.path()).unwrap();
        let file = disk.open(&dir.path().join("log"), Access::CreateNew).unwrap();
        let bytes = bytes(6_000_000);
        let mut end = 0;
        for len in [1, 300_000, 4096, 262_144, 2_500_000, 70_001, 5_000, 2_097_152] {
            take(&file, &bytes[end..end + len], end as u64);
            end += len;
            if len % 2 == 0 {
                file.sync_data().unwrap();
            }
            let mut read = vec![0; end];
            assert_eq!(
                crate::files::read_full::<RealDisk>(&file, &mut read, 0).unwrap(),
                end
            );
            assert!(read == bytes[..end], "after {len} bytes");
            assert_eq!(file.len().unwrap(), end as u64);
        }
    }

    #[test]
    fn a_cut_comes_after_what_was_taken_before_it_whoever_makes_it() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(dir.path()).unwrap();
        let path = dir.path().join("log");
        let file = disk.open(&path, Access::CreateNew).unwrap();
        let bytes = bytes(1_900_000);
        for round in 0..30 {
            take(&file, &bytes, 0);
            take(&file, &bytes, bytes.len() as u64);
            std::thread::scope(|scope| {
                // Somebody may be writing it.
                scope.spawn(|| disk.settle());
                if round % 2 == 0 {
                    file.truncate(1000).unwrap();
                } else {
                    let another = disk.open(&path, Access::Write).unwrap();
                    another.truncate(1000).unwrap();
                }
            });
            file.sync_data().unwrap();
            assert_eq!(file.len().unwrap(), 1000, "round {round}");
            take(&file, &bytes, 0);
            let listed = disk.list(dir.path()).unwrap();
            assert_eq!(listed[0].len, bytes.len() as u64, "round {round}");
            file.truncate(0).unwrap();
        }
    }

    #[test]
    fn a_write_that_failed_behind_shows_at_every_sync_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(dir.path()).unwrap();
        let path = dir.path().join("log");
        disk.open(&path, Access::CreateNew).unwrap();
        let unwritable = disk.open(&path, Access::Read).unwrap();
        let sound = disk.open(&dir.path().join("sound"), Access::CreateNew).unwrap();
        if unwritable.write_behind(&[IoSlice::new(&[1; 5000])], 0).is_err() {
            assert!(
                disk.behind.is_none(),
                "nothing is taken where files are in memory"
            );
            return;
        }
        for _ in 0..2 {
            unwritable.sync_data().unwrap_err();
        }
        unwritable.read_at(&mut [0; 10], 0).unwrap_err();
        sound.sync_data().unwrap();
        disk.sync_filesystem().unwrap_err();
        disk.sync_filesystem().unwrap();
        unwritable.sync_data().unwrap_err();
    }

    #[test]
    fn room_is_held_beyond_the_end_until_it_is_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(dir.path()).unwrap();
        let file = disk.open(&dir.path().join("log"), Access::CreateNew).unwrap();
        file.write_at(&[IoSlice::new(&[1; 5000])], 0).unwrap();
        let held = |file: &RealFile| {
            u64::try_from(rustix::fs::fstat(file.0.file()).unwrap().st_blocks).unwrap() * 512
        };
        if let Err(refused) = file.reserve(5000..4 << 20) {
            assert_eq!(refused.kind(), io::ErrorKind::Unsupported);
            return;
        }
        assert_eq!(file.len().unwrap(), 5000);
        assert!(held(&file) >= 4 << 20, "{}", held(&file));
        file.give_back().unwrap();
        assert_eq!(file.len().unwrap(), 5000);
        assert!(held(&file) < 1 << 20, "{}", held(&file));
        let mut bytes = [0; 5000];
        assert_eq!(file.read_at(&mut bytes, 0).unwrap(), 5000);
        assert_eq!(bytes, [1; 5000]);
    }
}
