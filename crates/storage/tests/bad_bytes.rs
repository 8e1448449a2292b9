//! A flipped bit at every position, and a cut at every byte, of every file of a small data directory. Whatever it hits:
//! what is served is what was appended; what is not served is reported, as a torn tail that was cut or as corruption with
//! file and offset; nothing below the flush mark is cut; and an offline verification finds the damage.

#![expect(clippy::unwrap_used, reason = "a test")]

use quipu_record::{
    Batch, BatchBuilder, BrokerEpoch, Codec, LeaderEpoch, Offset, PartitionId, StoredBatch, Timestamp,
    TopicId, TopicPartition, iter_batches,
};
use quipu_storage::test_util::FakeDisk;
use quipu_storage::{
    CleanBudget, CleanLimits, CompactionConfig, DataDir, DataDirOptions, FindingKind, FlushMethod, Flusher,
    Log, LogConfig, OpenReport, ReadError, Repair, verify_path,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const NOW: Timestamp = Timestamp::new(5_000);
const PARTITION: TopicPartition = TopicPartition {
    topic: TopicId::from_u128(7),
    partition: PartitionId::new(0),
};

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 330,
        index_interval_bytes: 1,
        retention_ms: None,
        ..LogConfig::default()
    }
}

fn batch(base: Offset, epoch: u32, time: i64) -> StoredBatch {
    let mut builder = BatchBuilder::new(Codec::None, 256);
    for at in 0..2 {
        let value = format!("{base}+{at}");
        builder
            .push(
                Timestamp::new(time + at),
                Some(b"key"),
                Some(value.as_bytes()),
                &[],
            )
            .unwrap();
    }
    let bytes = builder.finish(None).unwrap();
    let batch = Batch::check(bytes, 1 << 20).unwrap();
    batch.stamp(base, LeaderEpoch::new(epoch))
}

/// What was appended, and how much of it lies below the flush mark on the disk.
struct Appended {
    batches: Vec<StoredBatch>,
    marked: Offset,
}

fn open(disk: &FakeDisk) -> (DataDir<FakeDisk>, Log<FakeDisk>, OpenReport, Vec<Repair>) {
    let opened = DataDir::open(disk.clone(), PathBuf::from("/data"), DataDirOptions::default());
    let (dir, boot) = opened.unwrap();
    let (log, report) = dir.open_log(PARTITION, config(), NOW).unwrap();
    (dir, log, report, boot.repaired)
}

/// Three segments and more, two epochs, a snapshot; the last batches are flushed, and the mark that says so is not
/// written yet.
fn lay_out() -> (FakeDisk, Appended) {
    let disk = FakeDisk::new(1);
    let (dir, mut log, ..) = open(&disk);
    let mut flusher = Flusher::new(dir.clone(), FlushMethod::Fdatasync);
    let mut batches = Vec::new();
    let mut flush = |log: &mut Log<FakeDisk>| {
        let jobs = log.take_flush().into_iter().collect();
        let (done, _) = flusher.round(jobs).unwrap();
        done.iter().for_each(|done| {
            log.flush_done(done);
        });
    };
    for at in 0..10_u32 {
        let base = log.log_end();
        let epoch = if at < 4 { 1 } else { 3 };
        let time = 1_000 + i64::from(at) * 10;
        let one = [batch(base, epoch, time)];
        log.append(NOW, &one).unwrap();
        batches.extend(one);
        if at == 5 {
            log.write_producer_snapshot(b"producers").unwrap();
        }
        if at == 7 || at == 8 {
            flush(&mut log);
        }
    }
    flush(&mut log);
    assert!(log.segments() >= 3);
    // The last round wrote the mark of the round before it, and its own is not written.
    let marked = batches[8].next_offset();
    dir.write_high_watermarks(&[(PARTITION, marked)]).unwrap();
    drop((log, dir));
    disk.kill();
    (disk, Appended { batches, marked })
}

/// What came of reading a damaged log.
#[derive(Default)]
struct Served {
    batches: usize,
    refused: Vec<quipu_storage::Corruption>,
}

