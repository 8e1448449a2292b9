//! Records as text: lines and JSON in, kcat's tokens and JSON out. Pure.

mod format;
mod input;
mod json;
mod start;

pub(crate) use format::RecordFormat;
pub(crate) use input::{InputError, InputFormat, InputRecord, LineReader};
pub(crate) use json::JsonRecord;
pub(crate) use start::{Start, time};

use quipu_record::{Header, Offset, PartitionId, Timestamp};

/// A record on its way to the printer.
#[derive(Clone, Debug)]
pub(crate) struct Printed<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: PartitionId,
    pub(crate) offset: Offset,
    pub(crate) time: Timestamp,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: &'a [Header<'a>],
}

/// `KEY=VALUE`, as `--config` takes it.
pub(crate) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE, such as retention.ms=-1".to_owned()),
    }
}
