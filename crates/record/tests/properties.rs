//! Properties of batches: what is built reads back, damage is seen, and no bytes make a reader panic.

use bytes::Bytes;
use proptest::prelude::*;
use quipu_record::{
    Batch, BatchBuilder, Codec, HEADER_LEN, Header, LeaderEpoch, Offset, ProducerEpoch, ProducerId,
    ProducerStamp, Sequence, StoredBatch, Timestamp, TimestampType, iter_batches,
};

const LIMIT: usize = 1 << 20;

#[derive(Clone, Debug)]
struct Plain {
    time: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

fn bytes_up_to(len: usize) -> impl Strategy<Value = Option<Vec<u8>>> {
    prop::option::of(prop::collection::vec(any::<u8>(), 0..len))
}

fn plain() -> impl Strategy<Value = Plain> {
    let time =
        prop_oneof![8 => 1_700_000_000_000i64..1_700_000_100_000, 1 => any::<i32>().prop_map(i64::from)];
    let headers = prop::collection::vec((".{0,8}", bytes_up_to(12)), 0..4);
    (time, bytes_up_to(20), bytes_up_to(300), headers).prop_map(|(time, key, value, headers)| Plain {
        time,
        key,
        value,
        headers,
    })
}

fn codec() -> impl Strategy<Value = Codec> {
    prop_oneof![Just(Codec::None), Just(Codec::Zstd)]
}

fn stamp() -> impl Strategy<Value = Option<ProducerStamp>> {
    prop::option::of((0..i64::MAX as u64, 0..0x8000u16, 0..0x8000_0000u32).prop_map(
        |(id, epoch, sequence)| ProducerStamp {
            id: ProducerId::new(id),
            epoch: ProducerEpoch::new(epoch),
            base_sequence: Sequence::new(sequence),
        },
    ))
}

fn push(builder: &mut BatchBuilder, record: &Plain) {
    let headers: Vec<Header<'_>> = record
        .headers
        .iter()
        .map(|(key, value)| Header {
            key,
            value: value.as_deref(),
        })
        .collect();
    let time = Timestamp::new(record.time);
    let before = builder.size();
    let bound = BatchBuilder::record_bound(record.key.as_deref(), record.value.as_deref(), &headers);
    builder
        .push(time, record.key.as_deref(), record.value.as_deref(), &headers)
        .expect("a right batch");
    assert!(builder.size() - before <= bound);
}

fn build(codec: Codec, records: &[Plain], stamp: Option<ProducerStamp>) -> Bytes {
    let mut builder = BatchBuilder::new(codec, 0);
    for record in records {
        push(&mut builder, record);
    }
    builder.finish(stamp).expect("a right batch")
}

fn read_back(batch: &StoredBatch) -> Vec<(Offset, Plain)> {
    let records = batch.records(LIMIT).expect("a right batch");
    let read = records.iter().map(|record| {
        let record = record.expect("a right batch");
        let headers = record
            .headers()
            .map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec)))
            .collect();
        let plain = Plain {
            time: record.timestamp.get(),
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers,
        };
        (record.offset, plain)
    });
    read.collect()
}

