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
use crate::files::{Files, lock};
use crate::log::Shared;
use crate::paths::{self, Kind};
use crate::segment::{Segment, is_gone};
use crate::{Corruption, DataDirError, Disk, IoFailure, ReplaceFile};
use bytes::{Buf, BufMut};
use quipu_record::Offset;
use std::path::Path;
use std::sync::Arc;

const VERSION: u32 = 1;

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
    write_intent(files, &dir, base, &others).map_err(CleanError::of_write)?;
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
    let renamed = finish_names(files, &dir, base, &others, true);
    renamed
        .and_then(|()| end(files, &dir))
        .map_err(CleanError::Failed)?;
    new.has_its_names(written.seal.index_entries as usize);
    drop(state);
    Ok(true)
}

fn write_intent<D: Disk>(
    files: &Files<D>,
    dir: &Path,
    base: Offset,
    others: &[Offset],
) -> Result<(), IoFailure> {
    let mut bytes = Vec::with_capacity(16 + others.len() * 8);
    bytes.put_u32(VERSION);
    bytes.put_u32(u32::try_from(others.len()).unwrap_or(u32::MAX));
    bytes.put_u64(base.get());
    for other in others {
        bytes.put_u64(other.get());
    }
    let path = dir.join(paths::SWAP);
    ReplaceFile::write(files.disk(), &path, &bytes).map_err(|error| match error {
        DataDirError::Io(failure) => failure,
        other => crate::files::failed("writing", &path)(std::io::Error::other(other.to_string())),
    })
}

fn decode_intent(mut bytes: impl Buf) -> Option<(Offset, Vec<Offset>)> {
    if bytes.remaining() < 16 || bytes.get_u32() != VERSION {
        return None;
    }
    let others = bytes.get_u32() as usize;
    let base = Offset::new(bytes.get_u64());
    if bytes.remaining() != others.checked_mul(8)? {
        return None;
    }
    let others = (0..others).map(|_| Offset::new(bytes.get_u64())).collect();
    Some((base, others))
}

/// Gives the new files their names and takes the old ones away, durably. After a crash nobody knows whether an index is
/// the old one or the new: it goes, and is made anew when it is wanted.
fn finish_names<D: Disk>(
    files: &Files<D>,
    dir: &Path,
    base: Offset,
    others: &[Offset],
    with_index: bool,
) -> Result<(), IoFailure> {
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
    let path = dir.join(paths::SWAP);
    let intent = match ReplaceFile::read(files.disk(), &path) {
        Ok(None) => return Ok(None),
        Ok(Some(bytes)) => decode_intent(bytes),
        Err(DataDirError::Io(failure)) => return Err(failure),
        Err(_) => None,
    };
    let Some((base, others)) = intent else {
        return Ok(Some(Corruption {
            file: path,
            position: 0,
            offset: None,
            what: "what compaction was about to replace cannot be read".to_owned(),
        }));
    };
    finish_names(files, dir, base, &others, false)?;
    end(files, dir)?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intent_of_the_wrong_size_is_none() {
        let mut bytes = Vec::new();
        bytes.put_u32(VERSION);
        bytes.put_u32(1);
        bytes.put_u64(7);
        assert_eq!(decode_intent(&bytes[..]), None);
        bytes.put_u64(9);
        assert_eq!(
            decode_intent(&bytes[..]),
            Some((Offset::new(7), vec![Offset::new(9)]))
        );
        bytes[7] = 0xff;
        assert_eq!(decode_intent(&bytes[..]), None);
        assert_eq!(decode_intent(&bytes[..12]), None);
    }
}
