//! What a log must be: a list of batches, and what was promised about it.

use crate::keyed::Keyed;
use crate::table::{self, ensure};
use bytes::Bytes;
use quipu_record::{LeaderEpoch, Offset, StoredBatch, Timestamp, iter_batches};
use quipu_storage::test_util::FakeDisk;
use quipu_storage::{Log, OpenReport};
use std::collections::BTreeMap;

/// A batch that was appended.
#[derive(Clone)]
pub(crate) struct Appended {
    pub(crate) base: Offset,
    pub(crate) next: Offset,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) bytes: Bytes,
    pub(crate) times: Vec<Timestamp>,
    /// What it says of keys, if the log is compacted.
    pub(crate) keyed: table::Appended,
}

impl Appended {
    pub(crate) fn of(batch: &StoredBatch, times: Vec<Timestamp>, keyed: table::Appended) -> Self {
        Self {
            keyed,
            base: batch.base_offset(),
            next: batch.next_offset(),
            epoch: batch.leader_epoch(),
            bytes: batch.to_bytes(),
            times,
        }
    }
}

/// What one log must be.
#[derive(Clone, Default)]
pub(crate) struct Model {
    pub(crate) log_start: Offset,
    /// The log start that a crash may not take back.
    pub(crate) durable_start: Offset,
    /// Below this nothing may be lost.
    pub(crate) flushed: Offset,
    /// Where the log begins if it has no batches.
    pub(crate) empty_at: Offset,
    pub(crate) batches: Vec<Appended>,
    /// Batches of an append that failed for good: they may be there or not.
    pub(crate) maybe: Vec<Appended>,
    /// A restart or a deletion that failed for good: the log may be empty, at one of these offsets.
    pub(crate) maybe_empty: Vec<Offset>,
    pub(crate) snapshots: BTreeMap<Offset, Vec<u8>>,
    /// If the log is compacted.
    pub(crate) keyed: Option<Keyed>,
}

impl Model {
    pub(crate) fn log_end(&self) -> Offset {
        self.batches.last().map_or(self.empty_at, |last| last.next)
    }

    /// Everything went, and the log begins at an offset.
    pub(crate) fn begin_anew(&mut self, at: Offset) {
        *self = Self {
            log_start: at,
            durable_start: at,
            flushed: at,
            empty_at: at,
            keyed: self.keyed.as_ref().map(|_| Keyed::begins_at(at)),
            ..Self::default()
        };
    }

    /// Nothing below is ever cut: what is committed is only known of a log that is compacted.
    pub(crate) fn kept_to(&self) -> Offset {
        let committed = self.keyed.as_ref().map(|keyed| keyed.high_watermark);
        committed.unwrap_or_default().max(self.log_start)
    }

    /// The end of the last batch that lies wholly below an offset.
    pub(crate) fn boundary(&self, offset: Offset) -> Offset {
        let within = self.batches.iter().rev().find(|batch| batch.next <= offset);
        let first = self.batches.first().map_or(self.empty_at, |first| first.base);
        within.map_or(first, |batch| batch.next)
    }

    pub(crate) fn truncate(&mut self, end: Offset) {
        let first = self.batches.first().map(|first| first.base);
        self.batches.retain(|batch| batch.next <= end);
        if self.batches.is_empty() {
            self.empty_at = first.unwrap_or(self.empty_at).max(end.min(self.log_end()));
        }
        self.flushed = self.flushed.min(end);
        self.snapshots.retain(|at, _| *at <= end);
    }

    /// Batches below the durable log start are gone for good.
    pub(crate) fn forget_deleted(&mut self) {
        let end = self.log_end();
        self.batches.retain(|batch| batch.next > self.durable_start);
        if self.batches.is_empty() {
            self.empty_at = end;
        }
    }

    /// The first record at a time or later, below a limit.
    pub(crate) fn at_time(&self, time: Timestamp, limit: Offset) -> Option<(Offset, Timestamp)> {
        let below = self.batches.iter().filter(|batch| batch.next <= limit);
        below
            .flat_map(|batch| {
                (0..)
                    .zip(&batch.times)
                    .map(|(at, time)| (batch.base.plus(at), *time))
            })
            .find(|(offset, found)| *found >= time && *offset >= self.log_start)
    }

