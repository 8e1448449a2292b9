//! Reads a log from other threads while its owner appends.
//!
//! A read goes to the file, past no lock but for a moment, and looks at every batch it returns: checksum, length, offset
//! in sequence, epoch as the checkpoint has it. Should the owner cut the log meanwhile, the read is made again.

mod prove;
mod time;

use crate::files::{OpenFile, read_full};
use crate::log::Shared;
use crate::paths::{self, Kind};
use crate::segment::{Boundary, Look, Rules, Seek, Segment, Step, Walk, is_gone};
use crate::{Corruption, Disk, EpochCache, ReadError};
use bytes::Bytes;
use quipu_record::{BatchHeader, Offset};
use std::sync::Arc;

pub use time::TimedOffset;

/// What a read gave: whole batches one after another, each verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BatchesRead {
    /// The batches as they are stored. The first one holds the offset asked for; it may begin before it.
    pub bytes: Bytes,
    /// The offset after the last batch: where to read on.
    pub next: Offset,
}

/// A view of one log: `Send`, `Sync`, cheap to clone. Every batch is verified on every read: checksum, place, epoch.
#[derive(Debug)]
pub struct LogReader<D: Disk> {
    shared: Arc<Shared<D>>,
}

impl<D: Disk> Clone for LogReader<D> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

/// A read takes at least so much at once: a batch is rarely smaller, and a call costs the same.
const READ_MIN: usize = 4096;

/// The segment that holds an offset, and what its batches are held against.
struct Target<D: Disk> {
    segment: Arc<Segment<D>>,
    epochs: Arc<EpochCache>,
    end: Boundary,
}

impl<D: Disk> LogReader<D> {
    pub(crate) const fn new(shared: Arc<Shared<D>>) -> Self {
        Self { shared }
    }

    /// The first offset that may be read.
    #[must_use]
    pub fn log_start(&self) -> Offset {
        self.shared.log_start()
    }

    /// The offset of the next record.
    #[must_use]
    pub fn log_end(&self) -> Offset {
        self.shared.log_end()
    }

    /// Tombstones below may be missing, or may be soon: whoever ends below may hold what they deleted.
    #[must_use]
    pub fn tombstone_floor(&self) -> Offset {
        self.shared.tombstone_floor()
    }

    /// Offsets may leave gaps below: what was read before this was asked has none above.
    #[must_use]
    pub fn cleaned_to(&self) -> Offset {
        self.shared.cleaned_to()
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        let size = |segment: &Arc<Segment<D>>| u64::from(segment.end().position);
        self.shared.view(|view| view.segments.iter().map(size).sum())
    }

    /// Reads batches from the one that holds `from` on, wholly below `limit` (a high watermark, say), about `max_bytes`
    /// of them: at least one if there is one, then no more than fit. Empty at `limit`.
    ///
    /// # Errors
    /// [`ReadError`]; bad bytes end a read before them, and are an error once they come first.
    pub fn read(&self, from: Offset, limit: Offset, max_bytes: usize) -> Result<BatchesRead, ReadError> {
        self.steadily(|| self.read_once(from, limit, max_bytes))
    }

    /// Reads again for as long as what was read changed meanwhile.
    fn steadily<T>(&self, mut read: impl FnMut() -> Result<T, ReadError>) -> Result<T, ReadError> {
        loop {
            let before = self.shared.changes();
            if self.shared.is_deleted() {
                return Err(ReadError::Deleted);
            }
            let result = read();
            if self.shared.changes() == before {
                return result;
            }
        }
    }

    fn check_range(&self, offset: Offset) -> Result<Offset, ReadError> {
        let (log_start, log_end) = (self.log_start(), self.log_end());
        if offset < log_start || offset > log_end {
            return Err(ReadError::OutOfRange {
                offset,
                log_start,
                log_end,
            });
        }
        Ok(log_end)
    }

