//! What a record costs in the crate, beside what its bytes cost at the least: `cargo bench -p quipu-record`.
//!
//! Each figure is the best of many rounds, so that a busy machine disturbs it little.

#![expect(clippy::print_stdout, reason = "figures are for a person to read")]

use bytes::Bytes;
use quipu_record::{
    Batch, BatchBuilder, Codec, Header, LeaderEpoch, Offset, StoredBatch, Timestamp, murmur2,
};
use std::hint::black_box;
use std::time::Duration;

const BATCH_BYTES: usize = 1 << 20;
const LIMIT: usize = 2 << 20;
const ROUNDS: usize = 100;
const TIME: i64 = 1_700_000_000_000;

#[expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

/// The least time that one call takes.
fn best(mut body: impl FnMut()) -> Duration {
    let mut least = Duration::MAX;
    for _ in 0..ROUNDS {
        let start = now();
        body();
        least = least.min(start.elapsed());
    }
    least
}

fn per_record(what: &str, records: usize, time: Duration) {
    let nanos = time.as_secs_f64() * 1e9 / records as f64;
    println!("{what:<58} {nanos:>8.1} ns/record {:>8.1} M/s", 1e3 / nanos);
}

fn per_byte(what: &str, bytes: usize, time: Duration) {
    println!("{what:<58} {:>8.2} GB/s", bytes as f64 / time.as_secs_f64() / 1e9);
}

