//! What a start finds in a log's segments, and what it does about it.
//!
//! Below the flush mark everything is durable: complete segments are believed by their seals and not read, and bad bytes
//! are corruption, reported and left as they are. Above it nothing was promised: the batches are scanned, and the first
//! that is not right, with all that follows, is a torn tail and is cut. Where no mark can be told (the marks' own file is
//! damaged), nothing is cut.

mod outcome;
mod scan;
#[cfg(test)]
mod tests;

use super::{Boundary, ENTRY_LEN, Place, SEAL_LEN, Seal, Segment, write_seal};
use crate::files::{OpenFile, failed, read_full};
use crate::marks::Mark;
use crate::paths::Kind;
use crate::{Access, Corruption, Cut, Disk, DiskFile, EpochCache, IoFailure, Repair};
use quipu_record::{Offset, Timestamp};
use std::io::{self, IoSlice};
use std::sync::Arc;

pub(crate) use outcome::Recovered;
use scan::Scan;

/// How far apart entries stand in an index that is made anew.
pub(crate) const REBUILD_INTERVAL: u32 = 4096;
/// How much is written again at once.
const REWRITE: usize = 1 << 20;
/// An index may lag so far behind the flush mark before a start makes up for it.
const INDEX_LAG: u32 = 4 << 20;

/// What is known of how far a log is durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Durable {
    /// No flush of it was ever complete.
    Nothing,
    /// As far as this.
    To(Mark),
    /// It cannot be told.
    Unknown,
}

/// A segment file as the directory lists it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Found {
    pub(crate) base: Offset,
    pub(crate) len: u64,
    /// Bytes of its index.
    pub(crate) index_len: u64,
    /// Whether compaction cleaned it.
    pub(crate) cleaned: bool,
}

/// What a recovery goes by.
#[derive(Debug)]
pub(crate) struct Recovery<'a, D: Disk> {
    pub(crate) place: Place<'a, D>,
    pub(crate) epochs: &'a EpochCache,
    pub(crate) durable: Durable,
    /// After a clean shutdown indexes are believed until they are used.
    pub(crate) clean: bool,
    pub(crate) now: Timestamp,
    pub(crate) index_interval: u32,
}

