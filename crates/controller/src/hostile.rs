//! What must hold of the readers in this crate for any bytes at all. Each body takes bytes as an enemy chose them and
//! panics if something does not hold: `fuzz/` runs them under a fuzzer, `tests/hostile.rs` as property tests.
//!
//! Checksums guard the files, so each body also mends them: it takes the bytes for pieces and frames those.

use crate::entry::{LogEntry, Payload};
use crate::raft::wire::hostile as wire;
use crate::snapshot::hostile as snapshot;
use crate::wal::frame::{self, Kind};
use crate::wal::{LogPlace, Op, Wal, segment_path};
use quipu_storage::test_util::FakeDisk;
use quipu_storage::{Access, Disk, DiskFile};
use std::io::IoSlice;
use std::path::Path;

/// Panics if something does not hold for these bytes.
pub type Body = fn(&[u8]);

/// The bodies by the names of their fuzz targets.
pub const BODIES: &[(&str, Body)] = &[
    ("controller_messages", controller_messages),
    ("metadata_log", metadata_log),
    ("metadata_snapshot", metadata_snapshot),
];

const FILE: usize = 4096;
const DIR: &str = "/m";

/// A file of the metadata log: it is refused, or it takes an entry more and has it after a restart.
pub fn metadata_log(data: &[u8]) {
    open(&data[..data.len().min(FILE)]);
    let mut mended = Vec::new();
    for piece in pieces(data) {
        let kinds = [
            Kind::Begin,
            Kind::Vote,
            Kind::Entry,
            Kind::Truncate,
            Kind::Purge,
            Kind::Committed,
        ];
        let kind = kinds[usize::from(piece.kind) % kinds.len()];
        let position = u64::try_from(mended.len()).unwrap_or(u64::MAX);
        frame::put(
            &mut mended,
            1,
            position,
            kind,
            u64::from(piece.flag) * 8,
            piece.payload,
        );
    }
    mended.truncate(FILE);
    open(&mended);
}

fn open(bytes: &[u8]) {
    let disk = FakeDisk::new(1);
    disk.create_dir(Path::new(DIR)).expect("a fresh disk");
    let file = disk
        .open(&segment_path(Path::new(DIR), 1), Access::CreateNew)
        .expect("a fresh disk");
    file.preallocate(FILE as u64).expect("a fresh disk");
    file.write_at(&[IoSlice::new(bytes)], 0).expect("a fresh disk");
    drop(file);
    let dir = Path::new(DIR);
    let Ok((mut wal, found)) = Wal::open(disk.clone(), dir, FILE as u64, 77) else {
        return;
    };
    let dense = found
        .entries
        .windows(2)
        .all(|pair| pair[0].0.index + 1 == pair[1].0.index);
    assert!(dense, "entries are found by their distance from the first");
    let index = found.state.last.map_or(0, |last| last.index + 1);
    let place = LogPlace {
        term: 1,
        leader: 1,
        index,
    };
    let entry = LogEntry {
        place,
        payload: Payload::Blank,
    };
    wal.put(&Op::Entry {
        place,
        payload: entry.encode(),
    })
    .expect("a sound disk");
    wal.sync().expect("a sound disk");
    drop(wal);
    disk.kill();
    let (_, again) = Wal::open(disk, dir, FILE as u64, 77).expect("what was opened once opens again");
    assert_eq!(again.state.last, Some(place));
    assert_eq!(again.state.vote, found.state.vote);
    assert_eq!(again.entries.len(), found.entries.len() + 1);
}

/// A message of another controller, whichever it may be: it is refused, or can be sent on as it came. What openraft is
/// given of it makes sense: it does not check.
pub fn controller_messages(data: &[u8]) {
    wire::any(data);
    wire::append(&mut pieces(data).map(|piece| (piece.kind, piece.flag, piece.payload)));
}

/// A snapshot: it is refused, or what is read of it can be written and read again.
pub fn metadata_snapshot(data: &[u8]) {
    snapshot::whole(data);
    let chunks = pieces(data).map(|piece| (u32::from(piece.kind), piece.payload));
    snapshot::whole(&snapshot::chunked(chunks));
}

struct Piece<'a> {
    kind: u8,
    flag: u8,
    payload: &'a [u8],
}

/// Kind, a flag, the payload's length in two bytes, the payload.
fn pieces(mut data: &[u8]) -> impl Iterator<Item = Piece<'_>> {
    std::iter::from_fn(move || {
        let ([kind, flag, len @ ..], rest) = data.split_first_chunk::<4>()?;
        let len = usize::from(u16::from_le_bytes(*len)).min(rest.len());
        let (payload, rest) = rest.split_at(len);
        data = rest;
        Some(Piece {
            kind: *kind,
            flag: *flag,
            payload,
        })
    })
}
