//! A damaged journal of epochs is made anew from the batches. Their epochs lie outside their own checksums, but not
//! outside the seals' and the flush mark's: what adds up to those is as it was written.

use super::{EpochFile, Log};
use crate::files::{failed, read_small};
use crate::marks::Known;
use crate::paths::{self, Kind};
use crate::segment::recover::{Durable, Found};
use crate::segment::{Boundary, Rules, Seal, Step, Walk};
use crate::{Access, Corruption, Disk, EpochEntry, IoFailure, OpenReport, Repair, ReplaceFile};
use quipu_record::Offset;
use std::path::Path;

impl<D: Disk> Log<D> {
    /// Holds the journal against the mark: it must know the epoch of the last batch that was flushed. If it does not,
    /// it is made anew.
    pub(super) fn check_epochs(
        &self,
        epochs: EpochFile,
        durable: Durable,
        dir: &Path,
        segments: &[Found],
        report: &mut OpenReport,
    ) -> Result<EpochFile, IoFailure> {
        let missing = match durable {
            Durable::Nothing => false,
            Durable::Unknown => epochs.bad.is_some(),
            Durable::To(mark) => {
                let last = mark.end.next.get().checked_sub(1).map(Offset::new);
                let known = last.and_then(|last| epochs.cache().at(last));
                mark.epoch.is_some_and(|epoch| known != Some(epoch))
            }
        };
        if !missing {
            return Ok(epochs);
        }
        let what = match epochs.bad {
            Some(position) => format!("byte {position}: an entry does not match its checksum"),
            None => "the epoch of what was flushed last is not in it".to_owned(),
        };
        self.rebuild(epochs.incarnation, durable, dir, segments, what, report)
    }

    /// The journal is gone, or its header is, though there was a flush.
    pub(super) fn rebuild_epochs(
        &self,
        known: Known,
        dir: &Path,
        segments: &[Found],
        report: &mut OpenReport,
    ) -> Result<EpochFile, IoFailure> {
        let (incarnation, durable) = match known {
            Known::Slot(_, slot) => (slot.incarnation, slot.mark.map_or(Durable::Nothing, Durable::To)),
            _ => (self.shared.dir().marks().next_number(), Durable::Unknown),
        };
        let what = "the header is gone or does not match its checksum".to_owned();
        self.rebuild(incarnation, durable, dir, segments, what, report)
    }

    fn rebuild(
        &self,
        incarnation: u64,
        durable: Durable,
        dir: &Path,
        segments: &[Found],
        what: String,
        report: &mut OpenReport,
    ) -> Result<EpochFile, IoFailure> {
        let mut journal = Vec::new();
        let path = dir.join(paths::EPOCHS);
        for (at, segment) in segments.iter().enumerate() {
            let end = self.vouched_end(segment, at + 1 == segments.len(), durable, dir)?;
            let Some(end) = end else { continue };
            if !self.collect(segment, &end, dir, &mut journal, report)? {
                report.corrupt.push(Corruption {
                    file: path.clone(),
                    position: 0,
                    offset: Some(segment.base),
                    what: format!("{what}; and the batches do not tell what was in it"),
                });
                break;
            }
        }
        let bytes = EpochFile::encode(incarnation, &journal);
        if report.corrupt.is_empty() {
            ReplaceFile::replace(self.shared.dir().disk(), &path, &bytes)?;
            report.repaired.push(Repair { file: path, what });
        }
        Ok(EpochFile {
            incarnation,
            journal,
            bad: None,
            len: bytes.len() as u64,
        })
    }

    /// Up to where a seal or the mark vouches for the bytes that batches' checksums leave out; `None` for what was not
    /// flushed. Where nothing vouches, the batches are taken as far as they are right in themselves.
    fn vouched_end(
        &self,
        segment: &Found,
        last: bool,
        durable: Durable,
        dir: &Path,
    ) -> Result<Option<Boundary>, IoFailure> {
        let open_end = Boundary {
            position: u32::try_from(segment.len).unwrap_or(u32::MAX),
            ..Boundary::start(segment.base)
        };
        match durable {
            Durable::Nothing => return Ok(None),
            Durable::To(mark) if mark.segment == segment.base => return Ok(Some(mark.end)),
            Durable::To(mark) if mark.segment < segment.base => return Ok(None),
            Durable::Unknown if last => return Ok(Some(open_end)),
            _ => {}
        }
        let seal = paths::at_offset(dir, segment.base, Kind::Seal);
        let seal = read_small(self.shared.dir().disk(), &seal)?;
        let seal = seal.and_then(|bytes| Seal::decode(&bytes, segment.base).ok());
        Ok(Some(seal.map_or(open_end, |seal| seal.end)))
    }

    /// Reads the epochs of one segment's batches. Says whether the batches lead to `end`.
    fn collect(
        &self,
        segment: &Found,
        end: &Boundary,
        dir: &Path,
        journal: &mut Vec<EpochEntry>,
        report: &mut OpenReport,
    ) -> Result<bool, IoFailure> {
        let path = paths::at_offset(dir, segment.base, Kind::Log);
        let log = self.shared.dir().files().open(&path, Access::Read);
        let log = log.map_err(failed("opening", &path))?;
        let mut rules = Rules::new(None, segment.cleaned);
        let mut walk = Walk::new(
            &log,
            Boundary::start(segment.base),
            segment.len.min(u64::from(end.position)),
        );
        let mut rising = true;
        while let Step::Batch(header, _) = walk.step(&mut rules)? {
            let Some(epoch) = header.leader_epoch() else { break };
            let newest = journal.last().map(|newest| newest.epoch);
            rising &= newest.is_none_or(|newest| newest <= epoch);
            if newest != Some(epoch) {
                journal.push(EpochEntry {
                    epoch,
                    start: header.base_offset(),
                });
            }
        }
        report.scanned += walk.bytes_read();
        let vouched = end.next > segment.base;
        let whole = walk.at().position == end.position;
        Ok(rising && whole && (!vouched || walk.at() == end))
    }
}
