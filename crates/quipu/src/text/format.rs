//! `consume --format`: kcat's tokens.

use super::Printed;
use std::io::{self, Write};

/// A piece of a format: text as it stands, or something of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Key,
    KeyLength,
    Value,
    ValueLength,
    Timestamp,
    Headers,
}

/// A format string, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordFormat {
    pieces: Vec<Piece>,
}

impl RecordFormat {
    /// One value a line.
    pub(crate) fn value_lines() -> Self {
        Self {
            pieces: vec![Piece::Value, Piece::Text(b"\n".to_vec())],
        }
    }

    /// Reads a format string; the error says which token is not one.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let piece = match c {
                '%' => token(&mut chars)?,
                '\\' => Piece::Text(vec![escape(&mut chars)?]),
                other => Piece::Text(other.to_string().into_bytes()),
            };
            match piece {
                Piece::Text(bytes) => plain.extend(bytes),
                piece => {
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    pieces.push(piece);
                }
            }
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self { pieces })
    }

    /// Writes a record.
    pub(crate) fn write(&self, record: &Printed<'_>, out: &mut impl Write) -> io::Result<()> {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.write_all(text)?,
                Piece::Topic => out.write_all(record.topic.as_bytes())?,
                Piece::Partition => write!(out, "{}", record.partition)?,
                Piece::Offset => write!(out, "{}", record.offset)?,
                Piece::Key => out.write_all(record.key.unwrap_or_default())?,
                Piece::KeyLength => write_length(record.key, out)?,
                Piece::Value => out.write_all(record.value.unwrap_or_default())?,
                Piece::ValueLength => write_length(record.value, out)?,
                Piece::Timestamp => write!(out, "{}", record.time)?,
                Piece::Headers => write_headers(record, out)?,
            }
        }
        Ok(())
    }
}

fn token(chars: &mut std::str::Chars<'_>) -> Result<Piece, String> {
    Ok(match chars.next() {
        Some('t') => Piece::Topic,
        Some('p') => Piece::Partition,
        Some('o') => Piece::Offset,
        Some('k') => Piece::Key,
        Some('K') => Piece::KeyLength,
        Some('v' | 's') => Piece::Value,
        Some('S') => Piece::ValueLength,
        Some('T') => Piece::Timestamp,
        Some('h') => Piece::Headers,
        Some('%') => Piece::Text(b"%".to_vec()),
        Some(other) => {
            return Err(format!(
                "%{other} is no token; there are %t %p %o %k %v %T %h %K %S %%"
            ));
        }
        None => return Err("a lone % at the end; a percent sign is %%".to_owned()),
    })
}

fn escape(chars: &mut std::str::Chars<'_>) -> Result<u8, String> {
    match chars.next() {
        Some('n') => Ok(b'\n'),
        Some('t') => Ok(b'\t'),
        Some('r') => Ok(b'\r'),
        Some('0') => Ok(0),
        Some('\\') => Ok(b'\\'),
        Some('x') => {
            let digits: String = chars.take(2).collect();
            u8::from_str_radix(&digits, 16)
                .ok()
                .filter(|_| digits.len() == 2)
                .ok_or_else(|| format!("\\x{digits} is not \\x and two hexadecimal digits"))
        }
        Some(other) => Err(format!(
            "\\{other} is no escape; there are \\n \\t \\r \\0 \\\\ \\xHH"
        )),
        None => Err("a lone \\ at the end; a backslash is \\\\".to_owned()),
    }
}

/// As kcat: the length in bytes, -1 for null.
fn write_length(bytes: Option<&[u8]>, out: &mut impl Write) -> io::Result<()> {
    match bytes {
        Some(bytes) => write!(out, "{}", bytes.len()),
        None => out.write_all(b"-1"),
    }
}

/// As kcat: `name=value` with commas between, NULL for null.
fn write_headers(record: &Printed<'_>, out: &mut impl Write) -> io::Result<()> {
    for (at, header) in record.headers.iter().enumerate() {
        if at > 0 {
            out.write_all(b",")?;
        }
        write!(out, "{}=", header.key)?;
        out.write_all(header.value.unwrap_or(b"NULL"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use quipu_record::{Header, Offset, PartitionId, Timestamp};

    fn printed(format: &RecordFormat) -> Vec<u8> {
        let one = |key, value| Header { key, value };
        let headers = [one("a", Some(&b"1"[..])), one("b", None)];
        let record = Printed {
            topic: "flights",
            partition: PartitionId::new(3),
            offset: Offset::new(42),
            time: Timestamp::new(-5),
            key: None,
            value: Some(b"v\xff"),
            headers: &headers,
        };
        let mut out = Vec::new();
        format.write(&record, &mut out).unwrap();
        out
    }

    #[test]
    fn every_token() {
        let format = RecordFormat::parse(r"%t[%p]@%o %k|%K|%v|%s|%S|%T|%h 100%%\t\x41\\\n").unwrap();
        let expected = b"flights[3]@42 |-1|v\xff|v\xff|2|-5|a=1,b=NULL 100%\tA\\\n";
        assert_eq!(
            String::from_utf8_lossy(&printed(&format)),
            String::from_utf8_lossy(expected)
        );
        assert_eq!(printed(&format), expected);
    }

    #[test]
    fn without_a_format_one_value_a_line() {
        assert_eq!(printed(&RecordFormat::value_lines()), b"v\xff\n");
        assert_eq!(RecordFormat::parse(r"%v\n").unwrap(), RecordFormat::value_lines());
    }

    #[test]
    fn what_is_no_token_is_named() {
        assert!(
            RecordFormat::parse("%q")
                .unwrap_err()
                .starts_with("%q is no token")
        );
        assert!(RecordFormat::parse("100%").is_err());
        assert!(RecordFormat::parse(r"\q").is_err());
        assert!(RecordFormat::parse(r"\x4").is_err());
        assert!(RecordFormat::parse("\\").is_err());
    }
}
