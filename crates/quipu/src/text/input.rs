//! `produce`: one record a line.

use super::JsonRecord;
use bytes::Bytes;
use quipu_record::{PartitionId, Timestamp};
use std::io::{self, BufRead, BufReader, Read};

/// A line may not be longer: no batch could take it, and a file without line feeds must not fill the memory.
const MAX_LINE_BYTES: usize = 64 << 20;

/// What a line of input is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum InputFormat {
    /// The line is the value (and the key, with --key-separator)
    #[default]
    Lines,
    /// The line is a JSON object: {"key": ..., "value": ..., "headers": [...], "timestamp_ms": ..., "partition": ...}
    Json,
}

/// A record to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct InputRecord {
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Vec<(String, Option<Bytes>)>,
    /// `None`: now.
    pub(crate) time: Option<Timestamp>,
    /// `None`: by the key, or any.
    pub(crate) partition: Option<PartitionId>,
}

/// Why no record could be made of the input.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    #[error("cannot read the input: {0}")]
    Read(#[from] io::Error),
    #[error("line {line}: {problem}")]
    BadLine { line: u64, problem: String },
}

/// Reads records off lines.
pub(crate) struct LineReader<R> {
    input: R,
    format: InputFormat,
    key_separator: Option<Vec<u8>>,
    line: u64,
}

impl<R: Read> LineReader<BufReader<R>> {
    /// Whether another whole line is there without waiting for it.
    pub(crate) fn has_line_buffered(&self) -> bool {
        self.input.buffer().contains(&b'\n')
    }
}

impl<R: BufRead> LineReader<R> {
    /// `key_separator`: with [`InputFormat::Lines`], the key is what stands before its first occurrence.
    pub(crate) fn new(input: R, format: InputFormat, key_separator: Option<&str>) -> Self {
        let key_separator = key_separator
            .filter(|s| !s.is_empty())
            .map(|s| s.as_bytes().to_vec());
        Self {
            input,
            format,
            key_separator,
            line: 0,
        }
    }

    /// The number of the line read last, from 1.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    /// The next record; `None` at the end. A last line without a line feed counts.
    pub(crate) fn next_record(&mut self) -> Result<Option<InputRecord>, InputError> {
        let mut line = Vec::new();
        let limit = MAX_LINE_BYTES as u64 + 1;
        if self.input.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        self.line += 1;
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if line.len() > MAX_LINE_BYTES {
            return Err(self.bad(format!("longer than {MAX_LINE_BYTES} bytes")));
        }
        match self.format {
            InputFormat::Lines => Ok(Some(self.split(line))),
            InputFormat::Json => {
                let record: JsonRecord = serde_json::from_slice(&line)
                    .map_err(|e| self.bad(format!("not a record in JSON: {e}")))?;
                record.into_input().map(Some).map_err(|problem| self.bad(problem))
            }
        }
    }

    fn bad(&self, problem: String) -> InputError {
        InputError::BadLine {
            line: self.line,
            problem,
        }
    }

    /// As kcat does: a line without the separator has no key.
    fn split(&self, line: Vec<u8>) -> InputRecord {
        let line = Bytes::from(line);
        let found = self.key_separator.as_ref().and_then(|separator| {
            let at = line
                .windows(separator.len())
                .position(|window| window == separator.as_slice())?;
            Some((line.slice(..at), line.slice(at + separator.len()..)))
        });
        let (key, value) = match found {
            Some((key, value)) => (Some(key), value),
            None => (None, line),
        };
        InputRecord {
            key,
            value: Some(value),
            ..InputRecord::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, format: InputFormat, separator: Option<&str>) -> Vec<(Option<String>, String)> {
        let mut reader = LineReader::new(text.as_bytes(), format, separator);
        let mut records = Vec::new();
        let string = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        while let Some(record) = reader.next_record().unwrap() {
            records.push((record.key.map(string), string(record.value.unwrap())));
        }
        records
    }

    fn keyless(value: &str) -> (Option<String>, String) {
        (None, value.to_owned())
    }

    fn keyed(key: &str, value: &str) -> (Option<String>, String) {
        (Some(key.to_owned()), value.to_owned())
    }

    #[test]
    fn a_line_is_a_record() {
        assert_eq!(read("", InputFormat::Lines, None), []);
        assert_eq!(
            read("a\n\nb", InputFormat::Lines, None),
            ["a", "", "b"].map(keyless)
        );
        assert_eq!(read("a\r\n", InputFormat::Lines, None), [keyless("a\r")]);
    }

    #[test]
    fn the_key_stands_before_the_first_separator() {
        let found = read("k:v:w\n:v\nnone\nk:\n", InputFormat::Lines, Some(":"));
        assert_eq!(
            found,
            [keyed("k", "v:w"), keyed("", "v"), keyless("none"), keyed("k", "")]
        );
        assert_eq!(read("k=>v\n", InputFormat::Lines, Some("=>")), [keyed("k", "v")]);
    }

    #[test]
    fn a_bad_line_is_named_by_its_number() {
        let mut reader = LineReader::new(&b"{\"value\":\"a\"}\n{\n"[..], InputFormat::Json, None);
        assert_eq!(
            reader.next_record().unwrap().unwrap().value.as_deref(),
            Some(&b"a"[..])
        );
        let error = reader.next_record().unwrap_err().to_string();
        assert!(error.starts_with("line 2: not a record in JSON"), "{error}");
    }

    #[test]
    fn a_file_without_line_feeds_does_not_fill_the_memory() {
        let mut reader = LineReader::new(io::BufReader::new(io::repeat(b'x')), InputFormat::Lines, None);
        assert!(matches!(
            reader.next_record(),
            Err(InputError::BadLine { line: 1, .. })
        ));
    }
}