proptest! {
    #[test]
    fn what_is_built_reads_back(
        codec in codec(),
        records in prop::collection::vec(plain(), 1..40),
        stamp in stamp(),
        base in 0..i64::MAX as u64 - 100,
        epoch in 0..0x7fff_ffffu32,
    ) {
        let bytes = build(codec, &records, stamp);
        let batch = Batch::check(bytes.clone(), bytes.len()).unwrap();
        prop_assert_eq!(&batch.to_bytes(), &bytes);
        prop_assert_eq!((batch.header().size(), batch.header().body_len()), (bytes.len(), bytes.len() - HEADER_LEN));
        prop_assert_eq!(batch.header().producer(), stamp);
        prop_assert_eq!(batch.header().codec(), codec);
        let summary = batch.validate_records(LIMIT).unwrap();
        prop_assert_eq!(summary.count as usize, records.len());
        prop_assert_eq!(summary.keyless as usize, records.iter().filter(|r| r.key.is_none()).count());
        prop_assert_eq!(Some(summary.min_timestamp.get()), records.iter().map(|r| r.time).min());
        prop_assert_eq!(Some(summary.max_timestamp.get()), records.iter().map(|r| r.time).max());
        let stored = batch.stamp(Offset::new(base), LeaderEpoch::new(epoch));
        let parsed = StoredBatch::parse(&stored.to_bytes()).unwrap();
        prop_assert_eq!(&parsed, &stored);
        prop_assert_eq!(parsed.leader_epoch(), LeaderEpoch::new(epoch));
        for (i, (read, sent)) in read_back(&parsed).into_iter().zip(&records).enumerate() {
            prop_assert_eq!(read.0, Offset::new(base + i as u64));
            prop_assert_eq!(format!("{:?}", read.1), format!("{sent:?}"));
        }
    }

    #[test]
    fn a_builder_starts_afresh(first in prop::collection::vec(plain(), 1..9), second in prop::collection::vec(plain(), 1..9), codec in codec()) {
        let mut builder = BatchBuilder::new(codec, 4096);
        for record in &first {
            push(&mut builder, record);
        }
        let one = builder.finish(None).unwrap();
        for record in &second {
            push(&mut builder, record);
        }
        prop_assert_eq!(builder.finish(None).unwrap(), build(codec, &second, None));
        prop_assert_eq!(one, build(codec, &first, None));
    }

    #[test]
    fn a_changed_byte_is_seen_or_lies_outside_the_checksum(
        codec in codec(),
        records in prop::collection::vec(plain(), 1..8),
        at: prop::sample::Index,
        flip in 1u8..,
    ) {
        let bytes = build(codec, &records, None);
        let mut damaged = bytes.to_vec();
        let at = at.index(damaged.len());
        damaged[at] ^= flip;
        match Batch::check(damaged.into(), LIMIT) {
            Err(_) => {}
            // Bytes 12 to 15 are the leader epoch, which a client does not fill in.
            Ok(_) => prop_assert!((12..16).contains(&at), "byte {at} changed and was not missed"),
        }
        let stored = Batch::check(bytes, LIMIT).unwrap().stamp(Offset::new(77), LeaderEpoch::new(3));
        let mut damaged = stored.to_bytes().to_vec();
        damaged[at] ^= flip;
        if StoredBatch::parse(&damaged.into()).is_ok() {
            prop_assert!((0..8).contains(&at) || (12..16).contains(&at), "byte {at} changed and was not missed");
        }
    }

    #[test]
    fn append_time_leaves_a_right_checksum(
        codec in codec(),
        records in prop::collection::vec(plain(), 1..8),
        now: i64,
    ) {
        let bytes = build(codec, &records, None);
        let batch = Batch::check(bytes, LIMIT).unwrap().with_append_time(Timestamp::new(now));
        batch.header().check_crc(batch.body()).unwrap();
        prop_assert_eq!(batch.header().timestamp_type(), TimestampType::LogAppend);
        let summary = batch.validate_records(LIMIT).unwrap();
        prop_assert_eq!(summary.max_timestamp, Timestamp::new(now));
        let stored = batch.stamp(Offset::ZERO, LeaderEpoch::FIRST);
        let stored = StoredBatch::parse(&stored.to_bytes()).unwrap();
        for (_, record) in read_back(&stored) {
            prop_assert_eq!(record.time, now);
        }
    }

    #[test]
    fn another_producer_leaves_a_right_checksum(
        codec in codec(),
        records in prop::collection::vec(plain(), 1..8),
        before in stamp(),
        after in stamp(),
    ) {
        let batch = Batch::check(build(codec, &records, before), LIMIT).unwrap();
        let header = batch.header().with_producer(after, batch.body());
        header.check_crc(batch.body()).unwrap();
        let whole = build(codec, &records, after);
        prop_assert_eq!(&header.as_bytes()[..], &whole[..HEADER_LEN]);
    }

    #[test]
    fn long_and_short_bodies_move_the_checksum_alike(len in 60_000usize..70_000, fill: u8, now: i64) {
        // Around the length from which the checksum is moved instead of computed.
        for len in [len, len / 2] {
            let record = Plain { time: 0, key: None, value: Some(vec![fill; len]), headers: vec![] };
            let batch = Batch::check(build(Codec::None, &[record], None), LIMIT).unwrap();
            let header = batch.header().with_append_time(Timestamp::new(now), batch.body());
            prop_assert_eq!(header.check_crc(batch.body()), Ok(()));
            // A body damaged before is still a damaged one.
            let mut damaged = batch.body().to_vec();
            damaged[len / 2] ^= 1;
            let header = batch.header().with_append_time(Timestamp::new(now), &damaged);
            prop_assert!(header.check_crc(&damaged).is_err());
        }
    }

    #[test]
    fn batches_in_a_row_are_walked(
        batches in prop::collection::vec((codec(), prop::collection::vec(plain(), 1..5), 0u64..3), 1..6),
        cut: prop::sample::Index,
    ) {
        let mut log = Vec::new();
        let mut ends = vec![0];
        let mut next = Offset::new(5);
        for (codec, records, gap) in &batches {
            let batch = Batch::check(build(*codec, records, None), LIMIT).unwrap();
            let stored = batch.stamp(next.plus(*gap), LeaderEpoch::FIRST);
            next = stored.next_offset();
            log.extend_from_slice(&stored.to_bytes());
            ends.push(log.len());
        }
        let whole: Vec<_> = iter_batches(log.clone().into()).collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(whole.len(), batches.len());
        prop_assert_eq!(whole.last().map(StoredBatch::next_offset), Some(next));
        log.truncate(cut.index(log.len()));
        let complete = ends.iter().filter(|end| **end <= log.len() && **end > 0).count();
        let walked: Vec<_> = iter_batches(log.clone().into()).collect();
        prop_assert_eq!(walked.iter().filter(|batch| batch.is_ok()).count(), complete);
        prop_assert_eq!(walked.last().is_some_and(Result::is_err), !ends.contains(&log.len()));
    }

    #[test]
    fn arbitrary_bytes_make_no_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), right_crc: bool, codec in codec()) {
        read_everything(bytes, right_crc, codec);
    }

    #[test]
    fn damaged_records_under_a_right_checksum_make_no_reader_panic(
        records in prop::collection::vec(plain(), 1..6),
        codec in codec(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = build(codec, &records, None).to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        read_everything(bytes, true, codec);
    }
}

