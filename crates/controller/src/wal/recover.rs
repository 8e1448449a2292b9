//! What the write-ahead log holds after a restart: a torn tail is cut, damage to what was durable is refused.

use super::frame::{self, BadFrame, Frame, Kind};
use super::{
    BeginMessage, EntryMessage, FORMAT, HardState, LogPlace, Place, TruncateMessage, VoteMessage,
    segment_path,
};
use crate::StartError;
use prost::Message;
use quipu_storage::{Access, Disk, DiskFile};
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// No log has so many entries.
const INDEX_MAX: u64 = 1 << 62;

/// The contents of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Recovered {
    /// Whose log it is.
    pub(crate) controller: u64,
    /// The log was begun just now.
    pub(crate) fresh: bool,
    /// Vote, purged, committed, last.
    pub(crate) state: HardState,
    /// Where each entry after the purged ones stands, oldest first.
    pub(crate) entries: Vec<(LogPlace, Place)>,
    /// The greatest index of any entry in each file.
    pub(crate) greatest: BTreeMap<u64, u64>,
    /// Where the next frame goes in the last file.
    pub(crate) end: u64,
    /// Bytes of a torn tail that were cut.
    pub(crate) torn: u64,
}

impl Recovered {
    pub(super) fn new(controller: u64) -> Self {
        Self {
            controller,
            fresh: true,
            state: HardState::default(),
            entries: Vec::new(),
            greatest: BTreeMap::new(),
            end: 0,
            torn: 0,
        }
    }
}

/// A log's files, and what is in them; nothing if there is no log yet.
pub(super) struct Scan<D: Disk> {
    pub(super) files: BTreeMap<u64, Arc<D::File>>,
    pub(super) recovered: Option<Recovered>,
}

/// Reads the whole log, and cuts what was being written when the machine stopped.
pub(super) fn scan<D: Disk>(disk: &D, dir: &Path) -> Result<Scan<D>, StartError> {
    let mut numbers = segments(disk, dir)?;
    let tail = drop_unbegun(disk, dir, &mut numbers)?;
    let mut files = BTreeMap::new();
    let mut state: Option<Recovered> = None;
    for number in numbers.iter().copied() {
        let path = segment_path(dir, number);
        let io = |source| StartError::Io {
            path: path.clone(),
            source,
        };
        let tail = if numbers.last() == Some(&number) {
            tail
        } else {
            Tail::Followed
        };
        let file = disk.open(&path, Access::Write).map_err(io)?;
        let bytes = read_all(&file).map_err(io)?;
        let segment = Segment {
            number,
            path: &path,
            bytes: &bytes,
        };
        let begin = segment.begin()?;
        let state = match &mut state {
            Some(state) => {
                segment.check_follows(&begin, state, dir)?;
                state
            }
            none => {
                let BeginMessage {
                    vote,
                    purged,
                    committed,
                    last,
                    ..
                } = begin;
                let begun = HardState {
                    vote,
                    purged,
                    committed,
                    last,
                };
                none.insert(Recovered {
                    fresh: false,
                    state: begun,
                    ..Recovered::new(begin.controller)
                })
            }
        };
        segment.replay(state, tail)?;
        state.torn = segment.torn(state.end);
        if state.torn > 0 {
            clear(&file, state.end, state.torn).map_err(io)?;
        }
        files.insert(number, Arc::new(file));
    }
    if let Some(state) = &state {
        check_whole(state, dir)?;
    }
    Ok(Scan {
        files,
        recovered: state,
    })
}

/// Files go once all their entries are purged, so from the purged entries to the last one there is no hole.
fn check_whole(state: &Recovered, dir: &Path) -> Result<(), StartError> {
    let HardState { purged, last, .. } = state.state;
    let first = state.entries.first().map(|(place, _)| place.index);
    let follows = match (purged, first) {
        (Some(purged), Some(first)) => first == purged.index + 1,
        (purged, None) => last == purged,
        (None, Some(_)) => true,
    };
    if follows && state.entries.last().is_none_or(|(place, _)| Some(*place) == last) {
        return Ok(());
    }
    let what = format!("entries are missing between {purged:?} and {last:?}: a file of the log was removed");
    Err(StartError::Corrupt {
        path: dir.to_owned(),
        position: 0,
        what,
    })
}

/// What the end of a file may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tail {
    /// The file was being written: bad bytes at its end are a torn tail, unless something says that they were durable.
    Torn,
    /// The next file was begun, and has nothing in it: this one was durable to its end, so bad bytes are damage.
    Sealed,
    /// The next file says where this one ends.
    Followed,
}

/// If the machine stopped as the last file was begun, nothing was ever durable in it, and it goes.
fn drop_unbegun<D: Disk>(disk: &D, dir: &Path, numbers: &mut Vec<u64>) -> Result<Tail, StartError> {
    let Some(number) = numbers.last().copied() else {
        return Ok(Tail::Torn);
    };
    let path = segment_path(dir, number);
    let io = |source| StartError::Io {
        path: path.clone(),
        source,
    };
    let file = disk.open(&path, Access::Read).map_err(io)?;
    let bytes = read_all(&file).map_err(io)?;
    let segment = Segment {
        number,
        path: &path,
        bytes: &bytes,
    };
    if matches!(segment.frame_at(0), Ok(_) | Err(BadFrame::Unknown(_))) || segment.was_durable(0) {
        return Ok(Tail::Torn);
    }
    drop(file);
    disk.remove(&path).and_then(|()| disk.sync_dir(dir)).map_err(io)?;
    numbers.pop();
    Ok(Tail::Sealed)
}

