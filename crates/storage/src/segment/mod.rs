//! One file of batches, its index and its seal.
//!
//! A segment is shared between the log's owner, who appends to the last one, and readers. What is published (its end, its
//! index) is behind a lock held for a few instructions; bytes are written and read without it.

mod boundary;
mod check;
mod index;
mod locate;
pub(crate) mod recover;
mod seal;
mod walk;

use crate::files::{Files, OpenFile, lock};
use crate::paths::{self, Kind};
use crate::{Access, Disk, IoFailure};
use quipu_record::{Offset, Timestamp};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

pub(crate) use boundary::Boundary;
pub(crate) use check::{Look, Rules};
pub(crate) use index::{ENTRY_LEN, Entries, encode as encode_entry};
pub(crate) use locate::Seek;
pub(crate) use seal::{SEAL_LEN, Seal};
pub(crate) use walk::{Step, Walk};

/// Entries that an index keeps in memory before it writes them, so that no descriptor need be held for it.
const INDEX_TAIL: usize = 32;

/// Where a log's files are, and how they are opened.
#[derive(Debug)]
pub(crate) struct Place<'a, D: Disk> {
    pub(crate) files: &'a Files<D>,
    pub(crate) dir: &'a Path,
}

impl<D: Disk> Clone for Place<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D: Disk> Copy for Place<'_, D> {}

impl<D: Disk> Place<'_, D> {
    pub(crate) fn path(&self, base: Offset, kind: Kind) -> PathBuf {
        paths::at_offset(self.dir, base, kind)
    }
}

/// A segment.
#[derive(Debug)]
pub(crate) struct Segment<D: Disk> {
    base: Offset,
    state: Mutex<State<D>>,
}

#[derive(Debug)]
struct State<D: Disk> {
    end: Boundary,
    created: Timestamp,
    sealed: bool,
    cleaned: bool,
    /// Another has taken its place.
    retired: bool,
    /// Entries in the index file.
    entries: usize,
    /// Entries after those.
    tail: Vec<Boundary>,
    /// Where the last entry stands.
    last_entry: u32,
    file: Weak<OpenFile<D>>,
}

/// What a segment was, so that a failed append can be undone.
#[derive(Clone, Debug)]
pub(crate) struct Before {
    end: Boundary,
    entries: usize,
    tail: Vec<Boundary>,
    last_entry: u32,
}

impl Before {
    /// The end that it was.
    pub(crate) const fn end(&self) -> Boundary {
        self.end
    }
}

impl<D: Disk> Segment<D> {
    /// The active segment, ending at `end`; its index has `entries`, the last of them at `last_entry`.
    pub(crate) fn active(
        base: Offset,
        end: Boundary,
        created: Timestamp,
        entries: usize,
        last_entry: u32,
    ) -> Self {
        Self::new(base, end, created, false, entries, last_entry)
    }

    /// A segment that is complete.
    pub(crate) fn sealed(seal: &Seal) -> Self {
        let entries = seal.index_entries as usize;
        Self::new(
            seal.base,
            seal.end,
            seal.created,
            true,
            entries,
            seal.end.position,
        )
    }

    /// A cleaned segment, whose file is open under another name and whose index has no name yet.
    pub(crate) fn cleaned_of(seal: &Seal, log: &Arc<OpenFile<D>>) -> Self {
        let segment = Self::sealed(seal);
        let mut state = lock(&segment.state);
        state.cleaned = true;
        state.entries = 0;
        state.file = Arc::downgrade(log);
        drop(state);
        segment
    }

    /// Its files have their names.
    pub(crate) fn has_its_names(&self, index_entries: usize) {
        let mut state = lock(&self.state);
        state.entries = index_entries;
        state.file = Weak::new();
    }

    /// Another takes its place: its file is not to be opened any more, nor its index made anew.
    pub(crate) fn retire(&self, files: &Files<D>) {
        lock(&self.state).retired = true;
        self.close(files);
    }

    fn new(
        base: Offset,
        end: Boundary,
        created: Timestamp,
        sealed: bool,
        entries: usize,
        last_entry: u32,
    ) -> Self {
        let state = State {
            end,
            created,
            sealed,
            cleaned: false,
            retired: false,
            entries,
            tail: Vec::new(),
            last_entry,
            file: Weak::new(),
        };
        Self {
            base,
            state: Mutex::new(state),
        }
    }

