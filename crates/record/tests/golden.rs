//! Batches captured from other people's encoders (`golden/README.md`): ours reads them all, and writes the same bytes.

use bytes::Bytes;
use quipu_record::{
    Batch, BatchBuilder, BatchError, Codec, HEADER_LEN, Header, Offset, ProducerEpoch, ProducerId,
    ProducerStamp, Records, Sequence, StoredBatch, Timestamp, TimestampType, iter_batches, murmur2,
    partition_for_key,
};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

const LIMIT: usize = 1 << 20;

type Field = Option<Vec<u8>>;

#[derive(Clone, PartialEq, Debug)]
struct Plain {
    time: i64,
    key: Field,
    value: Field,
    headers: Vec<(String, Field)>,
}

#[derive(Default)]
struct Case {
    name: String,
    producer: Option<ProducerStamp>,
    records: Vec<Plain>,
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

#[expect(clippy::disallowed_methods, reason = "test data")]
fn batch_bytes(name: &str) -> Bytes {
    let path = golden().join("batches").join(format!("{name}.batch"));
    std::fs::read(&path)
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        .into()
}

#[expect(clippy::disallowed_methods, reason = "test data")]
fn text(name: &str) -> String {
    std::fs::read_to_string(golden().join(name)).expect("golden data")
}

fn token(text: &str) -> Field {
    if text == "~" {
        return None;
    }
    if text == "''" {
        return Some(Vec::new());
    }
    if let Some(hex) = text.strip_prefix("x:") {
        return Some(from_hex(hex));
    }
    if let Some((count, char)) = text.split_once('*') {
        return Some(char.repeat(count.parse().expect("a count")).into_bytes());
    }
    Some(text.as_bytes().to_vec())
}

fn from_hex(hex: &str) -> Vec<u8> {
    let digits = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(digits).collect()
}

fn record(words: &[&str]) -> Plain {
    let headers = words[4..].iter().map(|word| {
        let (key, value) = word.split_once('=').expect("HEADER=VALUE");
        let key = token(key).expect("a key");
        (String::from_utf8(key).expect("UTF-8"), token(value))
    });
    Plain {
        time: words[1].parse().expect("a time"),
        key: token(words[2]),
        value: token(words[3]),
        headers: headers.collect(),
    }
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text("cases.txt").lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let ["case", name] = words[..] {
            cases.push(Case {
                name: name.to_owned(),
                ..Case::default()
            });
        }
        let Some(case) = cases.last_mut() else { continue };
        match words[..] {
            ["producer", id, epoch, sequence] => {
                case.producer = Some(ProducerStamp {
                    id: ProducerId::new(id.parse().expect("an id")),
                    epoch: ProducerEpoch::new(epoch.parse().expect("an epoch")),
                    base_sequence: Sequence::new(sequence.parse().expect("a sequence")),
                });
            }
            ["repeat", times, ..] => {
                let times = times.parse().expect("a number");
                case.records.extend(vec![record(&words[2..]); times]);
            }
            ["r", ..] => case.records.push(record(&words)),
            _ => {}
        }
    }
    cases
}

fn case(name: &str) -> Case {
    cases()
        .into_iter()
        .find(|case| case.name == name)
        .expect("a case of this name")
}

fn plain(records: &Records) -> Vec<(Offset, Plain)> {
    let read = records.iter().map(|record| {
        let record = record.expect("a sound record");
        let headers = record
            .headers()
            .map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec)));
        let plain = Plain {
            time: record.timestamp.get(),
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: headers.collect(),
        };
        (record.offset, plain)
    });
    read.collect()
}

fn built(case: &Case, codec: Codec) -> Bytes {
    let mut builder = BatchBuilder::new(codec, 1024);
    for record in &case.records {
        let headers: Vec<Header<'_>> = record
            .headers
            .iter()
            .map(|(key, value)| Header {
                key,
                value: value.as_deref(),
            })
            .collect();
        builder
            .push(
                Timestamp::new(record.time),
                record.key.as_deref(),
                record.value.as_deref(),
                &headers,
            )
            .expect("room");
    }
    builder.finish(case.producer).expect("a batch")
}

