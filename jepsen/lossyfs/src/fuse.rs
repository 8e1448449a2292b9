//! The thin shell between the kernel's requests and [`State`].

use crate::medium::BackingFolder;
use crate::state::{About, Ino, Kind, State};
use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Only the kernel changes anything while the mount lives, so it may remember what it was told.
const REMEMBER: Duration = Duration::from_secs(3600);
const REQUEST_BYTES_MAX: u32 = 1 << 20;

/// What all mounts of one file system share: the state outlives each of them.
#[derive(Clone)]
pub(crate) struct Shared {
    state: Arc<Mutex<State<BackingFolder>>>,
    slow_ms: Arc<AtomicU64>,
}

impl Shared {
    pub(crate) fn new(state: State<BackingFolder>) -> Self {
        Self {
            state: Arc::new(Mutex::new(state)),
            slow_ms: Arc::default(),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State<BackingFolder>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_slow(&self, delay: Duration) {
        let ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.slow_ms.store(ms, Ordering::SeqCst);
    }

    fn dawdle(&self) {
        let ms = self.slow_ms.load(Ordering::SeqCst);
        if ms > 0 {
            thread::sleep(Duration::from_millis(ms));
        }
    }
}

type Listing = Arc<Vec<(OsString, Ino, Kind)>>;

/// One mount. Once the power is gone it answers nothing but EIO, for ever: the next mount is another one.
pub(crate) struct Shell {
    shared: Shared,
    powered: Arc<AtomicBool>,
    listings: Mutex<HashMap<u64, Listing>>,
    next_listing: AtomicU64,
}

impl Shell {
    pub(crate) fn new(shared: Shared, powered: Arc<AtomicBool>) -> Self {
        Self {
            shared,
            powered,
            listings: Mutex::default(),
            next_listing: AtomicU64::new(1),
        }
    }

    /// Asks the state, if there is power. The lock is taken first: a power cut holds it too.
    fn ask<T>(
        &self,
        question: impl FnOnce(&mut State<BackingFolder>) -> Result<T, rustix::io::Errno>,
    ) -> Result<T, Errno> {
        let mut state = self.shared.state();
        if !self.powered.load(Ordering::SeqCst) {
            return Err(Errno::EIO);
        }
        question(&mut state).map_err(|errno| Errno::from_i32(errno.raw_os_error()))
    }

    fn listings(&self) -> MutexGuard<'_, HashMap<u64, Listing>> {
        self.listings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make(&self, parent: INodeNo, name: &OsStr, kind: Kind) -> Result<FileAttr, Errno> {
        self.ask(|state| {
            let about = state.make(ino(parent), name, kind)?;
            state.hold(about.ino);
            Ok(attributes(about))
        })
    }
}

const fn ino(number: INodeNo) -> Ino {
    Ino::from_kernel(number.0)
}

const fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::Dir => FileType::Directory,
        Kind::File => FileType::RegularFile,
    }
}