    /// Its first offset.
    pub(crate) const fn base(&self) -> Offset {
        self.base
    }

    /// Its end.
    pub(crate) fn end(&self) -> Boundary {
        lock(&self.state).end
    }

    /// When it was begun.
    pub(crate) fn created(&self) -> Timestamp {
        lock(&self.state).created
    }

    /// Offsets in it may leave gaps from now on.
    pub(crate) fn set_cleaned(&self) {
        lock(&self.state).cleaned = true;
    }

    /// Whether compaction may have left gaps.
    pub(crate) fn cleaned(&self) -> bool {
        lock(&self.state).cleaned
    }

    /// Whether nothing is appended to it any more.
    pub(crate) fn is_sealed(&self) -> bool {
        lock(&self.state).sealed
    }

    /// The file of its batches, if it is open.
    pub(crate) fn opened(&self) -> Option<Arc<OpenFile<D>>> {
        let file = lock(&self.state).file.upgrade()?;
        file.touch();
        Some(file)
    }

    /// The open file of its batches, opened if need be.
    pub(crate) fn open(&self, place: &Place<'_, D>) -> io::Result<Arc<OpenFile<D>>> {
        let mut state = lock(&self.state);
        if let Some(file) = state.file.upgrade() {
            file.touch();
            return Ok(file);
        }
        if state.retired {
            return Err(io::ErrorKind::NotFound.into());
        }
        let access = if state.sealed { Access::Read } else { Access::Write };
        let file = place.files.open(&place.path(self.base, Kind::Log), access)?;
        state.file = Arc::downgrade(&file);
        drop(state);
        place.files.keep(&file);
        Ok(file)
    }

    /// Creates the file of a new segment.
    pub(crate) fn create(&self, place: &Place<'_, D>) -> Result<Arc<OpenFile<D>>, IoFailure> {
        let path = place.path(self.base, Kind::Log);
        let file = place
            .files
            .open(&path, Access::CreateNew)
            .map_err(crate::files::failed("creating", &path))?;
        lock(&self.state).file = Arc::downgrade(&file);
        place.files.keep(&file);
        Ok(file)
    }

    /// Lets go of the open file; whoever else holds it goes on with it.
    pub(crate) fn close(&self, files: &Files<D>) {
        let open = std::mem::take(&mut lock(&self.state).file).upgrade();
        if let Some(file) = open {
            files.forget(&file);
        }
    }

    /// Publishes batches that were written: the new end, and entries for the index.
    pub(crate) fn publish(&self, end: Boundary, entries: &[Boundary]) {
        let mut state = lock(&self.state);
        state.end = end;
        if let Some(last) = entries.last() {
            state.last_entry = last.position;
            state.tail.extend_from_slice(entries);
        }
    }

    /// Where the last entry of the index stands.
    pub(crate) fn last_entry(&self) -> u32 {
        lock(&self.state).last_entry
    }

    /// What [`Segment::undo`] goes back to.
    pub(crate) fn before(&self) -> Before {
        let state = lock(&self.state);
        Before {
            end: state.end,
            entries: state.entries,
            tail: state.tail.clone(),
            last_entry: state.last_entry,
        }
    }

    /// Takes back what was published since. Files are the caller's business, all but the index: had entries of what is
    /// taken back been written to it, it goes, and its name durably so, lest they come back with a crash.
    pub(crate) fn undo(&self, place: &Place<'_, D>, before: Before) -> Result<(), IoFailure> {
        let written = lock(&self.state).entries;
        let entries = if written > before.entries {
            self.remove_index(place)?;
            place.files.sync_dir(place.dir)?;
            0
        } else {
            written
        };
        let mut state = lock(&self.state);
        state.end = before.end;
        state.entries = entries;
        state.tail = before.tail;
        state.last_entry = before.last_entry;
        state.sealed = false;
        Ok(())
    }

    /// Makes this the active segment again, ending at `end`, with these entries in its index. The caller syncs the
    /// directory.
    pub(crate) fn cut(
        &self,
        place: &Place<'_, D>,
        end: Boundary,
        entries: Vec<Boundary>,
    ) -> Result<(), IoFailure> {
        self.remove_index(place)?;
        let mut state = lock(&self.state);
        state.end = end;
        state.sealed = false;
        state.entries = 0;
        state.last_entry = entries.last().map_or(0, |entry| entry.position);
        state.tail = entries;
        Ok(())
    }

