//! What a compacted log must be, whoever keeps account of it: every record that it serves was appended, and whoever reads
//! it from its start to any committed place comes to the same latest value of each key as if nothing had ever gone.

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
#[derive(Clone, Debug, Default)]
pub(crate) struct Appended {
    pub(crate) base: Offset,
    pub(crate) next: Offset,
    pub(crate) producer: Option<ProducerId>,
    pub(crate) entries: Vec<Entry>,
}

/// The latest of each key, with where it stands.
pub(crate) type Table = BTreeMap<u8, (Offset, Bytes)>;

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

/// What was written to a log, as the checks look at it.
pub(crate) struct Written<'m> {
    pub(crate) log_start: Offset,
    pub(crate) flushed: Offset,
    /// Committed: nothing below is ever cut.
    pub(crate) high_watermark: Offset,
    pub(crate) batches: Vec<&'m Appended>,
}

impl Written<'_> {
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

    /// The last batch of each producer that no crash takes back.
    pub(crate) fn last_batches(&self) -> BTreeMap<ProducerId, Offset> {
        let mut last = BTreeMap::new();
        let stable = self.high_watermark.min(self.flushed);
        for batch in self.batches.iter().filter(|batch| batch.next <= stable) {
            last.extend(batch.producer.map(|producer| (producer, batch.base)));
        }
        last
    }

    /// Reads everything and holds it against what was appended.
    pub(crate) fn check(&self, log: &Log<FakeDisk>) -> Result<(), String> {
        let served = served(log, log.log_start(), log.log_end())?;
        self.check_appended(&served)?;
        let mut headers = Vec::new();
        let walked = log
            .reader()
            .for_each_header(log.log_start(), |header| headers.push(*header));
        walked.map_err(|error| format!("reading headers: {error}"))?;
        ensure!(headers == served.headers, "headers are not those of the batches");
        self.check_tables(&served)?;
        self.check_compacted(log, &served)?;
        self.check_producers(&served)
    }

    /// Offsets rise, and every record is as it was appended, at its offset.
    pub(crate) fn check_appended(&self, served: &Served) -> Result<(), String> {
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
        Ok(())
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

/// A replica that copies what is committed now and then, and is away between.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replica {
    pub(crate) at: Offset,
    table: Table,
}

impl Replica {
    /// Copies up to the high watermark: what it comes to must be what was written.
    pub(crate) fn catch_up(&mut self, log: &Log<FakeDisk>, written: &Written<'_>) -> Result<(), String> {
        let (start, to) = (written.log_start, written.high_watermark);
        let from = self.at.max(start);
        if from < to {
            let served = served(log, from, to)?;
            let new = served.entries.iter().filter(|it| it.offset >= from);
            apply(&mut self.table, new);
            self.at = to;
        }
        self.table.retain(|_, (offset, _)| *offset >= start);
        let expected = written.table(self.at);
        ensure!(
            self.table == expected,
            "a replica that was away comes to another table: {}",
            differing(&self.table, &expected)
        );
        Ok(())
    }
}
