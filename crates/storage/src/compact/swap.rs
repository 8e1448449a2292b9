//! Puts a cleaned segment in the place of those that it was made of, as one step that a crash leaves done or undone.
//!
//! ```text
//! BASE.log.clean and its seal are written, synced, and so are their names
//! `swap` is written, synced, renamed: it names BASE and the others ─── from here on it is done, whatever comes
//! readers see the new segment (open under its old name; its index not yet)
//! BASE.*.clean ──▶ BASE.*, the others' files go, the names are synced
//! `swap` goes, and durably, before anything else may change the log
//! ```
//!
//! A start that finds `swap` does the last two lines (again). Without it, what ends in `.clean` belongs to nothing.

use super::write::Written;
use super::{CleanError, CleanState};
use crate::files::{Files, lock, read_small};
use crate::log::Shared;
use crate::paths::{self, Kind};
use crate::segment::{Seal, Segment, is_gone};
use crate::{Corruption, DataDirError, Disk, IoFailure, ReplaceFile};
use bytes::{Buf, BufMut};
use quipu_record::Offset;
use std::path::Path;
use std::sync::Arc;

const VERSION: u32 = 1;

/// What is said of a damaged `swap`.
pub(crate) const UNREADABLE: &str = "what compaction was about to replace cannot be read";

/// Whether these segments are in the log, one after another, and complete.
pub(super) fn is_run<D: Disk>(shared: &Shared<D>, run: &[Arc<Segment<D>>]) -> bool {
    let Some(first) = run.first() else { return false };
    !shared.is_deleted()
        && run.iter().all(|segment| segment.is_sealed())
        && shared.view(|view| {
            let at = view.segments.iter().position(|it| Arc::ptr_eq(it, first));
            let there = at.and_then(|at| view.segments.get(at..at + run.len()));
            there.is_some_and(|there| there.iter().zip(run).all(|(a, b)| Arc::ptr_eq(a, b)))
        })
}

/// Swaps. False: the log has changed, and nothing was done.
pub(super) fn swap<D: Disk>(
    shared: &Shared<D>,
    run: &[Arc<Segment<D>>],
    written: &Written<D>,
    purged_to: Offset,
) -> Result<bool, CleanError> {
    let dir = shared.path();
    let files = shared.dir().files();
    let mut state = lock(&shared.cleaning);
    if !is_run(shared, run) {
        return Ok(false);
    }
    files.sync_dir(&dir).map_err(CleanError::Failed)?;
    if purged_to > state.purged_to {
        let purged = CleanState { purged_to, ..*state };
        purged.write(files.disk(), &dir).map_err(CleanError::of_write)?;
        *state = purged;
    }
    let base = written.seal.base;
    let others: Vec<_> = run.iter().skip(1).map(|segment| segment.base()).collect();
    let intent = Intent { base, others };
    intent.write(files.disk(), &dir).map_err(CleanError::of_write)?;
    let new = Arc::new(Segment::cleaned_of(&written.seal, &written.log));
    shared.raise_cleaned_to(written.seal.end.next);
    shared.change_view(|view| {
        let at = view.segments.iter().position(|it| Arc::ptr_eq(it, &run[0]));
        if let Some(at) = at {
            view.segments.splice(at..at + run.len(), [Arc::clone(&new)]);
        }
    });
    shared.change();
    for old in run {
        old.retire(files);
    }
    let renamed = finish_names(files, &dir, &intent, true);
    renamed
        .and_then(|()| end(files, &dir))
        .map_err(CleanError::Failed)?;
    new.has_its_names(written.seal.index_entries as usize);
    drop(state);
    Ok(true)
}

/// What is being replaced: the file `swap`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Intent {
    /// The cleaned segment, which takes the place of the one that begins there.
    pub(crate) base: Offset,
    /// The others that it takes the place of, in order.
    pub(crate) others: Vec<Offset>,
}

impl Intent {
    /// Reads that of a directory: `None` without one, `Some(None)` if it is damaged.
    pub(crate) fn read<D: Disk>(disk: &D, dir: &Path) -> Result<Option<Option<Self>>, IoFailure> {
        match ReplaceFile::read(disk, &dir.join(paths::SWAP)) {
            Ok(found) => Ok(found.map(|bytes| Self::decode(&bytes))),
            Err(DataDirError::Io(failure)) => Err(failure),
            Err(_) => Ok(Some(None)),
        }
    }

