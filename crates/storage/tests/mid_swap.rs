//! A directory that a crash left in the middle of a cleaning, at every call of it: an offline look finds no corruption in
//! it, and tells what the next start makes of it.

#![expect(clippy::unwrap_used, reason = "a test")]

use bytes::Bytes;
use quipu_record::{
    Batch, BatchBuilder, Codec, LeaderEpoch, Offset, PartitionId, StoredBatch, Timestamp, TopicId,
    TopicPartition, iter_batches,
};
use quipu_storage::test_util::FakeDisk;
use quipu_storage::{
    CleanBudget, CleanLimits, CompactionConfig, DataDir, DataDirOptions, Disk as _, FindingKind, FlushMethod,
    Flusher, Log, LogConfig, OpenReport, dump_segment, segment_files, verify_path,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const NOW: Timestamp = Timestamp::new(1_000_000);
const ROOT: &str = "/data";

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 500,
        index_interval_bytes: 1,
        retention_ms: None,
        compaction: Some(CompactionConfig {
            min_cleanable_dirty_ratio: 0,
            ..CompactionConfig::default()
        }),
        ..LogConfig::default()
    }
}

fn open(disk: &FakeDisk) -> (DataDir<FakeDisk>, Log<FakeDisk>, OpenReport) {
    let (dir, _) = DataDir::open(disk.clone(), PathBuf::from(ROOT), DataDirOptions::default()).unwrap();
    let at = TopicPartition {
        topic: TopicId::from_u128(7),
        partition: PartitionId::new(0),
    };
    let (log, report) = dir.open_log(at, config(), NOW).unwrap();
    (dir, log, report)
}

fn batch(base: Offset, key: u8) -> StoredBatch {
    let mut builder = BatchBuilder::new(Codec::None, 256);
    for key in [key, key + 1] {
        builder.push(NOW, Some(&[key]), Some(&[key; 30]), &[]).unwrap();
    }
    let batch = Batch::check(builder.finish(None).unwrap(), 1 << 20).unwrap();
    batch.stamp(base, LeaderEpoch::new(0))
}

/// A log of some keys, over and over, all of it flushed.
fn sound() -> FakeDisk {
    let disk = FakeDisk::new(1);
    let (dir, mut log, _) = open(&disk);
    let mut flusher = Flusher::new(dir.clone(), FlushMethod::Auto);
    for at in 0..40 {
        log.append(NOW, &[batch(log.log_end(), at % 7 * 2)]).unwrap();
        let (done, _) = flusher.round(log.take_flush().into_iter().collect()).unwrap();
        for done in &done {
            log.flush_done(done);
        }
    }
    drop((dir, log, flusher));
    disk.kill();
    disk
}

/// Cleans the log; the power goes after so many calls. Whether it was done by then.
fn clean(disk: &FakeDisk, calls: u64) -> bool {
    let (_dir, log, _) = open(disk);
    let limits = CleanLimits {
        now: NOW,
        high_watermark: log.log_end(),
        ..CleanLimits::default()
    };
    let mut job = log.plan_cleaning(limits).unwrap();
    disk.power_off_after(Some(calls));
    let done = job.run(&CleanBudget::default(), &mut |_| true).is_ok();
    disk.power_off_after(None);
    done
}

fn dumped(disk: &FakeDisk) -> Vec<Bytes> {
    let mut batches = Vec::new();
    for file in segment_files(disk, Path::new(ROOT)).unwrap() {
        dump_segment(disk, &file, |_, _, batch| batches.push(batch.to_bytes())).unwrap();
    }
    batches
}

fn served(log: &Log<FakeDisk>) -> Vec<Bytes> {
    let (mut batches, mut from) = (Vec::new(), log.log_start());
    while from < log.log_end() {
        let read = log.reader().read(from, log.log_end(), 1_000).unwrap();
        batches.extend(iter_batches(read.bytes).map(|batch| batch.unwrap().to_bytes()));
        from = read.next;
    }
    batches
}

/// Looks at the disk, starts, and holds what was seen against what is there then. Where the cleaning was cut off.
fn examine(disk: &FakeDisk, said: &str) -> &'static str {
    let names = disk.files();
    let there = |end: &str| names.iter().any(|name| name.to_str().unwrap().ends_with(end));
    let state = match (there("/swap"), there(".log.clean"), there(".clean")) {
        (false, _, true) => "a cleaned segment beside the others",
        (false, ..) => "no cleaned segment in the making",
        (true, true, _) => "a swap, no name changed",
        (true, false, true) => "a swap, some names changed",
        (true, false, false) => "a swap, all names changed",
    };
    let found = verify_path(disk, Path::new(ROOT)).unwrap();
    // What is flushed and cleaned has no torn tail; an index may not have been synced.
    let wrong = found
        .findings
        .iter()
        .find(|finding| finding.kind != FindingKind::Repairable);
    assert_eq!(wrong, None, "{said}: {state}");
    let dumped = dumped(disk);
    let (_dir, log, report) = open(disk);
    assert!(
        report.corrupt.is_empty() && report.cut.is_none(),
        "{said}: {report:?}"
    );
    let served = served(&log);
    assert!(
        dumped == served,
        "{said}: {state}: what was dumped is not what is served"
    );
    assert_eq!(found.batches, served.len() as u64, "{said}: {state}");
    let again = verify_path(disk, Path::new(ROOT)).unwrap();
    assert_eq!(again.batches, found.batches, "{said}: {state}");
    state
}