    /// A reader may have the index mapped: it is removed and never cut.
    fn remove_index(&self, place: &Place<'_, D>) -> Result<(), IoFailure> {
        if let Some(log) = lock(&self.state).file.upgrade() {
            log.forget_index();
        }
        place.files.remove(&place.path(self.base, Kind::Index))
    }

    /// All entries of the index that are right.
    pub(crate) fn entries(&self, place: &Place<'_, D>) -> Result<Vec<Boundary>, IoFailure> {
        let (end, entries, tail) = {
            let state = lock(&self.state);
            (state.end, state.entries, state.tail.clone())
        };
        let path = place.path(self.base, Kind::Index);
        let bytes = crate::files::read_small(place.files.disk(), &path)?.unwrap_or_default();
        let bytes = bytes.get(..entries * ENTRY_LEN).unwrap_or_default();
        let mut all = Entries::new(self.base, bytes).valid_to(&end);
        all.extend(tail);
        Ok(all)
    }

    /// Whether enough entries of the index wait in memory.
    pub(crate) fn index_due(&self) -> bool {
        lock(&self.state).tail.len() >= INDEX_TAIL
    }

    /// Writes entries of the index that wait in memory. A write that fails loses them: the index is sparser, and the walk
    /// from the entry before is longer.
    pub(crate) fn write_index(&self, place: &Place<'_, D>) {
        let (number, waiting) = {
            let state = lock(&self.state);
            (state.entries, state.tail.clone())
        };
        if waiting.is_empty() {
            return;
        }
        let written = self.append_index(place, number, &waiting);
        let mut state = lock(&self.state);
        state.tail.drain(..waiting.len());
        state.tail.shrink_to(INDEX_TAIL);
        if written.is_ok() {
            state.entries += waiting.len();
        }
    }

    fn append_index(&self, place: &Place<'_, D>, number: usize, entries: &[Boundary]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(entries.len() * ENTRY_LEN);
        for (at, entry) in entries.iter().enumerate() {
            index::encode(self.base, number + at, entry, &mut bytes);
        }
        let path = place.path(self.base, Kind::Index);
        let access = if number == 0 {
            Access::CreateNew
        } else {
            Access::Write
        };
        let file = match place.files.open(&path, access) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                place.files.open(&path, Access::Write)?
            }
            opened => opened?,
        };
        let position = (number * ENTRY_LEN) as u64;
        crate::files::write_all::<D>(file.file(), &mut [IoSlice::new(&bytes)], position)
    }

    /// Completes the segment: writes the rest of its index, and its seal. Returns the seal's file, which waits for a
    /// flush like the batches.
    ///
    /// # Errors
    /// The segment is then as it was, but for a seal that says too little and is not yet true.
    pub(crate) fn seal(&self, place: &Place<'_, D>) -> Result<Arc<OpenFile<D>>, IoFailure> {
        self.write_index(place);
        let seal = self.seal_of();
        let file = write_seal(place, &seal)?;
        let mut state = lock(&self.state);
        state.sealed = true;
        state.tail = Vec::new();
        Ok(file)
    }

    /// Takes back a seal: the segment is the active one after all.
    pub(crate) fn unseal(&self) {
        lock(&self.state).sealed = false;
    }

    fn seal_of(&self) -> Seal {
        let state = lock(&self.state);
        Seal {
            base: self.base,
            end: state.end,
            created: state.created,
            index_entries: u32::try_from(state.entries).unwrap_or(u32::MAX),
        }
    }
}

/// Writes a seal. It is not durable before its file and its directory were synced.
pub(crate) fn write_seal<D: Disk>(place: &Place<'_, D>, seal: &Seal) -> Result<Arc<OpenFile<D>>, IoFailure> {
    let path = place.path(seal.base, Kind::Seal);
    let file = match place.files.open(&path, Access::CreateNew) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => place.files.open(&path, Access::Write),
        opened => opened,
    };
    let file = file.map_err(crate::files::failed("creating", &path))?;
    file.write_all(&mut [IoSlice::new(&seal.encode())], 0)?;
    Ok(file)
}

/// Whether an error says that there is no such file.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}
