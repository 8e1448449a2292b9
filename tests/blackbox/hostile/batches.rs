//! Encoded batches that are none: each byte of the header wrong in turn, and records that lie.

use super::{Target, unnamed};
use crate::support::Result;
use bytes::Bytes;
use quipu_proto::Failure;
use quipu_proto::v1::produce_service_client::ProduceServiceClient;
use quipu_proto::v1::{Batch, ProduceRequest, batch};
use quipu_record::{BatchBuilder, Codec, ErrorCode, HEADER_LEN, Timestamp};

/// Where fields are in a batch (docs/format.md).
const LENGTH: usize = 8;
const MAGIC: usize = 16;
const CRC: usize = 17;
const ATTRIBUTES: usize = 21;
const LAST_OFFSET_DELTA: usize = 23;
const RECORDS_COUNT: usize = 57;

/// A batch of three records that is right.
fn good() -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None, 1024);
    for value in [b"one", b"two", b"six"] {
        builder.push(now(), None, Some(value), &[]).expect("it fits");
    }
    builder.finish(None).expect("there are records").to_vec()
}

fn now() -> Timestamp {
    Timestamp::new(jiff::Timestamp::now().as_millisecond())
}

/// The batch with its checksum and length made right: the lie is elsewhere.
fn sealed(mut batch: Vec<u8>) -> Vec<u8> {
    let length = i32::try_from(batch.len() - 12).expect("small");
    batch[LENGTH..LENGTH + 4].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c(&batch[ATTRIBUTES..]);
    batch[CRC..CRC + 4].copy_from_slice(&crc.to_be_bytes());
    batch
}

/// CRC-32C, bit by bit: another implementation than the one under test.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                crc >> 1 ^ 0x82f6_3b78
            } else {
                crc >> 1
            }
        })
    })
}

fn with(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut batch = good();
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    batch
}

/// A batch with these bytes for records; it says that there are `count`.
fn with_records(records: &[u8], count: i32, codec: u8) -> Vec<u8> {
    let mut batch = good();
    batch.truncate(HEADER_LEN);
    batch.extend_from_slice(records);
    batch[ATTRIBUTES + 1] = codec;
    batch[LAST_OFFSET_DELTA..LAST_OFFSET_DELTA + 4].copy_from_slice(&(count - 1).to_be_bytes());
    batch[RECORDS_COUNT..RECORDS_COUNT + 4].copy_from_slice(&count.to_be_bytes());
    sealed(batch)
}

fn low_byte(value: u64) -> u8 {
    value.to_le_bytes()[0]
}

/// Zig-zag.
fn varint(value: i64) -> Vec<u8> {
    let mut rest = (value << 1 ^ value >> 63).cast_unsigned();
    let mut bytes = Vec::new();
    while rest >= 0x80 {
        bytes.push(low_byte(rest) & 0x7f | 0x80);
        rest >>= 7;
    }
    bytes.push(low_byte(rest));
    bytes
}

/// Gigabytes of zeros in a few kilobytes, in zstd frames that say so or do not.
fn zstd_bomb(megabytes: usize, says_size: bool) -> Result<Vec<u8>> {
    let zeros = vec![0; 1 << 20];
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 19)?;
    if says_size {
        encoder.set_pledged_src_size(Some((megabytes << 20) as u64))?;
        encoder.include_contentsize(true)?;
    }
    for _ in 0..megabytes {
        std::io::Write::write_all(&mut encoder, &zeros)?;
    }
    Ok(encoder.finish()?)
}

/// A batch, the error that it must get, and a word that names the fault.
struct Case {
    name: &'static str,
    batch: Vec<u8>,
    code: ErrorCode,
    word: &'static str,
}

