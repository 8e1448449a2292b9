//! The file `leader-epochs`: a journal of which epoch began where. An entry is written before the first batch of its
//! epoch and flushed with it; read in order, each takes the place of those that would begin at its start or above.

use crate::files::{Files, failed, read_small};
use crate::{Access, Disk, DiskFile, EpochCache, EpochEntry, IoFailure};
use bytes::{Buf, BufMut};
use quipu_record::{LeaderEpoch, Offset};
use std::io::IoSlice;
use std::path::Path;

const MAGIC: u32 = u32::from_be_bytes(*b"QEPO");
const VERSION: u32 = 1;
/// The size of the header.
pub(crate) const HEADER_LEN: usize = 24;
/// The size of an entry.
pub(crate) const ENTRY_LEN: usize = 16;

/// The file as it was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct EpochFile {
    /// Which log of its partition this is.
    pub(crate) incarnation: u64,
    /// The entries in the order written.
    pub(crate) journal: Vec<EpochEntry>,
    /// Where an entry is that does not match its checksum; those after it are not believed.
    pub(crate) bad: Option<u64>,
    /// Bytes of the file.
    pub(crate) len: u64,
}

fn header(incarnation: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_LEN);
    bytes.put_u32(MAGIC);
    bytes.put_u32(VERSION);
    bytes.put_u64(incarnation);
    bytes.put_u32(0);
    bytes.put_u32(crc32c::crc32c(&bytes));
    bytes
}

fn entry(incarnation: u64, number: usize, entry: &EpochEntry) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ENTRY_LEN);
    bytes.put_u32(entry.epoch.get());
    bytes.put_u64(entry.start.get());
    bytes.put_u32(checksum(incarnation, number, &bytes));
    bytes
}

fn checksum(incarnation: u64, number: usize, bytes: &[u8]) -> u32 {
    let place = crc32c::crc32c(&incarnation.to_be_bytes());
    let place = crc32c::crc32c_append(place, &(number as u64).to_be_bytes());
    crc32c::crc32c_append(place, bytes)
}

impl EpochFile {
    /// Decodes a file; `None` if its header is not right.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, entries) = bytes.split_at_checked(HEADER_LEN)?;
        let (mut fields, stored) = head.split_at(HEADER_LEN - 4);
        if crc32c::crc32c(fields).to_be_bytes() != stored
            || fields.get_u32() != MAGIC
            || fields.get_u32() != VERSION
        {
            return None;
        }
        let incarnation = fields.get_u64();
        let mut file = Self {
            incarnation,
            journal: Vec::new(),
            bad: None,
            len: bytes.len() as u64,
        };
        for (number, bytes) in entries.chunks(ENTRY_LEN).enumerate() {
            let Some((mut fields, stored)) = bytes.split_at_checked(ENTRY_LEN - 4) else {
                file.bad = Some(file.end());
                break;
            };
            if checksum(incarnation, number, fields).to_be_bytes() != stored {
                file.bad = Some(file.end());
                break;
            }
            file.journal.push(EpochEntry {
                epoch: LeaderEpoch::new(fields.get_u32()),
                start: Offset::new(fields.get_u64()),
            });
        }
        Some(file)
    }

    /// Reads the file; `Ok(None)` if there is none, `Ok(Some(None))` if its header is not right.
    pub(crate) fn read<D: Disk>(disk: &D, path: &Path) -> Result<Option<Option<Self>>, IoFailure> {
        Ok(read_small(disk, path)?.map(|bytes| Self::decode(&bytes)))
    }

    /// The byte after the last good entry.
    fn end(&self) -> u64 {
        (HEADER_LEN + self.journal.len() * ENTRY_LEN) as u64
    }

    /// What the journal adds up to.
    pub(crate) fn cache(&self) -> EpochCache {
        let mut cache = EpochCache::default();
        for entry in &self.journal {
            cache.begin(*entry);
        }
        cache
    }

    /// Drops what is bad, and entries that begin at `end` or above, durably; nothing is written if there are none.
    pub(crate) fn cut<D: Disk>(
        &mut self,
        files: &Files<D>,
        path: &Path,
        end: Offset,
    ) -> Result<(), IoFailure> {
        let keep = self.journal.iter().position(|entry| entry.start >= end);
        self.journal.truncate(keep.unwrap_or(self.journal.len()));
        if self.end() < self.len {
            cut_to(files, path, self.journal.len())?;
            self.len = self.end();
            self.bad = None;
        }
        Ok(())
    }

    /// The bytes of a file with this journal.
    pub(crate) fn encode(incarnation: u64, journal: &[EpochEntry]) -> Vec<u8> {
        let mut bytes = header(incarnation);
        for (number, one) in journal.iter().enumerate() {
            bytes.extend(entry(incarnation, number, one));
        }
        bytes
    }
}

/// Cuts a journal to its first entries, durably.
pub(crate) fn cut_to<D: Disk>(files: &Files<D>, path: &Path, entries: usize) -> Result<(), IoFailure> {
    let file = files.open(path, Access::Write).map_err(failed("opening", path))?;
    let len = (HEADER_LEN + entries * ENTRY_LEN) as u64;
    file.file().truncate(len).map_err(failed("cutting", path))?;
    file.sync()
}

/// Writes entry `number` of the journal into an open file.
pub(crate) fn append<D: Disk>(
    file: &crate::files::OpenFile<D>,
    incarnation: u64,
    number: usize,
    new: &EpochEntry,
) -> Result<(), IoFailure> {
    let bytes = entry(incarnation, number, new);
    let position = (HEADER_LEN + number * ENTRY_LEN) as u64;
    file.write_all(&mut [IoSlice::new(&bytes)], position)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal() -> Vec<EpochEntry> {
        [(1, 0), (4, 10), (5, 10), (6, 8)]
            .map(|(epoch, start)| EpochEntry {
                epoch: LeaderEpoch::new(epoch),
                start: Offset::new(start),
            })
            .to_vec()
    }

    #[test]
    fn a_journal_reads_back_and_folds() {
        let file = EpochFile::decode(&EpochFile::encode(7, &journal())).unwrap();
        assert_eq!((file.incarnation, file.bad), (7, None));
        assert_eq!(file.journal, journal());
        assert_eq!(file.cache().entries(), [journal()[0], journal()[3]]);
    }

    #[test]
    fn every_flipped_bit_is_seen_and_what_is_before_it_is_kept() {
        let good = EpochFile::encode(7, &journal());
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            match EpochFile::decode(&bytes) {
                None => assert!(bit / 8 < HEADER_LEN),
                Some(file) => {
                    let number = (bit / 8 - HEADER_LEN) / ENTRY_LEN;
                    assert_eq!(file.journal, journal()[..number]);
                    assert_eq!(file.bad, Some((HEADER_LEN + number * ENTRY_LEN) as u64));
                }
            }
        }
        for cut in 0..good.len() {
            if let Some(file) = EpochFile::decode(&good[..cut]) {
                let whole = (cut - HEADER_LEN).is_multiple_of(ENTRY_LEN);
                assert_eq!(file.bad.is_none(), whole);
            }
        }
    }
}