/// Reads every batch, each by itself, and holds it against what was appended.
fn serve(log: &Log<FakeDisk>, appended: &Appended) -> Served {
    let mut served = Served::default();
    let reader = log.reader();
    for batch in &appended.batches {
        let from = batch.base_offset();
        match reader.read(from, log.log_end(), 1) {
            Ok(read) if read.bytes.is_empty() => assert!(from >= log.log_end(), "nothing at {from}"),
            Ok(read) => {
                let first = iter_batches(read.bytes).next().unwrap().unwrap();
                assert_eq!(first, *batch, "served wrong at {from}");
                served.batches += 1;
            }
            Err(ReadError::Corrupt(corrupt)) => served.refused.push(*corrupt),
            Err(ReadError::OutOfRange { .. }) => {
                assert!(
                    from >= log.log_end() || from < log.log_start(),
                    "not in range: {from}"
                );
            }
            Err(error) => panic!("reading at {from}: {error}"),
        }
        let time = batch.header().max_timestamp();
        match reader.offset_for_time(time, log.log_end()) {
            Ok(Some(found)) => {
                assert_eq!(
                    found.offset,
                    batch.base_offset().plus(1),
                    "a wrong offset for {time}"
                );
            }
            Ok(None) => assert!(batch.next_offset() > log.log_end(), "no offset for {time}"),
            Err(ReadError::Corrupt(corrupt)) => served.refused.push(*corrupt),
            Err(error) => panic!("looking for {time}: {error}"),
        }
    }
    served
}

/// The kinds of outcome, counted.
#[derive(Default, Debug)]
struct Outcomes(BTreeMap<String, u64>);

impl Outcomes {
    fn count(&mut self, path: &Path, what: &str) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let kind = name.rsplit('.').next().unwrap();
        *self.0.entry(format!("{kind}: {what}")).or_default() += 1;
    }
}

fn logs_sizes(disk: &FakeDisk) -> Vec<(PathBuf, usize)> {
    let logs = disk
        .files()
        .into_iter()
        .filter(|path| path.extension().is_some_and(|it| it == "log"));
    logs.map(|path| {
        let len = disk.contents(&path).unwrap().len();
        (path, len)
    })
    .collect()
}

/// One damage: what is served, what is reported, what an offline look finds.
fn examine(
    disk: &FakeDisk,
    appended: &Appended,
    path: &Path,
    position: usize,
    what: &str,
    outcomes: &mut Outcomes,
) {
    let said = format!("{what} of {} at {position}", path.display());
    let is_log = path.extension().is_some_and(|it| it == "log");
    let found = verify_path(disk, Path::new("/data")).unwrap();
    assert!(!found.findings.is_empty(), "{said}: not found offline");
    let before = logs_sizes(disk);
    let (dir, mut log, report, repaired) = open(disk);
    let served = serve(&log, appended);
    let lost = appended.batches.len() - served.batches;
    if let Some(cut) = &report.cut {
        assert!(
            cut.log_end >= appended.marked,
            "{said}: cut below the mark: {cut:?}"
        );
        assert_eq!(cut.log_end, log.log_end(), "{said}");
        assert!(report.corrupt.is_empty(), "{said}: {report:?}");
        outcomes.count(path, "cut");
    } else if !report.corrupt.is_empty() {
        assert_eq!(logs_sizes(disk), before, "{said}: corrupt, and yet cut");
        let refused = log.append(NOW, &[batch(log.log_end(), 9, 9_000)]);
        assert!(refused.is_err(), "{said}: a damaged log takes appends");
        outcomes.count(path, "corrupt at start");
    } else if !served.refused.is_empty() {
        assert_eq!(logs_sizes(disk), before, "{said}: corrupt, and yet cut");
        outcomes.count(path, "corrupt when read");
    } else if !report.repaired.is_empty() || !repaired.is_empty() || !log.take_repairs().is_empty() {
        outcomes.count(path, "repaired");
    } else {
        // What only a later look would notice: an entry of an index that nobody needed, a hint.
        assert!(!is_log, "{said}: nothing was noticed");
        outcomes.count(path, "harmless, found offline");
    }
    let explained = report.cut.is_some() || !report.corrupt.is_empty() || !served.refused.is_empty();
    assert!(
        lost == 0 || explained,
        "{said}: {lost} batches are gone and nothing says so"
    );
    for corrupt in served.refused.iter().chain(&report.corrupt) {
        assert!(
            corrupt.offset.is_some() || !is_log,
            "{said}: no offset in {corrupt}"
        );
        assert!(
            !is_log || corrupt.file == path || what == "cut",
            "{said}: the wrong file in {corrupt}"
        );
    }
    if is_log && what == "flip" {
        assert!(lost <= 4, "{said}: a bit took {lost} batches: {report:?}");
    }
    drop((log, dir));
}

