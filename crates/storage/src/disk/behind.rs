//! Writes behind the caller: what is taken for a file waits in memory until somebody needs it there. That is mostly the
//! flush round, which writes it and then syncs it, while the caller goes on with the next bytes.
//!
//! It is not written any sooner. A sync beside a write to the same file gains nothing: disks end it when the writes that
//! run beside it have ended, and file systems may have each wait for the other.
//!
//! As with the kernel's own writing back, what fails shows at the sync: a sync makes the writes that it is about and tells if
//! one of the file's failed, each time it is asked. Whoever reads the file, changes its length, opens it again or closes it
//! makes all of them first. They have no order among themselves and need none: before the sync nothing is durable.

use super::Taken;
use super::direct::{Buffer, Buffers, Direct, Gathered, Got};
use crate::files::lock;
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};

/// One is written, one waits, one is filled.
const BUFFERS_MIN: usize = 3;
/// No disk gains by more, and each is memory.
const BUFFERS_MAX: usize = 9;

/// A file and the writes behind it.
#[derive(Debug)]
pub(super) struct Written {
    file: OwnedFd,
    /// `None`: the file is in memory. A write is a copy there, for which nobody needs to wait.
    behind: Option<Arc<Behind>>,
    pending: Mutex<Pending>,
    changed: Condvar,
    inode: OnceLock<Option<(u64, u64)>>,
}

/// What was taken, by number, and is not written.
#[derive(Debug, Default)]
struct Pending {
    /// The next number.
    taken: u64,
    waiting: BTreeMap<u64, Gathered>,
    /// Somebody fills or writes these.
    in_hand: BTreeSet<u64>,
    /// What the first that failed said.
    failed: Option<Errno>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.in_hand.is_empty()
    }

    /// Takes the oldest in hand that waits, if it was taken by then.
    fn oldest(&mut self, taken: u64) -> Option<(u64, Gathered)> {
        let first = self.waiting.first_entry().filter(|first| *first.key() < taken)?;
        let (number, bytes) = first.remove_entry();
        self.in_hand.insert(number);
        Some((number, bytes))
    }

    /// Takes the newest in hand if it can be continued at this position.
    fn newest(&mut self, position: u64) -> Option<(u64, Gathered)> {
        let last = self
            .waiting
            .last_entry()
            .filter(|last| last.get().has_room_at(position))?;
        let (number, bytes) = last.remove_entry();
        self.in_hand.insert(number);
        Some((number, bytes))
    }

    /// Whether what was taken by then is all in the hands of others.
    fn is_with_others(&self, taken: u64) -> bool {
        let before = |number: Option<&u64>| number.is_some_and(|number| *number < taken);
        before(self.in_hand.first()) && !before(self.waiting.keys().next())
    }
}

/// Taken bytes that somebody fills or writes. They wait again after it, unless they are written.
struct InHand<'f> {
    file: &'f Written,
    behind: &'f Behind,
    number: u64,
    bytes: Option<Gathered>,
    written: Option<Result<(), Errno>>,
}

impl Drop for InHand<'_> {
    /// Even if it panicked: else who syncs, or wants a buffer, would wait for ever.
    fn drop(&mut self) {
        let Some(bytes) = self.bytes.take() else { return };
        let mut pending = lock(&self.file.pending);
        if let Some(Err(failed)) = self.written {
            // Whoever finds nothing in hand any more finds this.
            pending.failed.get_or_insert(failed);
            lock(&self.behind.failed).get_or_insert(failed);
        }
        pending.in_hand.remove(&self.number);
        if self.written.is_none() {
            pending.waiting.insert(self.number, bytes);
            drop(pending);
            self.behind.buffers.tell();
        } else {
            drop(pending);
            self.behind.wrote(bytes);
        }
        self.file.changed.notify_all();
    }
}

impl InHand<'_> {
    fn fill(mut self, parts: &[IoSlice<'_>]) -> usize {
        self.bytes.as_mut().map_or(0, |bytes| bytes.gather(parts))
    }

    fn write(mut self) {
        if let Some(bytes) = &self.bytes {
            self.written = Some(self.behind.direct.write(self.file.file.as_fd(), bytes));
        }
    }
}

impl Written {
    pub(super) fn new(file: OwnedFd, behind: Option<Arc<Behind>>) -> Self {
        Self {
            file,
            behind,
            pending: Mutex::default(),
            changed: Condvar::new(),
            inode: OnceLock::new(),
        }
    }

    /// The file as it is, for what other writes do not matter to.
    pub(super) const fn file(&self) -> &OwnedFd {
        &self.file
    }

    /// Whether writes can wait here.
    pub(super) const fn is_on_disk(&self) -> bool {
        self.behind.is_some()
    }

