//! The log, as openraft asks for it.

use super::convert::{entry_in, entry_out, log_id, place, storage_error, vote_in, vote_out};
use super::{Runtime, Types};
use crate::log::{Log, ReadEntryError};
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{ErrorSubject, ErrorVerb, LogId, LogState, OptionalSend, RaftLogReader, StorageError, Vote};
use quipu_storage::Disk;
use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};
use tokio::sync::oneshot;

type Entry<R> = openraft::Entry<Types<R>>;
type Result<T> = std::result::Result<T, StorageError<u64>>;

/// The log. Its clones read it.
#[derive(Debug)]
pub(crate) struct LogStore<D: Disk> {
    log: Log<D>,
}

impl<D: Disk> Clone for LogStore<D> {
    fn clone(&self) -> Self {
        Self {
            log: self.log.clone(),
        }
    }
}

impl<D: Disk> LogStore<D> {
    pub(crate) fn new(log: Log<D>) -> Self {
        Self { log }
    }

    fn read<R: Runtime>(
        &self,
        start: u64,
        end: u64,
        bounded: bool,
    ) -> std::result::Result<Vec<Entry<R>>, ReadEntryError> {
        Ok(self
            .log
            .read(start, end, bounded)?
            .into_iter()
            .map(entry_in)
            .collect())
    }

    /// Waits until what `submit` hands to the writer is durable.
    async fn durable(
        &self,
        subject: ErrorSubject<u64>,
        verb: ErrorVerb,
        submit: impl FnOnce(&Log<D>, crate::log::Durable),
    ) -> Result<()> {
        let (tell, told) = oneshot::channel();
        submit(&self.log, Box::new(move |result| drop(tell.send(result))));
        let result = told
            .await
            .unwrap_or_else(|_| Err("the writer of the metadata log is gone".to_owned()));
        result.map_err(|error| storage_error(subject, verb, error))
    }
}

fn unreadable(error: ReadEntryError) -> StorageError<u64> {
    storage_error(ErrorSubject::Logs, ErrorVerb::Read, error)
}

impl<R: Runtime, D: Disk> RaftLogReader<Types<R>> for LogStore<D> {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry<R>>> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        self.read(start, end, false).map_err(unreadable)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry<R>>> {
        self.read(start, end, true).map_err(unreadable)
    }
}

impl<R: Runtime, D: Disk> RaftLogStorage<Types<R>> for LogStore<D> {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types<R>>> {
        let index = self.log.index();
        let (purged, last) = (index.purged(), index.last());
        Ok(LogState {
            last_purged_log_id: purged.as_ref().map(log_id),
            last_log_id: last.as_ref().map(log_id),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Result<()> {
        let vote = vote_out(vote);
        self.durable(ErrorSubject::Vote, ErrorVerb::Write, |log, done| {
            log.save_vote(vote, done)
        })
        .await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<u64>>> {
        Ok(self.log.vote().as_ref().map(vote_in))
    }

    async fn save_committed(&mut self, committed: Option<LogId<u64>>) -> Result<()> {
        if let Some(committed) = committed {
            self.log.save_committed(place(&committed));
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId<u64>>> {
        Ok(self.log.committed().as_ref().map(log_id))
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types<R>>) -> Result<()>
    where
        I: IntoIterator<Item = Entry<R>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let done = move |result: std::result::Result<(), String>| {
            callback.log_io_completed(result.map_err(std::io::Error::other));
        };
        let appended = self
            .log
            .append(entries.into_iter().map(entry_out), Box::new(done));
        appended.map_err(|error| storage_error(ErrorSubject::Logs, ErrorVerb::Write, error))
    }

    async fn truncate(&mut self, from: LogId<u64>) -> Result<()> {
        self.durable(ErrorSubject::Logs, ErrorVerb::Delete, |log, done| {
            log.truncate(from.index, done)
        })
        .await
    }

    async fn purge(&mut self, upto: LogId<u64>) -> Result<()> {
        let upto = place(&upto);
        self.durable(ErrorSubject::Logs, ErrorVerb::Delete, |log, done| {
            log.purge(upto, done)
        })
        .await
    }
}
