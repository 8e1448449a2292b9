//! Writing past the page cache (`O_DIRECT`).
//!
//! What many megabytes a second leave in the page cache is paid for with half of what a write costs, and mostly nobody
//! reads it there: who reads the tail is served from memory. Such a write must begin and end at a block of the file and of
//! memory, and batches do neither. So it is made in pieces: what is left of the block that the file ends in, and what begins
//! its last one, go through the page cache, the blocks between past it. Unless the disk takes less than asked, no block is
//! written both ways; and the file's length stays the log's.

use memmap2::{Advice, MmapMut};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// The most that one write takes, and what a buffer has.
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
    // It fits: it is less than `block`.
    let head = usize::try_from(position % block as u64).unwrap_or(0);
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

/// What the files of one disk need for it.
#[derive(Debug)]
pub(super) struct Direct {
    block: usize,
    /// One for each thread that wrote at a time so far.
    buffers: Mutex<Vec<MmapMut>>,
    /// The file system cannot: not asked again.
    refused: AtomicBool,
}

impl Direct {
    pub(super) fn new() -> Self {
        Self {
            block: rustix::param::page_size().max(BLOCK_MIN),
            buffers: Mutex::default(),
            refused: AtomicBool::new(false),
        }
    }

    /// Writes the next piece of the parts, which `file` is open for; says how much that was.
    pub(super) fn write(
        &self,
        file: BorrowedFd<'_>,
        parts: &[IoSlice<'_>],
        position: u64,
    ) -> io::Result<usize> {
        let len = parts.iter().map(|part| part.len()).sum();
        if !self.refused.load(Ordering::Relaxed) {
            match next_piece(position, len, self.block, WORTH) {
                Piece::Direct(piece) => match self.past_cache(file, parts, piece, position) {
                    Err(Errno::INVAL | Errno::OPNOTSUPP) => self.refused.store(true, Ordering::Relaxed),
                    Ok(Some(written)) => return Ok(written),
                    Ok(None) => {}
                    Err(error) => return Err(error.into()),
                },
                Piece::Cached(piece) if piece < len => {
                    let mut head = vec![0; piece];
                    gather(parts, &mut head);
                    let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(file, &head, position));
                    return Ok(written?);
                }
                Piece::Cached(_) => {}
            }
        }
        Ok(rustix::io::retry_on_intr(|| {
            rustix::io::pwritev(file, parts, position)
        })?)
    }

    /// `None`: not this time.
    fn past_cache(
        &self,
        file: BorrowedFd<'_>,
        parts: &[IoSlice<'_>],
        piece: usize,
        position: u64,
    ) -> Result<Option<usize>, Errno> {
        // A descriptor of its own, for this write: readers share the file's, and may begin anywhere.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let flags = OFlags::WRONLY | OFlags::DIRECT | OFlags::CLOEXEC;
        let direct = match rustix::fs::open(path, flags, Mode::empty()) {
            Err(Errno::INVAL) => return Err(Errno::INVAL),
            // Out of descriptors, or where processes are not shown: the write itself needs none of that.
            Err(_) => return Ok(None),
            Ok(direct) => direct,
        };
        let Some(mut buffer) = self.buffer() else {
            return Ok(None);
        };
        let piece = gather(parts, &mut buffer[..piece.min(BUFFER_BYTES)]);
        let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(&direct, &buffer[..piece], position));
        self.give_back(buffer);
        written.map(Some)
    }

    /// Memory that begins at a page; one large page if there is one, which the disk takes as one piece.
    fn buffer(&self) -> Option<MmapMut> {
        let kept = self.buffers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.or_else(|| {
            let buffer = MmapMut::map_anon(BUFFER_BYTES).ok()?;
            // As good as it gets.
            let _ = buffer.advise(Advice::HugePage);
            Some(buffer)
        })
    }

    fn give_back(&self, buffer: MmapMut) {
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        buffers.push(buffer);
    }
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
    fn blocks_go_past_the_cache_where_the_file_system_lets_them() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let lets = rustix::fs::open(file.path(), OFlags::WRONLY | OFlags::DIRECT, Mode::empty()).is_ok();
        let direct = Direct::new();
        let bytes = vec![7; 16 * direct.block];
        let parts = [IoSlice::new(&bytes[..100]), IoSlice::new(&bytes[100..])];
        let written = direct.past_cache(file.as_file().as_fd(), &parts, bytes.len(), 0);
        assert_eq!(written.ok().flatten(), lets.then_some(bytes.len()));
        assert_eq!(
            direct.buffers.lock().unwrap().len(),
            usize::from(lets),
            "kept for the next"
        );
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
