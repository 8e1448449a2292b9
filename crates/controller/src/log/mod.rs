//! The log of the metadata group: an index in memory over the write-ahead log, and the writer in front of it.

mod index;
mod writer;

pub(crate) use index::LogIndex;
pub(crate) use writer::{Durable, Task, Writer};

use crate::entry::{EntryError, LogEntry};
use crate::publish::Failing;
use crate::wal::frame::{self, Kind};
use crate::wal::{Files, LogPlace, Op, Place, VoteMessage, Wal};
use index::Found;
use quipu_storage::{Disk, DiskFile};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of entries that one read gives at most, unless a single entry is larger.
const READ_BYTES: usize = 1024 * 1024;

/// The log: one writer, many readers. Cheap to clone.
#[derive(Debug)]
pub(crate) struct Log<D: Disk> {
    shared: Arc<Shared<D>>,
}

#[derive(Debug)]
struct Shared<D: Disk> {
    index: Arc<Mutex<LogIndex>>,
    /// What was last saved besides the entries.
    saved: Mutex<Saved>,
    files: Files<D>,
    writer: Writer<D>,
}

#[derive(Clone, Copy, Debug)]
struct Saved {
    vote: Option<VoteMessage>,
    committed: Option<LogPlace>,
}

impl<D: Disk> Clone for Log<D> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

/// Why an entry cannot be read back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadEntryError {
    #[error("file {segment} of the metadata log, byte {position}: {source}")]
    Io {
        segment: u64,
        position: u64,
        source: io::Error,
    },
    #[error("file {segment} of the metadata log, byte {position}: the stored bytes are bad")]
    Bad { segment: u64, position: u64 },
    #[error(transparent)]
    Entry(#[from] EntryError),
}

impl<D: Disk> Log<D> {
    /// A log over `wal`, written by a thread of its own or by whoever calls.
    pub(crate) fn new(
        wal: Wal<D>,
        recovered: &crate::wal::Recovered,
        thread: bool,
        failing: Failing,
    ) -> io::Result<Self> {
        let files = wal.files();
        let index = Arc::new(Mutex::new(LogIndex::new(
            recovered.state.purged,
            &recovered.entries,
        )));
        let saved = Mutex::new(Saved {
            vote: recovered.state.vote,
            committed: recovered.state.committed,
        });
        let writer = Writer::start(wal, Arc::clone(&index), thread, failing)?;
        Ok(Self {
            shared: Arc::new(Shared {
                index,
                saved,
                files,
                writer,
            }),
        })
    }

    pub(crate) fn index(&self) -> MutexGuard<'_, LogIndex> {
        self.shared.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn saved(&self) -> MutexGuard<'_, Saved> {
        self.shared.saved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn vote(&self) -> Option<VoteMessage> {
        self.saved().vote
    }

    pub(crate) fn committed(&self) -> Option<LogPlace> {
        self.saved().committed
    }

    /// Saves a vote; durable once `done` says so.
    pub(crate) fn save_vote(&self, vote: VoteMessage, done: Durable) {
        self.saved().vote = Some(vote);
        self.shared.writer.submit(Task::vote(vote, done));
    }

    /// Remembers what is committed, some time.
    pub(crate) fn save_committed(&self, committed: LogPlace) {
        self.saved().committed = Some(committed);
        self.shared.writer.submit(Task::lazy(Op::Committed(committed)));
    }

    /// Appends entries: readable on return, durable once `done` says so. Those that are purged already are in a snapshot,
    /// and stay out of the log.
    pub(crate) fn append(
        &self,
        entries: impl IntoIterator<Item = LogEntry>,
        done: Durable,
    ) -> io::Result<()> {
        let mut ops = Vec::new();
        let mut index = self.index();
        let purged = index.purged();
        for entry in entries {
            let place = entry.place;
            if purged.is_some_and(|purged| place.index <= purged.index) {
                continue;
            }
            let payload = entry.encode();
            if !index.add(entry, payload.len()) {
                let what = format!("entry {} does not follow entry {:?}", place.index, index.last());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
            }
            ops.push(Op::Entry { place, payload });
        }
        drop(index);
        self.shared.writer.submit(Task::durable(ops, done));
        Ok(())
    }

    /// Drops entries from `from` on; durable once `done` says so.
    pub(crate) fn truncate(&self, from: u64, done: Durable) {
        let mut index = self.index();
        index.truncate(from);
        let last = index.last();
        drop(index);
        self.shared
            .writer
            .submit(Task::durable(vec![Op::Truncate { from, last }], done));
    }

    /// Drops entries up to `purged`; durable once `done` says so.
    pub(crate) fn purge(&self, purged: LogPlace, done: Durable) {
        self.index().purge(purged);
        self.shared.writer.submit(Task::purge(purged, done));
    }

    /// The entries from `start` to before `end` that are there, without a hole: fewer if together they are large.
    pub(crate) fn read(&self, start: u64, end: u64, bounded: bool) -> Result<Vec<LogEntry>, ReadEntryError> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        let start = start.max(self.index().first());
        for index in start..end {
            // One by one: a long read must not keep an append waiting.
            let (found, size) = {
                let log = self.index();
                (log.find(index), log.size(index))
            };
            bytes += size;
            if bounded && !entries.is_empty() && bytes > READ_BYTES {
                break;
            }
            match found {
                Some(Found::Memory(entry)) => entries.push(entry),
                Some(Found::File(place)) => entries.push(self.read_back(place)?),
                None => break,
            }
        }
        Ok(entries)
    }

    fn read_back(&self, place: Place) -> Result<LogEntry, ReadEntryError> {
        let Place {
            segment,
            position,
            len,
        } = place;
        let io = |source| ReadEntryError::Io {
            segment,
            position,
            source,
        };
        let bad = || ReadEntryError::Bad { segment, position };
        let file = self
            .shared
            .files
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&segment)
            .map(Arc::clone);
        let file = file.ok_or_else(|| io(io::ErrorKind::NotFound.into()))?;
        let mut bytes = vec![0; len];
        let mut at = 0;
        while at < len {
            let read = file
                .read_at(&mut bytes[at..], position + u64::try_from(at).unwrap_or(0))
                .map_err(io)?;
            if read == 0 {
                return Err(bad());
            }
            at += read;
        }
        match frame::read(&bytes, segment, position) {
            Ok((frame, _)) if frame.kind == Kind::Entry => Ok(LogEntry::decode(frame.payload)?),
            _ => Err(bad()),
        }
    }
}
