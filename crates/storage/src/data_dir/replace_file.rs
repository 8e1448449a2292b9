//! Small files that are replaced as a whole.

use crate::files::{failed, read_small, write_all};
use crate::{Access, Corruption, DataDirError, Disk, DiskFile, IoFailure, paths};
use bytes::{BufMut, Bytes};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

const MAGIC: u32 = u32::from_be_bytes(*b"QRPL");
const HEADER_LEN: usize = 12;

/// Small files that are replaced as a whole: checksummed, written beside, synced, renamed, the directory synced.
#[derive(Clone, Copy, Debug)]
pub struct ReplaceFile;

impl ReplaceFile {
    /// Replaces `path` by one that holds `contents`. Durable on return.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn write<D: Disk>(disk: &D, path: &Path, contents: &[u8]) -> Result<(), DataDirError> {
        let mut bytes = Vec::with_capacity(HEADER_LEN + contents.len());
        bytes.put_u32(MAGIC);
        bytes.put_u32(u32::try_from(contents.len()).unwrap_or(u32::MAX));
        bytes.put_u32(crc32c::crc32c_append(crc32c::crc32c(&bytes), contents));
        bytes.put_slice(contents);
        Self::replace(disk, path, &bytes).map_err(DataDirError::Io)
    }

    /// Reads what [`ReplaceFile::write`] wrote; `None` if there is no such file.
    ///
    /// # Errors
    /// [`DataDirError::Corrupt`] if the checksum does not match.
    pub fn read<D: Disk>(disk: &D, path: &Path) -> Result<Option<Bytes>, DataDirError> {
        let Some(bytes) = read_small(disk, path).map_err(DataDirError::Io)? else {
            return Ok(None);
        };
        Self::decode(bytes).map(Some).ok_or_else(|| {
            DataDirError::Corrupt(Box::new(Corruption {
                file: path.to_owned(),
                position: 0,
                offset: None,
                what: "the file does not match its checksum".to_owned(),
            }))
        })
    }

    fn decode(bytes: Vec<u8>) -> Option<Bytes> {
        let (head, contents) = bytes.split_at_checked(HEADER_LEN)?;
        let (fields, stored) = head.split_at(HEADER_LEN - 4);
        let len = u32::try_from(contents.len()).ok()?;
        let right = fields[..4] == MAGIC.to_be_bytes()
            && fields[4..] == len.to_be_bytes()
            && crc32c::crc32c_append(crc32c::crc32c(fields), contents).to_be_bytes() == stored;
        right.then(|| Bytes::from(bytes).slice(HEADER_LEN..))
    }

    /// Replaces `path` by a file of these bytes, as they are.
    pub(crate) fn replace<D: Disk>(disk: &D, path: &Path, bytes: &[u8]) -> Result<(), IoFailure> {
        let mut name = path.to_owned().into_os_string();
        name.push(paths::TEMPORARY);
        let temporary = PathBuf::from(name);
        match disk.remove(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("removing", &temporary)(error));
            }
            _ => {}
        }
        let file = disk.open(&temporary, Access::CreateNew);
        let file = file.map_err(failed("creating", &temporary))?;
        write_all::<D>(&file, &mut [IoSlice::new(bytes)], 0).map_err(failed("writing", &temporary))?;
        file.sync_data().map_err(failed("syncing", &temporary))?;
        disk.rename(&temporary, path).map_err(failed("renaming", path))?;
        let dir = path.parent().unwrap_or(path);
        disk.sync_dir(dir).map_err(failed("syncing", dir))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_util::FakeDisk;

    #[test]
    fn a_crash_while_replacing_leaves_the_old_contents_or_the_new() {
        let path = Path::new("/file");
        for seed in 0..200 {
            let disk = FakeDisk::new(seed);
            ReplaceFile::write(&disk, path, b"old").unwrap();
            let faults = crate::test_util::Faults {
                sync_eio: 30_000,
                ..Default::default()
            };
            disk.set_faults(faults);
            let done = ReplaceFile::write(&disk, path, b"new contents");
            disk.set_faults(crate::test_util::Faults::default());
            disk.crash(seed);
            let found = ReplaceFile::read(&disk, path).unwrap().unwrap();
            match done {
                Ok(()) => assert_eq!(found, &b"new contents"[..]),
                Err(_) => assert!(found == b"old"[..] || found == b"new contents"[..], "seed {seed}"),
            }
        }
    }

    #[test]
    fn every_flipped_bit_and_cut_is_seen() {
        let path = Path::new("/file");
        let disk = FakeDisk::new(1);
        ReplaceFile::write(&disk, path, b"contents").unwrap();
        let len = disk.contents(path).unwrap().len();
        for bit in 0..len * 8 {
            let copy = disk.copy(1);
            copy.damage(path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8))
                .unwrap();
            assert!(ReplaceFile::read(&copy, path).is_err(), "bit {bit}");
        }
        for cut in 0..len {
            let copy = disk.copy(1);
            copy.damage(path, |bytes| bytes.truncate(cut)).unwrap();
            assert!(ReplaceFile::read(&copy, path).is_err(), "cut {cut}");
        }
        assert!(ReplaceFile::read(&disk, Path::new("/none")).unwrap().is_none());
    }
}