/// The numbers of the files, which must follow each other.
fn segments<D: Disk>(disk: &D, dir: &Path) -> Result<Vec<u64>, StartError> {
    let entries = disk.list(dir).map_err(|source| StartError::Io {
        path: dir.to_owned(),
        source,
    })?;
    let number = |name: &str| {
        name.strip_suffix(".wal")
            .filter(|n| n.len() == 20)
            .and_then(|n| n.parse::<u64>().ok())
    };
    let numbers: Vec<u64> = entries.iter().filter_map(|entry| number(&entry.name)).collect();
    for pair in numbers.windows(2) {
        if pair[0] + 1 != pair[1] {
            let path = segment_path(dir, pair[0] + 1);
            return Err(StartError::Corrupt {
                path,
                position: 0,
                what: "this file of the log is missing".to_owned(),
            });
        }
    }
    Ok(numbers)
}

fn read_all<F: DiskFile>(file: &F) -> io::Result<Vec<u8>> {
    let len = usize::try_from(file.len()?).map_err(io::Error::other)?;
    let mut bytes = vec![0; len];
    let mut at = 0;
    while at < len {
        let read = file.read_at(&mut bytes[at..], u64::try_from(at).unwrap_or(u64::MAX))?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        at += read;
    }
    Ok(bytes)
}

/// Zeros a torn tail for good: were its bytes left there, a frame of it could one day follow a new one by chance.
fn clear<F: DiskFile>(file: &F, mut from: u64, len: u64) -> io::Result<()> {
    let zeros = [0; 4096];
    let end = from + len;
    while from < end {
        let len = usize::try_from(end - from).unwrap_or(usize::MAX).min(zeros.len());
        let written = file.write_at(&[IoSlice::new(&zeros[..len])], from)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        from += u64::try_from(written).unwrap_or(0);
    }
    file.sync_data()
}

struct Segment<'a> {
    number: u64,
    path: &'a Path,
    bytes: &'a [u8],
}

