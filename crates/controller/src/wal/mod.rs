//! The write-ahead log of the metadata group: votes and entries, in one order, in one file after another. Synchronous; it
//! has one owner, which is a thread in production and the calling task in a simulation.
//!
//! ```text
//! metadata/00000000000000000001.wal   Begin Entry Entry Vote Entry ... zeros, preallocated
//! metadata/00000000000000000002.wal   Begin Entry ...
//! metadata/spare.wal                  zeros: the next file, so that a full disk does not stop the group at once
//! ```
//! - What [`Wal::sync`] returned for is durable. A new file holds nothing until the one before is durable to its end, and
//!   its name is.
//! - A file begins with all that holds there (vote, purged, last), so that older files can go.
//! - After an error nothing more is written: what the disk holds is unknown.

pub(crate) mod frame;
mod message;
mod recover;
#[cfg(test)]
mod tests;

pub(crate) use message::{
    BeginMessage, CommandsMessage, EntryMessage, FORMAT, LogPlace, MembershipMessage, NodeMessage,
    TruncateMessage, VoteMessage, VotersMessage,
};
pub(crate) use recover::Recovered;

use crate::StartError;
use frame::Kind;
use prost::Message;
use quipu_record::PlantedBug;
use quipu_storage::{Access, Disk, DiskFile};
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

const SPARE: &str = "spare.wal";

/// The files of the log that are there, by number; shared with those who read entries back.
pub(crate) type Files<D> = Arc<Mutex<BTreeMap<u64, Arc<<D as Disk>::File>>>>;

/// Where an entry's frame stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    pub(crate) position: u64,
    pub(crate) len: usize,
}

/// What is written.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// A vote was given.
    Vote(VoteMessage),
    /// An entry was appended: its encoded [`EntryMessage`].
    Entry { place: LogPlace, payload: Vec<u8> },
    /// Entries from this index on are gone, and this one is the last.
    Truncate { from: u64, last: Option<LogPlace> },
    /// Entries up to here are in a snapshot, and gone.
    Purge(LogPlace),
    /// Entries up to here are committed. A hint: it goes with the next write.
    Committed(LogPlace),
}

/// All that is known besides the entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct HardState {
    pub(crate) vote: Option<VoteMessage>,
    pub(crate) purged: Option<LogPlace>,
    pub(crate) committed: Option<LogPlace>,
    pub(crate) last: Option<LogPlace>,
}

/// The log, open for writing.
#[derive(Debug)]
pub(crate) struct Wal<D: Disk> {
    disk: D,
    dir: PathBuf,
    controller: u64,
    segment_bytes: u64,
    files: Files<D>,
    /// The file that is written, and its number.
    active: Arc<D::File>,
    number: u64,
    /// Where the next frame will stand, the bytes in `buffer` included.
    end: u64,
    /// Below this the active file is durable.
    synced: u64,
    /// How long the active file is, preallocated.
    room: u64,
    buffer: Vec<u8>,
    state: HardState,
    /// The greatest index of any entry in each file, dead ones too: it may go once that is purged.
    greatest: BTreeMap<u64, u64>,
    has_spare: bool,
    failed: bool,
}