fn headers_that_lie() -> Vec<Case> {
    use ErrorCode::{BatchTooLarge, CorruptBatch, InvalidRequest, UnsupportedCodec};
    let case = |name, batch, code, word| Case {
        name,
        batch,
        code,
        word,
    };
    let corrupt = |name, batch, word| case(name, batch, CorruptBatch, word);
    let two = [good(), good()].concat();
    vec![
        corrupt("nothing", Vec::new(), "cut off"),
        corrupt(
            "less than a header",
            good()[..HEADER_LEN - 1].to_vec(),
            "60 are there",
        ),
        corrupt(
            "cut within the records",
            good()[..good().len() - 1].to_vec(),
            "cut off",
        ),
        case(
            "a byte too many",
            [good(), vec![0]].concat(),
            InvalidRequest,
            "1 bytes follow",
        ),
        case("two batches", two, InvalidRequest, "exactly one batch"),
        corrupt(
            "a length of -1",
            with(LENGTH, &(-1i32).to_be_bytes()),
            "batchLength",
        ),
        corrupt("a length of 0", with(LENGTH, &0i32.to_be_bytes()), "batchLength"),
        case(
            "a length of 2^31 - 1",
            with(LENGTH, &i32::MAX.to_be_bytes()),
            BatchTooLarge,
            "max.message.bytes",
        ),
        corrupt("magic 1", with(MAGIC, &[1]), "magic 1"),
        corrupt("magic 3", with(MAGIC, &[3]), "magic 3"),
        corrupt("a wrong checksum", with(CRC, &[0, 0, 0, 0]), "CRC"),
        corrupt("a flipped bit in a record", with(HEADER_LEN + 5, &[0xff]), "CRC"),
        case(
            "gzip",
            sealed(with(ATTRIBUTES + 1, &[1])),
            UnsupportedCodec,
            "gzip",
        ),
        case(
            "snappy",
            sealed(with(ATTRIBUTES + 1, &[2])),
            UnsupportedCodec,
            "snappy",
        ),
        case("lz4", sealed(with(ATTRIBUTES + 1, &[3])), UnsupportedCodec, "lz4"),
        case(
            "codec 7",
            sealed(with(ATTRIBUTES + 1, &[7])),
            UnsupportedCodec,
            "codec 7",
        ),
        case(
            "a control batch",
            sealed(with(ATTRIBUTES + 1, &[0x20])),
            InvalidRequest,
            "control",
        ),
        corrupt(
            "unused attributes",
            sealed(with(ATTRIBUTES, &[0x80])),
            "attributes",
        ),
        corrupt(
            "2^31 - 1 records",
            sealed(with(RECORDS_COUNT, &i32::MAX.to_be_bytes())),
            "ecordsCount",
        ),
        corrupt(
            "-1 records",
            sealed(with(RECORDS_COUNT, &(-1i32).to_be_bytes())),
            "recordsCount",
        ),
        corrupt("no records", with_records(&[], 0, 0), "lastOffsetDelta is -1"),
        corrupt(
            "a last delta of 2^31 - 1",
            sealed(with(LAST_OFFSET_DELTA, &i32::MAX.to_be_bytes())),
            "lastOffsetDelta",
        ),
    ]
}

