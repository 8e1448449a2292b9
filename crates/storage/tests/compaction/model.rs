//! What a compacted log must be: every record that it serves was appended, and whoever reads it from its start to any
//! committed place comes to the same latest value of each key as if nothing had ever gone.

use bytes::Bytes;
use quipu_record::{BatchHeader, Offset, ProducerId, Timestamp, iter_batches};
use quipu_storage::Log;
use quipu_storage::test_util::FakeDisk;
use std::collections::BTreeMap;

macro_rules! ensure {
    ($holds:expr, $($what:tt)*) => {
        if !$holds {
            return Err(format!($($what)*));
        }
    };
}
pub(crate) use ensure;

/// A record; without a value it is a tombstone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) offset: Offset,
    pub(crate) key: u8,
    pub(crate) value: Option<Bytes>,
    pub(crate) time: Timestamp,
}

/// A batch that was appended.
#[derive(Clone, Debug)]
pub(crate) struct Appended {
    pub(crate) base: Offset,
    pub(crate) next: Offset,
    pub(crate) producer: Option<ProducerId>,
    pub(crate) entries: Vec<Entry>,
}

/// The latest of each key, with where it stands.
pub(crate) type Table = BTreeMap<u8, (Offset, Bytes)>;

/// All that was appended to one log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) log_start: Offset,
    pub(crate) durable_start: Offset,
    pub(crate) flushed: Offset,
    /// Committed: nothing below is ever cut.
    pub(crate) high_watermark: Offset,
    pub(crate) batches: Vec<Appended>,
    pub(crate) maybe: Vec<Appended>,
}

/// What a log serves.
#[derive(Debug, Default)]
pub(crate) struct Served {
    pub(crate) headers: Vec<BatchHeader>,
    pub(crate) entries: Vec<Entry>,
}

/// Reads from an offset to a limit.
pub(crate) fn served(log: &Log<FakeDisk>, from: Offset, limit: Offset) -> Result<Served, String> {
    let mut served = Served::default();
    let mut at = from;
    while at < limit {
        let read = log.reader().read(at, limit, 300);
        let read = read.map_err(|error| format!("reading from {at}: {error}"))?;
        if read.bytes.is_empty() {
            break;
        }
        for batch in iter_batches(read.bytes) {
            let batch = batch.map_err(|error| format!("a bad batch was served: {error}"))?;
            ensure!(
                batch.next_offset() > at,
                "a batch was served that lies before {at}"
            );
            served.headers.push(*batch.header());
            let records = batch.records(1 << 20).map_err(|error| error.to_string())?;
            for record in &records {
                let record = record.map_err(|error| error.to_string())?;
                served.entries.push(Entry {
                    offset: record.offset,
                    key: record.key.map_or(0, |key| key[0]),
                    value: record.value.map(Bytes::copy_from_slice),
                    time: record.timestamp,
                });
            }
        }
        ensure!(read.next > at, "a read does not go on from {at}");
        at = read.next;
    }
    Ok(served)
}

/// Applies records in order.
pub(crate) fn apply<'e>(table: &mut Table, entries: impl Iterator<Item = &'e Entry>) {
    for entry in entries {
        match &entry.value {
            Some(value) => table.insert(entry.key, (entry.offset, value.clone())),
            None => table.remove(&entry.key),
        };
    }
}

/// The keys at which two tables differ.
pub(crate) fn differing(found: &Table, expected: &Table) -> String {
    let keys = found.keys().chain(expected.keys());
    let place = |table: &Table, key| table.get(key).map(|(offset, _)| offset.get());
    let differ = keys.filter(|key| found.get(key) != expected.get(key));
    let told = differ.map(|key| {
        format!(
            "key {key}: {:?}, not {:?}",
            place(found, key),
            place(expected, key)
        )
    });
    told.collect::<Vec<_>>().join("; ")
}

impl Model {
    pub(crate) fn log_end(&self) -> Offset {
        self.batches.last().map_or(Offset::ZERO, |last| last.next)
    }

    pub(crate) fn truncate(&mut self, end: Offset) {
        self.batches.retain(|batch| batch.next <= end);
        self.flushed = self.flushed.min(self.log_end());
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.batches.iter().flat_map(|batch| &batch.entries)
    }

