//! A slot of the file of flush marks, in bytes.

use crate::segment::Boundary;
use bytes::{Buf, BufMut};
use quipu_record::{LeaderEpoch, Offset, PartitionId, Timestamp, TopicId, TopicPartition};

/// The size of one copy of a slot.
pub(crate) const SLOT_LEN: usize = 128;
/// Slots of one page; a page of first copies is followed by the page of the second ones.
pub(crate) const SLOTS_PER_PAGE: usize = 32;
/// A page, so that what the disk writes as one holds one copy of a slot only.
pub(crate) const PAGE_LEN: usize = SLOT_LEN * SLOTS_PER_PAGE;

const MAGIC: u16 = u16::from_be_bytes(*b"QM");
const FREE: u8 = 1;
const LOG: u8 = 2;
const HEADER: u8 = 3;
const HAS_MARK: u8 = 1;
const HAS_EPOCH: u8 = 2;
/// Nobody writes so often. A greater number would overflow once it is counted on.
pub(super) const SEQ_MAX: u64 = 1 << 62;

/// Everything of a log below here was synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mark {
    /// The base of the segment that was active.
    pub(crate) segment: Offset,
    /// Its end, then.
    pub(crate) end: Boundary,
    /// The epoch of the last batch below; the epoch checkpoint must know it.
    pub(crate) epoch: Option<LeaderEpoch>,
    /// When the segment was begun.
    pub(crate) created: Timestamp,
}

/// What a slot says of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LogSlot {
    pub(crate) partition: TopicPartition,
    /// Which log of this partition: one that was deleted and begun again is another. Its epoch checkpoint has the same.
    pub(crate) incarnation: u64,
    pub(crate) log_start: Offset,
    pub(crate) mark: Option<Mark>,
}

/// What a slot says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Content {
    /// Nobody's.
    Free,
    /// A log's.
    Log(LogSlot),
    /// The first slot: how many pairs of pages the file has.
    Header(u32),
}

impl Content {
    /// The segment that its mark names.
    pub(super) fn segment(&self) -> Option<Offset> {
        match self {
            Self::Log(log) => log.mark.map(|mark| mark.segment),
            Self::Free | Self::Header(_) => None,
        }
    }
}

/// One copy of a slot as it stands in the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Copy {
    /// Never written.
    Blank,
    /// Not what was written.
    Bad,
    /// Written as the `seq`th write to the file.
    Good(u64, Content),
}

/// Encodes a copy of slot `number`.
pub(crate) fn encode(number: usize, seq: u64, content: &Content) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SLOT_LEN);
    let (kind, flags) = match content {
        Content::Free => (FREE, 0),
        Content::Header(_) => (HEADER, 0),
        Content::Log(log) => {
            let mark = log.mark.map_or(0, |_| HAS_MARK);
            let epoch = log.mark.and_then(|mark| mark.epoch).map_or(0, |_| HAS_EPOCH);
            (LOG, mark | epoch)
        }
    };
    bytes.put_u16(MAGIC);
    bytes.put_u8(kind);
    bytes.put_u8(flags);
    bytes.put_u64(seq);
    match content {
        Content::Free => {}
        Content::Header(pairs) => bytes.put_u32(*pairs),
        Content::Log(log) => encode_log(log, &mut bytes),
    }
    bytes.resize(SLOT_LEN - 4, 0);
    bytes.put_u32(checksum(number, &bytes));
    bytes
}

fn checksum(number: usize, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&(number as u64).to_be_bytes()), bytes)
}

fn encode_log(log: &LogSlot, bytes: &mut Vec<u8>) {
    bytes.put_slice(&log.partition.topic.into_bytes());
    bytes.put_u32(log.partition.partition.get());
    bytes.put_u64(log.incarnation);
    bytes.put_u64(log.log_start.get());
    if let Some(mark) = &log.mark {
        bytes.put_u64(mark.segment.get());
        mark.end.encode(bytes);
        bytes.put_u32(mark.epoch.unwrap_or_default().get());
        bytes.put_i64(mark.created.get());
    }
}

/// Decodes a copy of slot `number`.
pub(crate) fn decode(number: usize, bytes: &[u8]) -> Copy {
    if bytes.iter().all(|&byte| byte == 0) {
        return Copy::Blank;
    }
    let Some((body, stored)) = bytes.split_last_chunk::<4>().filter(|_| bytes.len() == SLOT_LEN) else {
        return Copy::Bad;
    };
    if checksum(number, body).to_be_bytes() != *stored {
        return Copy::Bad;
    }
    let mut body = body;
    if body.get_u16() != MAGIC {
        return Copy::Bad;
    }
    let (kind, flags) = (body.get_u8(), body.get_u8());
    let seq = body.get_u64();
    if seq > SEQ_MAX {
        return Copy::Bad;
    }
    match kind {
        FREE => Copy::Good(seq, Content::Free),
        HEADER => Copy::Good(seq, Content::Header(body.get_u32())),
        LOG => Copy::Good(seq, Content::Log(decode_log(flags, body))),
        _ => Copy::Bad,
    }
}

fn decode_log(flags: u8, mut body: &[u8]) -> LogSlot {
    let mut topic = [0; 16];
    body.copy_to_slice(&mut topic);
    let partition = TopicPartition {
        topic: TopicId::from_bytes(topic),
        partition: PartitionId::new(body.get_u32()),
    };
    let (incarnation, log_start) = (body.get_u64(), Offset::new(body.get_u64()));
    let mark = (flags & HAS_MARK != 0).then(|| Mark {
        segment: Offset::new(body.get_u64()),
        end: Boundary::decode(&mut body),
        epoch: Some(body.get_u32())
            .filter(|_| flags & HAS_EPOCH != 0)
            .map(LeaderEpoch::new),
        created: Timestamp::new(body.get_i64()),
    });
    LogSlot {
        partition,
        incarnation,
        log_start,
        mark,
    }
}

/// Where a copy of a slot stands in the file.
pub(crate) const fn place(number: usize, copy: usize) -> u64 {
    let (pair, within) = (number / SLOTS_PER_PAGE, number % SLOTS_PER_PAGE);
    ((pair * 2 + copy) * PAGE_LEN + within * SLOT_LEN) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_read_back_and_every_flipped_bit_is_seen() {
        let mark = Mark {
            segment: Offset::new(100),
            end: Boundary {
                position: 999,
                next: Offset::new(123),
                max_timestamp: Some(Timestamp::new(55)),
                outside: 7,
            },
            epoch: Some(LeaderEpoch::new(3)),
            created: Timestamp::new(44),
        };
        let mut log = LogSlot {
            partition: TopicPartition {
                topic: TopicId::from_u128(77),
                partition: PartitionId::new(5),
            },
            incarnation: 9,
            log_start: Offset::new(12),
            mark: Some(mark),
        };
        let mut all = vec![Content::Free, Content::Header(3), Content::Log(log)];
        log.mark = Some(Mark { epoch: None, ..mark });
        all.push(Content::Log(log));
        log.mark = None;
        all.push(Content::Log(log));
        for content in all {
            let bytes = encode(4, 8, &content);
            assert_eq!(decode(4, &bytes), Copy::Good(8, content));
            assert_eq!(decode(5, &bytes), Copy::Bad);
            for bit in 0..bytes.len() * 8 {
                let mut bad = bytes.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(decode(4, &bad), Copy::Bad, "bit {bit}");
            }
        }
        assert_eq!(decode(0, &[0; SLOT_LEN]), Copy::Blank);
    }
}