    /// Holds a log that was opened again against what it may be, and takes it as it is.
    pub(crate) fn reopened(
        &mut self,
        log: &Log<FakeDisk>,
        report: &OpenReport,
        all_kept: bool,
    ) -> Result<(), String> {
        ensure!(
            report.corrupt.is_empty(),
            "reported as corrupt: {:?}",
            report.corrupt
        );
        let (start, end) = (log.log_start(), log.log_end());
        // One that was empty there before looks the same either way; one that was not may have ended there, and began anew.
        let as_it_was = (start, end) == (self.log_start, self.log_end());
        if self.maybe_empty.contains(&start) && start == end && !as_it_was {
            self.begin_anew(start);
            return Ok(());
        }
        self.maybe_empty.clear();
        ensure!(
            end >= self.flushed,
            "log end {end} is below flushed {}",
            self.flushed
        );
        ensure!(
            start >= self.durable_start && start <= self.log_start,
            "log start {start} is not within {} to {}",
            self.durable_start,
            self.log_start
        );
        ensure!(
            log.flushed() <= end,
            "flushed {} is past the end {end}",
            log.flushed()
        );
        if all_kept {
            ensure!(
                end >= self.log_end(),
                "a kill lost what was written: {end} of {}",
                self.log_end()
            );
            ensure!(
                report.cut.is_none() || !self.maybe.is_empty(),
                "cut after a kill: {report:?}"
            );
        }
        if let Some(cut) = &report.cut {
            ensure!(
                cut.log_end == end,
                "cut at {}, and the log ends at {end}",
                cut.log_end
            );
        }
        let mut maybe = std::mem::take(&mut self.maybe);
        maybe.retain(|batch| batch.base >= self.log_end());
        self.batches.append(&mut maybe);
        let known = self.batches.iter().any(|batch| batch.next == end);
        ensure!(
            known
                || end == start
                || end == self.empty_at
                || self.batches.first().is_some_and(|it| it.base == end),
            "the log ends at {end}, within a batch or past all"
        );
        self.truncate(end);
        if self.log_end() != end {
            // The log start is durable and what lay below it was not: the log begins there, empty.
            self.batches.clear();
            self.empty_at = end;
        }
        self.log_start = start;
        self.durable_start = log.durable_log_start();
        self.flushed = self.flushed.max(log.flushed());
        self.matches(log)
    }

    /// Reads everything and holds it against what was appended.
    pub(crate) fn matches(&self, log: &Log<FakeDisk>) -> Result<(), String> {
        ensure!(
            (log.log_start(), log.log_end()) == (self.log_start, self.log_end()),
            "the log is {} to {}, and should be {} to {}",
            log.log_start(),
            log.log_end(),
            self.log_start,
            self.log_end()
        );
        self.is_right_table(log)?;
        let mut from = self.whole_from();
        let reader = log.reader();
        while from < self.log_end() {
            from = self.read_matches(log, from, self.log_end(), 200)?;
        }
        let last = self.batches.last().filter(|last| last.next > self.log_start);
        if let Some(last) = last {
            ensure!(
                log.last_epoch() == Some(last.epoch),
                "the last epoch is {:?}, and should be {}",
                log.last_epoch(),
                last.epoch
            );
        }
        let (mut headers, whole_from) = (Vec::new(), self.whole_from());
        reader
            .for_each_header(whole_from, |header| headers.push(header.base_offset()))
            .map_err(|error| format!("reading headers: {error}"))?;
        let expected = self.batches.iter().filter(|batch| batch.next > whole_from);
        let expected: Vec<_> = expected.map(|batch| batch.base).collect();
        ensure!(
            headers == expected,
            "headers at {headers:?}, and not at {expected:?}"
        );
        Ok(())
    }

    /// Reads once and holds the answer against the model. Returns where to read on.
    pub(crate) fn read_matches(
        &self,
        log: &Log<FakeDisk>,
        from: Offset,
        limit: Offset,
        max_bytes: usize,
    ) -> Result<Offset, String> {
        let read = log.reader().read(from, limit, max_bytes);
        let read = read.map_err(|error| format!("reading from {from}: {error}"))?;
        let mut expected = self
            .batches
            .iter()
            .filter(|batch| batch.next > from && batch.next <= limit);
        let mut next = from;
        for batch in iter_batches(read.bytes.clone()) {
            let batch = batch.map_err(|error| format!("a bad batch was served: {error}"))?;
            let right = expected.next().is_some_and(|it| it.bytes == batch.to_bytes());
            ensure!(
                right,
                "at {} something was served that was not appended",
                batch.base_offset()
            );
            next = batch.next_offset();
        }
        ensure!(
            next == read.next,
            "the read says to go on at {}, and ended at {next}",
            read.next
        );
        ensure!(
            !read.bytes.is_empty() || expected.next().is_none(),
            "nothing was served at {from}, where something is"
        );
        Ok(if read.bytes.is_empty() { limit } else { next })
    }
}
