//! Verifies one segment: its batches, its seal, its index.

use super::small::About;
use super::through_swap::{Listed, Listing};
use super::{FindingKind, VerifyReport};
use crate::files::{Files, OpenFile, failed, read_small};
use crate::paths::Kind;
use crate::segment::{Boundary, ENTRY_LEN, Entries, Rules, Seal, Step, Walk};
use crate::{Access, Disk, DiskFile, IoFailure};
use quipu_record::Offset;
use std::path::PathBuf;

/// What a segment's batches must lead to.
struct Vouched {
    end: Boundary,
    by: &'static str,
}

/// A verification of one segment.
struct Check<'a, D: Disk> {
    files: &'a Files<D>,
    listing: &'a Listing<'a>,
    about: &'a About,
    base: Offset,
    cleaned: bool,
    /// The offset that the next segment begins with; `None` for the active one.
    next: Option<Offset>,
    /// The index, as far as it can be read.
    entries: Vec<Boundary>,
}

pub(super) fn verify<D: Disk>(
    files: &Files<D>,
    listing: &Listing<'_>,
    all: &[Listed],
    at: usize,
    about: &About,
    report: &mut VerifyReport,
) -> Result<(), IoFailure> {
    report.segments += 1;
    let mut check = Check {
        files,
        listing,
        about,
        base: all[at].base,
        cleaned: all[at].cleaned,
        next: all.get(at + 1).map(|next| next.base),
        entries: Vec::new(),
    };
    check.read_index(report)?;
    let vouched: Vec<_> = check.mark().into_iter().chain(check.seal(report)?).collect();
    let path = check.path(Kind::Log);
    let log = files
        .open(&path, Access::Read)
        .map_err(failed("opening", &path))?;
    let len = log.file().len().map_err(failed("reading", &path))?;
    check.walk(&log, len, &vouched, report)
}

