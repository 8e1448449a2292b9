//! An open file of the fake disk.

use super::state::{Behind, State};
use super::tree::Id;
use crate::disk::direct::{Piece, gather, next_piece};
use crate::{DiskFile, Taken};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An open file of a [`super::FakeDisk`].
#[derive(Debug)]
pub struct FakeFile {
    state: Arc<Mutex<State>>,
    id: Id,
    generation: u64,
    writable: bool,
    /// How many failed write-backs this handle has told of.
    told: AtomicU64,
}

impl FakeFile {
    pub(super) fn open(
        shared: &Arc<Mutex<State>>,
        state: &mut State,
        id: Id,
        writable: bool,
    ) -> io::Result<Self> {
        let file = state.file(id)?;
        file.handles += 1;
        let told = if file.told { file.errors } else { file.errors - 1 };
        state.counts.open_files += 1;
        state.counts.open_files_most = state.counts.open_files_most.max(state.counts.open_files);
        Ok(Self {
            state: Arc::clone(shared),
            id,
            generation: state.generation,
            writable,
            told: AtomicU64::new(told),
        })
    }

    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.generation == self.generation {
            Ok(state)
        } else {
            Err(io::Error::other("the machine crashed since this file was opened"))
        }
    }

    fn behind(&self) -> io::Result<Behind> {
        Ok(self.state()?.file(self.id)?.behind)
    }

    fn write(&self, parts: &[IoSlice<'_>], position: u64, behind: Option<u64>) -> io::Result<usize> {
        let mut state = self.writable()?;
        state.spend()?;
        state.counts.writes += 1;
        let faults = state.faults;
        if state.rng.happens(faults.write_eio) {
            return state.eio();
        }
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let before = state.file(self.id)?.contents.live().len() as u64;
        let mut take = bytes.len();
        if state.rng.happens(faults.short_write) {
            take = 1 + state.rng.index(take.max(1));
        }
        // What lies within the file was allocated before.
        if position + bytes.len() as u64 > before && state.rng.happens(faults.no_space) {
            take = if state.rng.one_in(2) {
                0
            } else {
                state.rng.index(take.max(1))
            };
        }
        let end = before.max(position + take.min(bytes.len()) as u64);
        let reach = state.take_room(before, end);
        let take = take
            .min(bytes.len())
            .min(to_usize(reach.saturating_sub(position))?);
        if take == 0 && !bytes.is_empty() {
            return state.full();
        }
        if take < bytes.len() {
            state.counts.short_writes += 1;
        }
        state.counts.bytes_written += take as u64;
        let (contents, at) = (&mut state.file(self.id)?.contents, to_usize(position)?);
        match behind {
            Some(number) => contents.write_behind(at, &bytes[..take], number),
            None => contents.write(at, &bytes[..take]),
        }
        if state.rng.happens(faults.write_back_eio) {
            state.fail_write_back(self.id);
        }
        Ok(take)
    }

    fn writable(&self) -> io::Result<MutexGuard<'_, State>> {
        if self.writable {
            self.state()
        } else {
            Err(rustix::io::Errno::BADF.into())
        }
    }
}

impl Drop for FakeFile {
    fn drop(&mut self) {
        let Ok(mut state) = self.state() else { return };
        state.counts.open_files -= 1;
        let Ok(file) = state.file(self.id) else { return };
        file.handles -= 1;
        if file.handles == 0 {
            state.closed(self.id);
        }
    }
}

/// Of a direct write: small, as batches in tests are.
const BLOCK: usize = 64;

fn to_usize(position: u64) -> io::Result<usize> {
    usize::try_from(position).map_err(|_| rustix::io::Errno::FBIG.into())
}

impl DiskFile for FakeFile {
    type Map = Vec<u8>;

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let mut state = self.state()?;
        state.counts.reads += 1;
        let chance = state.faults.read_eio;
        if state.rng.happens(chance) {
            return state.eio();
        }
        let live = state.file(self.id)?.contents.live();
        let from = to_usize(position)?.min(live.len());
        let taken = buf.len().min(live.len() - from);
        buf[..taken].copy_from_slice(&live[from..from + taken]);
        Ok(taken)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        self.write(parts, position, None)
    }

    /// In the same pieces as on a real disk.
    fn write_behind(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        let len = parts.iter().map(|part| part.len()).sum();
        let len = match next_piece(position, len, BLOCK, BLOCK) {
            Piece::Cached(piece) => piece,
            Piece::Direct(piece) => {
                self.writable()?.counts.direct_writes += 1;
                piece
            }
        };
        let mut bytes = vec![0; len];
        gather(parts, &mut bytes);
        let number = {
            let mut state = self.writable()?;
            let behind = &mut state.file(self.id)?.behind;
            // A real disk may be full when it is written, which nobody would be told before the sync.
            assert!(
                position + len as u64 <= behind.room,
                "no room was taken for what is written behind"
            );
            behind.taken += 1;
            behind.taken - 1
        };
        self.write(&[IoSlice::new(&bytes)], position, Some(number))
    }

    fn taken(&self) -> Taken {
        Taken(self.behind().map_or(0, |behind| behind.taken))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.state()?.file(self.id)?.contents.live().len() as u64)
    }

    fn sync_taken(&self, taken: Taken) -> io::Result<()> {
        let mut state = self.state()?;
        state.spend()?;
        state.counts.file_syncs += 1;
        let chance = state.faults.sync_eio;
        let dirty = state.file(self.id)?.contents.is_dirty();
        if dirty && state.rng.happens(chance) {
            state.fail_write_back(self.id);
        }
        let file = state.file(self.id)?;
        file.behind.written = file.behind.written.max(taken.0);
        file.contents.sync_before(file.behind.written);
        let errors = file.errors;
        if self.told.swap(errors, Ordering::Relaxed) == errors {
            return Ok(());
        }
        file.told = true;
        state.eio()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut state = self.writable()?;
        state.spend()?;
        let chance = state.faults.write_eio;
        if state.rng.happens(chance) {
            return state.eio();
        }
        let before = state.file(self.id)?.contents.live().len() as u64;
        // Growing by a hole takes no room.
        state.take_room(before, before.min(len));
        state.file(self.id)?.behind.room = 0;
        state.file(self.id)?.contents.set_len(to_usize(len)?);
        Ok(())
    }

    /// Sometimes there is none.
    fn reserve(&self, room: Range<u64>) -> io::Result<()> {
        let mut state = self.writable()?;
        let chance = state.faults.no_space;
        if state.rng.happens(chance) {
            return state.full();
        }
        let behind = &mut state.file(self.id)?.behind;
        behind.room = behind.room.max(room.end);
        Ok(())
    }

    fn give_back(&self) -> io::Result<()> {
        self.writable()?.file(self.id)?.behind.room = 0;
        Ok(())
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        let mut state = self.writable()?;
        state.spend()?;
        let before = state.file(self.id)?.contents.live().len() as u64;
        if len <= before {
            return Ok(());
        }
        let chance = state.faults.no_space;
        let reach = state.take_room(before, len);
        if reach < len || state.rng.happens(chance) {
            state.take_room(reach, before);
            return state.full();
        }
        state.file(self.id)?.contents.set_len(to_usize(len)?);
        Ok(())
    }

    fn map(&self, len: usize) -> io::Result<Vec<u8>> {
        let mut state = self.state()?;
        let live = state.file(self.id)?.contents.live();
        Ok(live.get(..len).ok_or(rustix::io::Errno::INVAL)?.to_vec())
    }
}
