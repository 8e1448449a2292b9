//! Writes behind the caller: it goes on with the next bytes while the disk takes these.
//!
//! As with the kernel's own writing back, what fails shows at the sync: a sync waits for the writes that it is about and
//! tells if one of the file's failed, each time it is asked. Whoever reads the file, changes its length or opens it again
//! waits for all of them. They have no order among themselves and need none: before the sync nothing is durable.

use super::Taken;
use super::direct::{Buffers, Direct, Gathered};
use crate::files::lock;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;

/// A second thread takes the next write up without a pause.
const WRITERS_MIN: usize = 2;
/// No disk gains by more; each has memory.
const WRITERS_MAX: usize = 8;

/// Writes that were taken, and what became of them. Knows each by its number and a `T`.
#[derive(Debug)]
struct Ledger<T> {
    entries: Mutex<Entries<T>>,
    ended: Condvar,
}

#[derive(Debug)]
struct Entries<T> {
    taken: u64,
    unfinished: BTreeMap<u64, T>,
    /// What the first that failed said.
    failed: Option<Errno>,
}

impl<T> Default for Ledger<T> {
    fn default() -> Self {
        let entries = Entries {
            taken: 0,
            unfinished: BTreeMap::new(),
            failed: None,
        };
        Self {
            entries: Mutex::new(entries),
            ended: Condvar::new(),
        }
    }
}

impl<T> Entries<T> {
    fn has_written(&self, taken: u64) -> bool {
        self.unfinished
            .first_key_value()
            .is_none_or(|(first, _)| *first >= taken)
    }
}

impl<T> Ledger<T> {
    fn begin(&self, what: T) -> u64 {
        let mut entries = lock(&self.entries);
        let number = entries.taken;
        entries.taken += 1;
        entries.unfinished.insert(number, what);
        number
    }

    fn end(&self, number: u64, result: Result<(), Errno>) {
        let mut entries = lock(&self.entries);
        entries.unfinished.remove(&number);
        if let Err(failed) = result {
            entries.failed.get_or_insert(failed);
        }
        drop(entries);
        self.ended.notify_all();
    }

    /// Waits until what had been taken by then is written.
    fn settled(&self, taken: u64) -> MutexGuard<'_, Entries<T>> {
        let entries = lock(&self.entries);
        let settled = self
            .ended
            .wait_while(entries, |entries| !entries.has_written(taken));
        settled.unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until what is taken by now is written, and not for what comes meanwhile.
    fn settled_now(&self) -> MutexGuard<'_, Entries<T>> {
        let taken = lock(&self.entries).taken;
        self.settled(taken)
    }
}

/// A file and the writes behind it.
#[derive(Debug)]
pub(super) struct Written {
    file: OwnedFd,
    ledger: Ledger<()>,
    inode: OnceLock<Option<(u64, u64)>>,
}

impl Written {
    pub(super) fn new(file: OwnedFd) -> Self {
        Self {
            file,
            ledger: Ledger::default(),
            inode: OnceLock::new(),
        }
    }

    /// The file as it is, for what other writes do not matter to.
    pub(super) const fn file(&self) -> &OwnedFd {
        &self.file
    }

    /// The file when all that was taken is in it.
    pub(super) fn settled(&self) -> &OwnedFd {
        drop(self.ledger.settled_now());
        &self.file
    }

    /// The file when what had been taken by then is in it, for whoever promises that it is: an error if any write failed,
    /// now and ever after.
    pub(super) fn complete(&self, taken: Taken) -> io::Result<&OwnedFd> {
        match self.ledger.settled(taken.0).failed {
            None => Ok(&self.file),
            Some(failed) => Err(failed.into()),
        }
    }

    pub(super) fn taken(&self) -> Taken {
        Taken(lock(&self.ledger.entries).taken)
    }

    pub(super) fn has_written(&self, taken: Taken) -> bool {
        lock(&self.ledger.entries).has_written(taken.0)
    }

    /// `None`: it cannot be told, and may be any.
    fn inode(&self) -> Option<(u64, u64)> {
        let look = || {
            rustix::fs::fstat(&self.file)
                .ok()
                .map(|about| (about.st_dev, about.st_ino))
        };
        *self.inode.get_or_init(look)
    }
}

/// The threads of one disk that write, and the memory that they write from.
#[derive(Debug)]
pub(super) struct Writers {
    /// As many, once there is something to write.
    count: usize,
    threads: OnceLock<Option<Threads>>,
    buffers: Arc<Buffers>,
    /// Of all files.
    ledger: Arc<Ledger<Arc<Written>>>,
}