#[test]
fn what_the_disk_held_is_sound() {
    let (disk, appended) = lay_out();
    let found = verify_path(&disk, Path::new("/data")).unwrap();
    assert_eq!(found.findings, vec![]);
    assert_eq!((found.batches, found.records, found.logs), (10, 20, 1));
    let (_, log, report, repaired) = open(&disk);
    assert!(report.cut.is_none() && report.corrupt.is_empty() && report.repaired.is_empty());
    assert!(repaired.is_empty());
    assert_eq!(serve(&log, &appended).batches, 10);
}

#[test]
fn every_flipped_bit_is_reported_or_harmless_and_never_served() {
    let (disk, appended) = lay_out();
    let mut outcomes = Outcomes::default();
    for path in disk.files() {
        let len = disk.contents(&path).unwrap().len();
        for bit in 0..len * 8 {
            let copy = disk.copy(1);
            copy.damage(&path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8))
                .unwrap();
            examine(&copy, &appended, &path, bit / 8, "flip", &mut outcomes);
        }
    }
    println!("flipped bits: {:#?}", outcomes.0);
}

#[test]
fn every_cut_is_reported_or_harmless_and_never_served() {
    let (disk, appended) = lay_out();
    let last_segment = "00000000000000000018.log";
    let mut outcomes = Outcomes::default();
    for path in disk.files() {
        let len = disk.contents(&path).unwrap().len();
        for cut in 0..len {
            let copy = disk.copy(1);
            copy.damage(&path, |bytes| bytes.truncate(cut)).unwrap();
            if cut == 0 && path.ends_with(last_segment) {
                // Nothing on the disk says that there was a whole batch, flushed in the very last round: the mark of a
                // round is written by the next.
                let (_dir, log, ..) = open(&copy);
                assert_eq!(log.log_end(), appended.marked);
                assert_eq!(serve(&log, &appended).batches, 9);
                continue;
            }
            examine(&copy, &appended, &path, cut, "cut", &mut outcomes);
        }
    }
    println!("cuts: {:#?}", outcomes.0);
}

#[test]
fn a_file_that_is_gone_is_reported_or_made_anew() {
    use quipu_storage::Disk;
    let (disk, appended) = lay_out();
    let mut outcomes = Outcomes::default();
    for path in disk.files() {
        let copy = disk.copy(1);
        copy.remove(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        // A directory without these is one like any other.
        if [".lock", "high-watermarks"].contains(&name)
            || name.ends_with(".producers")
            || name.ends_with(".index")
        {
            let (_dir, log, ..) = open(&copy);
            assert_eq!(serve(&log, &appended).batches, 10, "{name}");
            continue;
        }
        // Nobody can tell a segment above the mark that is gone from one that a crash took before it was named.
        let base = name.strip_suffix(".log").and_then(|base| base.parse().ok());
        if base.is_some_and(|base| Offset::new(base) >= appended.marked) {
            let (_dir, log, ..) = open(&copy);
            assert_eq!(log.log_end(), appended.marked, "{name}");
            assert_eq!(serve(&log, &appended).batches, 9, "{name}");
            continue;
        }
        examine(&copy, &appended, &path, 0, "cut", &mut outcomes);
    }
    println!("files gone: {:#?}", outcomes.0);
}

#[test]
fn the_verifier_tells_a_torn_tail_from_corruption() {
    let (disk, appended) = lay_out();
    let logs = logs_sizes(&disk);
    let (last, len) = logs.last().unwrap();
    let torn = disk.copy(1);
    torn.damage(last, |bytes| bytes.truncate(len - 3)).unwrap();
    let found = verify_path(&torn, Path::new("/data")).unwrap().findings;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].kind, &found[0].at.file), (FindingKind::TornTail, last));
    assert_eq!(found[0].at.offset, Some(appended.batches[9].base_offset()));
    let (first, _) = &logs[0];
    let bad = disk.copy(1);
    bad.damage(first, |bytes| bytes[70] ^= 1).unwrap();
    let found = verify_path(&bad, Path::new("/data")).unwrap().findings;
    assert_eq!((found[0].kind, &found[0].at.file), (FindingKind::Corrupt, first));
    assert_eq!(
        (found[0].at.position, found[0].at.offset),
        (0, Some(Offset::ZERO))
    );
}