fn attributes(about: About) -> FileAttr {
    let (perm, nlink) = match about.kind {
        Kind::Dir => (0o755, 2),
        Kind::File => (0o644, 1),
    };
    let time: SystemTime = UNIX_EPOCH;
    FileAttr {
        ino: INodeNo(about.ino.get()),
        size: about.len,
        blocks: about.len.div_ceil(512),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: file_type(about.kind),
        perm,
        nlink,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

fn reply_entry(reply: ReplyEntry, outcome: Result<FileAttr, Errno>) {
    match outcome {
        Ok(attributes) => reply.entry(&REMEMBER, &attributes, Generation(0)),
        Err(errno) => reply.error(errno),
    }
}

fn reply_empty(reply: ReplyEmpty, outcome: Result<(), Errno>) {
    match outcome {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

const PREALLOCATE: i32 = 0;
const PREALLOCATE_KEEP_SIZE: i32 = 1;

impl Filesystem for Shell {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let refused = |what| move |_| io::Error::other(what);
        config
            .set_max_write(REQUEST_BYTES_MAX)
            .map_err(refused("max_write"))?;
        // The kernel may offer less; then it is less.
        if let Err(most) = config.set_max_readahead(REQUEST_BYTES_MAX) {
            config.set_max_readahead(most).map_err(refused("max_readahead"))?;
        }
        let _ = config.add_capabilities(InitFlags::FUSE_PARALLEL_DIROPS);
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.ask(|state| {
            let about = state.find(ino(parent), name)?;
            state.hold(about.ino);
            Ok(attributes(about))
        });
        reply_entry(reply, found);
    }

    fn forget(&self, _request: &Request, number: INodeNo, count: u64) {
        let _ = self.ask(|state| {
            state.forget(ino(number), count);
            Ok(())
        });
    }

    fn getattr(&self, _request: &Request, number: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        match self.ask(|state| state.about(ino(number))) {
            Ok(about) => reply.attr(&REMEMBER, &attributes(about)),
            Err(errno) => reply.error(errno),
        }
    }

    fn setattr(
        &self,
        _request: &Request,
        number: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let done = self.ask(|state| {
            if let Some(size) = size {
                state.set_len(ino(number), size)?;
            }
            state.about(ino(number))
        });
        match done {
            Ok(about) => reply.attr(&REMEMBER, &attributes(about)),
            Err(errno) => reply.error(errno),
        }
    }

    fn mknod(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _rdev: u32,
        reply: ReplyEntry,
    ) {
        const TYPE: u32 = 0o170_000;
        const REGULAR: u32 = 0o100_000;
        if mode & TYPE == REGULAR {
            reply_entry(reply, self.make(parent, name, Kind::File));
        } else {
            reply.error(Errno::EPERM);
        }
    }

    fn mkdir(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        reply_entry(reply, self.make(parent, name, Kind::Dir));
    }

    fn create(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        match self.make(parent, name, Kind::File) {
            Ok(attributes) => reply.created(
                &REMEMBER,
                &attributes,
                Generation(0),
                FileHandle(0),
                FopenFlags::FOPEN_KEEP_CACHE,
            ),
            Err(errno) => reply.error(errno),
        }
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        reply_empty(
            reply,
            self.ask(|state| state.remove(ino(parent), name, Kind::File)),
        );
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        reply_empty(
            reply,
            self.ask(|state| state.remove(ino(parent), name, Kind::Dir)),
        );
    }

    fn rename(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let replace = !flags.contains(RenameFlags::RENAME_NOREPLACE);
        if flags.intersects(RenameFlags::RENAME_EXCHANGE | RenameFlags::RENAME_WHITEOUT) {
            return reply.error(Errno::EINVAL);
        }
        let (from, to) = ((ino(parent), name), (ino(new_parent), new_name));
        reply_empty(reply, self.ask(|state| state.rename(from, to, replace)));
    }

    fn open(&self, _request: &Request, number: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        match self.ask(|state| state.about(ino(number))) {
            Ok(_) => reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE),
            Err(errno) => reply.error(errno),
        }
    }

    fn read(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        position: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let size = size.min(REQUEST_BYTES_MAX) as usize;
        match self.ask(|state| state.read(ino(number), position, size)) {
            Ok(bytes) => reply.data(&bytes),
            Err(errno) => reply.error(errno),
        }
    }

    fn write(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        position: u64,
        bytes: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        self.shared.dawdle();
        match self.ask(|state| state.write(ino(number), position, bytes)) {
            Ok(written) => reply.written(u32::try_from(written).unwrap_or(u32::MAX)),
            Err(errno) => reply.error(errno),
        }
    }

    fn fsync(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        _data_only: bool,
        reply: ReplyEmpty,
    ) {
        self.shared.dawdle();
        reply_empty(reply, self.ask(|state| state.sync_file(ino(number))));
    }

    fn fsyncdir(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        _data_only: bool,
        reply: ReplyEmpty,
    ) {
        self.shared.dawdle();
        reply_empty(reply, self.ask(|state| state.sync_dir(ino(number))));
    }

    fn fallocate(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        position: u64,
        len: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        if mode == PREALLOCATE_KEEP_SIZE {
            return reply.ok();
        }
        if mode != PREALLOCATE {
            return reply.error(Errno::EOPNOTSUPP);
        }
        let Some(end) = position.checked_add(len) else {
            return reply.error(Errno::EFBIG);
        };
        let done = self.ask(|state| match state.about(ino(number))? {
            about if about.len < end => state.set_len(about.ino, end),
            _ => Ok(()),
        });
        reply_empty(reply, done);
    }

    /// The directory as it is now: whoever removes while reading sees each name once.
    fn opendir(&self, _request: &Request, number: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        match self.ask(|state| state.list(ino(number))) {
            Ok(listing) => {
                let handle = self.next_listing.fetch_add(1, Ordering::SeqCst);
                self.listings().insert(handle, Arc::new(listing));
                reply.opened(FileHandle(handle), FopenFlags::empty());
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn readdir(
        &self,
        _request: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let Some(listing) = self.listings().get(&handle.0).cloned() else {
            return reply.error(Errno::EBADF);
        };
        let dots =
            [(".", number), ("..", number)].map(|(name, number)| (OsStr::new(name), number, Kind::Dir));
        let names = listing
            .iter()
            .map(|(name, ino, kind)| (name.as_os_str(), INodeNo(ino.get()), *kind));
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        for ((name, number, kind), next) in dots.into_iter().chain(names).zip(1..).skip(skip) {
            if reply.add(number, next, file_type(kind), name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(
        &self,
        _request: &Request,
        _number: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.listings().remove(&handle.0);
        reply.ok();
    }

    fn statfs(&self, _request: &Request, _number: INodeNo, reply: ReplyStatfs) {
        match self.ask(|state| Ok(state.space())) {
            Ok((blocks, free)) => reply.statfs(blocks, free, free, 1 << 20, 1 << 20, 4096, 255, 4096),
            Err(errno) => reply.error(errno),
        }
    }
}