#[derive(Debug)]
struct Threads {
    work: Sender<Write>,
    handles: Vec<JoinHandle<()>>,
}

/// Bytes on their way to a file.
#[derive(Debug)]
struct Write {
    file: Arc<Written>,
    disk: Arc<Ledger<Arc<Written>>>,
    number_of_file: u64,
    number_of_disk: u64,
    bytes: Gathered,
    buffers: Arc<Buffers>,
    result: Result<(), Errno>,
}

impl Drop for Write {
    /// Told even if its thread panicked: else who syncs, or wants a buffer, would wait for ever.
    fn drop(&mut self) {
        self.buffers.give_back(&mut self.bytes);
        self.disk.end(self.number_of_disk, self.result);
        self.file.ledger.end(self.number_of_file, self.result);
    }
}

impl Writers {
    pub(super) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let count = processors.clamp(WRITERS_MIN, WRITERS_MAX);
        Self {
            count,
            threads: OnceLock::new(),
            // One for each, and one that is being filled.
            buffers: Arc::new(Buffers::new(count + 1)),
            ledger: Arc::default(),
        }
    }

    /// Takes the parts, or the first of them, to write them behind the caller: says how much that is. Waits while there is
    /// no buffer. Where there are no threads it writes them itself, through the page cache.
    pub(super) fn write(
        &self,
        file: &Arc<Written>,
        parts: &[IoSlice<'_>],
        position: u64,
    ) -> io::Result<usize> {
        let threads = self.threads.get_or_init(|| Threads::start(self.count)).as_ref();
        let gathered = threads.and_then(|threads| Some((threads, self.buffers.gather(parts, position)?)));
        let Some((threads, bytes)) = gathered else {
            let written = rustix::io::retry_on_intr(|| rustix::io::pwritev(&file.file, parts, position));
            return Ok(written?);
        };
        let taken = bytes.len();
        let write = Write {
            number_of_file: file.ledger.begin(()),
            number_of_disk: self.ledger.begin(Arc::clone(file)),
            file: Arc::clone(file),
            disk: Arc::clone(&self.ledger),
            bytes,
            buffers: Arc::clone(&self.buffers),
            result: Err(Errno::IO),
        };
        // Were all threads gone, it would be dropped, and so have failed.
        let _ = threads.work.send(write);
        Ok(taken)
    }

    /// Waits until what is taken by now is written. Fails if something was not, once.
    pub(super) fn complete(&self) -> io::Result<()> {
        match self.ledger.settled_now().failed.take() {
            None => Ok(()),
            Some(failed) => Err(failed.into()),
        }
    }

    /// Waits until what is taken by now is written, of all files.
    pub(super) fn settle(&self) {
        drop(self.ledger.settled_now());
    }

    /// A file was opened: waits until what is taken by now for it, by another who has it open, is written.
    pub(super) fn settle_same(&self, opened: &Written) {
        let behind: Vec<_> = lock(&self.ledger.entries).unfinished.values().cloned().collect();
        for file in behind {
            let (one, other) = (file.inode(), opened.inode());
            if one == other || one.is_none() || other.is_none() {
                file.settled();
            }
        }
    }
}

impl Drop for Writers {
    /// Waits for them: nobody writes any more once this is over.
    fn drop(&mut self) {
        if let Some(Some(Threads { work, handles })) = self.threads.take() {
            drop(work);
            for handle in handles {
                let _ = handle.join();
            }
        }
    }
}

impl Threads {
    /// `None`: there are none to be had.
    fn start(count: usize) -> Option<Self> {
        let (work, writes) = channel();
        let writes = Arc::new(Mutex::new(writes));
        let direct = Arc::new(Direct::new());
        let start = |_| {
            let (direct, writes) = (Arc::clone(&direct), Arc::clone(&writes));
            let thread = std::thread::Builder::new().name("write".to_owned());
            thread.spawn(move || work_off(&direct, &writes)).ok()
        };
        let handles: Vec<_> = (0..count).map_while(start).collect();
        (!handles.is_empty()).then_some(Self { work, handles })
    }
}

fn work_off(direct: &Direct, writes: &Mutex<Receiver<Write>>) {
    loop {
        let next = lock(writes).recv();
        let Ok(mut write) = next else { return };
        write.result = direct.write(write.file.file.as_fd(), &write.bytes);
    }
}
