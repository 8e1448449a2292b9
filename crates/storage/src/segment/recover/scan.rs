//! A scan of one segment's batches.

use super::{Found, INDEX_LAG, Recovery, everything};
use crate::files::{OpenFile, failed};
use crate::marks::Mark;
use crate::paths::Kind;
use crate::segment::{Boundary, ENTRY_LEN, Entries, Rules, Step, Walk};
use crate::{Access, Corruption, Disk, DiskFile, IoFailure};
use quipu_record::{PlantedBug, Timestamp};
use std::sync::Arc;

/// What a scan found.
#[derive(Debug)]
pub(super) struct Scan {
    /// After the last good batch.
    pub(super) end: Boundary,
    /// What is wrong with what follows.
    pub(super) fault: Option<String>,
    /// The time of the first batch, if the scan began with it.
    pub(super) created: Option<Timestamp>,
    /// Bytes read.
    pub(super) read: u64,
    /// Bad bytes below the mark.
    pub(super) corrupt: Option<Corruption>,
    /// Entries of the index that are right and stay.
    pub(super) entries_kept: usize,
    /// Where the last of them stands.
    pub(super) last_kept: u32,
    /// Entries to follow them.
    pub(super) entries: Vec<Boundary>,
}

impl Scan {
    /// Reads a whole segment that lies below the mark.
    pub(super) fn whole<D: Disk>(recovery: &Recovery<'_, D>, file: &Found) -> Result<Self, IoFailure> {
        let log = open(recovery, file)?;
        let mut scan = Self::at(Boundary::start(file.base));
        scan.walk(recovery, &log, file, file.len, false)?;
        Ok(scan)
    }

    /// Reads a segment from the mark on, or from its beginning, and makes up its index.
    pub(super) fn above<D: Disk>(
        recovery: &Recovery<'_, D>,
        file: &Found,
        mark: Option<Mark>,
    ) -> Result<Self, IoFailure> {
        let mut from = mark.map_or(Boundary::start(file.base), |mark| mark.end);
        let ends_here = u64::from(from.position) == file.len;
        if recovery.clean && ends_here {
            // Nothing to read: the file is not even opened.
            let mut scan = Self::at(from);
            scan.entries_kept = usize::try_from(file.index_len).unwrap_or(0) / ENTRY_LEN;
            scan.last_kept = from.position;
            return Ok(scan);
        }
        if PlantedBug::RecoveryTrustsIndex.planted() {
            let all = valid_entries(recovery, file, &everything(file.len))?;
            from = all.last().copied().unwrap_or(from);
        }
        let entries = valid_entries(recovery, file, &from)?;
        let mut scan = Self::at(from);
        scan.entries_kept = entries.len();
        scan.last_kept = entries.last().map_or(0, |entry| entry.position);
        if ends_here && from.position - scan.last_kept <= INDEX_LAG {
            return Ok(scan);
        }
        let log = open(recovery, file)?;
        if from.position - scan.last_kept > INDEX_LAG {
            scan.catch_up(recovery, &log, &entries, file)?;
        }
        scan.walk(recovery, &log, file, file.len, true)?;
        Ok(scan)
    }

    const fn at(from: Boundary) -> Self {
        Self {
            end: from,
            fault: None,
            created: None,
            read: 0,
            corrupt: None,
            entries_kept: 0,
            last_kept: 0,
            entries: Vec::new(),
        }
    }

    /// Makes entries for what lies between the last one and the mark. The batches there must lead to the mark.
    fn catch_up<D: Disk>(
        &mut self,
        recovery: &Recovery<'_, D>,
        log: &OpenFile<D>,
        entries: &[Boundary],
        file: &Found,
    ) -> Result<(), IoFailure> {
        let mark = self.end;
        let from = entries.last().copied().unwrap_or(Boundary::start(file.base));
        let mut before = Self::at(from);
        before.last_kept = self.last_kept;
        before.walk(recovery, log, file, u64::from(mark.position), true)?;
        self.read += before.read;
        self.entries = before.entries;
        if before.fault.is_some() || before.end != mark {
            let what = before
                .fault
                .unwrap_or_else(|| "the batches do not add up to what was flushed".to_owned());
            let position = u64::from(before.end.position);
            self.corrupt = Some(recovery.fault(file.base, position, before.end.next, what));
        }
        Ok(())
    }

    /// Walks on to byte `len`, or to the first batch that is not right.
    fn walk<D: Disk>(
        &mut self,
        recovery: &Recovery<'_, D>,
        log: &OpenFile<D>,
        file: &Found,
        len: u64,
        index: bool,
    ) -> Result<(), IoFailure> {
        let mut rules = Rules::new(Some(recovery.epochs), file.cleaned);
        let mut walk = Walk::new(log, self.end, len.min(u64::from(u32::MAX)));
        let mut last = self.entries.last().map_or(self.last_kept, |entry| entry.position);
        loop {
            let at = *walk.at();
            let header = match walk.step(&mut rules)? {
                Step::Batch(header, _) => header,
                Step::Bad(fault) => {
                    self.fault = Some(fault);
                    break;
                }
                Step::End => break,
            };
            if at.position == 0 {
                self.created = Some(header.max_timestamp());
            }
            if index && at.position - last >= recovery.index_interval.max(1) {
                self.entries.push(at);
                last = at.position;
            }
        }
        self.read += walk.bytes_read();
        self.end = *walk.at();
        Ok(())
    }
}

fn open<D: Disk>(recovery: &Recovery<'_, D>, file: &Found) -> Result<Arc<OpenFile<D>>, IoFailure> {
    let path = recovery.place.path(file.base, Kind::Log);
    let opened = recovery.place.files.open(&path, Access::Read);
    opened.map_err(failed("opening", &path))
}

/// The entries of the index file that are right and not past `end`. Others are removed, durably: what they speak of may
/// be cut, and something else may stand there when next they are read.
fn valid_entries<D: Disk>(
    recovery: &Recovery<'_, D>,
    file: &Found,
    end: &Boundary,
) -> Result<Vec<Boundary>, IoFailure> {
    if file.index_len == 0 {
        return Ok(Vec::new());
    }
    let path = recovery.place.path(file.base, Kind::Index);
    let Some(bytes) = crate::files::read_small(recovery.place.files.disk(), &path)? else {
        return Ok(Vec::new());
    };
    let valid = Entries::new(file.base, &bytes).valid_to(end);
    let len = valid.len() * ENTRY_LEN;
    if len < bytes.len() && end.next < quipu_record::Offset::MAX {
        let index = recovery.place.files.open(&path, Access::Write);
        let index = index.map_err(failed("opening", &path))?;
        index
            .file()
            .truncate(len as u64)
            .map_err(failed("cutting", &path))?;
        index.sync()?;
    }
    Ok(valid)
}
