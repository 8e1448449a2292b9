//! The whole state of a fake disk: inodes, faults to come, what was done.

use super::contents::{Contents, Fate};
use super::rng::Rng;
use super::tree::{Id, Names};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Faults to come, each with a chance in 65,536 a call, decided from the disk's seed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    /// A write fails with EIO.
    pub write_eio: u16,
    /// A write or a creation finds the disk full.
    pub no_space: u16,
    /// A write is short.
    pub short_write: u16,
    /// A sync fails with EIO. A file's dirty pages are dropped, and the next sync says that all is well; a directory's
    /// changes still wait, as a journal's do.
    pub sync_eio: u16,
    /// After a write the pages cannot be written back: they are dropped, and the next sync of a handle that was open
    /// says so, once.
    pub write_back_eio: u16,
    /// The same, after the last handle of a file with unsynced bytes was closed: no later sync of it says so.
    pub close_eio: u16,
    /// A read fails with EIO.
    pub read_eio: u16,
}

/// What was done to a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Writes.
    pub writes: u64,
    /// Of these, past the cache.
    pub direct_writes: u64,
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
    /// Calls that failed with EIO.
    pub eio: u64,
    /// Calls that found the disk full.
    pub no_space: u64,
    /// Writes that were short.
    pub short_writes: u64,
    /// Write-backs that failed with nobody left to tell.
    pub errors_lost: u64,
}

/// What a crash did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CrashReport {
    /// Files whose unsynced bytes all stayed.
    pub files_kept: u64,
    /// Files that lost all of them.
    pub files_dropped: u64,
    /// Files that lost some, page by page.
    pub files_torn: u64,
    /// Changes of names that stayed.
    pub names_kept: u64,
    /// Changes of names that were lost.
    pub names_dropped: u64,
}

#[derive(Debug)]
pub(super) enum Node {
    Dir(Names),
    File(FileNode),
}

#[derive(Debug)]
pub(super) struct FileNode {
    pub(super) contents: Contents,
    pub(super) handles: u32,
    /// Failed write-backs so far; a handle remembers how many of them it has told.
    pub(super) errors: u64,
    /// Whether some handle told of the last one.
    pub(super) told: bool,
    pub(super) behind: Behind,
}

/// Writes behind their callers, counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Behind {
    pub(super) taken: u64,
    /// At least so many of them.
    pub(super) written: u64,
    /// How far there is room for them.
    pub(super) room: u64,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) nodes: Vec<Option<Node>>,
    pub(super) generation: u64,
    pub(super) rng: Rng,
    pub(super) faults: Faults,
    pub(super) room: Option<u64>,
    pub(super) counts: Counts,
    pub(super) locks: BTreeSet<PathBuf>,
    /// A write-back failed, and the file system has not told of it.
    pub(super) untold: bool,
    /// Calls that may still change something before the power goes.
    pub(super) calls_left: Option<u64>,
    page: usize,
    sweep_at: usize,
}

const ROOT: Id = 0;