#[test]
fn an_offline_look_sees_what_the_next_start_makes_of_it() {
    let sound = sound();
    let mut states: BTreeMap<&str, u64> = BTreeMap::new();
    let mut calls = 0;
    loop {
        let killed = sound.copy(calls);
        let done = clean(&killed, calls);
        killed.kill();
        *states
            .entry(examine(&killed, &format!("killed after {calls} calls")))
            .or_default() += 1;
        for seed in 0..8 {
            let crashed = sound.copy(seed);
            clean(&crashed, calls);
            crashed.crash(seed);
            let said = format!("power gone after {calls} calls, seed {seed}");
            *states.entry(examine(&crashed, &said)).or_default() += 1;
        }
        if done {
            break;
        }
        calls += 1;
    }
    println!("{calls} calls: {states:#?}");
    assert_eq!(states.len(), 5, "{states:?}");
}

#[test]
fn a_cleaned_log_is_verified_and_its_damage_found() {
    let disk = sound();
    let before = verify_path(&disk, Path::new(ROOT)).unwrap();
    assert!(clean(&disk, u64::MAX));
    disk.kill();
    let found = verify_path(&disk, Path::new(ROOT)).unwrap();
    assert_eq!(found.findings, []);
    assert!(found.records < before.records, "{found:?}");
    let files = disk.files();
    let ends = |end: &'static str| {
        files
            .iter()
            .find(move |file| file.to_str().unwrap().ends_with(end))
            .unwrap()
    };
    let cleaned = ends(".cleaned").with_extension("log");
    for (file, kind) in [
        (&cleaned, FindingKind::Corrupt),
        (ends("/compaction"), FindingKind::Repairable),
        (&cleaned.with_extension("seal"), FindingKind::Repairable),
        (ends(".index"), FindingKind::Repairable),
    ] {
        let bad = disk.copy(1);
        bad.damage(file, |bytes| bytes[10] ^= 1).unwrap();
        let found = verify_path(&bad, Path::new(ROOT)).unwrap().findings;
        let said = found.iter().any(|it| it.kind == kind && it.at.file == *file);
        assert!(said, "{}: {found:?}", file.display());
    }
}

#[test]
fn a_swap_that_cannot_be_read_is_corruption_and_nothing_is_removed() {
    let sound = sound();
    let in_mid_swap = (0..1_000).map(|calls| {
        let disk = sound.copy(1);
        clean(&disk, calls);
        disk.kill();
        disk
    });
    let swap = |disk: &FakeDisk| disk.files().into_iter().find(|file| file.ends_with("swap"));
    let (disk, swap) = in_mid_swap
        .filter_map(|disk| swap(&disk).map(|swap| (disk, swap)))
        .next()
        .unwrap();
    disk.damage(&swap, |bytes| bytes[15] ^= 1).unwrap();
    let before = disk.files();
    let found = verify_path(&disk, Path::new(ROOT)).unwrap().findings;
    let said = found
        .iter()
        .any(|it| it.kind == FindingKind::Corrupt && it.at.file == swap);
    assert!(said, "{found:?}");
    let (dir, log, report) = open(&disk);
    assert_eq!(report.corrupt[0].file, swap);
    drop((dir, log));
    assert_eq!(disk.files(), before);
}

#[test]
fn a_log_that_is_being_deleted_is_no_part_of_a_directory() {
    let disk = sound();
    let file = segment_files(&disk, Path::new(ROOT)).unwrap().remove(0);
    let log = file.parent().unwrap();
    let aside = log.with_extension("1.deleted");
    disk.rename(log, &aside).unwrap();
    assert_eq!(segment_files(&disk, Path::new(ROOT)).unwrap(), [] as [PathBuf; 0]);
    assert!(
        !segment_files(&disk, &aside).unwrap().is_empty(),
        "named itself it is shown"
    );
}

/// What has the offsets then may be neither committed nor durable.
#[test]
fn a_cleaning_planned_before_the_log_began_anew_leaves_the_new_one_alone() {
    let disk = sound();
    let (_dir, mut log, _) = open(&disk);
    let limits = CleanLimits {
        now: NOW,
        high_watermark: log.log_end(),
        ..CleanLimits::default()
    };
    let mut job = log.plan_cleaning(limits).unwrap();
    log.restart_at(Offset::ZERO).unwrap();
    for at in 0..40 {
        log.append(NOW, &[batch(log.log_end(), at % 7 * 2)]).unwrap();
    }
    let before = served(&log);
    let report = job.run(&CleanBudget::default(), &mut |_| true).unwrap();
    assert_eq!((report.segments_before, report.bytes_read), (0, 0));
    assert_eq!(served(&log), before);
}
