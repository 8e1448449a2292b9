//! Records on standard output.

use crate::output::Failure;
use crate::text::{JsonRecord, Printed, RecordFormat};
use quipu_client::{FetchedBatch, Header, Offset};
use std::io::{self, BufWriter, StdoutLock, Write};

const WRITE_BUFFER_BYTES: usize = 256 * 1024;

pub(super) struct Printer {
    /// `None`: JSON.
    format: Option<RecordFormat>,
    /// How many more to print; `None`: any number.
    left: Option<u64>,
    out: BufWriter<StdoutLock<'static>>,
}

impl Printer {
    /// `format`: `None` for JSON, `Some(None)` for one value a line.
    pub(super) fn new(format: Option<Option<RecordFormat>>, count: Option<u64>) -> Self {
        let format = format.map(|format| format.unwrap_or_else(RecordFormat::value_lines));
        let out = BufWriter::with_capacity(WRITE_BUFFER_BYTES, io::stdout().lock());
        Self {
            format,
            left: count,
            out,
        }
    }

    pub(super) fn had_enough(&self) -> bool {
        self.left == Some(0)
    }

    /// Prints a batch's records below `end`, and no more than are wanted. Returns the first that it did not print.
    pub(super) fn print(
        &mut self,
        batch: &FetchedBatch,
        end: Option<Offset>,
    ) -> Result<Option<Offset>, Failure> {
        let mut unprinted = None;
        for record in batch {
            let record = record.map_err(|error| {
                Failure::new(format_args!(
                    "partition {} of {}: {error}",
                    batch.partition(),
                    batch.topic()
                ))
            })?;
            if end.is_some_and(|end| record.offset >= end) || self.had_enough() {
                unprinted = Some(record.offset);
                break;
            }
            let headers: Vec<Header<'_>> = record.headers().collect();
            let printed = Printed {
                topic: batch.topic(),
                partition: batch.partition(),
                offset: record.offset,
                time: record.timestamp,
                key: record.key,
                value: record.value,
                headers: &headers,
            };
            match &self.format {
                Some(format) => format.write(&printed, &mut self.out)?,
                None => {
                    serde_json::to_writer(&mut self.out, &JsonRecord::from(&printed))
                        .map_err(io::Error::from)?;
                    self.out.write_all(b"\n")?;
                }
            }
            self.left = self.left.map(|left| left - 1);
        }
        // Whoever reads a pipe wants the records when they come.
        self.out.flush()?;
        Ok(unprinted)
    }
}
