//! What a log remembers of its compaction, in the file `compaction`.

use crate::{DataDirError, Disk, IoFailure, ReplaceFile, paths};
use bytes::{Buf, BufMut};
use quipu_record::Offset;
use std::path::Path;

const VERSION: u32 = 1;
const LEN: usize = 20;

/// How far a log is compacted. Its lock is also what a swap of segments and a cut of the log take turns by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct CleanState {
    /// Below this no key has two records.
    pub(crate) compacted_to: Offset,
    /// Below this tombstones may have been purged.
    pub(crate) purged_to: Offset,
    /// How often the log was cut since it was opened. Not stored.
    pub(crate) cuts: u64,
}

impl CleanState {
    /// Reads a log's; `None` if the file is damaged.
    pub(crate) fn read<D: Disk>(disk: &D, dir: &Path) -> Result<Option<Self>, IoFailure> {
        match ReplaceFile::read(disk, &dir.join(paths::COMPACTION)) {
            Ok(None) => Ok(Some(Self::default())),
            Ok(Some(bytes)) => Ok(Self::decode(&bytes)),
            Err(DataDirError::Io(failure)) => Err(failure),
            Err(_) => Ok(None),
        }
    }

    /// Writes a log's. Durable on return.
    pub(crate) fn write<D: Disk>(&self, disk: &D, dir: &Path) -> Result<(), IoFailure> {
        let path = dir.join(paths::COMPACTION);
        ReplaceFile::write(disk, &path, &self.encode()).map_err(|error| match error {
            DataDirError::Io(failure) => failure,
            other => crate::files::failed("writing", &path)(std::io::Error::other(other.to_string())),
        })
    }

    pub(crate) fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        let mut rest = &mut bytes[..];
        rest.put_u32(VERSION);
        rest.put_u64(self.compacted_to.get());
        rest.put_u64(self.purged_to.get());
        bytes
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        if bytes.len() != LEN || bytes.get_u32() != VERSION {
            return None;
        }
        let state = Self {
            compacted_to: Offset::new(bytes.get_u64()),
            purged_to: Offset::new(bytes.get_u64()),
            cuts: 0,
        };
        (state.compacted_to.max(state.purged_to) <= Offset::MAX).then_some(state)
    }

    /// As it is once the log ends at `end`.
    pub(crate) fn cut(&self, end: Offset) -> Self {
        Self {
            compacted_to: self.compacted_to.min(end),
            purged_to: self.purged_to.min(end),
            cuts: self.cuts + 1,
        }
    }
}