    fn write<D: Disk>(&self, disk: &D, dir: &Path) -> Result<(), IoFailure> {
        let path = dir.join(paths::SWAP);
        ReplaceFile::write(disk, &path, &self.encode()).map_err(|error| match error {
            DataDirError::Io(failure) => failure,
            other => crate::files::failed("writing", &path)(std::io::Error::other(other.to_string())),
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 + self.others.len() * 8);
        bytes.put_u32(VERSION);
        bytes.put_u32(u32::try_from(self.others.len()).unwrap_or(u32::MAX));
        bytes.put_u64(self.base.get());
        for other in &self.others {
            bytes.put_u64(other.get());
        }
        bytes
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        if bytes.remaining() < 16 || bytes.get_u32() != VERSION {
            return None;
        }
        let others = bytes.get_u32() as usize;
        let base = Offset::new(bytes.get_u64());
        if bytes.remaining() != others.checked_mul(8)? {
            return None;
        }
        let others: Vec<_> = (0..others).map(|_| Offset::new(bytes.get_u64())).collect();
        let last = others.last().copied().unwrap_or(base);
        let rise = others.first().is_none_or(|first| base < *first) && others.is_sorted_by(|a, b| a < b);
        (rise && last <= Offset::MAX).then_some(Self { base, others })
    }

    /// Whether the cleaned segment is there and holds all that it takes the place of, as far as its seal can be read.
    fn is_covered<D: Disk>(&self, disk: &D, dir: &Path) -> Result<bool, IoFailure> {
        let entries = disk.list(dir).map_err(crate::files::failed("listing", dir))?;
        let named = |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str());
            entries.iter().any(|entry| Some(entry.name.as_str()) == name)
        };
        let place = |kind: Kind| {
            let clean = paths::clean(dir, self.base, kind);
            if named(&clean) {
                clean
            } else {
                paths::at_offset(dir, self.base, kind)
            }
        };
        if !named(&place(Kind::Log)) {
            return Ok(false);
        }
        let seal = read_small(disk, &place(Kind::Seal))?;
        let end = seal.and_then(|bytes| Seal::decode(&bytes, self.base).ok());
        let end = end.map(|seal| seal.end.next);
        Ok(end.is_none_or(|end| self.others.iter().all(|other| *other < end)))
    }
}

/// Gives the new files their names and takes the old ones away, durably. After a crash nobody knows whether an index is
/// the old one or the new: it goes, and is made anew when it is wanted.
fn finish_names<D: Disk>(
    files: &Files<D>,
    dir: &Path,
    Intent { base, others }: &Intent,
    with_index: bool,
) -> Result<(), IoFailure> {
    let base = *base;
    let rename = |kind: Kind| {
        let to = paths::at_offset(dir, base, kind);
        match files.rename(&paths::clean(dir, base, kind), &to) {
            Err(error) if is_gone(&error) => Ok(false),
            renamed => renamed
                .map(|()| true)
                .map_err(crate::files::failed("renaming", &to)),
        }
    };
    for kind in [Kind::Log, Kind::Seal, Kind::Cleaned] {
        rename(kind)?;
    }
    if !with_index || !rename(Kind::Index)? {
        files.remove(&paths::clean(dir, base, Kind::Index))?;
        files.remove(&paths::at_offset(dir, base, Kind::Index))?;
    }
    for other in others {
        for kind in Kind::OF_SEGMENT {
            files.remove(&paths::at_offset(dir, *other, kind))?;
        }
    }
    files.sync_dir(dir)
}

fn end<D: Disk>(files: &Files<D>, dir: &Path) -> Result<(), IoFailure> {
    files.remove(&dir.join(paths::SWAP))?;
    files.sync_dir(dir)
}

/// Finishes the swap that a crash interrupted. What is wrong, if that cannot be told.
pub(crate) fn finish_interrupted<D: Disk>(
    files: &Files<D>,
    dir: &Path,
) -> Result<Option<Corruption>, IoFailure> {
    let Some(intent) = Intent::read(files.disk(), dir)? else {
        return Ok(None);
    };
    let unknown = |what: &str| {
        Ok(Some(Corruption {
            file: dir.join(paths::SWAP),
            position: 0,
            offset: None,
            what: what.to_owned(),
        }))
    };
    let Some(intent) = intent else {
        return unknown(UNREADABLE);
    };
    if !intent.is_covered(files.disk(), dir)? {
        return unknown("it names segments that no cleaned segment takes the place of");
    }
    finish_names(files, dir, &intent, false)?;
    end(files, dir)?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intent_of_the_wrong_size_or_order_is_none() {
        let intent = |base, others: &[u64]| Intent {
            base: Offset::new(base),
            others: others.iter().copied().map(Offset::new).collect(),
        };
        for right in [intent(7, &[9]), intent(0, &[]), intent(7, &[9, 12])] {
            assert_eq!(Intent::decode(&right.encode()), Some(right));
        }
        for wrong in [intent(7, &[7]), intent(7, &[12, 9]), intent(u64::MAX, &[])] {
            assert_eq!(Intent::decode(&wrong.encode()), None);
        }
        let mut bytes = intent(7, &[9]).encode();
        assert_eq!(Intent::decode(&bytes[..16]), None);
        assert_eq!(Intent::decode(&bytes[..12]), None);
        bytes[7] = 0xff;
        assert_eq!(Intent::decode(&bytes), None);
    }
}