fn fill(builder: &mut BatchBuilder, key: Option<&[u8]>, value: &[u8], headers: &[Header<'_>]) -> usize {
    let mut time = TIME;
    while builder.size() + value.len() + 64 < BATCH_BYTES {
        builder
            .push(Timestamp::new(time), key, Some(value), headers)
            .expect("room");
        time += i64::from(builder.count().is_multiple_of(16));
    }
    builder.count() as usize
}

fn build(codec: Codec, value_len: usize) -> (Bytes, usize) {
    let value: Vec<u8> = (0..=255u8).cycle().step_by(7).take(value_len).collect();
    let mut builder = BatchBuilder::new(codec, BATCH_BYTES);
    let count = fill(&mut builder, Some(b"N14228"), &value, &[]);
    (builder.finish(None).expect("a batch"), count)
}

fn pushing() {
    let value = vec![7u8; 1024];
    let header = [Header {
        key: "trace",
        value: Some(b"0123456789abcdef"),
    }];
    for (what, key, len, headers) in [
        ("push 100 B, no key", None, 100, &[][..]),
        ("push 100 B, key of 6", Some(&b"N14228"[..]), 100, &[]),
        (
            "push 100 B, key of 6, one header",
            Some(&b"N14228"[..]),
            100,
            &header,
        ),
        ("push 1024 B, key of 6", Some(&b"N14228"[..]), 1024, &[]),
    ] {
        let mut builder = BatchBuilder::new(Codec::None, BATCH_BYTES);
        let mut count = 0;
        let time = best(|| {
            builder.clear();
            count = fill(
                black_box(&mut builder),
                black_box(key),
                black_box(&value[..len]),
                black_box(headers),
            );
        });
        per_record(what, count, time);
        builder.clear();
        let time = best(|| {
            let count = fill(
                black_box(&mut builder),
                black_box(key),
                black_box(&value[..len]),
                black_box(headers),
            );
            black_box((builder.finish(None).expect("a batch"), count));
        });
        per_record(&format!("{what}, with finish (none)"), count, time);
    }
    let mut copy: Vec<u8> = Vec::with_capacity(BATCH_BYTES);
    let mut count = 0;
    let time = best(|| {
        copy.clear();
        count = 0;
        while copy.len() + 164 < BATCH_BYTES {
            copy.extend_from_slice(black_box(&value[..100]));
            count += 1;
        }
        black_box(&copy);
    });
    per_record("  the limit: copying 100 B into a buffer", count, time);
    let mut builder = BatchBuilder::new(Codec::Zstd, BATCH_BYTES);
    let time = best(|| {
        count = fill(&mut builder, Some(b"N14228"), &value[..100], &[]);
        black_box(builder.finish(None).expect("a batch"));
    });
    per_record("push 100 B, key of 6, with finish (zstd)", count, time);
}

fn checking() {
    for len in [100, 1024] {
        for codec in [Codec::None, Codec::Zstd] {
            let (bytes, count) = build(codec, len);
            let time = best(|| {
                black_box(Batch::check(black_box(bytes.clone()), LIMIT).expect("a batch"));
            });
            per_record(&format!("check {len} B ({codec})"), count, time);
            let batch = Batch::check(bytes, LIMIT).expect("a batch");
            let time = best(|| {
                black_box(black_box(&batch).validate_records(LIMIT).expect("sound"));
            });
            per_record(&format!("validate_records {len} B ({codec})"), count, time);
            let time = best(|| {
                let records = black_box(&batch).records(LIMIT).expect("sound");
                for record in &records {
                    black_box(record.expect("sound"));
                }
            });
            per_record(&format!("read records {len} B ({codec})"), count, time);
        }
    }
    uneven();
    // Small batches: what each costs beside its records.
    let mut builder = BatchBuilder::new(Codec::None, 0);
    builder
        .push(Timestamp::new(TIME), None, Some(&[7; 100]), &[])
        .expect("room");
    let bytes = builder.finish(None).expect("a batch");
    let batch = Batch::check(bytes.clone(), LIMIT).expect("a batch");
    let many = 10_000;
    let time = best(|| {
        for _ in 0..many {
            let batch = Batch::check(black_box(bytes.clone()), LIMIT).expect("a batch");
            black_box(batch.validate_records(LIMIT).expect("sound"));
            black_box(batch.stamp(Offset::new(5), LeaderEpoch::FIRST));
        }
    });
    per_record(
        "check, validate, stamp of a batch of one 100 B record",
        many,
        time,
    );
    let time = best(|| {
        for i in 0..many {
            black_box(batch.clone().with_append_time(Timestamp::new(TIME + i as i64)));
        }
    });
    per_record("with_append_time of it", many, time);
    let (large, _) = build(Codec::None, 1024);
    let large = Batch::check(large, LIMIT).expect("a batch");
    let time = best(|| {
        black_box(black_box(large.clone()).with_append_time(Timestamp::new(TIME)));
    });
    per_record("with_append_time of a batch of 1 MiB", 1, time);
    let stored = batch.stamp(Offset::new(5), LeaderEpoch::FIRST).to_bytes();
    let time = best(|| {
        for _ in 0..many {
            black_box(StoredBatch::parse(black_box(&stored)).expect("a batch"));
        }
    });
    per_record("parse it as stored", many, time);
}

/// Records of all lengths, hours apart: nothing for the processor to foresee.
fn uneven() {
    let mut builder = BatchBuilder::new(Codec::None, BATCH_BYTES);
    let (mut time, mut random) = (TIME, 1u32);
    while builder.size() + 400 < BATCH_BYTES {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (len, step) = ((random >> 24) as usize, random >> 8 & 0xffff);
        builder
            .push(
                Timestamp::new(time),
                Some(&[1; 300][..len / 4]),
                Some(&[2; 300][..len]),
                &[],
            )
            .expect("room");
        time += i64::from(step);
    }
    let count = builder.count() as usize;
    let batch = Batch::check(builder.finish(None).expect("a batch"), LIMIT).expect("a batch");
    let time = best(|| {
        black_box(black_box(&batch).validate_records(LIMIT).expect("sound"));
    });
    per_record("validate_records 0 to 255 B, uneven (none)", count, time);
}

fn bytes() {
    let (bytes, _) = build(Codec::None, 1024);
    let time = best(|| {
        black_box(crc32c::crc32c(black_box(&bytes)));
    });
    per_byte("CRC-32C of 1 MiB", bytes.len(), time);
    let mut copy = vec![0; bytes.len()];
    let time = best(|| {
        black_box(&mut copy).copy_from_slice(black_box(&bytes));
    });
    per_byte("  the limit: copying 1 MiB", bytes.len(), time);
    for len in [6, 16, 36] {
        let keys: Vec<Vec<u8>> = (0..1000u32)
            .map(|i| i.to_le_bytes().repeat(len).split_off(len * 3))
            .collect();
        let time = best(|| {
            for key in &keys {
                black_box(murmur2(black_box(key)));
            }
        });
        per_record(&format!("murmur2 of a key of {len}"), keys.len(), time);
    }
}

fn main() {
    pushing();
    checking();
    bytes();
}
