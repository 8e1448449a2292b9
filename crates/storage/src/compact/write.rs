//! Writes a cleaned segment beside the others, under names that mean nothing yet.

use crate::files::{OpenFile, failed, write_all};
use crate::paths::{self, Kind};
use crate::segment::{self, Boundary, Place, Seal};
use crate::{Access, Disk, IoFailure};
use quipu_record::{BatchHeader, Offset, Timestamp};
use std::io::IoSlice;
use std::sync::Arc;

/// Bytes that wait before they are written.
const CHUNK: usize = 256 * 1024;
/// Bytes that are written before they are synced: little by little, so that a flush of others need not wait for much.
const SYNC_EVERY: u64 = 4 << 20;

/// A cleaned segment, all of it durable but its names.
#[derive(Debug)]
pub(super) struct Written<D: Disk> {
    pub(super) seal: Seal,
    /// Its open file: nobody opens it before it has its name.
    pub(super) log: Arc<OpenFile<D>>,
}

/// A cleaned segment that is being written.
#[derive(Debug)]
pub(super) struct Writer<D: Disk> {
    base: Offset,
    created: Timestamp,
    interval: u32,
    log: Arc<OpenFile<D>>,
    waiting: Vec<u8>,
    written: u64,
    synced: u64,
    at: Boundary,
    index: Vec<u8>,
    entries: usize,
    last_entry: u32,
}

impl<D: Disk> Writer<D> {
    pub(super) fn begin(
        place: &Place<'_, D>,
        base: Offset,
        created: Timestamp,
        interval: u32,
    ) -> Result<Self, IoFailure> {
        Ok(Self {
            base,
            created,
            interval: interval.max(1),
            log: create(place, base, Kind::Log)?,
            waiting: Vec::with_capacity(CHUNK),
            written: 0,
            synced: 0,
            at: Boundary::start(base),
            index: Vec::new(),
            entries: 0,
            last_entry: 0,
        })
    }

    /// Adds a batch; returns how many bytes were written on account of it.
    pub(super) fn push(&mut self, header: &BatchHeader, body: &[u8]) -> Result<u64, IoFailure> {
        if self.at.position - self.last_entry >= self.interval {
            segment::encode_entry(self.base, self.entries, &self.at, &mut self.index);
            self.entries += 1;
            self.last_entry = self.at.position;
        }
        self.at = self.at.after(header);
        self.waiting.extend_from_slice(header.as_bytes());
        self.waiting.extend_from_slice(body);
        if self.waiting.len() < CHUNK {
            return Ok(0);
        }
        self.write()
    }

    fn write(&mut self) -> Result<u64, IoFailure> {
        let bytes = self.waiting.len() as u64;
        self.log
            .write_all(&mut [IoSlice::new(&self.waiting)], self.written)?;
        self.written += bytes;
        self.waiting.clear();
        if self.written - self.synced >= SYNC_EVERY {
            self.log.sync()?;
            self.synced = self.written;
        }
        Ok(bytes)
    }

    /// Completes it, so that it ends where those end that it was made of.
    pub(super) fn finish(mut self, place: &Place<'_, D>) -> Result<Written<D>, IoFailure> {
        self.write()?;
        self.log.sync()?;
        let seal = Seal {
            base: self.base,
            end: self.at,
            created: self.created,
            index_entries: u32::try_from(self.entries).unwrap_or(u32::MAX),
        };
        if self.entries > 0 {
            write_whole(place, self.base, Kind::Index, &self.index)?;
        }
        write_whole(place, self.base, Kind::Seal, &seal.encode())?.sync()?;
        create(place, self.base, Kind::Cleaned)?.sync()?;
        Ok(Written { seal, log: self.log })
    }
}

fn create<D: Disk>(place: &Place<'_, D>, base: Offset, kind: Kind) -> Result<Arc<OpenFile<D>>, IoFailure> {
    let path = paths::clean(place.dir, base, kind);
    place.files.remove(&path)?;
    let file = place.files.open(&path, Access::CreateNew);
    file.map_err(failed("creating", &path))
}

fn write_whole<D: Disk>(
    place: &Place<'_, D>,
    base: Offset,
    kind: Kind,
    bytes: &[u8],
) -> Result<Arc<OpenFile<D>>, IoFailure> {
    let file = create(place, base, kind)?;
    write_all::<D>(file.file(), &mut [IoSlice::new(bytes)], 0).map_err(file.failure("writing"))?;
    Ok(file)
}

/// Forgets what was written. What cannot be removed now goes at the next start.
pub(super) fn forget<D: Disk>(place: &Place<'_, D>, base: Offset) {
    for kind in Kind::OF_SEGMENT {
        let _still_there = place.files.remove(&paths::clean(place.dir, base, kind));
    }
}