/// The encoders whose batches of a case there are.
fn makers(case: &Case) -> &'static [&'static str] {
    // librdkafka begins at sequence 0 and takes no other.
    if case.name == "wrapping" {
        &["java", "aiokafka"]
    } else {
        &["java", "aiokafka", "librdkafka"]
    }
}

#[test]
fn ours_reads_what_others_write() {
    let mut compressed = 0;
    for case in cases() {
        for maker in makers(&case) {
            for codec in ["none", "zstd"] {
                let name = format!("{maker}-{}-{codec}", case.name);
                let batch = Batch::check(batch_bytes(&name), LIMIT).unwrap_or_else(|e| panic!("{name}: {e}"));
                let summary = batch
                    .validate_records(LIMIT)
                    .unwrap_or_else(|e| panic!("{name}: {e}"));
                assert_eq!(summary.count as usize, case.records.len(), "{name}");
                assert_eq!(batch.header().producer(), case.producer, "{name}");
                assert_eq!(batch.header().timestamp_type(), TimestampType::Create, "{name}");
                let records = plain(&batch.records(LIMIT).expect("it was validated"));
                let expected: Vec<_> = (0..).map(Offset::new).zip(case.records.iter().cloned()).collect();
                assert_eq!(records, expected, "{name}");
                compressed += u32::from(batch.header().codec() == Codec::Zstd);
            }
        }
    }
    // librdkafka sends a batch as it is where zstd would make it larger; all others are compressed.
    assert_eq!(compressed, 14);
}

#[test]
fn ours_writes_what_others_write() {
    for case in cases() {
        for maker in makers(&case) {
            let name = format!("{maker}-{}-none", case.name);
            let theirs = batch_bytes(&name);
            let mut ours = built(&case, Codec::None).to_vec();
            if *maker == "java" {
                assert_eq!(ours, theirs, "{name}");
                continue;
            }
            // What a producer writes where it has nothing to say differs: the leader epoch, and the fields of a
            // producer that is not idempotent. All else is equal.
            ours[12..16].copy_from_slice(&theirs[12..16]);
            if case.producer.is_none() {
                ours[43..57].copy_from_slice(&theirs[43..57]);
            }
            let crc = crc32c::crc32c(&ours[21..]);
            ours[17..21].copy_from_slice(&crc.to_be_bytes());
            assert_eq!(ours, theirs, "{name}");
        }
    }
}

#[test]
fn nothing_to_say_is_said_in_three_ways() {
    let field = |maker: &str, range: std::ops::Range<usize>| {
        batch_bytes(&format!("{maker}-letters-none")).slice(range)
    };
    assert_eq!(field("java", 12..16), [0xff; 4].as_slice());
    assert_eq!(field("librdkafka", 12..16), [0; 4].as_slice());
    assert_eq!(field("aiokafka", 12..16), [0xff; 4].as_slice());
    assert_eq!(field("librdkafka", 51..57), [0xff; 6].as_slice());
    assert_eq!(field("java", 51..57), [0xff; 6].as_slice());
}

#[test]
fn zstd_of_ours_decompresses_to_what_others_compressed() {
    for name in ["mixed", "many"] {
        let case = case(name);
        let ours = Batch::check(built(&case, Codec::Zstd), LIMIT).expect("ours");
        let java = Batch::check(batch_bytes(&format!("java-{name}-zstd")), LIMIT).expect("java");
        let decoded = |batch: &Batch| batch.records(LIMIT).expect("zstd").bytes().clone();
        assert_eq!(decoded(&ours), decoded(&java), "{name}");
    }
}

#[test]
fn what_is_not_for_producers_is_refused_by_name() {
    for (name, message) in [
        (
            "gzip",
            "the batch is compressed with gzip (codec 1): Quipu takes none and zstd",
        ),
        (
            "snappy",
            "the batch is compressed with snappy (codec 2): Quipu takes none and zstd",
        ),
        (
            "lz4",
            "the batch is compressed with lz4 (codec 3): Quipu takes none and zstd",
        ),
        (
            "logappendtime",
            "the batch is marked with log-append time: only the leader sets it; send create time",
        ),
        (
            "transactional",
            "the batch is marked as part of a transaction: Quipu has no transactions; produce without transactional.id",
        ),
        (
            "control",
            "the batch is marked as a control batch: only brokers write those",
        ),
    ] {
        let refused = Batch::check(batch_bytes(&format!("refused-{name}")), LIMIT);
        assert_eq!(refused.map_err(|e| e.to_string()), Err(message.to_owned()));
    }
}