/// The same key in several batches: of a log that is compacted only the last of each stay, with gaps between them.
fn keyed(base: Offset, key: u8) -> StoredBatch {
    let mut builder = BatchBuilder::new(Codec::None, 256);
    builder
        .push(Timestamp::new(1_000), Some(&[key]), Some(b"value"), &[])
        .unwrap();
    let bytes = builder.finish(None).unwrap();
    let batch = Batch::check(bytes, usize::MAX).unwrap();
    batch.stamp(base, LeaderEpoch::new(1))
}

fn append_keyed(log: &mut Log<FakeDisk>, flusher: &mut Flusher<FakeDisk>, key: u8) {
    log.append(NOW, &[keyed(log.log_end(), key)]).unwrap();
    let (done, _) = flusher.round(log.take_flush().into_iter().collect()).unwrap();
    done.iter().for_each(|done| {
        log.flush_done(done);
    });
}

fn compacted() -> LogConfig {
    LogConfig {
        compaction: Some(CompactionConfig {
            min_cleanable_dirty_ratio: 0,
            ..CompactionConfig::default()
        }),
        segment_bytes: 1_500,
        index_interval_bytes: 200,
        retention_ms: None,
        ..LogConfig::default()
    }
}

fn batches_of(log: &Log<FakeDisk>) -> Result<Vec<StoredBatch>, ReadError> {
    let (reader, mut from, mut all) = (log.reader(), log.log_start(), Vec::new());
    while from < log.log_end() {
        let read = reader.read(from, log.log_end(), 1)?;
        assert!(read.next > from, "a read goes on, or says why not");
        all.extend(iter_batches(read.bytes).map(Result::unwrap));
        from = read.next;
    }
    Ok(all)
}

/// A cleaned log, flushed and shut down, and its batches.
fn cleaned() -> (FakeDisk, Vec<StoredBatch>) {
    let disk = FakeDisk::new(1);
    let open = || DataDir::open(disk.clone(), PathBuf::from("/data"), DataDirOptions::default()).unwrap();
    let (dir, _) = open();
    let (mut log, _) = dir.open_log(PARTITION, compacted(), NOW).unwrap();
    let mut flusher = Flusher::new(dir.clone(), FlushMethod::Fdatasync);
    for at in 0..60_u8 {
        // Of four batches in a row two stay.
        let key = if at % 4 < 2 { 200 } else { at };
        append_keyed(&mut log, &mut flusher, key);
    }
    let limits = CleanLimits {
        now: NOW,
        high_watermark: log.log_end(),
        ..CleanLimits::default()
    };
    let mut job = log.plan_cleaning(limits).expect("there is much to clean");
    let _ = job.run(&CleanBudget::default(), &mut |_| true).unwrap();
    drop(job);
    let batches = batches_of(&log).unwrap();
    assert!(batches.len() > 20 && batches.len() < 50, "{}", batches.len());
    dir.shut_down(flusher, BrokerEpoch::new(1)).unwrap();
    drop((log, dir));
    disk.kill();
    (disk, batches)
}

/// Where offsets leave gaps, one that was changed is an offset like any other: it is found by what all of them add up to.
#[test]
fn every_flipped_bit_of_a_cleaned_log_is_found_and_never_served() {
    let (disk, batches) = cleaned();
    let logs = disk.files().into_iter();
    let logs = logs.filter(|path| path.extension().is_some_and(|it| it == "log"));
    let (mut served, mut refused) = (0_u64, 0_u64);
    for path in logs {
        let len = disk.contents(&path).unwrap().len();
        for bit in 0..len * 8 {
            let said = format!("bit {bit} of {}", path.display());
            let copy = disk.copy(1);
            copy.damage(&path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8))
                .unwrap();
            let offline = verify_path(&copy, Path::new("/data")).unwrap();
            assert!(!offline.findings.is_empty(), "{said}: not found offline");
            let opened = DataDir::open(copy.clone(), PathBuf::from("/data"), DataDirOptions::default());
            let (dir, _) = opened.unwrap();
            let (log, report) = dir.open_log(PARTITION, compacted(), NOW).unwrap();
            let reader = log.reader();
            let mut found = !report.corrupt.is_empty() || report.cut.is_some();
            for batch in &batches {
                match reader.read(batch.base_offset(), log.log_end(), 1) {
                    Ok(read) if read.bytes.is_empty() => {
                        assert!(batch.next_offset() > log.log_end(), "{said}")
                    }
                    Ok(read) => {
                        let first = iter_batches(read.bytes).next().unwrap().unwrap();
                        assert_eq!(first, *batch, "{said}: served wrong");
                        served += 1;
                    }
                    Err(ReadError::Corrupt(_)) => (found, refused) = (true, refused + 1),
                    Err(error) => panic!("{said}: {error}"),
                }
            }
            assert!(found, "{said}: nothing was noticed");
            let by_time = reader.offset_for_time(Timestamp::new(1_000), log.log_end());
            let first = batches[0].base_offset();
            assert!(
                !matches!(by_time, Ok(Some(at)) if at.offset != first),
                "{said}: {by_time:?}, where {first} is the first"
            );
        }
    }
    println!("{served} reads served what was written, {refused} were refused");
    assert!(served > 100_000 && refused > 10_000);
}

