//! Writing past the page cache (`O_DIRECT`).
//!
//! What many megabytes a second leave in the page cache is paid for with half of what a write costs, and mostly nobody
//! reads it there: who reads the tail is served from memory. Such a write must begin and end at a block of the file and of
//! memory, and batches do neither. So it is made in pieces: what is left of the block that the file ends in, and what begins
//! its last one, go through the page cache, the blocks between past it. Unless the disk takes less than asked, no block is
//! written both ways; and the file's length stays the log's.

use crate::files::lock;
use memmap2::{Advice, MmapMut};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::io::IoSlice;
use std::ops::Range;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};

/// The most that one write takes, with what stands before it in its first block.
const BUFFER_BYTES: usize = 2 << 20;
/// Less than this is not worth a write of its own.
const WORTH: usize = 64 << 10;
/// No disk asks for larger ones, and no page of its cache is smaller.
const BLOCK_MIN: usize = 4096;

/// How the next bytes of a write go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Piece {
    /// So many through the page cache.
    Cached(usize),
    /// So many past it.
    Direct(usize),
}

/// The next piece of `len` bytes that go to `position`, where blocks have `block` bytes, and less than `worth` are no piece.
pub(crate) fn next_piece(position: u64, len: usize, block: usize, worth: usize) -> Piece {
    let whole = len - len % block;
    let head = within_block(position, block);
    if whole < worth || whole == 0 {
        Piece::Cached(len)
    } else if head > 0 {
        // No more than `len`, which has a block.
        Piece::Cached(block - head)
    } else {
        Piece::Direct(whole)
    }
}

