//! Histories as text: one JSON object a line, the first of which names the format.
//!
//! ```text
//! {"format":"quipu-history","version":1}
//! {"time":1000,"process":0,"type":"invoke","f":"send","key":"orders/3","values":[[17,912]],"acks":"all","producer":4}
//! {"time":2500,"process":0,"type":"ok","f":"send","key":"orders/3","values":[[17,912]],"acks":"all","producer":4,"offset":42}
//! {"time":2600,"process":1,"type":"invoke","f":"poll","partitions":[{"key":"orders/3","from":40}]}
//! {"time":3100,"process":1,"type":"ok","f":"poll","partitions":[{"key":"orders/3","from":40,"records":[[42,17,912]],"high_watermark":43}]}
//! {"time":3200,"process":"nemesis","type":"info","f":"fault","what":"SIGKILL of broker 1","kind":"kill","phase":"begin"}
//! {"time":3300,"process":2,"type":"invoke","f":"assign","keys":["orders/3"],"from_beginning":true}
//! {"time":3400,"process":2,"type":"ok","f":"assign","keys":["orders/3"],"from_beginning":true}
//! {"time":3500,"process":3,"type":"info","f":"owned","group":"g","member":"m1","key":"orders/3","assignment_epoch":2,"member_epoch":3}
//! {"time":3600,"process":3,"type":"invoke","f":"commit","group":"g","key":"orders/3","offset":43,"id":7,"by":{"member":"m1","member_epoch":3}}
//! {"time":3700,"process":3,"type":"ok","f":"commit","group":"g","key":"orders/3","offset":43,"id":7,"by":{"member":"m1","member_epoch":3}}
//! {"time":3800,"process":2,"type":"invoke","f":"latest","key":"orders/3"}
//! {"time":3900,"process":2,"type":"ok","f":"latest","key":"orders/3","high_watermark":43}
//! {"time":4000,"process":4,"type":"invoke","f":"metadata-write","topic":"orders","partitions":4}
//! {"time":4100,"process":4,"type":"ok","f":"metadata-write","topic":"orders","partitions":4,"version":17}
//! {"time":4200,"process":"nemesis","type":"info","f":"healed","what":"all brokers are up"}
//! {"time":4300,"process":"nemesis","type":"info","f":"final-polls"}
//! {"time":4400,"process":"nemesis","type":"info","f":"final","replica":1,"key":"orders/3","log_start":0,"high_watermark":43,"records":[[42,17,912]],"batches":[{"base":42,"last":42,"leader_epoch":5,"crc":77}]}
//! ```
//! A value is `[id, hash]`, a record read is `[offset, id or null, hash]`. Every field's meaning is with its type; what
//! is absent is not written.

use super::{Event, History, HistoryError};
use serde::Deserialize;
use thiserror::Error;

/// The first line of a history.
pub const FORMAT_LINE: &str = r#"{"format":"quipu-history","version":1}"#;

/// Why lines are not a history.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LineError {
    /// The first line is not what it must be.
    #[error(
        "line 1: not a history, or of a version that this checker does not know: it must be {FORMAT_LINE}"
    )]
    Format,
    /// A line is not an event.
    #[error("line {line}: {source}")]
    Event {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// An event does not fit those before it.
    #[error("line {line}: {source}")]
    History {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        source: HistoryError,
    },
}

#[derive(Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Format {
    format: String,
    version: u32,
}

/// One event as a line, without its end.
///
/// # Panics
/// Never: an event has nothing that JSON cannot say.
#[must_use]
pub fn to_line(event: &Event) -> String {
    serde_json::to_string(event).unwrap_or_else(|error| unreachable!("an event is plain data: {error}"))
}

/// One event from a line.
///
/// # Errors
/// What is wrong with it.
pub fn from_line(line: &str) -> Result<Event, serde_json::Error> {
    serde_json::from_str(line)
}

/// A history from its lines. Empty lines are passed over.
///
/// # Errors
/// [`LineError`] names the line.
pub fn from_lines<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<History, LineError> {
    let mut numbered = lines
        .into_iter()
        .enumerate()
        .map(|(index, text)| (index + 1, text.trim()));
    let expected = serde_json::from_str::<Format>(FORMAT_LINE).ok();
    let first = numbered
        .next()
        .and_then(|(_, text)| serde_json::from_str::<Format>(text).ok());
    if first.is_none() || first != expected {
        return Err(LineError::Format);
    }
    let mut history = History::default();
    for (line, text) in numbered.filter(|(_, text)| !text.is_empty()) {
        let event = from_line(text).map_err(|source| LineError::Event { line, source })?;
        history
            .push(event)
            .map_err(|source| LineError::History { line, source })?;
    }
    Ok(history)
}
