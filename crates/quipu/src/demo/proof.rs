//! The proof at the end of the demo: pure, from what was acknowledged and what was read to what holds.

mod group;
mod replicas;

pub(crate) use group::{Consumed, Processed, consumed_by_group};
pub(crate) use replicas::{Copied, Replica, same_replicas};

use super::flights::Flights;
use bytes::Bytes;
use quipu_record::{Offset, PartitionId, Timestamp, partition_for_key};
use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;

/// Faults of one check that are told; the rest are only counted.
const FAULTS_TOLD: usize = 3;

/// Where the broker said that a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) partition: PartitionId,
    pub(crate) offset: Offset,
}

/// A record as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) place: Place,
    pub(crate) time: Timestamp,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
}

/// One thing to prove, and what spoke against it.
#[derive(Debug)]
pub(crate) struct Check {
    /// What is claimed.
    pub(crate) claim: &'static str,
    /// How much was looked at, for a person.
    pub(crate) looked_at: String,
    /// The first faults found.
    pub(crate) faults: Vec<String>,
    /// How many there were.
    pub(crate) fault_count: usize,
}

impl Check {
    fn new(claim: &'static str) -> Self {
        Self {
            claim,
            looked_at: String::new(),
            faults: Vec::new(),
            fault_count: 0,
        }
    }

    fn fault(&mut self, fault: impl FnOnce() -> String) {
        self.fault_count += 1;
        if self.faults.len() < FAULTS_TOLD {
            self.faults.push(fault());
        }
    }

    /// Whether the claim holds.
    pub(crate) fn holds(&self) -> bool {
        self.fault_count == 0
    }
}

/// Everything that was to be proven.
#[derive(Debug)]
pub(crate) struct Proof {
    pub(crate) checks: Vec<Check>,
    /// Records read, per carrier.
    pub(crate) totals: BTreeMap<String, u64>,
}

impl Proof {
    /// Whether every claim holds.
    pub(crate) fn holds(&self) -> bool {
        self.checks.iter().all(Check::holds)
    }
}

/// Holds what was read against what was sent.
///
/// `acked` has an entry for each flight: where it was acknowledged, or `None` if it was not. `read` is everything that
/// the topic delivered, in the order of delivery.
pub(crate) fn prove(
    flights: &Flights,
    acked: &[Option<Place>],
    read: &[Read],
    partitions: NonZeroU32,
) -> Proof {
    let by_line: HashMap<&[u8], usize> = flights
        .rows
        .iter()
        .enumerate()
        .map(|(row, flight)| (&flight.line[..], row))
        .collect();
    let rows: Vec<Option<usize>> = read
        .iter()
        .map(|record| by_line.get(record.value.as_deref().unwrap_or_default()).copied())
        .collect();
    let values = read
        .iter()
        .map(|record| record.value.as_deref().unwrap_or_default());
    let totals = flights.totals(values);

    let checks = vec![
        acknowledged(flights, acked),
        complete(acked, read, &rows),
        in_order(flights, read, &rows, partitions),
        equal(flights, read, &rows),
        same_totals(flights, &totals),
    ];
    Proof { checks, totals }
}

/// Every flight was acknowledged, at a place of its own.
fn acknowledged(flights: &Flights, acked: &[Option<Place>]) -> Check {
    let mut check = Check::new("every flight acknowledged");
    let mut places: HashMap<Place, usize> = HashMap::with_capacity(acked.len());
    for row in 0..flights.rows.len() {
        let Some(place) = acked.get(row).copied().flatten() else {
            check.fault(|| format!("row {} was not acknowledged", row + 1));
            continue;
        };
        if let Some(other) = places.insert(place, row) {
            check.fault(|| {
                let (partition, offset) = (place.partition, place.offset);
                format!(
                    "rows {} and {} share offset {offset} of partition {partition}",
                    other + 1,
                    row + 1
                )
            });
        }
    }
    check.looked_at = format!(
        "{} of {}",
        group_digits(places.len()),
        group_digits(flights.rows.len())
    );
    check
}