    /// Takes the parts, or the first of them, to be written behind the caller: says how much that is. Where there is no
    /// memory for that it writes them itself, through the page cache.
    pub(super) fn take(self: &Arc<Self>, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        let through_cache = || rustix::io::retry_on_intr(|| rustix::io::pwritev(&self.file, parts, position));
        let Some(behind) = &self.behind else {
            return Ok(through_cache()?);
        };
        let continued = lock(&self.pending).newest(position);
        if let Some((number, bytes)) = continued {
            return Ok(self.in_hand(behind, number, bytes).fill(parts));
        }
        let Some(buffer) = behind.buffer() else {
            return Ok(through_cache()?);
        };
        let number = {
            let mut pending = lock(&self.pending);
            let number = pending.taken;
            pending.taken += 1;
            pending.in_hand.insert(number);
            number
        };
        let in_hand = self.in_hand(behind, number, behind.buffers.empty(buffer, position));
        behind.enlist(self);
        Ok(in_hand.fill(parts))
    }

    const fn in_hand<'f>(&'f self, behind: &'f Behind, number: u64, bytes: Gathered) -> InHand<'f> {
        InHand {
            file: self,
            behind,
            number,
            bytes: Some(bytes),
            written: None,
        }
    }

    /// Writes what had been taken by then, and waits for what others write of it.
    fn write_taken(&self, taken: Taken) {
        let Some(behind) = &self.behind else { return };
        loop {
            let with_others = |pending: &mut Pending| pending.is_with_others(taken.0);
            let pending = self.changed.wait_while(lock(&self.pending), with_others);
            let oldest = pending.unwrap_or_else(PoisonError::into_inner).oldest(taken.0);
            let Some((number, bytes)) = oldest else { return };
            self.in_hand(behind, number, bytes).write();
        }
    }

    /// The file when all that was taken is in it.
    pub(super) fn settled(&self) -> &OwnedFd {
        self.write_taken(self.taken());
        &self.file
    }

    /// The file when what had been taken by then is in it, for whoever promises that it is: an error if any write failed,
    /// now and ever after.
    pub(super) fn complete(&self, taken: Taken) -> io::Result<&OwnedFd> {
        self.write_taken(taken);
        match lock(&self.pending).failed {
            None => Ok(&self.file),
            Some(failed) => Err(failed.into()),
        }
    }

    pub(super) fn taken(&self) -> Taken {
        Taken(lock(&self.pending).taken)
    }

    /// A file was opened: what others who have it open were given by now is written.
    pub(super) fn settle_others(&self) {
        for file in self.behind.iter().flat_map(|behind| behind.files()) {
            let (one, other) = (file.inode(), self.inode());
            if one == other || one.is_none() || other.is_none() {
                file.settled();
            }
        }
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

/// The memory that one disk's files are written from behind their callers, and which of them wait to be.
#[derive(Debug)]
pub(super) struct Behind {
    buffers: Buffers,
    direct: Direct,
    /// Those that something was taken for and is not written.
    files: Mutex<Vec<Arc<Written>>>,
    /// What the first write that failed said, of any file.
    failed: Mutex<Option<Errno>>,
}

impl Behind {
    pub(super) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            buffers: Buffers::new((processors + 1).clamp(BUFFERS_MIN, BUFFERS_MAX)),
            direct: Direct::new(),
            files: Mutex::default(),
            failed: Mutex::default(),
        }
    }

    /// Whoever wants a buffer and finds none free does what one waits for.
    fn buffer(&self) -> Option<Buffer> {
        loop {
            match self.buffers.get() {
                Got::Buffer(buffer) => return Some(buffer),
                Got::NoMemory => return None,
                Got::NoneFree(news) => {
                    if !self.write_any() {
                        self.buffers.wait(news);
                    }
                }
            }
        }
    }

    /// Writes something that waits; false if nothing does.
    fn write_any(&self) -> bool {
        for file in self.files() {
            let oldest = lock(&file.pending).oldest(u64::MAX);
            if let Some((number, bytes)) = oldest {
                file.in_hand(self, number, bytes).write();
                return true;
            }
        }
        false
    }

    fn files(&self) -> Vec<Arc<Written>> {
        lock(&self.files).clone()
    }

    fn enlist(&self, file: &Arc<Written>) {
        let mut files = lock(&self.files);
        if !files.iter().any(|known| Arc::ptr_eq(known, file)) {
            files.push(Arc::clone(file));
        }
    }

    fn wrote(&self, bytes: Gathered) {
        lock(&self.files).retain(|file| !lock(&file.pending).is_empty());
        self.buffers.give_back(bytes);
    }

    /// Writes what is taken by now, of all files.
    pub(super) fn settle(&self) {
        for file in self.files() {
            file.settled();
        }
    }