    fn read_once(&self, from: Offset, limit: Offset, max_bytes: usize) -> Result<BatchesRead, ReadError> {
        let limit = limit.min(self.check_range(from)?);
        let nothing = BatchesRead {
            bytes: Bytes::new(),
            next: from,
        };
        if from >= limit {
            return Ok(nothing);
        }
        self.shared.file_reads.read();
        let target = self.target(from)?;
        let log = self.open(&target.segment, from)?;
        let start = self.locate(&target, Seek::Offset(from))?;
        let read = self.collect(&target, &log, start, from, limit, max_bytes)?;
        Ok(read.unwrap_or(nothing))
    }

    fn target(&self, offset: Offset) -> Result<Target<D>, ReadError> {
        let target = self.shared.view(|view| {
            let after = view.segments.partition_point(|segment| segment.base() <= offset);
            let mut segment = view.segments.get(after.checked_sub(1)?)?;
            if segment.end().next <= offset {
                // Only compaction leaves a gap at the end of a segment. Any other is a hole: what was there is lost.
                segment = view.segments.get(after).filter(|_| segment.cleaned())?;
            }
            Some((Arc::clone(segment), Arc::clone(&view.epochs)))
        });
        let Some((segment, epochs)) = target else {
            self.check_range(offset)?;
            return Err(self.missing(self.shared.path(), offset));
        };
        let end = segment.end();
        if offset >= end.next {
            self.check_range(offset)?;
            return Err(self.missing(self.shared.path(), offset));
        }
        Ok(Target { segment, epochs, end })
    }

    fn missing(&self, file: std::path::PathBuf, offset: Offset) -> ReadError {
        ReadError::Corrupt(Box::new(Corruption {
            file,
            position: 0,
            offset: Some(offset),
            what: "no file has this offset".to_owned(),
        }))
    }

    fn open(&self, segment: &Segment<D>, offset: Offset) -> Result<Arc<OpenFile<D>>, ReadError> {
        if let Some(file) = segment.opened() {
            return Ok(file);
        }
        let opened = self.shared.at_place(|place| segment.open(place));
        opened.map_err(|error| {
            let file = paths::at_offset(&self.shared.path(), segment.base(), Kind::Log);
            if !is_gone(&error) {
                return ReadError::Io(crate::files::failed("opening", &file)(error));
            }
            // Retention took it away meanwhile, or else it is missing.
            match self.check_range(offset) {
                Err(out_of_range) => out_of_range,
                Ok(_) => self.missing(file, offset),
            }
        })
    }

    fn locate(&self, target: &Target<D>, seek: Seek) -> Result<Boundary, ReadError> {
        let located = self.shared.at_place(|place| {
            let note = |repair| self.shared.note_repair(repair);
            target.segment.locate(place, seek, &target.epochs, note)
        });
        located.map_err(ReadError::Io)
    }

    /// Reads from a boundary on, skips what lies before `from`, and takes what fits.
    fn collect(
        &self,
        target: &Target<D>,
        log: &OpenFile<D>,
        start: Boundary,
        from: Offset,
        limit: Offset,
        max_bytes: usize,
    ) -> Result<Option<BatchesRead>, ReadError> {
        let mut rules = target.rules();
        let mut at = start;
        let mut want = max_bytes.max(READ_MIN);
        loop {
            let left = u64::from(target.end.position.saturating_sub(at.position));
            let size = usize::try_from(left).unwrap_or(usize::MAX).min(want);
            if size == 0 {
                let what = format!(
                    "the segment ends here, and should reach to offset {}",
                    target.end.next
                );
                return Err(bad(log, &at, what));
            }
            let mut buffer = vec![0; size];
            let read = read_full::<D>(log.file(), &mut buffer, u64::from(at.position));
            let read = read.map_err(|error| ReadError::Io(log.failure("reading")(error)))?;
            buffer.truncate(read);
            let begin = at.position;
            let taken = take(&buffer, &mut at, left, &mut rules, from, limit, max_bytes);
            if let Some((first, last)) = taken.range {
                self.prove(target, log, at)?;
                let bytes = Bytes::from(buffer).slice(first..last);
                return Ok(Some(BatchesRead { bytes, next: at.next }));
            }
            match taken.then {
                Then::Limit => return Ok(None),
                Then::End => return Err(ends_early(log, &at, target)),
                Then::Bad(what) => return Err(bad(log, &at, what)),
                Then::More(needed) if read < size => {
                    let what = format!("the file ends where {needed} bytes are expected");
                    return Err(bad(log, &at, what));
                }
                Then::More(needed) => {
                    // Either the batch begins later in the buffer, or it is larger than that.
                    if at.position == begin && needed <= size {
                        return Err(bad(log, &at, "the batch cannot be read".to_owned()));
                    }
                    want = needed.max(max_bytes).max(READ_MIN);
                }
            }
        }
    }