fn records_that_lie() -> Result<Vec<Case>> {
    use ErrorCode::{BatchTooLarge, CorruptBatch};
    let corrupt = |name, batch, word| Case {
        name,
        batch,
        code: CorruptBatch,
        word,
    };
    let record = |fields: &[&[u8]]| {
        let body = fields.concat();
        [varint(i64::try_from(body.len()).unwrap_or(0)), body].concat()
    };
    let (zero, one) = (varint(0), varint(1));
    let huge = varint(i64::from(i32::MAX));
    let all_counts = with_records(&good()[HEADER_LEN..], i32::MAX, 0);
    let too_large = |name, records: Vec<u8>| Case {
        name,
        batch: with_records(&records, 1, 4),
        code: BatchTooLarge,
        word: "decompresses to more than",
    };
    Ok(vec![
        corrupt("more records claimed than there are", all_counts, "record"),
        corrupt(
            "fewer records claimed than there are",
            with_records(&good()[HEADER_LEN..], 2, 0),
            "record",
        ),
        corrupt("a record of 2 GiB", with_records(&huge, 1, 0), "record"),
        corrupt("a record of -1 bytes", with_records(&varint(-1), 1, 0), "record"),
        corrupt("an endless varint", with_records(&[0xff; 32], 1, 0), "record"),
        corrupt(
            "a key of 2 GiB",
            with_records(&record(&[&[0], &zero, &zero, &huge]), 1, 0),
            "key",
        ),
        corrupt(
            "a key of -2 bytes",
            with_records(&record(&[&[0], &zero, &zero, &varint(-2), &[0; 4]]), 1, 0),
            "a length is below -1",
        ),
        corrupt(
            "a value of 2 GiB",
            with_records(&record(&[&[0], &zero, &zero, &varint(-1), &huge]), 1, 0),
            "value",
        ),
        corrupt(
            "2^31 - 1 headers",
            with_records(
                &record(&[&[0], &zero, &zero, &varint(-1), &one, b"v", &huge]),
                1,
                0,
            ),
            "malformed",
        ),
        corrupt(
            "a header without a name",
            with_records(
                &record(&[
                    &[0],
                    &zero,
                    &zero,
                    &varint(-1),
                    &one,
                    b"v",
                    &one,
                    &varint(-1),
                    &zero,
                ]),
                1,
                0,
            ),
            "header",
        ),
        corrupt(
            "offsets out of order",
            with_records(
                &record(&[&[0], &zero, &varint(5), &varint(-1), &one, b"v", &zero]),
                1,
                0,
            ),
            "offset",
        ),
        corrupt(
            "records that are not zstd",
            with_records(b"this is not zstd", 1, 4),
            "zstd",
        ),
        corrupt(
            "half a zstd frame",
            with_records(&zstd::bulk::compress(&[7; 9000], 1)?[..9], 1, 4),
            "does not decompress",
        ),
        too_large("a zip bomb that says so", zstd_bomb(1024, true)?),
        too_large("a zip bomb that says nothing", zstd_bomb(1024, false)?),
    ])
}

fn request(encoded: Vec<u8>) -> ProduceRequest {
    let batch = Batch {
        topic: "t".into(),
        partition: Some(0),
        payload: Some(batch::Payload::Encoded(Bytes::from(encoded))),
        ..Batch::default()
    };
    ProduceRequest {
        batches: vec![batch],
        ..ProduceRequest::default()
    }
}

#[tokio::test]
async fn batches_that_lie_are_refused_by_name() -> Result<()> {
    let cases: Vec<Case> = headers_that_lie()
        .into_iter()
        .chain(records_that_lie()?)
        .collect();
    let mut target = Target::start().await?;
    let mut client = ProduceServiceClient::new(target.channel.clone());
    let mut wrong = Vec::new();
    for case in &cases {
        let answer = client.produce(request(case.batch.clone())).await;
        let failure = match answer {
            Ok(answer) => {
                let result = answer.into_inner().results.remove(0);
                Failure::from(
                    result
                        .error
                        .ok_or_else(|| format!("{} was accepted", case.name))?,
                )
            }
            Err(status) => Failure::from_status(&status).ok_or_else(|| format!("{}: {status}", case.name))?,
        };
        wrong.extend(unnamed(case.name, &failure, case.code, case.word));
        target.look()?;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // The batch that all of them were made from is right.
    let answer = client.produce(request(good())).await?.into_inner();
    assert_eq!(answer.results[0].error, None);
    target.unharmed(cases.len())
}

/// The check can fail: a broker that does not look at checksums takes a batch with a wrong one.
#[cfg(feature = "test-util")]
#[tokio::test]
async fn a_broker_that_looks_at_no_checksum_is_caught() -> Result<()> {
    use crate::support::{Broker, quipu};
    let broker = Broker::start_told(&std::env::temp_dir(), &["--planted-bug", "crc-unchecked"])?;
    quipu(broker.address(), &["topic", "create", "t"])?;
    let channel = tonic::transport::Channel::from_shared(format!("http://{}", broker.address()))?;
    let mut client = ProduceServiceClient::new(channel.connect().await?);
    let answer = client
        .produce(request(with(CRC, &[0, 0, 0, 0])))
        .await?
        .into_inner();
    assert_eq!(answer.results[0].error, None, "the bug is not planted");
    Ok(())
}