impl Segment<'_> {
    fn corrupt(&self, position: u64, what: impl Into<String>) -> StartError {
        StartError::Corrupt {
            path: PathBuf::from(self.path),
            position,
            what: what.into(),
        }
    }

    fn frame_at(&self, position: u64) -> Result<(Frame<'_>, u64), BadFrame> {
        let at = usize::try_from(position).unwrap_or(usize::MAX);
        let rest = self.bytes.get(at..).unwrap_or_default();
        let (frame, len) = frame::read(rest, self.number, position)?;
        Ok((frame, position + u64::try_from(len).unwrap_or(0)))
    }

    /// Whether what lies at `position` was durable once.
    fn was_durable(&self, position: u64) -> bool {
        let at = usize::try_from(position).unwrap_or(usize::MAX);
        frame::testified(
            self.bytes.get(at..).unwrap_or_default(),
            self.number,
            position,
            position,
        )
    }

    /// The file's first frame.
    fn begin(&self) -> Result<BeginMessage, StartError> {
        let frame = match self.frame_at(0) {
            Ok((frame, _)) => frame,
            Err(bad) => return Err(self.bad(0, &bad)),
        };
        let begin: BeginMessage = self.decode(0, frame.payload)?;
        if frame.kind != Kind::Begin {
            return Err(self.corrupt(0, "the file does not begin as it should"));
        }
        if begin.format != FORMAT {
            let what = format!(
                "layout {} is not known to this version of Quipu: upgrade before reading it",
                begin.format
            );
            return Err(self.corrupt(0, what));
        }
        let len = u64::try_from(self.bytes.len()).unwrap_or(u64::MAX);
        if len < begin.room {
            let what = format!(
                "the file has {len} bytes and was made with {}: its end is gone",
                begin.room
            );
            return Err(self.corrupt(len, what));
        }
        for place in [begin.purged, begin.committed, begin.last].into_iter().flatten() {
            self.possible(0, place.index)?;
        }
        Ok(begin)
    }

    /// Indexes are counted on, and none comes near the greatest number.
    fn possible(&self, at: u64, index: u64) -> Result<(), StartError> {
        if index > INDEX_MAX {
            return Err(self.corrupt(at, format!("there is no entry {index}")));
        }
        Ok(())
    }

    /// This file follows the ones before.
    fn check_follows(&self, begin: &BeginMessage, state: &Recovered, dir: &Path) -> Result<(), StartError> {
        if begin.controller != state.controller {
            return Err(self.corrupt(0, "the file belongs to another controller"));
        }
        if begin.previous_end != state.end {
            return Err(StartError::Corrupt {
                path: segment_path(dir, self.number - 1),
                position: state.end,
                what: format!(
                    "bytes that were durable up to {} are bad from here",
                    begin.previous_end
                ),
            });
        }
        if begin.last != state.state.last {
            return Err(self.corrupt(0, "the entries of the file before are not those that were there"));
        }
        Ok(())
    }

    /// Replays the frames into `state`, up to where they end.
    fn replay(&self, state: &mut Recovered, tail: Tail) -> Result<(), StartError> {
        state.end = 0;
        loop {
            let at = state.end;
            let (frame, next) = match self.frame_at(at) {
                Ok(found) => found,
                Err(bad) => {
                    let damage = match tail {
                        Tail::Torn => matches!(bad, BadFrame::Unknown(_)) || self.was_durable(at),
                        Tail::Sealed => bad != BadFrame::Blank || self.was_durable(at),
                        Tail::Followed => matches!(bad, BadFrame::Unknown(_)),
                    };
                    return if damage { Err(self.bad(at, &bad)) } else { Ok(()) };
                }
            };
            self.replay_frame(state, at, next, &frame)?;
            state.end = next;
        }
    }

    fn replay_frame(
        &self,
        all: &mut Recovered,
        at: u64,
        next: u64,
        frame: &Frame<'_>,
    ) -> Result<(), StartError> {
        let state = &mut all.state;
        match frame.kind {
            Kind::Begin if at > 0 => return Err(self.corrupt(at, "a beginning within the file")),
            Kind::Begin => {}
            Kind::Vote => state.vote = Some(self.decode::<VoteMessage>(at, frame.payload)?),
            Kind::Committed => {
                let committed: LogPlace = self.decode(at, frame.payload)?;
                self.possible(at, committed.index)?;
                state.committed = Some(committed);
            }
            Kind::Entry => return self.replay_entry(all, at, next, frame.payload),
            Kind::Truncate => return self.replay_truncate(all, at, frame.payload),
            Kind::Purge => {
                let purged: LogPlace = self.decode(at, frame.payload)?;
                self.possible(at, purged.index)?;
                state.purged = Some(purged);
                let gone = all
                    .entries
                    .iter()
                    .take_while(|(place, _)| place.index <= purged.index)
                    .count();
                all.entries.drain(..gone);
                if state.last.is_none_or(|last| last.index < purged.index) {
                    state.last = Some(purged);
                }
            }
        }
        Ok(())
    }

    fn replay_entry(
        &self,
        all: &mut Recovered,
        at: u64,
        next: u64,
        payload: &[u8],
    ) -> Result<(), StartError> {
        let entry: EntryMessage = self.decode(at, payload)?;
        let place = entry
            .place
            .ok_or_else(|| self.corrupt(at, "an entry without a place"))?;
        self.possible(at, place.index)?;
        // A log that begins with a purge, or empty, may begin anywhere.
        if let Some(last) = all.state.last
            && place.index != last.index + 1
        {
            let what = format!(
                "entry {} stands where entry {} should",
                place.index,
                last.index + 1
            );
            return Err(self.corrupt(at, what));
        }
        all.state.last = Some(place);
        let len = usize::try_from(next - at).unwrap_or(usize::MAX);
        let stands = Place {
            segment: self.number,
            position: at,
            len,
        };
        all.entries.push((place, stands));
        let greatest = all.greatest.entry(self.number).or_default();
        *greatest = place.index.max(*greatest);
        Ok(())
    }

    fn replay_truncate(&self, all: &mut Recovered, at: u64, payload: &[u8]) -> Result<(), StartError> {
        let TruncateMessage { from, last } = self.decode(at, payload)?;
        if let Some(last) = last {
            self.possible(at, last.index)?;
        }
        let kept = all.entries.partition_point(|(place, _)| place.index < from);
        all.entries.truncate(kept);
        // The last that is left may be in a file that is gone by now; if not, it is the last one here.
        let here = all.entries.last().map(|(place, _)| *place);
        if here.is_some() && here != last {
            return Err(self.corrupt(at, "the entries before are not those that were kept"));
        }
        all.state.last = last;
        Ok(())
    }

    /// How many bytes from `end` on are not zeros, up to the last of them.
    fn torn(&self, end: u64) -> u64 {
        let at = usize::try_from(end).unwrap_or(usize::MAX);
        let rest = self.bytes.get(at..).unwrap_or_default();
        rest.iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| u64::try_from(last + 1).unwrap_or(0))
    }

    fn decode<M: Message + Default>(&self, position: u64, payload: &[u8]) -> Result<M, StartError> {
        M::decode(payload).map_err(|error| self.corrupt(position, error.to_string()))
    }

    fn bad(&self, position: u64, bad: &BadFrame) -> StartError {
        match bad {
            BadFrame::Blank => self.corrupt(position, "there is nothing where something was"),
            BadFrame::Bad(what) => self.corrupt(position, *what),
            BadFrame::Unknown(kind) => {
                let what = format!(
                    "a frame of kind {kind} is not known to this version of Quipu: upgrade before reading it"
                );
                self.corrupt(position, what)
            }
        }
    }
}