impl<D: Disk> Recovery<'_, D> {
    /// Takes stock of the segments, oldest first.
    ///
    /// # Errors
    /// If the disk fails.
    pub(crate) fn run(&self, found: &[Found]) -> Result<Recovered<D>, IoFailure> {
        let mut out = Recovered::default();
        self.check_presence(found, &mut out);
        for (at, file) in found.iter().enumerate() {
            let fault = self.gap_before(file, &out);
            let fault = match fault {
                Some(fault) if self.is_durable(file) => {
                    out.corrupt.push(fault);
                    None
                }
                fault => fault,
            };
            let fault = match fault {
                Some(fault) => Some(fault),
                None => self.take(file, found.get(at + 1), &mut out)?,
            };
            if let Some(fault) = fault {
                // Behind a flushed segment that is gone nothing is a tail: it is left as it is.
                if out.lost_end.is_none() {
                    self.cut(&mut out, &found[at..], fault)?;
                }
                break;
            }
        }
        self.activate_last(&mut out)?;
        Ok(out)
    }

    /// What is wrong with a segment's place, if it does not begin where the one before it ends.
    fn gap_before(&self, file: &Found, out: &Recovered<D>) -> Option<Corruption> {
        let expected = out.end().filter(|end| *end != file.base)?;
        let what = format!(
            "the segment begins at offset {}, where {expected} is expected",
            file.base
        );
        Some(self.fault(file.base, 0, expected, what))
    }

    /// Whether a segment, its first bytes at least, was flushed, or may have been.
    fn is_durable(&self, file: &Found) -> bool {
        match self.durable {
            Durable::Nothing => false,
            Durable::To(mark) => file.base <= mark.segment,
            Durable::Unknown => true,
        }
    }

    /// Takes in one segment. A fault for which the tail is to be cut is returned.
    fn take(
        &self,
        file: &Found,
        next: Option<&Found>,
        out: &mut Recovered<D>,
    ) -> Result<Option<Corruption>, IoFailure> {
        let next = next.map(|next| next.base);
        let complete_to = match self.durable {
            Durable::To(mark) if file.base < mark.segment => Some(next.unwrap_or(mark.segment)),
            Durable::Unknown => next,
            _ => None,
        };
        let fault = match complete_to {
            Some(next) => self.believe(file, next, out).map(|()| None),
            None => self.scan(file, out),
        }?;
        if let Some(segment) = out.segments.last().filter(|_| file.cleaned) {
            segment.set_cleaned();
        }
        Ok(fault)
    }

    /// Whether the segment that the mark names is there, if it must be.
    fn check_presence(&self, found: &[Found], out: &mut Recovered<D>) {
        let Durable::To(mark) = self.durable else { return };
        let there = found.iter().any(|file| file.base == mark.segment);
        if !there {
            let what = format!(
                "the segment is gone; it was flushed up to offset {}",
                mark.end.next
            );
            out.corrupt.push(self.fault(mark.segment, 0, mark.segment, what));
            out.lost_end = Some(mark.end.next);
        }
    }

    fn fault(&self, base: Offset, position: u64, offset: Offset, what: String) -> Corruption {
        Corruption {
            file: self.place.path(base, Kind::Log),
            position,
            offset: Some(offset),
            what,
        }
    }

    /// A complete segment below the mark: its seal tells all there is to know. Without one it is read.
    fn believe(&self, file: &Found, next: Offset, out: &mut Recovered<D>) -> Result<(), IoFailure> {
        let path = self.place.path(file.base, Kind::Seal);
        let seal = crate::files::read_small(self.place.files.disk(), &path)?;
        let seal = match seal {
            None => Err("the seal is gone"),
            Some(bytes) if bytes.len() > SEAL_LEN => Err("the seal has the wrong length"),
            Some(bytes) => Seal::decode(&bytes, file.base),
        };
        match seal {
            Ok(seal) => self.hold_against(file, &seal, out),
            Err(what) => {
                out.repaired.push(Repair {
                    file: path,
                    what: what.to_owned(),
                });
                self.reseal(file, next, out)?;
            }
        }
        Ok(())
    }

    fn hold_against(&self, file: &Found, seal: &Seal, out: &mut Recovered<D>) {
        let expected = u64::from(seal.end.position);
        if file.len != expected {
            let what = format!(
                "the segment has {} bytes, and had {expected} when it was sealed",
                file.len
            );
            let at = file.len.min(expected);
            out.corrupt.push(self.fault(file.base, at, seal.end.next, what));
        }
        out.segments.push(Arc::new(Segment::sealed(seal)));
    }

    /// Reads a segment whose seal is wrong, and seals it again; if it is not right, it is damaged.
    fn reseal(&self, file: &Found, next: Offset, out: &mut Recovered<D>) -> Result<(), IoFailure> {
        let scan = Scan::whole(self, file)?;
        out.scanned += scan.read;
        let fault = scan
            .fault
            .or_else(|| (scan.end.next != next).then(|| format!("the next segment begins at offset {next}")));
        let index_entries = u32::try_from(file.index_len / ENTRY_LEN as u64).unwrap_or(0);
        let mut seal = Seal {
            base: file.base,
            end: scan.end,
            created: scan.created.unwrap_or(self.now).min(self.now),
            index_entries,
        };
        if let Some(what) = fault {
            let position = u64::from(scan.end.position);
            out.corrupt
                .push(self.fault(file.base, position, scan.end.next, what));
            // What is right in it can still be read.
            seal.end.next = next;
            seal.end.position = u32::try_from(file.len).unwrap_or(u32::MAX);
        } else {
            out.unsynced.push(write_seal(&self.place, &seal)?);
        }
        out.segments.push(Arc::new(Segment::sealed(&seal)));
        Ok(())
    }

    /// Scans what lies above the mark. A fault for which the tail is to be cut is returned.
    fn scan(&self, file: &Found, out: &mut Recovered<D>) -> Result<Option<Corruption>, IoFailure> {
        let mark = match self.durable {
            Durable::To(mark) if mark.segment == file.base => Some(mark),
            _ => None,
        };
        if let Some(mark) = mark
            && file.len < u64::from(mark.end.position)
        {
            let what = format!(
                "the segment has {} bytes, and {} were flushed",
                file.len, mark.end.position
            );
            out.corrupt
                .push(self.fault(file.base, file.len, mark.end.next, what));
            let entries = usize::try_from(file.index_len).unwrap_or(0) / ENTRY_LEN;
            let kept = Segment::active(file.base, mark.end, mark.created, entries, mark.end.position);
            out.segments.push(Arc::new(kept));
            return Ok(None);
        }
        let scan = Scan::above(self, file, mark)?;
        out.scanned += scan.read;
        out.corrupt.extend(scan.corrupt.iter().cloned());
        let created = match mark {
            Some(mark) => mark.created,
            None => scan.created.unwrap_or(self.now).min(self.now),
        };
        let segment = Segment::active(file.base, scan.end, created, scan.entries_kept, scan.last_kept);
        segment.publish(scan.end, &scan.entries);
        let position = u64::from(scan.end.position);
        let flushed = mark.map_or(0, |mark| mark.end.position);
        if scan.end.position > flushed || mark.is_none() {
            out.unsynced
                .extend(self.write_again(file, flushed, scan.end.position)?);
        }
        out.segments.push(Arc::new(segment));
        let Some(what) = scan.fault else { return Ok(None) };
        let fault = self.fault(file.base, position, scan.end.next, what);
        if self.durable == Durable::Unknown {
            out.corrupt.push(fault);
            return Ok(None);
        }
        Ok(Some(fault))
    }

    /// Writes what lies above the mark once more, as it is. A process before this one may have been told by a failed sync
    /// that it is not durable: the pages are there, clean, and no sync would write them.
    fn write_again(&self, file: &Found, from: u32, to: u32) -> Result<Option<Arc<OpenFile<D>>>, IoFailure> {
        let path = self.place.path(file.base, Kind::Log);
        let log = self.place.files.open(&path, Access::Write);
        let log = log.map_err(failed("opening", &path))?;
        let mut position = u64::from(from);
        let mut buffer = vec![0; usize::try_from(to - from).unwrap_or(REWRITE).min(REWRITE)];
        while position < u64::from(to) {
            let left = usize::try_from(u64::from(to) - position).unwrap_or(REWRITE);
            let part = &mut buffer[..left.min(REWRITE)];
            let read = read_full::<D>(log.file(), part, position).map_err(failed("reading", &path))?;
            if read < part.len() {
                return Err(failed("reading", &path)(io::ErrorKind::UnexpectedEof.into()));
            }
            log.write_all(&mut [IoSlice::new(part)], position)?;
            position += read as u64;
        }
        if self.place.files.too_many() {
            // Thousands of logs may have a tail: no descriptor can be held for each until the first flush.
            log.sync()?;
            return Ok(None);
        }
        Ok(Some(log))
    }

    /// Cuts the torn tail, durably: the rest of the last segment kept, and every file after it, newest first.
    fn cut(&self, out: &mut Recovered<D>, rest: &[Found], fault: Corruption) -> Result<(), IoFailure> {
        let kept = out.segments.last().map(|segment| (segment.base(), segment.end()));
        let mut bytes = 0;
        for file in rest.iter().rev() {
            if kept.is_some_and(|(base, _)| base == file.base) {
                continue;
            }
            bytes += file.len;
            for kind in Kind::OF_SEGMENT {
                self.place.files.remove(&self.place.path(file.base, kind))?;
            }
        }
        if let Some((base, end)) = kept {
            bytes += self.cut_file(base, u64::from(end.position))?;
            self.place.files.remove(&self.place.path(base, Kind::Seal))?;
        }
        self.place.files.sync_dir(self.place.dir)?;
        out.cut = Some(Cut {
            log_end: kept.map_or(fault.offset.unwrap_or_default(), |(_, end)| end.next),
            at: fault,
            bytes,
        });
        Ok(())
    }

    fn cut_file(&self, base: Offset, end: u64) -> Result<u64, IoFailure> {
        let path = self.place.path(base, Kind::Log);
        let file = self
            .place
            .files
            .open(&path, Access::Write)
            .map_err(failed("opening", &path))?;
        let len = file.file().len().map_err(failed("reading", &path))?;
        if len > end {
            file.file().truncate(end).map_err(failed("cutting", &path))?;
            file.sync()?;
        }
        Ok(len.saturating_sub(end))
    }

    /// All segments but the last are sealed; the last is the active one, and has no seal any more.
    fn activate_last(&self, out: &mut Recovered<D>) -> Result<(), IoFailure> {
        let Some((last, before)) = out.segments.split_last() else {
            return Ok(());
        };
        if !out.corrupt.is_empty() {
            return Ok(());
        }
        for segment in before.iter().filter(|segment| !segment.is_sealed()) {
            out.unsynced.push(segment.seal(&self.place)?);
        }
        self.place.files.remove(&self.place.path(last.base(), Kind::Seal))
    }
}

/// The boundary that stands for "as far as the file goes".
fn everything(len: u64) -> Boundary {
    Boundary {
        position: u32::try_from(len).unwrap_or(u32::MAX),
        ..Boundary::start(Offset::MAX)
    }
}