#[test]
fn stored_batches_read_as_the_java_broker_writes_them() {
    for codec in ["none", "zstd"] {
        let stored = StoredBatch::parse(&batch_bytes(&format!("stored-{codec}"))).expect("a stored batch");
        assert_eq!(stored.base_offset(), Offset::new(41));
        assert_eq!(stored.next_offset(), Offset::new(44));
        assert_eq!(stored.leader_epoch().get(), 5);
        let late = StoredBatch::parse(&batch_bytes(&format!("stored-logappendtime-{codec}")))
            .expect("a stored batch");
        assert_eq!(late.header().timestamp_type(), TimestampType::LogAppend);
        let expected = case("letters").records;
        let records = plain(&stored.records(LIMIT).expect("records"));
        assert_eq!(
            records.iter().map(|(_, plain)| plain.clone()).collect::<Vec<_>>(),
            expected
        );
        for ((offset, record), at) in plain(&late.records(LIMIT).expect("records"))
            .into_iter()
            .zip(41..)
        {
            assert_eq!(offset, Offset::new(at));
            assert_eq!(record.time, 1_700_000_099_999);
        }
    }
}

#[test]
fn stamping_and_append_time_give_the_java_brokers_bytes() {
    let letters = || Batch::check(batch_bytes("java-letters-none"), LIMIT).expect("a batch");
    let stored = |name: &str| StoredBatch::parse(&batch_bytes(name)).expect("a stored batch");
    let (base, epoch) = (Offset::new(41), stored("stored-none").leader_epoch());
    assert_eq!(letters().stamp(base, epoch), stored("stored-none"));
    // The Java builder gives the records themselves the append time, a broker only the header: body and checksum differ.
    let late = letters()
        .with_append_time(Timestamp::new(1_700_000_099_999))
        .stamp(base, epoch);
    let java = stored("stored-logappendtime-none");
    late.header().check_crc(late.body()).expect("a right checksum");
    assert_eq!(late.head()[21..27], java.head()[21..27]);
    assert_eq!(late.head()[35..HEADER_LEN], java.head()[35..HEADER_LEN]);
}

#[test]
fn what_compaction_leaves_is_read_with_its_gaps() {
    for codec in ["none", "zstd"] {
        let bytes = batch_bytes(&format!("compacted-{codec}"));
        let batches: Vec<_> = iter_batches(bytes)
            .collect::<Result<_, _>>()
            .expect("stored batches");
        let [one, none] = &batches[..] else {
            panic!("two batches")
        };
        assert_eq!((one.base_offset().get(), one.next_offset().get()), (41, 44));
        assert_eq!(one.header().records_count(), 1);
        let records = plain(&one.records(LIMIT).expect("records"));
        assert_eq!(records, [(Offset::new(42), case("letters").records[1].clone())]);
        assert_eq!((none.base_offset().get(), none.next_offset().get()), (44, 47));
        assert_eq!(none.header().records_count(), 0);
        assert_eq!(none.header().producer().map(|p| p.base_sequence.get()), Some(12));
        assert_eq!(none.records(LIMIT).map(|records| records.iter().count()), Ok(0));
        // No producer may send either.
        let refused = Batch::check(one.to_bytes(), LIMIT).map(drop);
        assert!(
            matches!(
                refused,
                Err(BatchError::BadHeader {
                    field: "baseOffset",
                    ..
                })
            ),
            "{refused:?}"
        );
    }
}

#[test]
fn murmur2_is_kafkas() {
    let mut vectors = 0;
    for line in text("murmur2.txt").lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        let key = if words[0] == "-" {
            Vec::new()
        } else {
            from_hex(words[0])
        };
        assert_eq!(murmur2(&key).cast_signed().to_string(), words[1], "{line}");
        for (partitions, expected) in [1, 6, 7, 1000].into_iter().zip(&words[2..]) {
            let partitions = NonZeroU32::new(partitions).expect("not zero");
            assert_eq!(
                partition_for_key(&key, partitions).to_string(),
                *expected,
                "{line}"
            );
        }
        vectors += 1;
    }
    assert_eq!(vectors, 49);
}
