//! January's flights out of New York: the records of the demo, and what is known about them beforehand.

use bytes::Bytes;
use quipu_record::Timestamp;
use std::collections::BTreeMap;
use std::ops::Range;

const PACKED: &[u8] = include_bytes!("../../data/flights-2013-01.csv.zst");
/// The unpacked size may not exceed this: the data is ours, but a bound costs nothing.
const MAX_UNPACKED: usize = 16 << 20;

const MINUTE_MILLIS: i64 = 60_000;

/// Why the built-in data could not be read: the binary is damaged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FlightsError {
    #[error("the built-in flights cannot be unpacked: {0}")]
    Unpack(#[from] std::io::Error),
    #[error("the built-in flights lack the column {0:?}")]
    NoColumn(&'static str),
    #[error("row {row} of the built-in flights: {problem}")]
    BadRow { row: usize, problem: String },
}

/// One flight: a line of the file, and where its parts are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flight {
    /// The line without its line feed: the record's value.
    pub(crate) line: Bytes,
    /// The aircraft; `None` where the source says `NA`.
    pub(crate) key: Option<Bytes>,
    /// When it was scheduled to depart: the record's event time.
    pub(crate) time: Timestamp,
}

/// The whole file.
pub(crate) struct Flights {
    /// The file's first line, which names the columns; not a record.
    pub(crate) header: Bytes,
    /// The records, in the order of the source.
    pub(crate) rows: Vec<Flight>,
    /// The file as it was packed: what the demo must be able to restore.
    pub(crate) source: Bytes,
    carrier: usize,
}

impl Flights {
    /// Unpacks and reads the file that the binary carries.
    pub(crate) fn january() -> Result<Self, FlightsError> {
        let source = zstd::bulk::decompress(PACKED, MAX_UNPACKED)?;
        Self::parse(Bytes::from(source))
    }

    /// Reads a file of flights.
    pub(crate) fn parse(source: Bytes) -> Result<Self, FlightsError> {
        let mut lines = Lines::new(&source);
        let header = source.slice(lines.next().unwrap_or(0..0));
        let names: Vec<&[u8]> = header.split(|&b| b == b',').collect();
        let column = |name: &'static str| {
            let found = names.iter().position(|n| *n == name.as_bytes());
            found.ok_or(FlightsError::NoColumn(name))
        };
        let (tailnum, hour, minute) = (column("tailnum")?, column("time_hour")?, column("minute")?);
        let carrier = column("carrier")?;

        let mut rows = Vec::new();
        for range in lines {
            let line = source.slice(range);
            let cells: Vec<&[u8]> = line.split(|&b| b == b',').collect();
            let bad = |problem: String| FlightsError::BadRow {
                row: rows.len() + 1,
                problem,
            };
            if cells.len() != names.len() {
                return Err(bad(format!("{} cells, {} columns", cells.len(), names.len())));
            }
            let time = event_time(cells[hour], cells[minute]).map_err(bad)?;
            let key = (cells[tailnum] != b"NA").then(|| line.slice_ref(cells[tailnum]));
            rows.push(Flight { key, time, line });
        }
        Ok(Self {
            header,
            rows,
            source,
            carrier,
        })
    }

    /// How many different aircraft there are.
    pub(crate) fn aircraft(&self) -> usize {
        let keys = self.rows.iter().filter_map(|flight| flight.key.as_ref());
        keys.collect::<std::collections::HashSet<_>>().len()
    }

    /// The carrier that a line names; empty if it has no such cell.
    pub(crate) fn carrier<'a>(&self, line: &'a [u8]) -> &'a [u8] {
        line.split(|&b| b == b',').nth(self.carrier).unwrap_or_default()
    }

    /// Lines per carrier.
    pub(crate) fn totals<'a>(&self, lines: impl IntoIterator<Item = &'a [u8]>) -> BTreeMap<String, u64> {
        let mut totals = BTreeMap::new();
        for line in lines {
            let carrier = String::from_utf8_lossy(self.carrier(line)).into_owned();
            *totals.entry(carrier).or_default() += 1;
        }
        totals
    }
}

/// `time_hour`, an instant in UTC that ends with the hour, plus `minute`.
fn event_time(hour: &[u8], minute: &[u8]) -> Result<Timestamp, String> {
    let hour = String::from_utf8_lossy(hour);
    let minute = String::from_utf8_lossy(minute);
    let hour: jiff::Timestamp = hour.parse().map_err(|e| format!("time_hour {hour:?}: {e}"))?;
    let minute: u8 = minute.parse().map_err(|e| format!("minute {minute:?}: {e}"))?;
    Ok(Timestamp::new(hour.as_millisecond()).plus_millis(i64::from(minute) * MINUTE_MILLIS))
}

/// The lines of a text without their line feeds, as ranges; a last line without one counts.
struct Lines<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Lines<'a> {
    fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }
}

impl Iterator for Lines<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        let len = rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
        let line = self.at..self.at + len;
        self.at = line.end + 1;
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn january_is_what_its_readme_says() {
        let flights = Flights::january().unwrap();
        assert_eq!(flights.rows.len(), 27_004);
        assert_eq!(flights.rows.iter().filter(|f| f.key.is_none()).count(), 155);
        let first = &flights.rows[0];
        assert_eq!(first.key.as_deref(), Some(&b"N14228"[..]));
        // 05:15 in New York, which is 10:15 UTC in January.
        assert_eq!(first.time, Timestamp::new(1_357_035_300_000));

        let totals = flights.totals(flights.rows.iter().map(|f| &f.line[..]));
        let said = "9E 1573 AA 2794 AS 62 B6 4427 DL 3690 EV 4171 F9 59 FL 328 HA 31 MQ 2271 OO 1 UA 4637 US 1602 VX 316 WN 996 YV 46";
        let found: Vec<String> = totals.iter().map(|(c, n)| format!("{c} {n}")).collect();
        assert_eq!(found.join(" "), said);
    }

    #[test]
    fn lines_are_cut_at_line_feeds_only() {
        let of = |text: &[u8]| -> Vec<Vec<u8>> { Lines::new(text).map(|r| text[r].to_vec()).collect() };
        assert_eq!(of(b""), Vec::<Vec<u8>>::new());
        assert_eq!(of(b"a\n\nb"), [b"a".to_vec(), b"".to_vec(), b"b".to_vec()]);
        assert_eq!(of(b"a\r\n"), [b"a\r".to_vec()]);
    }

    #[test]
    fn a_damaged_file_is_named() {
        let parse = |text: &'static str| Flights::parse(Bytes::from_static(text.as_bytes())).map(|_| ());
        assert!(parse("a,b\n").unwrap_err().to_string().contains("tailnum"));
        let short = parse("carrier,tailnum,minute,time_hour\nUA,N1,5\n").unwrap_err();
        assert_eq!(
            short.to_string(),
            "row 1 of the built-in flights: 3 cells, 4 columns"
        );
        assert!(parse("carrier,tailnum,minute,time_hour\nUA,N1,x,2013-01-01T10:00:00Z\n").is_err());
    }
}