    /// The table as of a place.
    pub(crate) fn table(&self, limit: Offset) -> Table {
        let mut table = Table::new();
        let within = self
            .entries()
            .filter(|it| it.offset >= self.log_start && it.offset < limit);
        apply(&mut table, within);
        table
    }

    /// The end of the log must be one of a batch, and everything committed must be there.
    pub(crate) fn reopened(&mut self, log: &Log<FakeDisk>, kept: bool) -> Result<(), String> {
        let (start, end) = (log.log_start(), log.log_end());
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
        ensure!(!kept || end >= self.log_end(), "a kill lost what was written");
        let mut maybe = std::mem::take(&mut self.maybe);
        self.batches.append(&mut maybe);
        self.truncate(end);
        ensure!(self.log_end() == end, "the log ends at {end}, within a batch");
        self.log_start = start;
        self.durable_start = log.durable_log_start();
        self.flushed = self.flushed.max(log.flushed());
        self.check(log)
    }

    /// Reads everything and holds it against what was appended.
    pub(crate) fn check(&self, log: &Log<FakeDisk>) -> Result<(), String> {
        let (start, end) = (log.log_start(), log.log_end());
        ensure!(
            (start, end) == (self.log_start, self.log_end()),
            "the log is {start} to {end}, and should be {} to {}",
            self.log_start,
            self.log_end()
        );
        let served = served(log, start, end)?;
        let appended: BTreeMap<Offset, &Entry> = self.entries().map(|it| (it.offset, it)).collect();
        let mut last = None;
        for entry in &served.entries {
            ensure!(
                last < Some(entry.offset),
                "offsets do not rise at {}",
                entry.offset
            );
            ensure!(
                appended.get(&entry.offset) == Some(&entry),
                "at {} something is served that was not appended: {entry:?}",
                entry.offset
            );
            last = Some(entry.offset);
        }
        let mut headers = Vec::new();
        let walked = log
            .reader()
            .for_each_header(start, |header| headers.push(*header));
        walked.map_err(|error| format!("reading headers: {error}"))?;
        ensure!(headers == served.headers, "headers are not those of the batches");
        self.check_tables(&served)?;
        self.check_compacted(log, &served)?;
        self.check_producers(&served)
    }

    fn check_tables(&self, served: &Served) -> Result<(), String> {
        let ends = self.batches.iter().map(|batch| batch.next);
        for limit in ends.filter(|end| *end >= self.high_watermark) {
            let mut table = Table::new();
            let within = served.entries.iter();
            apply(
                &mut table,
                within.filter(|it| it.offset >= self.log_start && it.offset < limit),
            );
            let expected = self.table(limit);
            ensure!(
                table == expected,
                "up to {limit} the table is not what it was: {}",
                differing(&table, &expected)
            );
        }
        Ok(())
    }

    /// Below the place to which the log says that it is compacted no key is there twice.
    fn check_compacted(&self, log: &Log<FakeDisk>, served: &Served) -> Result<(), String> {
        let mut seen = BTreeMap::new();
        let compacted_to = log.compacted_to();
        let within = self.log_start..compacted_to;
        for entry in served.entries.iter().filter(|it| within.contains(&it.offset)) {
            let before = seen.insert(entry.key, entry.offset);
            ensure!(
                before.is_none(),
                "key {} is at {before:?} and at {}, below {compacted_to}",
                entry.key,
                entry.offset
            );
        }
        Ok(())
    }

    /// The last batch of each producer is there, if only its header.
    fn check_producers(&self, served: &Served) -> Result<(), String> {
        let mut last = BTreeMap::new();
        for batch in self.batches.iter().filter(|it| it.next > self.log_start) {
            last.extend(batch.producer.map(|producer| (producer, batch.base)));
        }
        for (producer, base) in last {
            let there = served.headers.iter().any(|header| {
                header.base_offset() == base && header.producer().map(|stamp| stamp.id) == Some(producer)
            });
            ensure!(there, "the last batch of producer {producer}, at {base}, is gone");
        }
        Ok(())
    }
}
