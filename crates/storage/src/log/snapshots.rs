//! Producer snapshots: what the driver knows of producers at an offset. Opaque here, and never needed: without one there
//! is more to replay.

use super::Log;
use crate::files::{failed, is_full, read_small};
use crate::paths::{self, Kind};
use crate::{Access, Disk, DiskFile, IoFailure, SnapshotError};
use bytes::{Buf, BufMut, Bytes};
use quipu_record::Offset;
use std::io::{self, IoSlice};
use std::path::Path;

const MAGIC: u32 = u32::from_be_bytes(*b"QPRD");
const VERSION: u32 = 1;
const HEADER_LEN: usize = 4 + 4 + 8 + 4 + 4;

fn encode(at: Offset, state: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_LEN + state.len());
    bytes.put_u32(MAGIC);
    bytes.put_u32(VERSION);
    bytes.put_u64(at.get());
    bytes.put_u32(u32::try_from(state.len()).unwrap_or(u32::MAX));
    bytes.put_u32(crc32c::crc32c_append(crc32c::crc32c(&bytes), state));
    bytes.put_slice(state);
    bytes
}

/// The state in a snapshot's file; `None` if it is not what was written.
pub(crate) fn decode(at: Offset, bytes: &[u8]) -> Option<Bytes> {
    let (head, state) = bytes.split_at_checked(HEADER_LEN)?;
    let (mut fields, stored) = head.split_at(HEADER_LEN - 4);
    let right = crc32c::crc32c_append(crc32c::crc32c(fields), state).to_be_bytes() == stored
        && fields.get_u32() == MAGIC
        && fields.get_u32() == VERSION
        && fields.get_u64() == at.get()
        && fields.get_u32() as usize == state.len();
    right.then(|| Bytes::copy_from_slice(state))
}

impl<D: Disk> Log<D> {
    /// Stores what the driver knows of producers at the log end, durable with the next flush. Older ones are removed
    /// in time; after open or truncation none is above the log end. An empty log stores nothing.
    ///
    /// # Errors
    /// [`SnapshotError`]. Without a snapshot there is more to replay, and nothing is lost.
    pub fn write_producer_snapshot(&mut self, state: &[u8]) -> Result<(), SnapshotError> {
        if let Some(failure) = self.failure() {
            return Err(SnapshotError::Failed(failure));
        }
        let (at, flushed) = (self.log_end(), self.flushed);
        let (dir, data_dir) = (self.shared.path(), self.shared.dir().clone());
        let Some(files) = self.files.as_mut() else {
            return Ok(());
        };
        if files.snapshots.last() == Some(&at) {
            return Ok(());
        }
        let path = paths::at_offset(&dir, at, Kind::Producers);
        let written = write(&data_dir, &path, &encode(at, state));
        let file = match written {
            Ok(file) => file,
            Err(failure) if is_full(&failure.source) => {
                return match data_dir.files().remove(&path) {
                    Ok(()) => Err(SnapshotError::StorageFull(failure)),
                    Err(failure) => Err(SnapshotError::Failed(self.fail(failure))),
                };
            }
            Err(failure) => return Err(SnapshotError::Failed(self.fail(failure))),
        };
        files.note_unsynced(data_dir.files(), file);
        files.unsynced.names = true;
        // All older ones may go but the newest that is durable.
        let durable = files.snapshots.partition_point(|offset| *offset <= flushed);
        for old in files.snapshots.drain(..durable.saturating_sub(1)) {
            let path = paths::at_offset(&dir, old, Kind::Producers);
            files.unsynced.retain(|other| other != path);
            data_dir.discard_file(&path);
        }
        files.snapshots.push(at);
        Ok(())
    }

    /// The newest intact producer snapshot not above the log end, with its offset: replay the batches from there.
    ///
    /// # Errors
    /// [`SnapshotError`] if the disk fails; a damaged snapshot is passed over.
    pub fn producer_snapshot(&self) -> Result<Option<(Offset, Bytes)>, SnapshotError> {
        let Some(files) = self.files.as_ref() else {
            return Ok(None);
        };
        let dir = self.shared.path();
        for at in files.snapshots.iter().rev() {
            let path = paths::at_offset(&dir, *at, Kind::Producers);
            let bytes = read_small(self.shared.dir().disk(), &path).map_err(SnapshotError::Failed)?;
            if let Some(state) = bytes.and_then(|bytes| decode(*at, &bytes)) {
                return Ok(Some((*at, state)));
            }
        }
        Ok(None)
    }

    /// Removes snapshots of what was cut.
    pub(super) fn remove_snapshots_above(&mut self, end: Offset) -> Result<(), IoFailure> {
        let (dir, data_dir) = (self.shared.path(), self.shared.dir().clone());
        let Some(files) = self.files.as_mut() else {
            return Ok(());
        };
        let keep = files.snapshots.partition_point(|offset| *offset <= end);
        for at in files.snapshots.drain(keep..) {
            let path = paths::at_offset(&dir, at, Kind::Producers);
            files.unsynced.retain(|other| other != path);
            data_dir.files().remove(&path)?;
        }
        Ok(())
    }
}

fn write<D: Disk>(
    data_dir: &crate::DataDir<D>,
    path: &Path,
    bytes: &[u8],
) -> Result<std::sync::Arc<crate::files::OpenFile<D>>, IoFailure> {
    let file = match data_dir.files().open(path, Access::CreateNew) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let file = data_dir
                .files()
                .open(path, Access::Write)
                .map_err(failed("opening", path))?;
            file.file().truncate(0).map_err(failed("cutting", path))?;
            file
        }
        opened => opened.map_err(failed("creating", path))?,
    };
    file.write_all(&mut [IoSlice::new(bytes)], 0)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_reads_back_and_every_flipped_bit_and_cut_is_seen() {
        let bytes = encode(Offset::new(7), b"state");
        assert_eq!(decode(Offset::new(7), &bytes).as_deref(), Some(&b"state"[..]));
        assert_eq!(decode(Offset::new(8), &bytes), None);
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(Offset::new(7), &bad), None, "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert_eq!(decode(Offset::new(7), &bytes[..cut]), None, "cut {cut}");
        }
    }
}