/// Every reader over `bytes`, made into something that passes for a batch if `right_crc`.
fn read_everything(mut bytes: Vec<u8>, right_crc: bool, codec: Codec) {
    if right_crc && bytes.len() >= HEADER_LEN {
        let length = u32::try_from(bytes.len() - 12).expect("it is short");
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[..8].fill(0);
        bytes[12..16].fill(0);
        bytes[16] = 2;
        bytes[21..23].copy_from_slice(&[0, codec.number()]);
        bytes[57..59].fill(0);
        let count = u32::from_be_bytes([0, 0, bytes[59], bytes[60]]).max(1);
        bytes[57..61].copy_from_slice(&count.to_be_bytes());
        bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
        bytes[43..51].fill(0xff);
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        assert!(Batch::check(bytes.clone().into(), LIMIT).is_ok());
    }
    let bytes = Bytes::from(bytes);
    if let Ok(batch) = Batch::check(bytes.clone(), LIMIT) {
        let valid = batch.validate_records(LIMIT);
        let whole = batch
            .records(LIMIT)
            .and_then(|records| records.iter().collect::<Result<Vec<_>, _>>().map(|r| r.len()));
        // A producer's valid records read back; what reads back may still be no producer's.
        if let Ok(summary) = valid {
            assert_eq!(whole, Ok(summary.count as usize));
        }
    }
    for batch in iter_batches(bytes).flatten() {
        if let Ok(records) = batch.records(LIMIT) {
            for record in &records {
                let _ = record.map(|record| record.headers().count());
            }
        }
    }
}
