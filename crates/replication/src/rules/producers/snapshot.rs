//! Producers as bytes, so that a restart replays little.
//!
//! ```text
//! "QPS1" | log end u64 | producers u32 | { id u64 | epoch u16 | last append i64 | marks u8 | mark* }* | crc32c u32
//! mark = first u32 | last u32 | base offset u64 | leader epoch u32 | max timestamp i64        (all big-endian)
//! ```
//! Producers stand in ascending order of id: equal states have equal bytes.

use super::{BatchMark, MAX_PRODUCERS, Producer, Producers, REMEMBERED_BATCHES};
use quipu_record::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use thiserror::Error;

const MAGIC: [u8; 4] = *b"QPS1";
const FRAME_LEN: usize = 4 + 8 + 4 + 4;
const PRODUCER_LEN: usize = 8 + 2 + 8 + 1;
const MARK_LEN: usize = 4 + 4 + 8 + 4 + 8;

/// Why bytes are not a snapshot. The log is replayed from an older one, or from its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// Cut off, or longer than what it claims to hold.
    #[error("the producer snapshot has {have} bytes, which do not hold what it claims")]
    Length {
        /// How many there are.
        have: usize,
    },
    /// Of another format.
    #[error("the producer snapshot does not begin with its magic: not one, or of a version not known here")]
    Magic,
    /// Damaged.
    #[error("the producer snapshot's checksum does not match")]
    Checksum,
    /// Taken at another place in the log.
    #[error("the producer snapshot is of log end {claimed}, and was stored for {expected}")]
    WrongPlace {
        /// By the snapshot.
        claimed: Offset,
        /// By whoever stored it.
        expected: Offset,
    },
    /// A value that no snapshot has.
    #[error("the producer snapshot's {field} cannot be")]
    Value {
        /// Which.
        field: &'static str,
    },
}

/// The state as of `log_end`.
#[must_use]
pub fn encode(producers: &Producers, log_end: Offset) -> Vec<u8> {
    let mut all: Vec<(&ProducerId, &Producer)> = producers.by_id.iter().collect();
    all.sort_unstable_by_key(|(id, _)| **id);
    let marks: usize = all.iter().map(|(_, state)| state.marks().len()).sum();
    let mut out = Vec::with_capacity(FRAME_LEN + all.len() * PRODUCER_LEN + marks * MARK_LEN);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&log_end.get().to_be_bytes());
    out.extend_from_slice(&u32::try_from(all.len()).unwrap_or(u32::MAX).to_be_bytes());
    for (id, state) in all {
        out.extend_from_slice(&id.get().to_be_bytes());
        out.extend_from_slice(&state.epoch.get().to_be_bytes());
        out.extend_from_slice(&state.last_append.get().to_be_bytes());
        out.push(state.used);
        for mark in state.marks() {
            out.extend_from_slice(&mark.first.get().to_be_bytes());
            out.extend_from_slice(&mark.last.get().to_be_bytes());
            out.extend_from_slice(&mark.base_offset.get().to_be_bytes());
            out.extend_from_slice(&mark.leader_epoch.get().to_be_bytes());
            out.extend_from_slice(&mark.max_timestamp.get().to_be_bytes());
        }
    }
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_be_bytes());
    out
}

/// The state that was stored for `log_end`. Allocates no more than the bytes can fill.
///
/// # Errors
/// [`SnapshotError`] names the fault.
pub fn decode(bytes: &[u8], log_end: Offset) -> Result<Producers, SnapshotError> {
    let length = SnapshotError::Length { have: bytes.len() };
    if bytes.len() < FRAME_LEN {
        return Err(length);
    }
    let (body, crc) = bytes.split_at(bytes.len() - 4);
    let mut reader = Reader { rest: body, length };
    if reader.take::<4>()? != MAGIC {
        return Err(SnapshotError::Magic);
    }
    if crc32c::crc32c(body).to_be_bytes() != crc {
        return Err(SnapshotError::Checksum);
    }
    let claimed = reader.offset("log end")?;
    if claimed != log_end {
        return Err(SnapshotError::WrongPlace {
            claimed,
            expected: log_end,
        });
    }
    let count = usize::try_from(u32::from_be_bytes(reader.take()?)).unwrap_or(usize::MAX);
    if count > MAX_PRODUCERS || count > reader.rest.len() / (PRODUCER_LEN + MARK_LEN) {
        return Err(SnapshotError::Value {
            field: "number of producers",
        });
    }
    let mut producers = Producers::default();
    producers.by_id.reserve(count);
    let mut previous = None;
    for _ in 0..count {
        let id =
            ProducerId::new(reader.bounded(u64::from_be_bytes, i64::MAX.unsigned_abs(), "producer id")?);
        if previous.replace(id).is_some_and(|previous| previous >= id) {
            return Err(SnapshotError::Value {
                field: "order of producers",
            });
        }
        let state = reader.producer(log_end)?;
        producers.by_id.insert(id, state);
    }
    if reader.rest.is_empty() {
        Ok(producers)
    } else {
        Err(length)
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    length: SnapshotError,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(self.length)?;
        self.rest = rest;
        Ok(*head)
    }

    fn bounded<T: PartialOrd, const N: usize>(
        &mut self,
        read: impl FnOnce([u8; N]) -> T,
        max: T,
        field: &'static str,
    ) -> Result<T, SnapshotError> {
        let value = read(self.take()?);
        if value > max {
            return Err(SnapshotError::Value { field });
        }
        Ok(value)
    }

    fn offset(&mut self, field: &'static str) -> Result<Offset, SnapshotError> {
        self.bounded(u64::from_be_bytes, Offset::MAX.get(), field)
            .map(Offset::new)
    }

    fn u31(&mut self, field: &'static str) -> Result<u32, SnapshotError> {
        self.bounded(u32::from_be_bytes, i32::MAX.unsigned_abs(), field)
    }

    fn producer(&mut self, log_end: Offset) -> Result<Producer, SnapshotError> {
        let epoch = self.bounded(u16::from_be_bytes, i16::MAX.unsigned_abs(), "producer epoch")?;
        let last_append = Timestamp::new(i64::from_be_bytes(self.take()?));
        let [used] = self.take::<1>()?;
        if used == 0 || usize::from(used) > REMEMBERED_BATCHES {
            return Err(SnapshotError::Value {
                field: "number of batches",
            });
        }
        let mut marks = [BatchMark::default(); REMEMBERED_BATCHES];
        let mut floor = Offset::ZERO;
        for mark in marks.iter_mut().take(usize::from(used)) {
            *mark = self.mark()?;
            if mark.base_offset < floor || mark.end() > log_end {
                return Err(SnapshotError::Value {
                    field: "order of batches",
                });
            }
            floor = mark.end();
        }
        Ok(Producer {
            epoch: ProducerEpoch::new(epoch),
            last_append,
            used,
            marks,
        })
    }

    fn mark(&mut self) -> Result<BatchMark, SnapshotError> {
        Ok(BatchMark {
            first: Sequence::new(self.u31("sequence")?),
            last: Sequence::new(self.u31("sequence")?),
            base_offset: self.offset("base offset")?,
            leader_epoch: LeaderEpoch::new(self.u31("leader epoch")?),
            max_timestamp: Timestamp::new(i64::from_be_bytes(self.take()?)),
        })
    }
}
