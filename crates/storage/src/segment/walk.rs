//! Walks the batches of a segment file in order, in page-sized reads.

use super::boundary::Boundary;
use super::check::{Look, Rules};
use crate::files::{OpenFile, read_full};
use crate::{Disk, IoFailure};
use quipu_record::BatchHeader;

/// Bytes of one read; more only where one batch is larger.
const CHUNK: usize = 256 * 1024;

/// A walk over a segment file.
#[derive(Debug)]
pub(crate) struct Walk<'f, D: Disk> {
    file: &'f OpenFile<D>,
    at: Boundary,
    /// Where the walk ends: bytes from there on are not looked at.
    end: u64,
    buffer: Vec<u8>,
    /// The part of the buffer that is ahead.
    from: usize,
    /// Bytes read from the disk.
    read: u64,
}

/// What comes next.
#[derive(Debug)]
pub(crate) enum Step<'w> {
    /// The right batch, and all its bytes.
    Batch(BatchHeader, &'w [u8]),
    /// Something else.
    Bad(String),
    /// The end.
    End,
}

impl<'f, D: Disk> Walk<'f, D> {
    /// A walk from a boundary to byte `end`.
    pub(crate) const fn new(file: &'f OpenFile<D>, at: Boundary, end: u64) -> Self {
        Self {
            file,
            at,
            end,
            buffer: Vec::new(),
            from: 0,
            read: 0,
        }
    }

    /// Where the walk is: after the last good batch.
    pub(crate) const fn at(&self) -> &Boundary {
        &self.at
    }

    /// Bytes read so far.
    pub(crate) const fn bytes_read(&self) -> u64 {
        self.read
    }

    /// Takes a step. After anything but a batch it stays where it is.
    ///
    /// # Errors
    /// If the disk fails.
    pub(crate) fn step(&mut self, rules: &mut Rules<'_>) -> Result<Step<'_>, IoFailure> {
        loop {
            let position = u64::from(self.at.position);
            if position >= self.end {
                return Ok(Step::End);
            }
            let ahead = self.buffer.get(self.from..).unwrap_or_default();
            match rules.look(ahead, &self.at, self.end - position) {
                Look::Bad(fault) => return Ok(Step::Bad(fault)),
                Look::Good(header) => {
                    self.at = self.at.after(&header);
                    let begin = self.from;
                    self.from += header.size();
                    return Ok(Step::Batch(header, &self.buffer[begin..self.from]));
                }
                Look::More(needed) => {
                    let had = ahead.len();
                    self.fill(needed)?;
                    if self.buffer.len() - self.from <= had {
                        return Ok(Step::Bad("the file ended while it was read".to_owned()));
                    }
                }
            }
        }
    }

    /// Reads on, so that at least `needed` bytes are ahead if the file has them.
    fn fill(&mut self, needed: usize) -> Result<(), IoFailure> {
        self.buffer.drain(..self.from);
        self.from = 0;
        let had = self.buffer.len();
        let position = u64::from(self.at.position) + had as u64;
        let left = usize::try_from(self.end.saturating_sub(position)).unwrap_or(usize::MAX);
        let more = needed.max(CHUNK).saturating_sub(had).min(left);
        self.buffer.resize(had + more, 0);
        let read = read_full::<D>(self.file.file(), &mut self.buffer[had..], position)
            .map_err(self.file.failure("reading"))?;
        self.buffer.truncate(had + read);
        self.read += read as u64;
        Ok(())
    }
}
