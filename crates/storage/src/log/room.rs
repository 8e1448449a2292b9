//! Room on the disk ahead of the log end. Where a file has room already, writing to it costs the file system less, and a
//! sync finds less to do. It is taken in steps as large as the segment is so far, and given back when that is sealed; the
//! file's length stays what was written.
//!
//! A small segment takes none, so that many small partitions do not hold what they do not use. Where there is none to take,
//! the write says so; but what is written behind the caller has room before it is taken, since nobody would hear of a full
//! disk before the sync, and then for good.

use super::Log;
use crate::files::OpenFile;
use crate::segment::Segment;
use crate::{Disk, DiskFile};

/// A segment of this size, in bytes, takes room; a smaller one if it is appended to past the cache.
const BEGIN: u32 = 1 << 20;
/// The most taken at once, and so held without need by a segment that nobody writes to any more.
const STEP_MAX: u32 = 32 << 20;

/// How far the active segment's file has room.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Room {
    /// As far as it is written.
    #[default]
    Written,
    /// Up to this position.
    UpTo(u32),
    /// The disk had none, or cannot tell: not asked again for this segment.
    Refused,
}

impl Room {
    /// Up to where to take room before the file is written up to `end`.
    fn wanted(self, end: u32, begin: u32, segment_bytes: u32) -> Option<u32> {
        let short = match self {
            Self::Written => true,
            Self::UpTo(room) => room < end,
            Self::Refused => false,
        };
        let to = end.saturating_add(end.min(STEP_MAX)).min(segment_bytes);
        (short && end >= begin && to > end).then_some(to)
    }

    /// Whether there is room for what is written up to `end`.
    const fn reaches(self, end: u32) -> bool {
        matches!(self, Self::UpTo(room) if room >= end)
    }

    /// Whether a file that is written up to `end` may have more. A process before this one may have taken it.
    const fn may_be_beyond(self, end: u32, begin: u32) -> bool {
        end >= begin && !matches!(self, Self::Refused)
    }
}

impl<D: Disk> Log<D> {
    /// From what size on a segment takes room.
    fn takes_room_from(&self) -> u32 {
        let direct = self
            .config
            .direct_bytes
            .map_or(BEGIN, |from| u32::try_from(from).unwrap_or(BEGIN));
        BEGIN.min(direct)
    }

    /// The active segment's file is about to be written from `position` to `end`: whether there is room for that.
    pub(super) fn take_room(&mut self, file: &OpenFile<D>, position: u32, end: u32) -> bool {
        let (begin, segment_bytes) = (self.takes_room_from(), self.config.segment_bytes);
        let Some(room) = self.files.as_mut().map(|files| &mut files.room) else {
            return false;
        };
        if let Some(to) = room.wanted(end, begin, segment_bytes) {
            *room = match file.file().reserve(u64::from(position)..u64::from(to)) {
                Ok(()) => Room::UpTo(to),
                Err(_) => {
                    // It may have taken the last there was; a failure here shows as the next write's.
                    let _ = file.file().give_back();
                    Room::Refused
                }
            };
        }
        room.reaches(end)
    }

    /// A file is cut, and what was held beyond its end goes.
    pub(super) fn forget_room(&mut self) {
        if let Some(room) = self.files.as_mut().map(|files| &mut files.room)
            && matches!(room, Room::UpTo(_))
        {
            *room = Room::Written;
        }
    }

    /// The active segment is complete.
    pub(super) fn give_back_room(&mut self, active: &Segment<D>) {
        let begin = self.takes_room_from();
        let Some(files) = self.files.as_mut() else { return };
        if std::mem::take(&mut files.room).may_be_beyond(active.end().position, begin)
            && let Some(file) = active.opened()
        {
            // What stays is held without need until the segment is deleted, and that is all.
            let _ = file.file().give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u32 = 1 << 20;

    #[test]
    fn a_small_segment_takes_none() {
        assert_eq!(Room::Written.wanted(MIB - 1, BEGIN, 1 << 30), None);
    }

    #[test]
    fn steps_grow_with_the_segment_up_to_a_bound_and_the_segments_size() {
        assert_eq!(Room::Written.wanted(MIB, BEGIN, 1 << 30), Some(2 * MIB));
        assert_eq!(
            Room::UpTo(2 * MIB).wanted(2 * MIB, BEGIN, 1 << 30),
            None,
            "there is room"
        );
        assert_eq!(Room::UpTo(2 * MIB).wanted(3 * MIB, BEGIN, 1 << 30), Some(6 * MIB));
        assert_eq!(
            Room::UpTo(6 * MIB).wanted(100 * MIB, BEGIN, 1 << 30),
            Some(132 * MIB)
        );
        assert_eq!(
            Room::UpTo(6 * MIB).wanted(100 * MIB, BEGIN, 104 * MIB),
            Some(104 * MIB)
        );
        assert_eq!(Room::UpTo(6 * MIB).wanted(100 * MIB, BEGIN, 100 * MIB), None);
        assert_eq!(Room::Written.wanted(u32::MAX, BEGIN, u32::MAX), None);
    }

    #[test]
    fn what_a_process_before_took_is_given_back_too() {
        assert!(Room::Written.may_be_beyond(MIB, BEGIN) && Room::UpTo(2 * MIB).may_be_beyond(MIB, BEGIN));
        assert!(!Room::Written.may_be_beyond(MIB - 1, BEGIN) && !Room::Refused.may_be_beyond(MIB, BEGIN));
    }

    #[test]
    fn a_disk_that_refused_is_not_asked_again() {
        assert_eq!(Room::Refused.wanted(100 * MIB, BEGIN, 1 << 30), None);
    }
}