/// Every acknowledged flight is read, where it was acknowledged, once; nothing else is; offsets have no gaps.
fn complete(acked: &[Option<Place>], read: &[Read], rows: &[Option<usize>]) -> Check {
    let mut check = Check::new("complete: each read once, no gap");
    let mut times_read = vec![0u32; acked.len()];
    let mut next: HashMap<PartitionId, Offset> = HashMap::new();
    for (record, row) in read.iter().zip(rows) {
        let Place { partition, offset } = record.place;
        let expected = next.entry(partition).or_insert(Offset::ZERO);
        if offset != *expected {
            check.fault(|| format!("partition {partition}: offset {offset} came where {expected} was due"));
        }
        *expected = offset.next();
        let Some(row) = *row else {
            check.fault(|| format!("partition {partition}, offset {offset}: a record that was never sent"));
            continue;
        };
        times_read[row] += 1;
        if acked[row].is_some_and(|place| place != record.place) {
            check.fault(|| {
                format!(
                    "row {} was read at {partition}/{offset}, not where it was acknowledged",
                    row + 1
                )
            });
        }
    }
    for (row, times) in times_read.iter().enumerate().filter(|(_, times)| **times != 1) {
        check.fault(|| format!("row {} was read {times} times", row + 1));
    }
    let once = times_read.iter().filter(|times| **times == 1).count();
    check.looked_at = format!("{} of {}", group_digits(once), group_digits(acked.len()));
    check
}

/// An aircraft's flights lie in the one partition that its key hashes to, in the order of the source; so does, within
/// each partition, everything else.
fn in_order(flights: &Flights, read: &[Read], rows: &[Option<usize>], partitions: NonZeroU32) -> Check {
    let mut check = Check::new("in order for each aircraft");
    let mut last: HashMap<PartitionId, usize> = HashMap::new();
    let mut last_of_key: HashMap<&[u8], usize> = HashMap::new();
    for (record, row) in read.iter().zip(rows) {
        let Some(row) = *row else { continue };
        let partition = record.place.partition;
        let before = last.insert(partition, row);
        if let Some(before) = before.filter(|before| *before >= row) {
            check.fault(|| format!("partition {partition}: row {} after row {}", row + 1, before + 1));
        }
        let Some(key) = flights.rows[row].key.as_deref() else {
            continue;
        };
        let aircraft = String::from_utf8_lossy(key);
        if partition != partition_for_key(key, partitions) {
            check.fault(|| {
                format!(
                    "row {}: aircraft {aircraft} is not of partition {partition}",
                    row + 1
                )
            });
        }
        if let Some(before) = last_of_key.insert(key, row).filter(|before| *before >= row) {
            check.fault(|| format!("aircraft {aircraft}: row {} after row {}", row + 1, before + 1));
        }
    }
    check.looked_at = format!("{} aircraft", group_digits(last_of_key.len()));
    check
}

/// Keys and times are those sent, and the records put back in the order of the source are the source's very bytes.
fn equal(flights: &Flights, read: &[Read], rows: &[Option<usize>]) -> Check {
    let mut check = Check::new("equal to the source, byte for byte");
    let mut found: Vec<&[u8]> = vec![b""; flights.rows.len()];
    for (record, row) in read.iter().zip(rows) {
        let Some(row) = *row else { continue };
        found[row] = record.value.as_deref().unwrap_or_default();
        let flight = &flights.rows[row];
        if record.key != flight.key {
            check.fault(|| format!("row {}: another key", row + 1));
        }
        if record.time != flight.time {
            check.fault(|| format!("row {}: another event time", row + 1));
        }
    }
    let mut restored = Vec::with_capacity(flights.source.len());
    for line in std::iter::once(&flights.header[..]).chain(found) {
        restored.extend_from_slice(line);
        restored.push(b'\n');
    }
    if restored != flights.source {
        let common = restored
            .iter()
            .zip(&flights.source)
            .take_while(|(a, b)| a == b)
            .count();
        check.fault(|| format!("the file put together again differs from byte {common} on"));
    }
    check.looked_at = format!("{} bytes", group_digits(restored.len()));
    check
}

/// As many flights of each carrier as the source has.
fn same_totals(flights: &Flights, totals: &BTreeMap<String, u64>) -> Check {
    let mut check = Check::new("totals of each carrier");
    let expected = flights.totals(flights.rows.iter().map(|flight| &flight.line[..]));
    for (carrier, count) in &expected {
        let found = totals.get(carrier).copied().unwrap_or(0);
        if found != *count {
            check.fault(|| format!("carrier {carrier}: {found} read, {count} in the source"));
        }
    }
    for carrier in totals.keys().filter(|carrier| !expected.contains_key(*carrier)) {
        check.fault(|| format!("carrier {carrier:?} is not in the source"));
    }
    check.looked_at = format!("{} carriers", expected.len());
    check
}

/// A count with commas between the thousands.
pub(crate) fn group_digits(count: usize) -> String {
    let digits = count.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests;
