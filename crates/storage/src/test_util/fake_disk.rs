//! A disk in memory that loses what was not synced.

use super::fake_file::FakeFile;
use super::state::{Counts, CrashReport, Faults, Node, State};
use super::tree::Names;
use crate::{Access, DirEntry, Disk};
use rustix::io::Errno;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A disk in memory that keeps what is live and what is durable apart, for contents and for names. Cheap to clone: the
/// clones are one disk. Deterministic from its seed.
#[derive(Clone, Debug)]
pub struct FakeDisk(Arc<Mutex<State>>);

impl FakeDisk {
    /// An empty disk with its root directory `/`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State::new(seed))))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The power goes: of what was not synced each page, each length and each change of a name is kept, dropped or
    /// torn, as `seed` decides. Open files and locks are gone: every call on them fails.
    pub fn crash(&self, seed: u64) -> CrashReport {
        self.state().crash(seed)
    }

    /// The process dies and the machine lives: all that was written is kept, but not all of what was to be written behind.
    /// Open files and locks are gone.
    pub fn kill(&self) {
        self.state().kill();
    }

    /// Sets what goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// How many more bytes there is room for; `None` for no limit.
    pub fn set_room(&self, bytes: Option<u64>) {
        self.state().room = bytes;
    }

    /// Lets so many more calls change anything; every later one fails, as if the power were gone, until `None` is set.
    pub fn power_off_after(&self, calls: Option<u64>) {
        self.state().calls_left = calls;
    }

    /// What was done so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    /// The bytes of a file, live.
    ///
    /// # Errors
    /// If there is none.
    pub fn contents(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut state = self.state();
        let id = state.find(path)?;
        Ok(state.file(id)?.contents.live().to_vec())
    }

    /// Changes a file behind everybody's back, live and durable: a bad disk, or a hand that slipped.
    ///
    /// # Errors
    /// If there is none.
    pub fn damage(&self, path: &Path, change: impl Fn(&mut Vec<u8>)) -> io::Result<()> {
        let mut state = self.state();
        let id = state.find(path)?;
        let contents = &mut state.file(id)?.contents;
        change(contents.live_mut());
        change(contents.durable_mut());
        Ok(())
    }

    /// Every file, in order.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let mut state = self.state();
        let mut found = Vec::new();
        let mut todo = vec![PathBuf::from("/")];
        while let Some(dir) = todo.pop() {
            let Ok(id) = state.find(&dir) else { continue };
            match &state.nodes[id as usize] {
                Some(Node::Dir(names)) => todo.extend(names.live().keys().map(|name| dir.join(name))),
                _ => found.push(dir),
            }
        }
        found.sort_unstable();
        found
    }

    /// A disk of its own with the same bytes, all durable, no faults, nothing open.
    #[must_use]
    pub fn copy(&self, seed: u64) -> Self {
        let copy = Self::new(seed);
        copy.state().nodes = self.state().copy_nodes();
        copy
    }
}

impl Disk for FakeDisk {
    type File = FakeFile;
    type Lock = FakeLock;
    const PARALLEL: bool = false;

    fn open(&self, path: &Path, access: Access) -> io::Result<FakeFile> {
        let mut state = self.state();
        let id = if access == Access::CreateNew {
            let (dir, name) = state.parent(path)?;
            state.spend()?;
            let file = state.new_file();
            state.add(dir, name, file)?
        } else {
            state.find(path)?
        };
        FakeFile::open(&self.0, &mut state, id, access != Access::Read)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.spend()?;
        let (dir, name) = state.parent(path)?;
        state.add(dir, name, Node::Dir(Names::default()))?;
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.spend()?;
        let id = state.find(path)?;
        if !state.dir(id)?.live().is_empty() {
            return Err(Errno::NOTEMPTY.into());
        }
        let (dir, name) = state.parent(path)?;
        state.dir(dir)?.remove(name);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.spend()?;
        let id = state.find(path)?;
        let len = state.file(id)?.contents.live().len() as u64;
        state.take_room(len, 0);
        let (dir, name) = state.parent(path)?;
        state.dir(dir)?.remove(name);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.spend()?;
        let (dir, old) = state.parent(from)?;
        let (target, new) = state.parent(to)?;
        if dir != target {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this disk renames within a directory only",
            ));
        }
        let id = state.dir(dir)?.get(old).ok_or(Errno::NOENT)?;
        state.dir(dir)?.rename(old, new, id);
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut state = self.state();
        let id = state.find(dir)?;
        let names = state.dir(id)?.live().clone();
        let entry = |(name, id): (String, u32)| {
            let len = match &state.nodes[id as usize] {
                Some(Node::File(file)) => Some(file.contents.live().len() as u64),
                _ => None,
            };
            DirEntry {
                name,
                is_dir: len.is_none(),
                len: len.unwrap_or(0),
            }
        };
        Ok(names.into_iter().map(entry).collect())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.spend()?;
        state.counts.dir_syncs += 1;
        let id = state.find(dir)?;
        let chance = state.faults.sync_eio;
        if state.dir(id)?.is_dirty() && state.rng.happens(chance) {
            return state.eio();
        }
        state.dir(id)?.sync();
        Ok(())
    }

    fn settle(&self) {
        for node in &mut self.state().nodes {
            if let Some(Node::File(file)) = node {
                file.behind.written = file.behind.taken;
            }
        }
    }

    fn sync_filesystem(&self) -> io::Result<()> {
        let mut state = self.state();
        state.spend()?;
        state.counts.filesystem_syncs += 1;
        for at in 0..state.nodes.len() {
            let chance = state.faults.sync_eio;
            let dirty = matches!(&state.nodes[at], Some(Node::File(file)) if file.contents.is_dirty());
            if dirty && state.rng.happens(chance) {
                state.fail_write_back(u32::try_from(at).map_err(|_| Errno::INVAL)?);
            }
            match &mut state.nodes[at] {
                Some(Node::File(file)) => file.contents.sync(),
                Some(Node::Dir(names)) => names.sync(),
                None => {}
            }
        }
        if std::mem::take(&mut state.untold) {
            return state.eio();
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<FakeLock>> {
        let mut state = self.state();
        let (dir, name) = state.parent(path)?;
        if state.dir(dir)?.get(name).is_none() {
            let file = state.new_file();
            state.add(dir, name, file)?;
        }
        let held = !state.locks.insert(path.to_owned());
        Ok((!held).then(|| FakeLock {
            state: Arc::clone(&self.0),
            generation: state.generation,
            path: path.to_owned(),
        }))
    }
}

/// A lock on a [`FakeDisk`].
#[derive(Debug)]
pub struct FakeLock {
    state: Arc<Mutex<State>>,
    generation: u64,
    path: PathBuf,
}

impl Drop for FakeLock {
    fn drop(&mut self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.generation == self.generation {
            state.locks.remove(&self.path);
        }
    }
}