/// The first bytes of the parts, as far as `into` has room: how many.
pub(crate) fn gather(parts: &[IoSlice<'_>], into: &mut [u8]) -> usize {
    let mut filled = 0;
    for part in parts {
        let taken = part.len().min(into.len() - filled);
        into[filled..filled + taken].copy_from_slice(&part[..taken]);
        filled += taken;
        if filled == into.len() {
            break;
        }
    }
    filled
}

/// Memory that begins at a page; one large page if there is one, which the disk takes as one piece.
pub(super) type Buffer = MmapMut;

/// The memory that is written from. Kept, once it is there.
#[derive(Debug)]
pub(super) struct Buffers {
    kept: Mutex<Kept>,
    changed: Condvar,
    /// There are no more of them.
    most: usize,
    block: usize,
}

#[derive(Debug, Default)]
struct Kept {
    free: Vec<Buffer>,
    /// With those in use.
    all: usize,
    /// How often it was told that there is something to write, after which there would be one.
    news: u64,
}

/// What came of asking for a buffer.
#[derive(Debug)]
pub(super) enum Got {
    Buffer(Buffer),
    /// All are in use; and the news up to then.
    NoneFree(u64),
    NoMemory,
}

/// The bytes of a write, each in memory as far behind a block's begin as it is to be in the file.
#[derive(Debug)]
pub(super) struct Gathered {
    buffer: Buffer,
    within: Range<usize>,
    position: u64,
}

impl Gathered {
    /// Copies as much of the parts behind what is there as it has room for: how much.
    pub(super) fn gather(&mut self, parts: &[IoSlice<'_>]) -> usize {
        let len = gather(parts, &mut self.buffer[self.within.end..]);
        self.within.end += len;
        len
    }

    /// Whether what goes to this position goes on here.
    pub(super) fn has_room_at(&self, position: u64) -> bool {
        self.position + self.within.len() as u64 == position && self.within.end < self.buffer.len()
    }
}

impl Buffers {
    pub(super) fn new(most: usize) -> Self {
        Self {
            kept: Mutex::default(),
            changed: Condvar::new(),
            most,
            block: block(),
        }
    }

    /// How many there may be.
    #[cfg(test)]
    pub(super) const fn most(&self) -> usize {
        self.most
    }

    pub(super) fn get(&self) -> Got {
        let mut kept = lock(&self.kept);
        if let Some(buffer) = kept.free.pop() {
            return Got::Buffer(buffer);
        }
        if kept.all == self.most {
            return Got::NoneFree(kept.news);
        }
        let Ok(buffer) = MmapMut::map_anon(BUFFER_BYTES) else {
            return Got::NoMemory;
        };
        // As good as it gets.
        let _ = buffer.advise(Advice::HugePage);
        kept.all += 1;
        Got::Buffer(buffer)
    }

    /// Waits until there may be one, or there is news.
    pub(super) fn wait(&self, news: u64) {
        let nothing = |kept: &mut Kept| kept.free.is_empty() && kept.all == self.most && kept.news == news;
        drop(self.changed.wait_while(lock(&self.kept), nothing));
    }

    /// There is something to write: whoever waits can do that.
    pub(super) fn tell(&self) {
        lock(&self.kept).news += 1;
        self.changed.notify_all();
    }

    /// A write to this position, with nothing in it yet.
    pub(super) fn empty(&self, buffer: Buffer, position: u64) -> Gathered {
        let from = within_block(position, self.block);
        Gathered {
            buffer,
            within: from..from,
            position,
        }
    }

    pub(super) fn give_back(&self, gathered: Gathered) {
        lock(&self.kept).free.push(gathered.buffer);
        self.changed.notify_one();
    }
}

fn block() -> usize {
    rustix::param::page_size().max(BLOCK_MIN)
}

/// How far a position is behind the begin of its block.
fn within_block(position: u64, block: usize) -> usize {
    // It fits: it is less than `block`.
    usize::try_from(position % block as u64).unwrap_or(0)
}

/// Writes in pieces.
#[derive(Debug)]
pub(super) struct Direct {
    block: usize,
    /// The file system cannot write past the cache: not asked again.
    refused: AtomicBool,
}

impl Direct {
    pub(super) fn new() -> Self {
        Self {
            block: block(),
            refused: AtomicBool::new(false),
        }
    }

    /// Writes all of it to the file.
    pub(super) fn write(&self, file: BorrowedFd<'_>, gathered: &Gathered) -> Result<(), Errno> {
        let (mut bytes, mut position) = (&gathered.buffer[gathered.within.clone()], gathered.position);
        let past_cache = self.past_cache(file);
        while !bytes.is_empty() {
            let written = match (next_piece(position, bytes.len(), self.block, WORTH), &past_cache) {
                (Piece::Direct(piece), Some(direct)) => {
                    match rustix::io::retry_on_intr(|| rustix::io::pwrite(direct, &bytes[..piece], position))
                    {
                        Err(Errno::INVAL | Errno::OPNOTSUPP) => {
                            self.refused.store(true, Ordering::Relaxed);
                            through_cache(file, &bytes[..piece], position)?
                        }
                        written => written?,
                    }
                }
                (Piece::Direct(piece) | Piece::Cached(piece), _) => {
                    through_cache(file, &bytes[..piece], position)?
                }
            };
            if written == 0 {
                return Err(Errno::IO);
            }
            bytes = &bytes[written..];
            position += written as u64;
        }
        Ok(())
    }

    /// A descriptor of its own, for one write: readers share the file's, and may begin anywhere. `None`: the file system
    /// refuses, or the process has no more descriptors, or is shown none.
    fn past_cache(&self, file: BorrowedFd<'_>) -> Option<OwnedFd> {
        if self.refused.load(Ordering::Relaxed) {
            return None;
        }
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let flags = OFlags::WRONLY | OFlags::DIRECT | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path, flags, Mode::empty());
        if matches!(opened, Err(Errno::INVAL)) {
            self.refused.store(true, Ordering::Relaxed);
        }
        opened.ok()
    }
}

fn through_cache(file: BorrowedFd<'_>, bytes: &[u8], position: u64) -> Result<usize, Errno> {
    rustix::io::retry_on_intr(|| rustix::io::pwrite(file, bytes, position))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::fd::AsFd as _;

    const BLOCK: usize = 4096;

    #[test]
    fn the_ends_go_through_the_cache_and_the_blocks_between_past_it() {
        let next = |position, len| next_piece(position, len, BLOCK, 2 * BLOCK);
        assert_eq!(next(0, 10 * BLOCK), Piece::Direct(10 * BLOCK));
        assert_eq!(next(0, 10 * BLOCK + 7), Piece::Direct(10 * BLOCK));
        assert_eq!(next(10 * BLOCK as u64, 7), Piece::Cached(7));
        assert_eq!(next(100, 10 * BLOCK), Piece::Cached(BLOCK - 100));
        assert_eq!(
            next(0, 2 * BLOCK - 1),
            Piece::Cached(2 * BLOCK - 1),
            "not worth it"
        );
    }

    proptest! {
        #[test]
        fn pieces_come_to_an_end_and_no_block_is_written_both_ways(
            appends in prop::collection::vec(1_usize..200_000, 1..20),
            worth in 0_usize..100_000,
        ) {
            let mut position = 0_u64;
            let mut ways = std::collections::BTreeMap::new();
            for mut len in appends {
                while len > 0 {
                    let (piece, direct) = match next_piece(position, len, BLOCK, worth) {
                        Piece::Cached(piece) => (piece, false),
                        Piece::Direct(piece) => {
                            prop_assert_eq!(position % BLOCK as u64, 0);
                            prop_assert_eq!(piece % BLOCK, 0);
                            (piece, true)
                        }
                    };
                    prop_assert!(piece > 0 && piece <= len);
                    for block in position / BLOCK as u64..=(position + piece as u64 - 1) / BLOCK as u64 {
                        prop_assert_eq!(*ways.entry(block).or_insert(direct), direct, "block {}", block);
                    }
                    position += piece as u64;
                    len -= piece;
                }
            }
        }
    }

    #[test]
    fn what_is_gathered_is_written_as_it_is_and_where_it_belongs() {
        let (buffers, direct) = (Buffers::new(1), Direct::new());
        let bytes: Vec<u8> = (0..600_000_u32)
            .map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[3])
            .collect();
        for position in [0, 1, 4095, 4096, 70_000] {
            for len in [1, 4096, 65_536, 70_000, 600_000] {
                let file = tempfile::NamedTempFile::new().unwrap();
                let parts = [
                    IoSlice::new(&bytes[..len / 3]),
                    IoSlice::new(&bytes[len / 3..len]),
                ];
                let Got::Buffer(buffer) = buffers.get() else {
                    panic!("it was given back")
                };
                let mut gathered = buffers.empty(buffer, position);
                assert_eq!(gathered.gather(&parts), len);
                assert!(gathered.has_room_at(position + len as u64));
                assert!(matches!(buffers.get(), Got::NoneFree(_)));
                direct.write(file.as_file().as_fd(), &gathered).unwrap();
                buffers.give_back(gathered);
                let mut read = vec![0; usize::try_from(position).unwrap() + len + 1];
                let there = rustix::io::pread(file.as_file(), &mut read, 0).unwrap();
                assert_eq!(there, read.len() - 1, "{len} at {position}");
                assert!(
                    read[read.len() - 1 - len..there] == bytes[..len],
                    "{len} at {position}"
                );
            }
        }
        assert_eq!(lock(&buffers.kept).all, 1, "used again");
    }

    #[test]
    fn a_file_system_that_refuses_is_not_asked_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let direct = Direct::new();
        let lets = rustix::fs::open(file.path(), OFlags::WRONLY | OFlags::DIRECT, Mode::empty()).is_ok();
        assert_eq!(direct.past_cache(file.as_file().as_fd()).is_some(), lets);
        assert_eq!(direct.refused.load(Ordering::Relaxed), !lets);
        direct.refused.store(true, Ordering::Relaxed);
        assert!(direct.past_cache(file.as_file().as_fd()).is_none());
    }

    #[test]
    fn gathering_ends_where_there_is_no_more_room_or_nothing_more() {
        let parts = [&b"abc"[..], b"", b"defg"].map(IoSlice::new);
        let mut into = [0; 5];
        assert_eq!((gather(&parts, &mut into), &into), (5, b"abcde"));
        let mut into = [0; 9];
        assert_eq!((gather(&parts, &mut into), &into), (7, b"abcdefg\0\0"));
    }
}
