//! Finds the place in a segment from which to read, by offset or by time.

use super::index::{BadEntry, ENTRY_LEN, Entries};
use super::{Boundary, Place, Rules, Segment, Step, Walk, is_gone};
use crate::files::{failed, lock};
use crate::paths::{Kind, TEMPORARY};
use crate::{Access, Disk, DiskFile, EpochCache, IoFailure, Repair};
use quipu_record::{Offset, Timestamp};
use std::io::{self, IoSlice};
use std::path::Path;

/// What is sought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Seek {
    /// The batch that holds an offset.
    Offset(Offset),
    /// The first batch that may hold a record at a time or later.
    Time(Timestamp),
}

impl Seek {
    /// Whether what is sought is not before this place.
    fn is_from(&self, place: &Boundary) -> bool {
        match self {
            Self::Offset(offset) => place.next <= *offset,
            Self::Time(time) => place.max_timestamp < Some(*time),
        }
    }

    fn among(&self, entries: &Entries<'_>) -> Result<Option<Boundary>, BadEntry> {
        match self {
            Self::Offset(offset) => entries.before_offset(*offset),
            Self::Time(time) => entries.before_time(*time),
        }
    }
}

impl<D: Disk> Segment<D> {
    /// The last place known from the index that is not past what is sought; the segment's beginning, if none is. An
    /// index that is wrong is made anew, and the repair goes to `repaired`.
    ///
    /// # Errors
    /// If the disk fails.
    pub(crate) fn locate(
        &self,
        place: &Place<'_, D>,
        seek: Seek,
        epochs: &EpochCache,
        repaired: impl FnOnce(Repair),
    ) -> Result<Boundary, IoFailure> {
        let (entries, sealed) = {
            let state = lock(&self.state);
            let ahead = state.tail.partition_point(|entry| seek.is_from(entry));
            if ahead > 0 {
                return Ok(state.tail[ahead - 1]);
            }
            (state.entries, state.sealed)
        };
        let start = Boundary::start(self.base);
        if entries == 0 {
            return Ok(start);
        }
        let path = place.path(self.base, Kind::Index);
        let what = match self.look_up(place, &path, entries, |index| seek.among(index))? {
            Ok(found) => return Ok(found.unwrap_or(start)),
            Err(what) => what,
        };
        repaired(Repair {
            file: path.clone(),
            what,
        });
        // The active segment's is the owner's to write; its readers walk from the beginning until it is sealed.
        if sealed {
            self.rebuild_index(place, epochs)?;
        }
        Ok(start)
    }

    /// The first place at or after `position` of which it is known what the bytes before it add up to that lie outside of
    /// batches' checksums. An index that is wrong is no help, and the segment's end always is.
    ///
    /// # Errors
    /// If the disk fails.
    pub(crate) fn vouched_from(&self, place: &Place<'_, D>, position: u32) -> Result<Boundary, IoFailure> {
        let (entries, later) = {
            let state = lock(&self.state);
            let before = state.tail.partition_point(|entry| entry.position < position);
            (
                state.entries,
                state.tail.get(before).copied().unwrap_or(state.end),
            )
        };
        if entries == 0 {
            return Ok(later);
        }
        let path = place.path(self.base, Kind::Index);
        let found = self.look_up(place, &path, entries, |index| index.at_or_after(position))?;
        Ok(found.ok().flatten().unwrap_or(later))
    }

    fn look_up(
        &self,
        place: &Place<'_, D>,
        path: &Path,
        entries: usize,
        find: impl FnOnce(&Entries<'_>) -> Result<Option<Boundary>, BadEntry>,
    ) -> Result<Result<Option<Boundary>, String>, IoFailure> {
        let log = match self.open(place) {
            Ok(log) => log,
            Err(error) => return Err(failed("opening", &place.path(self.base, Kind::Log))(error)),
        };
        let len = entries * ENTRY_LEN;
        let map = match log.index_map(len, || place.files.open(path, Access::Read)) {
            Ok(map) => map,
            Err(error) if is_gone(&error) => return Ok(Err("the index is gone".to_owned())),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok(Err("the index is too short".to_owned()));
            }
            Err(error) => return Err(failed("mapping", path)(error)),
        };
        let found = find(&Entries::new(self.base, &map[..len]));
        Ok(found.map_err(|bad| format!("entry {} does not match its checksum", bad.number)))
    }

    /// Makes the index of a sealed segment anew from its batches, as far as they are right.
    fn rebuild_index(&self, place: &Place<'_, D>, epochs: &EpochCache) -> Result<(), IoFailure> {
        let end = self.end();
        let log = self
            .open(place)
            .map_err(failed("opening", &place.path(self.base, Kind::Log)))?;
        let mut rules = Rules::new(Some(epochs), self.cleaned());
        let mut walk = Walk::new(&log, Boundary::start(self.base), u64::from(end.position));
        let mut bytes = Vec::new();
        let (mut count, mut last) = (0, 0);
        loop {
            let at = *walk.at();
            let Step::Batch(..) = walk.step(&mut rules)? else {
                break;
            };
            if at.position - last >= super::recover::REBUILD_INTERVAL {
                super::index::encode(self.base, count, &at, &mut bytes);
                (count, last) = (count + 1, at.position);
            }
        }
        if self.cleaned() && walk.at().outside != end.outside {
            // Offsets with gaps are believed for what the index says they add up to: it may not be made of wrong ones.
            count = 0;
            bytes.clear();
        }
        let path = place.path(self.base, Kind::Index);
        let mut name = path.clone().into_os_string();
        name.push(TEMPORARY);
        let mut state = lock(&self.state);
        if !state.sealed || state.retired || state.end != end {
            return Ok(());
        }
        // Nobody needs the index; without room for it, walks are longer.
        if replace(place, Path::new(&name), &path, &bytes).is_ok() {
            state.entries = count;
        } else {
            state.entries = 0;
        }
        log.forget_index();
        Ok(())
    }
}

fn replace<D: Disk>(place: &Place<'_, D>, temporary: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = match place.files.open(temporary, Access::CreateNew) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let file = place.files.open(temporary, Access::Write)?;
            file.file().truncate(0)?;
            file
        }
        opened => opened?,
    };
    crate::files::write_all::<D>(file.file(), &mut [IoSlice::new(bytes)], 0)?;
    place.files.rename(temporary, path)
}
