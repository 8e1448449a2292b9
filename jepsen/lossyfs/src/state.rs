//! The whole file system as plain data: inodes, names, faults to come, what was done.

mod cut;
mod faults;
mod sweep;

use crate::chance::Chance;
use crate::contents::{BLOCK, Contents};
use crate::medium::Medium;
use crate::names::Names;
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};

pub use cut::Cut;

/// An inode's number. Never used again for another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ino(u64);

impl Ino {
    /// The root directory, as FUSE numbers it.
    pub const ROOT: Self = Self(1);

    /// The inode that the kernel calls so; it need not exist.
    #[must_use]
    pub const fn from_kernel(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// What an inode is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
}

/// What `stat` says of an inode. There are no times and no owners in it: nothing that is tested here looks at them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct About {
    /// Its number.
    pub ino: Ino,
    /// What it is.
    pub kind: Kind,
    /// A file's length.
    pub len: u64,
}

/// How much there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The disk's size, in the sum of lengths.
    pub capacity: u64,
    /// Unsynced bytes in memory. Past it a file is written back, as a kernel does that is short of memory.
    pub unsynced: u64,
    /// Unsynced changes of one directory; past it they are written back.
    pub unsynced_names: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            capacity: 64 << 30,
            unsynced: 256 << 20,
            unsynced_names: 1 << 16,
        }
    }
}

/// What was done to a file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Writes.
    pub writes: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Syncs of files.
    pub file_syncs: u64,
    /// Syncs of directories.
    pub dir_syncs: u64,
    /// Syncs that failed because they were told to.
    pub failed_syncs: u64,
    /// Calls that found the disk full.
    pub full: u64,
    /// Files and directories written back for want of memory: a power cut does not take those bytes.
    pub written_back: u64,
    /// Power cuts.
    pub cuts: u64,
    /// Sectors of 512 bytes that power cuts took.
    pub sectors_lost: u64,
    /// Changes of names that power cuts took or might have.
    pub names_at_stake: u64,
}

enum Content<M: Medium> {
    Dir(Names),
    File(Contents<M::Bytes>),
}

struct Node<M: Medium> {
    content: Content<M>,
    /// References that the kernel holds.
    lookups: u64,
}

/// A file system that keeps what is durable and what is only live apart.
pub struct State<M: Medium> {
    medium: M,
    nodes: HashMap<Ino, Node<M>>,
    next: u64,
    limits: Limits,
    /// Syncs that are still to fail.
    syncs_to_fail: u64,
    /// Bytes that there is still room for; `None` for as many as the disk's size allows.
    room: Option<u64>,
    used: u64,
    held: u64,
    stats: Stats,
    sweep_at: usize,
}

