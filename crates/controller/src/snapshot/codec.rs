//! A snapshot as a stream of chunks, each checksummed and for itself compressed, so that neither end ever holds the whole.
//!
//! ```text
//! "QSNP"  layout, 4 bytes little-endian
//! chunk:  length 4 | CRC-32C 4, over number, kind and payload | kind 4 | payload
//!   1 head     prost: last entry, membership, how many records follow
//!   2 records  zstd: records as quipu-metadata encodes them, each behind its length in 4 bytes
//!   3 end      nothing: without it the snapshot is not whole
//! ```

use super::Contents;
use crate::SnapshotChunk;
use crate::wal::{LogPlace, MembershipMessage};
use bytes::Bytes;
use prost::Message;
use quipu_metadata::{DecodeError, Image, RECORD_BYTES_MAX, Record, ReplayError};
use quipu_record::{MetadataVersion, PlantedBug};
use std::io;
use std::sync::Arc;

const MAGIC: [u8; 4] = *b"QSNP";
const FORMAT: u32 = 1;
const HEAD: u32 = 1;
const RECORDS: u32 = 2;
const END: u32 = 3;

/// A chunk is closed once it has so many bytes of records.
const CHUNK_BYTES: usize = 128 * 1024;
/// What a chunk can have at most, decompressed: it is closed after the record that fills it.
const CHUNK_MAX: usize = CHUNK_BYTES + 4 + RECORD_BYTES_MAX;
/// Compressing makes nothing much larger than it was.
const PAYLOAD_MAX: usize = CHUNK_MAX + CHUNK_MAX / 8 + 1024;
const LEVEL: i32 = 1;

#[derive(Clone, PartialEq, Message)]
struct HeadMessage {
    #[prost(message, optional, tag = "1")]
    last: Option<LogPlace>,
    #[prost(message, optional, tag = "2")]
    membership: Option<MembershipMessage>,
    #[prost(message, optional, tag = "3")]
    membership_at: Option<LogPlace>,
    #[prost(uint64, tag = "4")]
    version: u64,
    #[prost(uint64, tag = "5")]
    records: u64,
}

/// Why bytes are not a snapshot.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("byte {position}: {what}")]
    Bad { position: u64, what: String },
    #[error("record {index}: {source}")]
    Record { index: u64, source: DecodeError },
    #[error("record {index}: {source}")]
    Replay { index: u64, source: ReplayError },
}

/// Writes a snapshot, piece by piece.
pub(crate) fn write(contents: &Contents, mut out: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut begin = MAGIC.to_vec();
    begin.extend_from_slice(&FORMAT.to_le_bytes());
    out(&begin)?;
    let forgets = PlantedBug::SnapshotWithoutMembership.planted();
    let head = HeadMessage {
        last: contents.last,
        membership: (!forgets).then(|| MembershipMessage::clone(&contents.membership)),
        membership_at: contents.membership_at,
        version: contents.image.version().get(),
        records: contents.image.records().map(|_| 1).sum(),
    };
    let mut number = 0;
    out(&chunk(&mut number, HEAD, &head.encode_to_vec()))?;
    let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
    let mut plain = Vec::with_capacity(CHUNK_BYTES);
    for record in contents.image.records() {
        let bytes = record.encode();
        let len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        plain.extend_from_slice(&len.to_le_bytes());
        plain.extend_from_slice(&bytes);
        if plain.len() >= CHUNK_BYTES {
            out(&chunk(&mut number, RECORDS, &compressor.compress(&plain)?))?;
            plain.clear();
        }
    }
    if !plain.is_empty() {
        out(&chunk(&mut number, RECORDS, &compressor.compress(&plain)?))?;
    }
    out(&chunk(&mut number, END, &[]))
}

fn chunk(number: &mut u64, kind: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(12 + payload.len());
    bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend_from_slice(&checksum(*number, kind, payload).to_le_bytes());
    bytes.extend_from_slice(&kind.to_le_bytes());
    bytes.extend_from_slice(payload);
    *number += 1;
    bytes
}

fn checksum(number: u64, kind: u32, payload: &[u8]) -> u32 {
    let place = crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), &kind.to_le_bytes());
    crc32c::crc32c_append(place, payload)
}

/// A snapshot in pieces, each to be sent for itself.
pub(crate) fn chunks(contents: &Contents) -> io::Result<Vec<SnapshotChunk>> {
    let mut chunks = Vec::new();
    write(contents, |piece| {
        chunks.push(SnapshotChunk::new(Bytes::copy_from_slice(piece)));
        Ok(())
    })?;
    Ok(chunks)
}

/// The snapshot that came in these pieces.
pub(crate) fn from_chunks(chunks: &[SnapshotChunk]) -> Result<Contents, SnapshotError> {
    let mut rest = chunks.iter();
    let mut piece = Bytes::new();
    read(|mut buf| {
        while !buf.is_empty() {
            if piece.is_empty() {
                let next = rest.next().ok_or(io::ErrorKind::UnexpectedEof)?;
                if !next.is_whole() {
                    return Err(io::Error::other(
                        "a chunk arrived with another checksum than it was sent with",
                    ));
                }
                piece = next.bytes.clone();
                continue;
            }
            let take = piece.len().min(buf.len());
            let (head, tail) = buf.split_at_mut(take);
            head.copy_from_slice(&piece.split_to(take));
            buf = tail;
        }
        Ok(())
    })
}