/// What is cleaned once more is copied under new checksums: an offset that is wrong is not to be made right so.
#[test]
fn a_wrong_offset_is_not_copied_into_a_segment_that_vouches_for_it() {
    let (disk, batches) = cleaned();
    let path = disk
        .files()
        .into_iter()
        .find(|path| path.extension().is_some_and(|it| it == "log"));
    let path = path.unwrap();
    let (mut position, mut refused) = (0, 0);
    for batch in &batches[..10] {
        let copy = disk.copy(1);
        // Of each pair of batches the first begins two offsets sooner, in the gap before it: their order is as it should be.
        if batch.base_offset().get() % 4 == 2 {
            copy.damage(&path, |bytes| bytes[position + 7] ^= 2).unwrap();
        }
        let opened = DataDir::open(copy.clone(), PathBuf::from("/data"), DataDirOptions::default());
        let (dir, _) = opened.unwrap();
        let (mut log, _) = dir.open_log(PARTITION, compacted(), NOW).unwrap();
        let mut flusher = Flusher::new(dir.clone(), FlushMethod::Fdatasync);
        for _ in 0..40 {
            append_keyed(&mut log, &mut flusher, 200);
        }
        let limits = CleanLimits {
            now: NOW,
            high_watermark: log.log_end(),
            ..CleanLimits::default()
        };
        let cleaning = log
            .plan_cleaning(limits)
            .map(|mut job| job.run(&CleanBudget::default(), &mut |_| true));
        refused += usize::from(cleaning.is_some_and(|cleaning| cleaning.is_err()));
        let reader = log.reader();
        for batch in &batches {
            if let Ok(read) = reader.read(batch.base_offset(), log.log_end(), 1)
                && let Some(first) = iter_batches(read.bytes).next()
            {
                let first = first.unwrap();
                // Its key may have come again since: then the next one is what is left.
                assert!(
                    first == *batch || batches.contains(&first) || first.base_offset() >= Offset::new(60),
                    "byte {position}: {first:?}"
                );
            }
        }
        let bytes = disk.contents(&path).unwrap();
        let len = u32::from_be_bytes(bytes[position + 8..position + 12].try_into().unwrap());
        position += 12 + usize::try_from(len).unwrap();
    }
    assert_eq!(refused, 5);
}

/// Of a copy with gaps, which a follower keeps, what grows is held against what is known of it so far.
#[test]
fn a_copy_with_gaps_is_read_while_it_grows() {
    let disk = FakeDisk::new(1);
    let (dir, _) = DataDir::open(disk, PathBuf::from("/data"), DataDirOptions::default()).unwrap();
    let config = LogConfig {
        segment_bytes: 1 << 20,
        ..compacted()
    };
    let (mut log, _) = dir.open_log(PARTITION, config, NOW).unwrap();
    log.append(NOW, &[keyed(Offset::ZERO, 0)]).unwrap();
    let reader = log.reader();
    let reads = std::thread::scope(|scope| {
        let growing = scope.spawn(move || {
            for at in 1..3_000_u64 {
                let base = Offset::new(at * 3);
                log.append_copied(NOW, &[keyed(base, 0)], Offset::new(9_000))
                    .unwrap();
            }
            log
        });
        let mut reads = 0_u64;
        while !growing.is_finished() {
            let (mut from, end) = (Offset::ZERO, reader.log_end());
            while from < end {
                let read = reader.read(from, end, 500).unwrap();
                assert!(read.next > from, "a read goes on, or says why not");
                assert!(iter_batches(read.bytes).all(|batch| batch.unwrap().base_offset().get() % 3 == 0));
                (from, reads) = (read.next, reads + 1);
            }
        }
        let log = growing.join().unwrap();
        assert_eq!(batches_of(&log).unwrap().len(), 3_000);
        reads
    });
    assert!(reads > 0);
}