impl State {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let page = [32, 128, 512, 4096][rng.index(4)];
        Self {
            nodes: vec![Some(Node::Dir(Names::default()))],
            generation: 0,
            rng,
            faults: Faults::default(),
            room: None,
            counts: Counts::default(),
            locks: BTreeSet::new(),
            untold: false,
            calls_left: None,
            page,
            sweep_at: 256,
        }
    }

    /// A call is about to change something: not if the power is gone.
    pub(super) fn spend(&mut self) -> io::Result<()> {
        match &mut self.calls_left {
            Some(0) => Err(io::Error::other("the power is gone")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(super) fn file(&mut self, id: Id) -> io::Result<&mut FileNode> {
        match self.nodes.get_mut(id as usize) {
            Some(Some(Node::File(file))) => Ok(file),
            _ => Err(Errno::ISDIR.into()),
        }
    }

    pub(super) fn dir(&mut self, id: Id) -> io::Result<&mut Names> {
        match self.nodes.get_mut(id as usize) {
            Some(Some(Node::Dir(names))) => Ok(names),
            _ => Err(Errno::NOTDIR.into()),
        }
    }

    /// The inode at a path.
    pub(super) fn find(&mut self, path: &Path) -> io::Result<Id> {
        let mut at = ROOT;
        for part in path.components() {
            if let Component::Normal(name) = part {
                let name = name.to_str().ok_or(Errno::INVAL)?;
                at = self.dir(at)?.get(name).ok_or(Errno::NOENT)?;
            }
        }
        Ok(at)
    }

    /// The directory of a path, and the path's last name.
    pub(super) fn parent<'a>(&mut self, path: &'a Path) -> io::Result<(Id, &'a str)> {
        let name = path.file_name().and_then(|name| name.to_str());
        let dir = path.parent().unwrap_or(Path::new(""));
        Ok((self.find(dir)?, name.ok_or(Errno::EXIST)?))
    }

    pub(super) fn add(&mut self, dir: Id, name: &str, node: Node) -> io::Result<Id> {
        if self.dir(dir)?.get(name).is_some() {
            return Err(Errno::EXIST.into());
        }
        if self.rng.happens(self.faults.no_space) || self.room == Some(0) {
            return self.full();
        }
        let free = self.nodes.iter().skip(1).position(Option::is_none);
        let at = free.map_or(self.nodes.len(), |at| at + 1);
        let id = Id::try_from(at).map_err(|_| Errno::NOSPC)?;
        if at == self.nodes.len() {
            self.nodes.push(None);
        }
        self.nodes[at] = Some(node);
        self.dir(dir)?.add(name, id);
        Ok(id)
    }

    pub(super) const fn new_file(&self) -> Node {
        Node::File(FileNode {
            contents: Contents::new(self.page),
            handles: 0,
            errors: 0,
            told: true,
            behind: Behind {
                taken: 0,
                written: 0,
                room: 0,
            },
        })
    }

    pub(super) fn eio<T>(&mut self) -> io::Result<T> {
        self.counts.eio += 1;
        Err(Errno::IO.into())
    }

    pub(super) fn full<T>(&mut self) -> io::Result<T> {
        self.counts.no_space += 1;
        Err(Errno::NOSPC.into())
    }

    /// A file's length is about to change: how much of the growth there is room for.
    pub(super) fn take_room(&mut self, from: u64, to: u64) -> u64 {
        let Some(room) = &mut self.room else { return to };
        if to <= from {
            *room += from - to;
            return to;
        }
        let fits = (to - from).min(*room);
        *room -= fits;
        from + fits
    }

    /// A file's dirty pages cannot be written back.
    pub(super) fn fail_write_back(&mut self, id: Id) {
        let mut rng = self.rng.clone();
        rng.next_u64();
        self.rng = rng.clone();
        if let Ok(file) = self.file(id)
            && file.contents.is_dirty()
        {
            file.contents.fail_write_back(&mut rng);
            file.errors += 1;
            file.told = false;
            self.untold = true;
        }
    }

    /// The last handle on a file is gone.
    pub(super) fn closed(&mut self, id: Id) {
        let dirty = self.file(id).is_ok_and(|file| file.contents.is_dirty());
        if dirty && self.rng.happens(self.faults.close_eio) {
            self.fail_write_back(id);
            self.counts.errors_lost += 1;
        }
        if let Ok(file) = self.file(id) {
            file.told = true;
        }
        self.sweep();
    }

    pub(super) fn copy_nodes(&self) -> Vec<Option<Node>> {
        let copy = |node: &Node| match node {
            Node::Dir(names) => Node::Dir(names.copy()),
            Node::File(file) => Node::File(FileNode {
                contents: file.contents.copy(),
                handles: 0,
                errors: 0,
                told: true,
                behind: Behind::default(),
            }),
        };
        self.nodes.iter().map(|node| node.as_ref().map(copy)).collect()
    }

    fn forget_processes(&mut self) {
        self.generation += 1;
        self.counts.open_files = 0;
        self.locks.clear();
        self.untold = false;
        for node in self.nodes.iter_mut().flatten() {
            if let Node::File(file) = node {
                file.handles = 0;
                file.told = true;
            }
        }
    }

    pub(super) fn kill(&mut self) {
        let mut rng = Rng::new(self.rng.next_u64());
        for node in self.nodes.iter_mut().flatten() {
            if let Node::File(file) = node {
                file.contents.kill(file.behind.written, &mut rng);
                file.behind.written = file.behind.taken;
            }
        }
        self.forget_processes();
    }

    pub(super) fn crash(&mut self, seed: u64) -> CrashReport {
        self.forget_processes();
        let mut rng = Rng::new(seed);
        let mut report = CrashReport::default();
        let all = rng.below(8);
        for node in self.nodes.iter_mut().flatten() {
            match node {
                Node::Dir(names) if names.is_dirty() => {
                    let names = names.crash(&mut rng);
                    report.names_kept += names.kept;
                    report.names_dropped += names.dropped;
                }
                Node::File(file) if file.contents.is_dirty() => {
                    let fate = match if all < 2 { all } else { rng.below(5) } {
                        0 => Fate::Kept,
                        1 => Fate::Dropped,
                        _ => Fate::Torn,
                    };
                    match fate {
                        Fate::Kept => report.files_kept += 1,
                        Fate::Dropped => report.files_dropped += 1,
                        Fate::Torn => report.files_torn += 1,
                    }
                    file.contents.crash(fate, &mut rng);
                }
                // Pages whose write-back failed are clean, and yet were never durable.
                Node::File(file) => file.contents.crash(Fate::Dropped, &mut rng),
                Node::Dir(names) => {
                    names.crash(&mut rng);
                }
            }
        }
        self.sweep_at = 0;
        self.sweep();
        report
    }

    /// Frees inodes that nothing refers to any more, now and then.
    fn sweep(&mut self) {
        if self.nodes.len() < self.sweep_at {
            return;
        }
        let mut seen = vec![false; self.nodes.len()];
        let mut todo = vec![ROOT];
        while let Some(id) = todo.pop() {
            if !std::mem::replace(&mut seen[id as usize], true)
                && let Some(Some(Node::Dir(names))) = self.nodes.get(id as usize)
            {
                names.every_id(|id| todo.push(id));
            }
        }
        for (seen, node) in seen.iter().zip(&mut self.nodes) {
            let open = matches!(node, Some(Node::File(file)) if file.handles > 0);
            if !seen && !open {
                *node = None;
            }
        }
        while matches!(self.nodes.last(), Some(None)) {
            self.nodes.pop();
        }
        self.sweep_at = 256.max(self.nodes.iter().flatten().count() * 2);
    }
}
