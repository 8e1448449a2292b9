//! Every way in which a producer's batch is refused, with the words in which it is.

use quipu_record::{
    Batch, BatchBuilder, BatchError, BatchHeader, Codec, ErrorCode, HEADER_LEN, Header, LeaderEpoch, Offset,
    PlantedBug, ProducerEpoch, ProducerId, ProducerStamp, PushError, Sequence, StoredBatch, Timestamp,
    check_topic_name, iter_batches,
};

const LIMIT: usize = 1 << 20;
const TIME: Timestamp = Timestamp::new(1_700_000_000_000);

fn batch(codec: Codec) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec, 0);
    let headers = [Header {
        key: "h",
        value: Some(b"w"),
    }];
    for i in 0..3 {
        builder
            .push(TIME.plus_millis(i), Some(b"k"), Some(b"v"), &headers)
            .expect("room");
    }
    builder.finish(None).expect("a batch").to_vec()
}

/// A batch around these records, with a right checksum.
fn around(codec: Codec, count: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = batch(codec)[..HEADER_LEN].to_vec();
    bytes.extend_from_slice(body);
    bytes[35..43].copy_from_slice(&TIME.get().to_be_bytes());
    set(
        bytes,
        &[(57, &count.to_be_bytes()), (23, &(count - 1).to_be_bytes())],
    )
}