type Outcome<T> = Result<T, Errno>;

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err asks for")]
fn failed(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

impl<M: Medium> State<M> {
    /// An empty file system.
    #[must_use]
    pub fn new(medium: M, limits: Limits) -> Self {
        let root = Node {
            content: Content::Dir(Names::default()),
            lookups: 0,
        };
        Self {
            medium,
            nodes: HashMap::from([(Ino::ROOT, root)]),
            next: Ino::ROOT.0 + 1,
            limits,
            syncs_to_fail: 0,
            room: None,
            used: 0,
            held: 0,
            stats: Stats::default(),
            sweep_at: sweep::SWEEP_AT_LEAST,
        }
    }

    fn node(&self, ino: Ino) -> Outcome<&Node<M>> {
        self.nodes.get(&ino).ok_or(Errno::STALE)
    }

    fn names(&self, ino: Ino) -> Outcome<&Names> {
        match &self.node(ino)?.content {
            Content::Dir(names) => Ok(names),
            Content::File(_) => Err(Errno::NOTDIR),
        }
    }

    fn names_mut(&mut self, ino: Ino) -> Outcome<&mut Names> {
        match self.nodes.get_mut(&ino).map(|node| &mut node.content) {
            Some(Content::Dir(names)) => Ok(names),
            Some(Content::File(_)) => Err(Errno::NOTDIR),
            None => Err(Errno::STALE),
        }
    }

    fn file(&self, ino: Ino) -> Outcome<&Contents<M::Bytes>> {
        match &self.node(ino)?.content {
            Content::File(contents) => Ok(contents),
            Content::Dir(_) => Err(Errno::ISDIR),
        }
    }

    fn file_mut(&mut self, ino: Ino) -> Outcome<&mut Contents<M::Bytes>> {
        match self.nodes.get_mut(&ino).map(|node| &mut node.content) {
            Some(Content::File(contents)) => Ok(contents),
            Some(Content::Dir(_)) => Err(Errno::ISDIR),
            None => Err(Errno::STALE),
        }
    }

    /// What `stat` says.
    ///
    /// # Errors
    /// If it is gone.
    pub fn about(&self, ino: Ino) -> Result<About, Errno> {
        let (kind, len) = match &self.node(ino)?.content {
            Content::Dir(_) => (Kind::Dir, 0),
            Content::File(contents) => (Kind::File, contents.len()),
        };
        Ok(About { ino, kind, len })
    }

    /// The inode of a name.
    ///
    /// # Errors
    /// If there is none.
    pub fn find(&self, dir: Ino, name: &OsStr) -> Result<About, Errno> {
        self.about(self.names(dir)?.get(name).ok_or(Errno::NOENT)?)
    }

    /// The kernel holds one more reference.
    pub fn hold(&mut self, ino: Ino) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.lookups += 1;
        }
    }

    /// The kernel gives references back.
    pub fn forget(&mut self, ino: Ino, count: u64) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.lookups = node.lookups.saturating_sub(count);
        }
    }

    /// A directory's names, in order.
    ///
    /// # Errors
    /// If it is none.
    pub fn list(&self, dir: Ino) -> Result<Vec<(OsString, Ino, Kind)>, Errno> {
        let kind = |ino| self.about(ino).map(|about| about.kind);
        let named = self.names(dir)?.live().iter();
        named
            .map(|(name, ino)| Ok((name.clone(), *ino, kind(*ino)?)))
            .collect()
    }

    /// Makes a file or a directory, empty. Neither it nor its name is durable yet.
    ///
    /// # Errors
    /// If the name is taken or the disk is full.
    pub fn make(&mut self, dir: Ino, name: &OsStr, kind: Kind) -> Result<About, Errno> {
        if name.len() > 255 {
            return Err(Errno::NAMETOOLONG);
        }
        if self.names(dir)?.get(name).is_some() {
            return Err(Errno::EXIST);
        }
        if self.left() == 0 {
            return self.full();
        }
        let content = match kind {
            Kind::Dir => Content::Dir(Names::default()),
            Kind::File => Content::File(Contents::new(self.medium.room().map_err(failed)?)),
        };
        let ino = Ino(self.next);
        self.next += 1;
        self.nodes.insert(ino, Node { content, lookups: 0 });
        self.names_mut(dir)?.add(name, ino);
        self.bound_names(dir)?;
        self.about(ino)
    }

    /// Removes a name of a file, or of an empty directory.
    ///
    /// # Errors
    /// If there is none, or it is not such a thing.
    pub fn remove(&mut self, dir: Ino, name: &OsStr, kind: Kind) -> Result<(), Errno> {
        let about = self.find(dir, name)?;
        self.may_go(about, kind)?;
        self.names_mut(dir)?.remove(name);
        self.gone(about);
        self.bound_names(dir)
    }

    /// Renames within a directory, over what may have the new name. From one directory to another is refused, as
    /// between file systems: nobody here asks for it, and there would be two syncs to order.
    ///
    /// # Errors
    /// If the name is not there, or the new one may not be replaced.
    pub fn rename(&mut self, from: (Ino, &OsStr), to: (Ino, &OsStr), replace: bool) -> Result<(), Errno> {
        let ((dir, old), (target, new)) = (from, to);
        if dir != target {
            return Err(Errno::XDEV);
        }
        if new.len() > 255 {
            return Err(Errno::NAMETOOLONG);
        }
        let moved = self.find(dir, old)?;
        let there = self.find(dir, new).ok();
        if let Some(there) = there {
            if !replace {
                return Err(Errno::EXIST);
            }
            if there.ino == moved.ino {
                return Ok(());
            }
            self.may_go(there, moved.kind)?;
        }
        self.names_mut(dir)?.rename(old, new, moved.ino);
        if let Some(there) = there {
            self.gone(there);
        }
        self.bound_names(dir)
    }

    fn may_go(&self, about: About, kind: Kind) -> Outcome<()> {
        match (about.kind, kind) {
            (Kind::File, Kind::Dir) => Err(Errno::NOTDIR),
            (Kind::Dir, Kind::File) => Err(Errno::ISDIR),
            (Kind::Dir, Kind::Dir) if !self.names(about.ino)?.live().is_empty() => Err(Errno::NOTEMPTY),
            _ => Ok(()),
        }
    }

    /// A file lost its name, and its length no longer counts.
    fn gone(&mut self, about: About) {
        self.used = self.used.saturating_sub(about.len);
        if let Some(room) = &mut self.room {
            *room += about.len;
        }
        self.sweep();
    }

    /// At most `size` bytes of a file.
    ///
    /// # Errors
    /// If it is no file, or the medium fails.
    pub fn read(&self, ino: Ino, position: u64, size: usize) -> Result<Vec<u8>, Errno> {
        self.file(ino)?.read(position, size).map_err(failed)
    }

    /// Writes at `position`, as much as there is room for, and says how much.
    ///
    /// # Errors
    /// If there is none, or the medium fails.
    pub fn write(&mut self, ino: Ino, position: u64, bytes: &[u8]) -> Result<usize, Errno> {
        if bytes.is_empty() {
            // It extends nothing, wherever it is.
            return Ok(0);
        }
        let end = position.checked_add(bytes.len() as u64).ok_or(Errno::FBIG)?;
        let fits = self.grow(ino, end, position)?;
        let fits = usize::try_from(fits - position).map_err(|_| Errno::FBIG)?;
        self.change(ino, |contents| contents.write(position, &bytes[..fits]))?;
        self.stats.writes += 1;
        self.stats.bytes_written += fits as u64;
        Ok(fits)
    }

    /// Cuts a file, or extends it with zeros.
    ///
    /// # Errors
    /// If there is no room.
    pub fn set_len(&mut self, ino: Ino, len: u64) -> Result<(), Errno> {
        if self.grow(ino, len, len.saturating_sub(1))? < len {
            return self.full();
        }
        self.change(ino, |contents| {
            contents.set_len(len);
            Ok(())
        })
    }

    fn change(
        &mut self,
        ino: Ino,
        change: impl FnOnce(&mut Contents<M::Bytes>) -> std::io::Result<()>,
    ) -> Outcome<()> {
        let contents = self.file_mut(ino)?;
        let before = (contents.held(), contents.len());
        let done = change(contents).map_err(failed);
        let after = (contents.held(), contents.len());
        self.held = (self.held + after.0).saturating_sub(before.0);
        self.used = (self.used + after.1).saturating_sub(before.1);
        if let Some(room) = &mut self.room {
            *room = (*room + before.1).saturating_sub(after.1);
        }
        if self.held > self.limits.unsynced {
            self.write_back()?;
        }
        done
    }

    /// Makes a file's bytes and length durable.
    ///
    /// # Errors
    /// If it was told to fail, or the medium does.
    pub fn sync_file(&mut self, ino: Ino) -> Result<(), Errno> {
        self.stats.file_syncs += 1;
        let dirty = self.file(ino)?.is_dirty();
        if dirty && self.syncs_to_fail > 0 {
            self.syncs_to_fail -= 1;
            self.stats.failed_syncs += 1;
            self.file_mut(ino)?.fail_sync();
            return Err(Errno::IO);
        }
        self.change(ino, Contents::sync)
    }

    /// Makes a directory's names durable. One that is told to fail leaves them waiting, as a journal does.
    ///
    /// # Errors
    /// If it was told to fail.
    pub fn sync_dir(&mut self, ino: Ino) -> Result<(), Errno> {
        self.stats.dir_syncs += 1;
        if self.names(ino)?.unsynced() > 0 && self.syncs_to_fail > 0 {
            self.syncs_to_fail -= 1;
            self.stats.failed_syncs += 1;
            return Err(Errno::IO);
        }
        self.names_mut(ino)?.sync();
        self.sweep();
        Ok(())
    }
}