impl<D: Disk> Wal<D> {
    /// Opens the log in `dir`, which exists, or begins it there for a new controller with the id `fresh`.
    pub(crate) fn open(
        disk: D,
        dir: &Path,
        segment_bytes: u64,
        fresh: u64,
    ) -> Result<(Self, Recovered), StartError> {
        let io = |source| StartError::Io {
            path: dir.to_owned(),
            source,
        };
        let scan = recover::scan(&disk, dir)?;
        let files: BTreeMap<u64, Arc<D::File>> = scan.files;
        let (number, active, recovered) = match (files.last_key_value(), scan.recovered) {
            (Some((number, file)), Some(recovered)) => (*number, Arc::clone(file), recovered),
            _ => {
                let file = create(&disk, dir, &segment_path(dir, 1), segment_bytes).map_err(io)?;
                (0, Arc::new(file), Recovered::new(fresh))
            }
        };
        let mut wal = Self {
            disk,
            dir: dir.to_owned(),
            controller: recovered.controller,
            segment_bytes,
            files: Arc::new(Mutex::new(files)),
            room: active.len().map_err(io)?,
            active,
            number,
            end: recovered.end,
            synced: recovered.end,
            buffer: Vec::new(),
            state: recovered.state,
            greatest: recovered.greatest.clone(),
            has_spare: false,
            failed: false,
        };
        if number == 0 {
            wal.begin(1, 0).map_err(io)?;
            wal.sync().map_err(io)?;
        }
        // Whatever an earlier run left under this name was not in use.
        match wal.disk.remove(&wal.dir.join(SPARE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
        wal.make_spare();
        Ok((wal, recovered))
    }

    /// The files, for readers.
    pub(crate) fn files(&self) -> Files<D> {
        Arc::clone(&self.files)
    }

    /// Takes what is to be written; for an entry it says where it will stand. Nothing of it is durable before
    /// [`Wal::sync`].
    pub(crate) fn put(&mut self, op: &Op) -> io::Result<Option<Place>> {
        self.check()?;
        let result = self.put_op(op);
        self.failed |= result.is_err();
        result
    }

    fn put_op(&mut self, op: &Op) -> io::Result<Option<Place>> {
        match op {
            Op::Vote(vote) => {
                self.put_frame(Kind::Vote, &vote.encode_to_vec())?;
                self.state.vote = Some(*vote);
            }
            Op::Entry { place, payload } => {
                let place_of = self.put_frame(Kind::Entry, payload)?;
                self.state.last = Some(*place);
                let greatest = self.greatest.entry(self.number).or_default();
                *greatest = place.index.max(*greatest);
                return Ok(Some(place_of));
            }
            Op::Truncate { from, last } => {
                self.put_frame(
                    Kind::Truncate,
                    &TruncateMessage {
                        from: *from,
                        last: *last,
                    }
                    .encode_to_vec(),
                )?;
                self.state.last = *last;
            }
            Op::Purge(place) => {
                self.put_frame(Kind::Purge, &place.encode_to_vec())?;
                self.state.purged = Some(*place);
                if self.state.last.is_none_or(|last| last.index < place.index) {
                    self.state.last = Some(*place);
                }
            }
            Op::Committed(place) => {
                self.put_frame(Kind::Committed, &place.encode_to_vec())?;
                self.state.committed = Some(*place);
            }
        }
        Ok(None)
    }

    fn put_frame(&mut self, kind: Kind, payload: &[u8]) -> io::Result<Place> {
        if payload.len() > frame::PAYLOAD_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the entry is too large for the log",
            ));
        }
        let len = frame::framed_len(payload.len());
        let len_u64 = u64::try_from(len).unwrap_or(u64::MAX);
        if self.end + len_u64 > self.room {
            self.roll(len_u64)?;
        }
        let place = Place {
            segment: self.number,
            position: self.end,
            len,
        };
        frame::put(
            &mut self.buffer,
            self.number,
            self.end,
            kind,
            self.synced,
            payload,
        );
        self.end += len_u64;
        Ok(place)
    }

    /// Makes everything durable that was put so far.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.check()?;
        let result = self.write_out().and_then(|()| self.active.sync_data());
        match &result {
            Ok(()) => self.synced = self.end,
            Err(_) => self.failed = true,
        }
        result
    }

    /// As [`Wal::sync`], for a vote.
    pub(crate) fn sync_vote(&mut self) -> io::Result<()> {
        if PlantedBug::VoteNotFlushed.planted() {
            return self.write_out();
        }
        self.sync()
    }

    /// Removes the files of which everything is purged. Call it once the purge itself is durable.
    pub(crate) fn drop_purged(&mut self) -> io::Result<()> {
        self.check()?;
        let Some(purged) = self.state.purged else {
            return Ok(());
        };
        loop {
            let oldest = self.lock_files().keys().next().copied();
            let Some(oldest) = oldest.filter(|oldest| *oldest < self.number) else {
                return Ok(());
            };
            if self
                .greatest
                .get(&oldest)
                .is_some_and(|greatest| *greatest > purged.index)
            {
                return Ok(());
            }
            self.disk.remove(&segment_path(&self.dir, oldest))?;
            // One by one, or a crash could leave a hole.
            self.disk.sync_dir(&self.dir)?;
            self.lock_files().remove(&oldest);
            self.greatest.remove(&oldest);
        }
    }

    fn lock_files(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Arc<D::File>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other("the write-ahead log failed before"));
        }
        Ok(())
    }

    fn write_out(&mut self) -> io::Result<()> {
        let mut position = self.end - u64::try_from(self.buffer.len()).unwrap_or(0);
        let mut rest = &self.buffer[..];
        while !rest.is_empty() {
            let written = self.active.write_at(&[IoSlice::new(rest)], position)?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            rest = &rest[written..];
            position += u64::try_from(written).unwrap_or(0);
        }
        self.buffer.clear();
        // One large entry must not be held for ever.
        self.buffer.shrink_to(64 * 1024);
        Ok(())
    }

    /// Goes on in a new file with room for a frame of `needed` bytes at least.
    fn roll(&mut self, needed: u64) -> io::Result<()> {
        // Oldest first: nothing stands in the new file before the old one is durable to its end.
        self.sync()?;
        let number = self.number + 1;
        let path = segment_path(&self.dir, number);
        let begin_room = u64::try_from(frame::framed_len(BEGIN_MAX)).unwrap_or(0);
        let room = self.segment_bytes.max(needed + begin_room);
        let file = if self.has_spare && room == self.segment_bytes {
            let spare = self.dir.join(SPARE);
            let file = self.disk.open(&spare, Access::Write)?;
            self.disk.rename(&spare, &path)?;
            self.disk.sync_dir(&self.dir)?;
            self.has_spare = false;
            file
        } else {
            create(&self.disk, &self.dir, &path, room)?
        };
        let previous_end = self.end;
        self.active = Arc::new(file);
        self.room = self.active.len()?;
        self.begin(number, previous_end)?;
        if !self.has_spare {
            self.make_spare();
        }
        Ok(())
    }

    /// Begins the active file, as the one with this number.
    fn begin(&mut self, number: u64, previous_end: u64) -> io::Result<()> {
        let begin = BeginMessage {
            format: FORMAT,
            controller: self.controller,
            previous_end,
            vote: self.state.vote,
            purged: self.state.purged,
            committed: self.state.committed,
            last: self.state.last,
            room: self.room,
        };
        self.number = number;
        self.end = 0;
        self.synced = 0;
        self.lock_files().insert(number, Arc::clone(&self.active));
        self.put_frame(Kind::Begin, &begin.encode_to_vec())?;
        Ok(())
    }

    /// Prepares the next file. If there is no room for it now there may be when it is needed.
    fn make_spare(&mut self) {
        let path = self.dir.join(SPARE);
        match create(&self.disk, &self.dir, &path, self.segment_bytes) {
            Ok(_) => self.has_spare = true,
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "no room to prepare the next file of the metadata log");
                // Half a file would be taken for a whole one.
                let _ = self.disk.remove(&path);
            }
        }
    }
}

/// More than a [`BeginMessage`] ever takes.
const BEGIN_MAX: usize = 256;

/// Creates a file of `len` zeros under a name that is durable on return.
fn create<D: Disk>(disk: &D, dir: &Path, path: &Path, len: u64) -> io::Result<D::File> {
    let file = disk.open(path, Access::CreateNew)?;
    file.preallocate(len)?;
    file.sync_data()?;
    disk.sync_dir(dir)?;
    Ok(file)
}

/// The path of a file of the log.
pub(crate) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}.wal"))
}