    /// Calls `each` with the header of every batch from the one that holds `from` up to the log end (verified as in a
    /// read): how producer state is replayed.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn for_each_header(&self, from: Offset, mut each: impl FnMut(&BatchHeader)) -> Result<(), ReadError> {
        let end = self.check_range(from)?;
        let mut from = from;
        while from < end {
            from = self.headers_of_segment(from, end, &mut each)?;
        }
        Ok(())
    }

    fn headers_of_segment(
        &self,
        from: Offset,
        end: Offset,
        each: &mut impl FnMut(&BatchHeader),
    ) -> Result<Offset, ReadError> {
        let (target, log, start) = self.steadily(|| {
            let target = self.target(from)?;
            let log = self.open(&target.segment, from)?;
            let start = self.locate(&target, Seek::Offset(from))?;
            Ok((target, log, start))
        })?;
        let mut rules = target.rules();
        let mut walk = Walk::new(&log, start, u64::from(target.end.position));
        loop {
            let at = *walk.at();
            match walk.step(&mut rules).map_err(ReadError::Io)? {
                Step::Batch(header, _) if header.next_offset() > end => return Ok(end),
                Step::Batch(header, _) if header.next_offset() > from => each(&header),
                Step::Batch(..) => {}
                Step::Bad(what) => return Err(bad(&log, &at, what)),
                // Compaction may leave a gap at the end; without it the bytes reach as far as the segment claims.
                Step::End if target.segment.cleaned() || at.next >= target.end.next => {
                    self.prove(&target, &log, at)?;
                    return Ok(target.end.next);
                }
                Step::End => return Err(ends_early(&log, &at, &target)),
            }
        }
    }
}

/// Why no more of a buffer was taken.
enum Then {
    /// There is no more in the segment.
    End,
    /// The next batch is past the limit, or the buffer has no room in the answer for it.
    Limit,
    /// The next batch is not whole; it takes this many bytes.
    More(usize),
    /// What comes next is bad.
    Bad(String),
}

struct Taken {
    /// The bytes taken.
    range: Option<(usize, usize)>,
    then: Then,
}

/// Takes batches from a buffer that begins at `at`, and moves `at` past them.
fn take(
    buffer: &[u8],
    at: &mut Boundary,
    mut left: u64,
    rules: &mut Rules<'_>,
    from: Offset,
    limit: Offset,
    max_bytes: usize,
) -> Taken {
    let mut position = 0;
    let mut range: Option<(usize, usize)> = None;
    let then = loop {
        if left == 0 {
            break Then::End;
        }
        let header = match rules.look(&buffer[position..], at, left) {
            Look::Good(header) => header,
            Look::More(needed) => break Then::More(needed),
            Look::Bad(what) => break Then::Bad(what),
        };
        let end = position + header.size();
        if header.next_offset() > limit {
            break Then::Limit;
        }
        if header.next_offset() > from {
            let first = range.map_or(position, |(first, _)| first);
            if range.is_some() && end - first > max_bytes {
                break Then::Limit;
            }
            range = Some((first, end));
        }
        *at = at.after(&header);
        left -= header.size() as u64;
        position = end;
    };
    Taken { range, then }
}

/// The segment was taken because it should hold what is sought, and its bytes end before it.
fn ends_early<D: Disk>(log: &OpenFile<D>, at: &Boundary, target: &Target<D>) -> ReadError {
    let what = format!(
        "the segment ends here, and should reach to offset {}",
        target.end.next
    );
    bad(log, at, what)
}

fn bad<D: Disk>(log: &OpenFile<D>, at: &Boundary, what: String) -> ReadError {
    ReadError::Corrupt(Box::new(Corruption {
        file: log.path().to_owned(),
        position: u64::from(at.position),
        offset: Some(at.next),
        what,
    }))
}