/// Overwrites fields and mends length and checksum.
fn set(mut bytes: Vec<u8>, fields: &[(usize, &[u8])]) -> Vec<u8> {
    let length = u32::try_from(bytes.len() - 12).expect("a short batch");
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    for (at, value) in fields {
        bytes[*at..at + value.len()].copy_from_slice(value);
    }
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// What check and validation together say.
fn fault(bytes: Vec<u8>, limit: usize) -> BatchError {
    let refused = Batch::check(bytes.into(), limit).and_then(|batch| batch.validate_records(limit));
    refused.expect_err("it must be refused")
}

#[track_caller]
fn refused(bytes: Vec<u8>, code: ErrorCode, words: &str) {
    let fault = fault(bytes, LIMIT);
    assert_eq!(fault.to_string(), words);
    assert_eq!(fault.code(), code);
}

#[test]
fn sizes() {
    let code = ErrorCode::CorruptBatch;
    refused(
        vec![],
        code,
        "the batch is cut off: it needs 61 bytes and 0 are there",
    );
    let mut short = batch(Codec::None);
    let whole = short.len();
    short.pop();
    let words = format!(
        "the batch is cut off: it needs {whole} bytes and {} are there",
        whole - 1
    );
    refused(short, code, &words);
    let mut long = batch(Codec::None);
    long.extend_from_slice(&[0; 7]);
    let words = "7 bytes follow the batch: send exactly one batch for a partition in a request";
    refused(long, ErrorCode::InvalidRequest, words);
    let fault = fault(batch(Codec::None), whole - 1);
    let words = format!(
        "the batch has {whole} bytes, more than the {} that max.message.bytes allows",
        whole - 1
    );
    assert_eq!(fault.to_string(), words);
    assert_eq!(fault.code(), ErrorCode::BatchTooLarge);
    for length in [48, 0, -1, i32::MIN] {
        let bytes = set(batch(Codec::None), &[(8, &length.to_be_bytes())]);
        let words =
            format!("the batch header's batchLength is {length}: the header alone has 49 bytes after it");
        refused(bytes, code, &words);
    }
    // The greatest size that can be claimed is refused before anything is looked for.
    let bytes = set(batch(Codec::None), &[(8, &i32::MAX.to_be_bytes())]);
    let words = "the batch has 2147483659 bytes, more than the 1048576 that max.message.bytes allows";
    refused(bytes, ErrorCode::BatchTooLarge, words);
}

#[test]
fn header_fields() {
    let code = ErrorCode::CorruptBatch;
    for magic in [0u8, 1, 3, 255] {
        let words = format!(
            "the batch has magic {}, and only version 2 of the record batch is taken",
            magic.cast_signed()
        );
        refused(set(batch(Codec::None), &[(16, &[magic])]), code, &words);
    }
    let cases: [(usize, &[u8], &str); 9] = [
        (
            0,
            &(-1i64).to_be_bytes(),
            "the batch header's baseOffset is -1: an offset is not negative",
        ),
        (
            0,
            &9i64.to_be_bytes(),
            "the batch header's baseOffset is 9: a producer sends 0; the leader assigns it",
        ),
        (
            21,
            &[0x00, 0x80],
            "the batch header's attributes is 128: bits 7 to 15 are not used and must be 0",
        ),
        (
            21,
            &[0x80, 0x00],
            "the batch header's attributes is 32768: bits 7 to 15 are not used and must be 0",
        ),
        (
            23,
            &(-1i32).to_be_bytes(),
            "the batch header's lastOffsetDelta is -1: it is not negative",
        ),
        (
            23,
            &3i32.to_be_bytes(),
            "the batch header's lastOffsetDelta is 3: in a producer's batch it is recordsCount - 1",
        ),
        (
            57,
            &i32::MIN.to_be_bytes(),
            "the batch header's recordsCount is -2147483648: a batch has 0 to 2147483647 records",
        ),
        (
            57,
            &0i32.to_be_bytes(),
            "the batch header's recordsCount is 0: a producer's batch has at least one record",
        ),
        (
            57,
            &2i32.to_be_bytes(),
            "the batch header's lastOffsetDelta is 2: in a producer's batch it is recordsCount - 1",
        ),
    ];
    for (at, value, words) in cases {
        refused(set(batch(Codec::None), &[(at, value)]), code, words);
    }
}

#[test]
fn marks() {
    for (codec, name) in [
        (1, "gzip"),
        (2, "snappy"),
        (3, "lz4"),
        (5, "a codec nobody defines"),
        (7, "a codec nobody defines"),
    ] {
        let words = format!("the batch is compressed with {name} (codec {codec}): Quipu takes none and zstd");
        refused(
            set(batch(Codec::None), &[(22, &[codec])]),
            ErrorCode::UnsupportedCodec,
            &words,
        );
    }
    for (bit, words) in [
        (
            3,
            "the batch is marked with log-append time: only the leader sets it; send create time",
        ),
        (
            4,
            "the batch is marked as part of a transaction: Quipu has no transactions; produce without transactional.id",
        ),
        (
            5,
            "the batch is marked as a control batch: only brokers write those",
        ),
        (
            6,
            "the batch is marked with a delete horizon: only a broker's compaction sets one",
        ),
    ] {
        refused(
            set(batch(Codec::None), &[(22, &[1 << bit])]),
            ErrorCode::InvalidRequest,
            words,
        );
    }
}

#[test]
fn producers() {
    let rule = "a batch with a producerId has it too, not negative";
    for (epoch, sequence, words) in [
        (
            -1i16,
            0i32,
            format!("the batch header's producerEpoch is -1: {rule}"),
        ),
        (0, -1, format!("the batch header's baseSequence is -1: {rule}")),
    ] {
        let fields: [(usize, &[u8]); 3] = [
            (43, &7i64.to_be_bytes()),
            (51, &epoch.to_be_bytes()),
            (53, &sequence.to_be_bytes()),
        ];
        refused(set(batch(Codec::None), &fields), ErrorCode::CorruptBatch, &words);
    }
    // A negative id alone means none, whatever stands beside it.
    for (id, epoch, sequence) in [(-1i64, 0i16, 0i32), (-1, -1, -1), (i64::MIN, 5, i32::MIN)] {
        let fields: [(usize, &[u8]); 3] = [
            (43, &id.to_be_bytes()),
            (51, &epoch.to_be_bytes()),
            (53, &sequence.to_be_bytes()),
        ];
        let batch = Batch::check(set(batch(Codec::None), &fields).into(), LIMIT).unwrap();
        assert_eq!(batch.header().producer(), None);
    }
}

#[test]
fn checksum() {
    let mut bytes = batch(Codec::None);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let fault = fault(bytes.clone(), LIMIT);
    assert_eq!(fault.code(), ErrorCode::CorruptBatch);
    assert!(matches!(fault, BatchError::CrcMismatch { .. }));
    assert!(
        fault.to_string().ends_with("the bytes were damaged on the way"),
        "{fault}"
    );
    PlantedBug::CrcUnchecked.plant(|| assert!(Batch::check(bytes.clone().into(), LIMIT).is_ok()));
    assert!(Batch::check(bytes.into(), LIMIT).is_err());
}

#[test]
fn record_counts() {
    let body = batch(Codec::None)[HEADER_LEN..].to_vec();
    for codec in [Codec::None, Codec::Zstd] {
        let stored = match codec {
            Codec::None => body.clone(),
            Codec::Zstd => zstd::bulk::compress(&body, 3).unwrap(),
        };
        let words =
            "the batch's recordsCount is 2147483647, but its 39 bytes of records have no room for so many";
        refused(
            around(codec, i32::MAX as u32, &stored),
            ErrorCode::CorruptBatch,
            words,
        );
        let words = "the batch's recordsCount is 2, but its 39 bytes of records go on after the last one";
        refused(around(codec, 2, &stored), ErrorCode::CorruptBatch, words);
        let words = "record 3 of the batch is malformed: a varint is cut off";
        refused(around(codec, 4, &stored), ErrorCode::CorruptBatch, words);
    }
}

#[test]
fn records() {
    // Length, attributes, timestamp, offset, key "k", value "v", one header h=w.
    let sound = [24, 0, 0, 0, 2, b'k', 2, b'v', 2, 2, b'h', 2, b'w'];
    let batch = Batch::check(around(Codec::None, 1, &sound).into(), LIMIT).unwrap();
    batch.validate_records(LIMIT).unwrap();
    let cases: &[(&[u8], &str)] = &[
        (&[1], "its length is negative"),
        (&[0], "its length is 0"),
        (&[26], "its length passes the end of the batch"),
        (&[24, 1], "its attributes are not 0"),
        (&[24, 0, 0, 2], "its offset is not its place in the batch"),
        (&[24, 0, 0, 1], "its offset is not its place in the batch"),
        (&[24, 0, 0, 0, 3], "a length is below -1"),
        (&[24, 0, 0, 0, 40], "its key passes its end"),
        (&[24, 0, 0, 0, 2, b'k', 40], "its value passes its end"),
        (
            &[24, 0, 0, 0, 2, b'k', 2, b'v', 1],
            "its number of headers is negative",
        ),
        (
            &[24, 0, 0, 0, 2, b'k', 2, b'v', 0],
            "its length is greater than its fields",
        ),
        (&[24, 0, 0, 0, 2, b'k', 2, b'v', 4], "a varint is cut off"),
        (
            &[24, 0, 0, 0, 2, b'k', 2, b'v', 12],
            "it has more headers than its bytes can hold",
        ),
        (&[24, 0, 0, 0, 2, b'k', 2, b'v', 2, 1], "a header has no key"),
        (
            &[24, 0, 0, 0, 2, b'k', 2, b'v', 2, 40],
            "a header's key passes its end",
        ),
        (
            &[24, 0, 0, 0, 2, b'k', 2, b'v', 2, 2, 0xff],
            "a header's key is not UTF-8",
        ),
        (
            &[24, 0, 0, 0, 2, b'k', 2, b'v', 2, 2, b'h', 4],
            "a header's value passes its end",
        ),
    ];
    for (start, fault) in cases {
        let mut bad = sound;
        bad[..start.len()].copy_from_slice(start);
        let words = format!("record 0 of the batch is malformed: {fault}");
        refused(around(Codec::None, 1, &bad), ErrorCode::CorruptBatch, &words);
    }
}

#[test]
fn varints_have_an_end() {
    let long = [&[40, 0][..], &[0x80; 12], &[0; 7]].concat();
    let words = "record 0 of the batch is malformed: a varint has more bits than its field";
    refused(around(Codec::None, 1, &long), ErrorCode::CorruptBatch, words);
}

#[test]
fn timestamps() {
    let bytes = set(batch(Codec::None), &[(35, &i64::MAX.to_be_bytes())]);
    let words = "the batch header's maxTimestamp is 9223372036854775807, but the latest record's timestamp is 1700000000002";
    refused(bytes, ErrorCode::InvalidTimestamp, words);
    let bytes = set(batch(Codec::None), &[(27, &i64::MAX.to_be_bytes())]);
    let words = "record 1 of the batch is malformed: its timestamp does not fit 64 bits";
    refused(bytes, ErrorCode::CorruptBatch, words);
}

#[test]
fn compression() {
    let words = "the batch does not decompress: it is not a zstd frame";
    refused(
        around(Codec::Zstd, 1, b"not zstd at all"),
        ErrorCode::CorruptBatch,
        words,
    );
    refused(around(Codec::Zstd, 1, b""), ErrorCode::CorruptBatch, words);
    let mut cut = zstd::bulk::compress(&[7; 5000], 3).unwrap();
    cut.pop();
    let fault = fault(around(Codec::Zstd, 1, &cut), LIMIT);
    assert!(
        fault.to_string().starts_with("the batch does not decompress: "),
        "{fault}"
    );
    assert_eq!(fault.code(), ErrorCode::CorruptBatch);
}

/// One zstd frame with a size in its header, and one without.
fn frames(plain: &[u8]) -> [Vec<u8>; 2] {
    let claiming = zstd::bulk::compress(plain, 3).expect("memory");
    let silent = zstd::stream::encode_all(plain, 3).expect("memory");
    assert_eq!(
        zstd::zstd_safe::get_frame_content_size(&claiming).ok().flatten(),
        Some(plain.len() as u64)
    );
    assert_eq!(
        zstd::zstd_safe::get_frame_content_size(&silent).ok().flatten(),
        None
    );
    [claiming, silent]
}

#[test]
fn zip_bombs() {
    let words = "the batch decompresses to more than the 1048576 bytes allowed";
    for bomb in frames(&vec![0; 64 << 20]) {
        assert!(bomb.len() < 16 << 10);
        refused(around(Codec::Zstd, 1, &bomb), ErrorCode::BatchTooLarge, words);
        let batch = Batch::check(around(Codec::Zstd, 1, &bomb).into(), LIMIT).unwrap();
        assert_eq!(
            batch.records(LIMIT).map(drop),
            Err(BatchError::DecodedTooLarge { limit: LIMIT })
        );
    }
    // Many small frames, of which none is over the limit.
    let [one, _] = frames(&vec![0; LIMIT / 2]);
    refused(
        around(Codec::Zstd, 1, &one.repeat(3)),
        ErrorCode::BatchTooLarge,
        words,
    );
    // An uncompressed batch has the same limit.
    let batch = Batch::check(batch(Codec::None).into(), LIMIT).unwrap();
    assert_eq!(
        batch.validate_records(38),
        Err(BatchError::DecodedTooLarge { limit: 38 })
    );
    assert!(batch.validate_records(39).is_ok());
}

#[test]
fn a_frame_may_lie_about_its_size() {
    let body = batch(Codec::None)[HEADER_LEN..].to_vec();
    let [mut frame, silent] = frames(&body);
    assert!(Batch::check(around(Codec::Zstd, 3, &silent).into(), LIMIT).is_ok());
    // The size is the one byte after magic and descriptor.
    assert_eq!(frame[5], 39);
    for lie in [0, 1, 38, 40, 255] {
        frame[5] = lie;
        let fault = fault(around(Codec::Zstd, 3, &frame), LIMIT);
        assert_eq!(fault.code(), ErrorCode::CorruptBatch, "{lie}: {fault}");
    }
    // Eight bytes that claim 2^63.
    let mut huge = vec![0x28, 0xb5, 0x2f, 0xfd, 0xe0];
    huge.extend_from_slice(&(1u64 << 63).to_le_bytes());
    huge.extend_from_slice(&frame[6..]);
    let words = "the batch decompresses to more than the 1048576 bytes allowed";
    refused(around(Codec::Zstd, 3, &huge), ErrorCode::BatchTooLarge, words);
}

#[test]
fn frames_may_follow_each_other() {
    let body = batch(Codec::None)[HEADER_LEN..].to_vec();
    let (front, back) = body.split_at(12);
    for (one, two) in frames(front).into_iter().zip(frames(back)) {
        let mut bytes = around(Codec::Zstd, 3, &[one, two].concat());
        bytes = set(bytes, &[(35, &TIME.plus_millis(2).get().to_be_bytes())]);
        let batch = Batch::check(bytes.into(), LIMIT).unwrap();
        assert_eq!(batch.validate_records(LIMIT).map(|summary| summary.count), Ok(3));
    }
}

#[test]
fn stored_batches() {
    let sound = Batch::check(batch(Codec::None).into(), LIMIT).unwrap();
    let sound = sound
        .stamp(Offset::new(5), LeaderEpoch::new(2))
        .to_bytes()
        .to_vec();
    let cases: [(usize, &[u8], &str); 3] = [
        (
            12,
            &(-1i32).to_be_bytes(),
            "the batch header's partitionLeaderEpoch is -1: a stored batch has the epoch of its leader",
        ),
        (
            23,
            &1i32.to_be_bytes(),
            "the batch header's lastOffsetDelta is 1: it is at least recordsCount - 1",
        ),
        (
            0,
            &(i64::MAX - 2).to_be_bytes(),
            "the batch header's baseOffset is 9223372036854775805: the offset after the batch must fit 63 bits",
        ),
    ];
    for (at, value, words) in cases {
        let bytes = set(sound.clone(), &[(at, value)]);
        assert_eq!(
            StoredBatch::parse(&bytes.into()).map_err(|e| e.to_string()),
            Err(words.to_owned())
        );
    }
    // The greatest base offset that leaves room.
    let bytes = set(sound.clone(), &[(0, &(i64::MAX - 3).to_be_bytes())]);
    assert_eq!(
        StoredBatch::parse(&bytes.into()).map(|b| b.next_offset()),
        Ok(Offset::MAX)
    );
    let twice = sound.repeat(2);
    let mut walk = iter_batches(twice.into());
    assert!(walk.next().is_some_and(|batch| batch.is_ok()));
    let fault = walk.next().map(|batch| batch.map_err(|e| e.to_string()));
    let words = "the batch header's baseOffset is 5: it lies below the offset after the batch before";
    assert_eq!(fault, Some(Err(words.to_owned())));
    assert_eq!(walk.position(), sound.len());
    assert_eq!(walk.next(), None);
}

#[test]
fn no_wrong_checksum_becomes_right_as_a_batch_is_stamped() {
    let bytes = batch(Codec::None);
    let (head, body) = bytes.split_at(HEADER_LEN);
    for bit in 0..32 {
        let mut head = head.to_vec();
        head[17 + bit / 8] ^= 1 << (bit % 8);
        let stamped = BatchHeader::parse(&head).unwrap().with_append_time(TIME, body);
        assert!(stamped.check_crc(body).is_err(), "bit {bit}");
    }
}

#[test]
fn the_bound_of_a_record_holds_for_many_small_headers() {
    let header = Header { key: "", value: None };
    for count in [0, 1, 63, 64, 1_000] {
        let headers = vec![header; count];
        let mut builder = BatchBuilder::new(Codec::None, 0);
        builder.push(TIME, None, None, &headers).expect("room");
        let bound = BatchBuilder::record_bound(None, None, &headers);
        assert!(builder.size() - HEADER_LEN <= bound, "{count} headers");
    }
}

#[test]
fn the_bound_of_a_record_without_headers_is_64_bytes_too_much_at_most() {
    for len in [0, 100, 1 << 20] {
        let value = vec![0; len];
        let mut builder = BatchBuilder::new(Codec::None, 0);
        builder.push(TIME, None, Some(&value), &[]).expect("room");
        let bound = BatchBuilder::record_bound(None, Some(&value), &[]);
        assert!(bound <= builder.size() - HEADER_LEN + 64, "{len}");
    }
}

#[test]
fn the_bound_of_a_record_holds_for_one_with_the_longest_lead() {
    let mut builder = BatchBuilder::new(Codec::None, 0);
    for _ in 0..10_000 {
        builder.push(TIME, None, None, &[]).expect("room");
    }
    // Its time is as far from the first one's as can be, and every length takes four bytes.
    let (far, large) = (TIME.plus_millis((1 << 55) - 1), vec![0; 1 << 20]);
    let before = builder.size();
    builder.push(far, Some(&large), Some(&large), &[]).expect("room");
    let bound = BatchBuilder::record_bound(Some(&large), Some(&large), &[]);
    assert!(builder.size() - before <= bound);
}

#[test]
fn what_a_builder_does_not_take() {
    let mut builder = BatchBuilder::new(Codec::None, 0);
    let nothing = builder.finish(None).map_err(|e| e.to_string());
    let words = "the batch header's recordsCount is 0: a producer's batch has at least one record";
    assert_eq!(nothing, Err(words.to_owned()));
    builder.push(Timestamp::new(5), None, None, &[]).unwrap();
    // A million years are the most that a batch of ours spans.
    for far in [(1 << 55) + 5, i64::MIN] {
        let far = builder.push(Timestamp::new(far), None, None, &[]);
        assert_eq!(far, Err(PushError::Full));
        assert_eq!(far.map_err(|e| e.code()), Err(ErrorCode::BatchTooLarge));
    }
    for near in [(1 << 55) + 4, -(1 << 55) + 5] {
        builder.push(Timestamp::new(near), None, None, &[]).unwrap();
    }
    let stamp = ProducerStamp {
        id: ProducerId::new(1),
        epoch: ProducerEpoch::FIRST,
        base_sequence: Sequence::FIRST,
    };
    let batch = Batch::check(builder.finish(Some(stamp)).unwrap(), LIMIT).unwrap();
    let summary = batch.validate_records(LIMIT).unwrap();
    assert_eq!((summary.count, summary.keyless), (3, 3));
    assert_eq!(summary.min_timestamp, Timestamp::new(-(1 << 55) + 5));
    builder.push(Timestamp::new(i64::MIN), None, None, &[]).unwrap();
    builder.clear();
    assert!(builder.is_empty());
    builder.push(TIME, None, None, &[]).unwrap();
    builder.clear();
    assert_eq!((builder.count(), builder.size()), (0, HEADER_LEN));
}

#[test]
fn topic_names() {
    for name in ["a", "orders.eu-1_x", &"n".repeat(249), "...", "__internal"] {
        assert_eq!(check_topic_name(name), Ok(()), "{name}");
    }
    for (name, words) in [
        (
            "",
            "a topic's name is not empty: use 1 to 249 of the characters a-z, A-Z, 0-9, '.', '_' and '-'",
        ),
        (
            ".",
            "a topic cannot be called \".\": file systems have their own meaning for it",
        ),
        (
            "..",
            "a topic cannot be called \"..\": file systems have their own meaning for it",
        ),
        (
            "né e",
            "the topic's name has a 'é' at position 1: use only a-z, A-Z, 0-9, '.', '_' and '-'",
        ),
        (
            "a/b",
            "the topic's name has a '/' at position 1: use only a-z, A-Z, 0-9, '.', '_' and '-'",
        ),
        (
            &"n".repeat(250),
            "the topic's name has 250 characters, more than the 249 allowed",
        ),
    ] {
        let refused = check_topic_name(name).map_err(|e| (e.to_string(), e.code()));
        assert_eq!(refused, Err((words.to_owned(), ErrorCode::InvalidTopic)));
    }
}