    /// The same. Fails if something was not written, once.
    pub(super) fn complete(&self) -> io::Result<()> {
        self.settle();
        match lock(&self.failed).take() {
            None => Ok(()),
            Some(failed) => Err(failed.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{Mode, OFlags};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    /// Who waits does so for longer, and who does not wait is over by then.
    const SHORT: Duration = Duration::from_millis(50);
    /// Who has not come by then never will.
    const LONG: Duration = Duration::from_secs(20);

    fn file(behind: &Arc<Behind>) -> Arc<Written> {
        let file = tempfile::tempfile().unwrap();
        Arc::new(Written::new(file.into(), Some(Arc::clone(behind))))
    }

    fn take(file: &Arc<Written>, len: usize, position: u64) -> usize {
        file.take(&[IoSlice::new(&vec![7; len])], position).unwrap()
    }

    fn len(file: &Written) -> u64 {
        u64::try_from(rustix::fs::fstat(file.file()).unwrap().st_size).unwrap()
    }

    #[test]
    fn nothing_is_written_before_somebody_needs_it_and_then_no_more_than_that() {
        let behind = Arc::new(Behind::new());
        let file = file(&behind);
        assert_eq!(take(&file, 1000, 0), 1000);
        let first = file.taken();
        assert_eq!(take(&file, 1000, 5000), 1000);
        assert_eq!(len(&file), 0);
        file.write_taken(first);
        assert_eq!(len(&file), 1000);
        assert_eq!(behind.files().len(), 1);
        file.settled();
        assert_eq!((len(&file), behind.files().len()), (6000, 0));
    }

    #[test]
    fn what_goes_on_where_the_last_ended_goes_with_it() {
        let behind = Arc::new(Behind::new());
        let file = file(&behind);
        take(&file, 1000, 0);
        let first = file.taken();
        assert_eq!(take(&file, 500, 1000), 500);
        assert_eq!(file.taken(), first);
        take(&file, 500, 3000);
        assert!(file.taken() > first, "it does not go on there");
        file.settled();
        take(&file, 500, 3500);
        file.settled();
        assert_eq!(len(&file), 4000);
    }

    #[test]
    fn who_finds_no_buffer_writes_what_waits_of_any_file() {
        let behind = Arc::new(Behind::new());
        let files: Vec<_> = (0..3 * BUFFERS_MAX).map(|_| file(&behind)).collect();
        for file in &files {
            assert_eq!(take(file, 100_000, 0), 100_000);
        }
        assert!(behind.files().len() <= BUFFERS_MAX);
        assert!(len(&files[0]) == 100_000 && len(&files[3 * BUFFERS_MAX - 1]) == 0);
        behind.complete().unwrap();
        assert!(files.iter().all(|file| len(file) == 100_000) && behind.files().is_empty());
    }

    #[test]
    fn who_syncs_waits_for_what_another_has_in_hand() {
        let behind = Arc::new(Behind::new());
        let file = file(&behind);
        take(&file, 1000, 0);
        let (number, bytes) = lock(&file.pending).oldest(u64::MAX).unwrap();
        std::thread::scope(|scope| {
            let (over, synced) = channel();
            let synced_file = &file;
            scope.spawn(move || {
                synced_file.complete(synced_file.taken()).unwrap();
                over.send(len(synced_file)).unwrap();
            });
            synced.recv_timeout(SHORT).unwrap_err();
            drop(file.in_hand(&behind, number, bytes));
            assert_eq!(
                synced.recv().unwrap(),
                1000,
                "it was put back, and written by who waited"
            );
        });
    }

    #[test]
    fn who_waits_for_a_buffer_hears_when_there_is_something_to_write() {
        let behind = Arc::new(Behind::new());
        let files: Vec<_> = (0..behind.buffers.most()).map(|_| file(&behind)).collect();
        let in_hand: Vec<_> = files
            .iter()
            .map(|file| {
                take(file, 100_000, 0);
                let (number, bytes) = lock(&file.pending).oldest(u64::MAX).unwrap();
                file.in_hand(&behind, number, bytes)
            })
            .collect();
        let another = file(&behind);
        let (over, taken) = channel();
        // Not awaited: were it never told, it would wait for ever.
        let waits = std::thread::Builder::new().spawn(move || over.send(take(&another, 100_000, 0)));
        drop(waits.unwrap());
        taken.recv_timeout(SHORT).unwrap_err();
        drop(in_hand);
        assert_eq!(taken.recv_timeout(LONG), Ok(100_000));
        let written = files.iter().filter(|file| len(file) == 100_000).count();
        assert!(written >= 1, "for its buffer");
    }

    #[test]
    fn whoever_finds_nothing_in_hand_any_more_hears_that_it_failed() {
        let behind = Arc::new(Behind::new());
        let path = tempfile::NamedTempFile::new().unwrap();
        let read_only = rustix::fs::open(path.path(), OFlags::RDONLY, Mode::empty()).unwrap();
        let file = Arc::new(Written::new(read_only, Some(Arc::clone(&behind))));
        take(&file, 1000, 0);
        std::thread::scope(|scope| {
            let noting = lock(&behind.failed);
            let (over, settled) = channel();
            let file = &file;
            scope.spawn(move || {
                file.settled();
                over.send(()).unwrap();
            });
            settled.recv_timeout(SHORT).unwrap_err();
            let pending = file.pending.try_lock();
            assert!(pending.is_err() || pending.is_ok_and(|pending| !pending.is_empty()));
            drop(noting);
            settled.recv().unwrap();
        });
        behind.complete().unwrap_err();
        file.complete(file.taken()).unwrap_err();
    }
}