impl<D: Disk> Check<'_, D> {
    fn path(&self, kind: Kind) -> PathBuf {
        self.listing.path(self.base, kind)
    }

    fn read_index(&mut self, report: &mut VerifyReport) -> Result<(), IoFailure> {
        if self.listing.is_swapped(self.base) {
            // The old one or the new: nobody knows, and a start drops it.
            return Ok(());
        }
        let path = self.path(Kind::Index);
        let Some(bytes) = read_small(self.files.disk(), &path)? else {
            return Ok(());
        };
        let entries = Entries::new(self.base, &bytes);
        for number in 0..entries.len() {
            match entries.get(number) {
                Ok(entry) => self.entries.push(entry),
                Err(bad) => {
                    let position = (bad.number * ENTRY_LEN) as u64;
                    let what = "an entry of the index does not match its checksum";
                    report.find(FindingKind::Repairable, &path, position, None, what);
                }
            }
        }
        if bytes.len() % ENTRY_LEN != 0 {
            let position = (entries.len() * ENTRY_LEN) as u64;
            let what = "the index does not end with an entry";
            report.find(FindingKind::Repairable, &path, position, None, what);
        }
        Ok(())
    }

    /// What the mark says of the segment that was active as it was written.
    fn mark(&self) -> Option<Vouched> {
        let mark = self.about.mark.filter(|mark| mark.segment == self.base)?;
        Some(Vouched {
            end: mark.end,
            by: "the flush mark",
        })
    }

    /// What the seal says of a complete segment.
    fn seal(&self, report: &mut VerifyReport) -> Result<Option<Vouched>, IoFailure> {
        if self.next.is_none() {
            return Ok(None);
        }
        let path = self.path(Kind::Seal);
        let seal = read_small(self.files.disk(), &path)?;
        let seal = seal.map_or(Err("the seal is gone"), |bytes| Seal::decode(&bytes, self.base));
        match seal {
            Ok(seal) => {
                self.index_is_whole(&seal, report);
                Ok(Some(Vouched {
                    end: seal.end,
                    by: "the seal",
                }))
            }
            Err(what) => {
                report.find(
                    self.above_or(FindingKind::Repairable),
                    &path,
                    0,
                    Some(self.base),
                    what,
                );
                Ok(None)
            }
        }
    }

    fn index_is_whole(&self, seal: &Seal, report: &mut VerifyReport) {
        let swapped = self.listing.is_swapped(self.base);
        if !swapped && (self.entries.len() as u64) < u64::from(seal.index_entries) {
            let path = self.path(Kind::Index);
            let position = (self.entries.len() * ENTRY_LEN) as u64;
            let what = "the index has fewer entries than the seal says";
            report.find(FindingKind::Repairable, &path, position, None, what);
        }
    }

    /// What a fault in this segment means, if nothing of it was flushed.
    fn above_or(&self, kind: FindingKind) -> FindingKind {
        let flushed = self.about.mark.map(|mark| mark.segment);
        if flushed.is_none_or(|flushed| self.base > flushed) && self.about.log_start.is_some() {
            FindingKind::TornTail
        } else {
            kind
        }
    }

    fn kind_at(&self, position: u64) -> FindingKind {
        match &self.about.mark {
            Some(mark) if mark.segment == self.base && position >= u64::from(mark.end.position) => {
                FindingKind::TornTail
            }
            _ => self.above_or(FindingKind::Corrupt),
        }
    }

    fn walk(
        &self,
        log: &OpenFile<D>,
        len: u64,
        vouched: &[Vouched],
        report: &mut VerifyReport,
    ) -> Result<(), IoFailure> {
        let mut rules = Rules::new(self.about.epochs.as_ref(), self.cleaned);
        let mut walk = Walk::new(log, Boundary::start(self.base), len);
        let mut unbroken = true;
        let mut known = self.entries.iter().peekable();
        loop {
            let at = *walk.at();
            while known.next_if(|entry| entry.position < at.position).is_some() {}
            if let Some(entry) = known.next_if(|entry| entry.position == at.position)
                && unbroken
                && *entry != at
            {
                let path = self.path(Kind::Index);
                let what = "an entry of the index is not what the batches say";
                report.find(FindingKind::Repairable, &path, 0, Some(entry.next), what);
            }
            let by = vouched
                .iter()
                .filter(|it| it.end.position == at.position && it.end != at);
            for vouched in by.filter(|_| unbroken) {
                let what = format!("the batches up to here are not those of {}", vouched.by);
                let position = u64::from(at.position);
                report.find(FindingKind::Corrupt, log.path(), position, Some(at.next), &what);
            }
            match walk.step(&mut rules)? {
                Step::Batch(header, _) => {
                    report.batches += 1;
                    report.records += u64::from(header.records_count());
                }
                Step::End => break,
                Step::Bad(what) => {
                    let position = u64::from(at.position);
                    report.find(self.kind_at(position), log.path(), position, Some(at.next), &what);
                    unbroken = false;
                    // The index knows where batches begin after the bad ones.
                    let Some(later) = known.find(|entry| entry.position > at.position) else {
                        break;
                    };
                    report.bytes += walk.bytes_read();
                    walk = Walk::new(log, *later, len);
                }
            }
        }
        report.bytes += walk.bytes_read();
        if unbroken {
            self.check_end(log, walk.at(), vouched, report);
        }
        Ok(())
    }

    fn check_end(&self, log: &OpenFile<D>, end: &Boundary, vouched: &[Vouched], report: &mut VerifyReport) {
        let position = u64::from(end.position);
        for vouched in vouched {
            let sealed = self.next.is_some() && vouched.by == "the seal";
            if vouched.end.position > end.position || (sealed && vouched.end.position < end.position) {
                let what = format!(
                    "the segment ends at byte {position}, and not where {} says",
                    vouched.by
                );
                report.find(FindingKind::Corrupt, log.path(), position, Some(end.next), &what);
            }
        }
        if let Some(next) = self.next
            && next != end.next
        {
            let what = format!(
                "the segment ends at offset {}, and the next begins at {next}",
                end.next
            );
            report.find(
                self.kind_at(position),
                log.path(),
                position,
                Some(end.next),
                &what,
            );
        }
    }
}