/// Reads a snapshot; `read` gives the next bytes, exactly as many as asked for.
pub(crate) fn read(read: impl FnMut(&mut [u8]) -> io::Result<()>) -> Result<Contents, SnapshotError> {
    let mut chunks = Chunks {
        read,
        position: 0,
        number: 0,
    };
    let mut begin = [0; 8];
    chunks.fill(&mut begin)?;
    if begin[..4] != MAGIC {
        return Err(chunks.bad("this is no snapshot"));
    }
    if begin[4..] != FORMAT.to_le_bytes() {
        return Err(chunks.bad("its layout is not known to this version of Quipu: upgrade before reading it"));
    }
    let (kind, payload) = chunks.next()?;
    if kind != HEAD {
        return Err(chunks.bad("the head is missing"));
    }
    let head = HeadMessage::decode(&payload[..]).map_err(|error| chunks.bad(error.to_string()))?;
    let mut image = Image::default();
    image.advance_to(MetadataVersion::new(head.version));
    let mut index = 0;
    loop {
        match chunks.next()? {
            (RECORDS, payload) => {
                let plain = zstd::bulk::decompress(&payload, CHUNK_MAX);
                let plain = plain.map_err(|error| chunks.bad(error.to_string()))?;
                replay(&mut image, &plain, &mut index, &chunks)?;
            }
            (END, _) if index == head.records => break,
            (END, _) => return Err(chunks.bad("records are missing")),
            (kind, _) => return Err(chunks.bad(format!("a chunk of kind {kind} is not known"))),
        }
    }
    Ok(Contents {
        last: head.last,
        membership: Arc::new(head.membership.unwrap_or_default()),
        membership_at: head.membership_at,
        image: Arc::new(image),
    })
}

fn replay<F>(
    image: &mut Image,
    mut plain: &[u8],
    index: &mut u64,
    chunks: &Chunks<F>,
) -> Result<(), SnapshotError> {
    while !plain.is_empty() {
        let (len, rest) = plain
            .split_first_chunk::<4>()
            .ok_or_else(|| chunks.bad("half a length"))?;
        let len = usize::try_from(u32::from_le_bytes(*len)).unwrap_or(usize::MAX);
        let (bytes, rest) = rest
            .split_at_checked(len)
            .ok_or_else(|| chunks.bad("half a record"))?;
        let record = Record::decode(bytes).map_err(|source| SnapshotError::Record {
            index: *index,
            source,
        })?;
        image.replay(&record).map_err(|source| SnapshotError::Replay {
            index: *index,
            source,
        })?;
        *index += 1;
        plain = rest;
    }
    Ok(())
}

struct Chunks<F> {
    read: F,
    position: u64,
    number: u64,
}

impl<F> Chunks<F> {
    fn bad(&self, what: impl Into<String>) -> SnapshotError {
        SnapshotError::Bad {
            position: self.position,
            what: what.into(),
        }
    }
}

impl<F: FnMut(&mut [u8]) -> io::Result<()>> Chunks<F> {
    fn fill(&mut self, buf: &mut [u8]) -> Result<(), SnapshotError> {
        match (self.read)(buf) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.bad("it ends too early")),
            Err(error) => Err(error.into()),
            Ok(()) => {
                self.position += u64::try_from(buf.len()).unwrap_or(0);
                Ok(())
            }
        }
    }

    fn next(&mut self) -> Result<(u32, Vec<u8>), SnapshotError> {
        let mut head = [[0; 4]; 3];
        self.fill(head.as_flattened_mut())?;
        let [len, checked, kind] = head.map(u32::from_le_bytes);
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len > PAYLOAD_MAX {
            return Err(self.bad("the length of a chunk is impossible"));
        }
        let mut payload = vec![0; len];
        self.fill(&mut payload)?;
        if checked != checksum(self.number, kind, &payload) {
            return Err(self.bad("the checksum of a chunk does not match"));
        }
        self.number += 1;
        Ok((kind, payload))
    }
}

#[cfg(feature = "test-util")]
#[allow(clippy::expect_used, clippy::panic, reason = "test code")]
pub(crate) mod hostile {
    //! See `crate::hostile`.

    use super::{FORMAT, LEVEL, MAGIC, RECORDS, chunk, io, read, write};

    /// A snapshot of these chunks, checksummed as they should be.
    pub(crate) fn chunked<'a>(chunks: impl Iterator<Item = (u32, &'a [u8])>) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        let mut number = 0;
        for (kind, payload) in chunks {
            let packed = zstd::bulk::compress(payload, LEVEL).expect("compresses");
            let payload = if kind == RECORDS { &packed[..] } else { payload };
            bytes.extend_from_slice(&chunk(&mut number, kind, payload));
        }
        bytes
    }

    /// Reads it, and writes and reads again what was read.
    pub(crate) fn whole(bytes: &[u8]) {
        let Ok(found) = read(from(bytes)) else { return };
        let mut again = Vec::new();
        write(&found, |piece| {
            again.extend_from_slice(piece);
            Ok(())
        })
        .expect("memory does not fail");
        assert_eq!(read(from(&again)).expect("just written"), found);
    }

    fn from(mut bytes: &[u8]) -> impl FnMut(&mut [u8]) -> io::Result<()> {
        move |buf| {
            let (head, rest) = bytes
                .split_at_checked(buf.len())
                .ok_or(io::ErrorKind::UnexpectedEof)?;
            buf.copy_from_slice(head);
            bytes = rest;
            Ok(())
        }
    }
}
