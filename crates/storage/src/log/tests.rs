use crate::test_util::FakeDisk;
use crate::{
    Boot, DataDir, DataDirOptions, Disk, FlushMethod, Flusher, Log, LogConfig, OpenReport, ReadError,
};
use quipu_record::{
    Batch, BatchBuilder, BrokerEpoch, Codec, LeaderEpoch, Offset, PartitionId, StoredBatch, Timestamp,
    TopicId, TopicPartition, iter_batches,
};
use std::path::{Path, PathBuf};

const NOW: Timestamp = Timestamp::new(1_000_000);

fn partition(number: u32) -> TopicPartition {
    TopicPartition {
        topic: TopicId::from_u128(7),
        partition: PartitionId::new(number),
    }
}

fn batch(base: Offset, epoch: u32, times: &[i64], value: &[u8]) -> StoredBatch {
    let mut builder = BatchBuilder::new(Codec::None, 256);
    for time in times {
        builder
            .push(Timestamp::new(*time), None, Some(value), &[])
            .unwrap();
    }
    let bytes = builder.finish(None).unwrap();
    Batch::check(bytes, 1 << 20)
        .unwrap()
        .stamp(base, LeaderEpoch::new(epoch))
}

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 250,
        index_interval_bytes: 100,
        retention_ms: None,
        ..LogConfig::default()
    }
}

/// Large enough segments for appends past the cache, from so many bytes on.
fn appended_behind(direct_bytes: Option<u64>) -> LogConfig {
    LogConfig {
        segment_bytes: 1 << 20,
        direct_bytes,
        ..config()
    }
}

fn open_dir(disk: &FakeDisk) -> (DataDir<FakeDisk>, Boot) {
    DataDir::open(disk.clone(), PathBuf::from("/data"), DataDirOptions::default()).unwrap()
}

fn open(dir: &DataDir<FakeDisk>) -> (Log<FakeDisk>, OpenReport) {
    dir.open_log(partition(0), config(), NOW).unwrap()
}

/// Appends one batch of so many records.
fn append(log: &mut Log<FakeDisk>, records: usize) {
    let epoch = log.epochs().latest().map_or(0, |latest| latest.epoch.get());
    let base = log.log_end();
    let time = 1_000 + i64::try_from(base.get()).unwrap();
    let all = [batch(
        base,
        epoch,
        &vec![time; records],
        base.to_string().as_bytes(),
    )];
    log.append(NOW, &all).unwrap();
}

fn flush(flusher: &mut Flusher<FakeDisk>, log: &mut Log<FakeDisk>) {
    let jobs = log.take_flush().into_iter().collect();
    let (done, _) = flusher.round(jobs).unwrap();
    done.iter().for_each(|done| {
        log.flush_done(done);
    });
}

fn read_all(log: &Log<FakeDisk>) -> Result<Vec<StoredBatch>, ReadError> {
    let reader = log.reader();
    let mut from = log.log_start();
    let mut all = Vec::new();
    while from < log.log_end() {
        let read = reader.read(from, log.log_end(), 150)?;
        all.extend(iter_batches(read.bytes).map(Result::unwrap));
        from = read.next;
    }
    Ok(all)
}

#[test]
fn what_is_appended_is_read_flushed_and_there_after_a_crash() {
    let disk = FakeDisk::new(1);
    let (dir, boot) = open_dir(&disk);
    assert_eq!(boot, Boot::default());
    let (mut log, report) = open(&dir);
    assert_eq!(report, OpenReport::default());
    assert!(!log.is_dirty());
    let mut flusher = Flusher::new(dir.clone(), FlushMethod::Auto);
    for _ in 0..10 {
        append(&mut log, 2);
    }
    assert!(log.segments() > 2);
    assert_eq!((log.log_end(), log.flushed()), (Offset::new(20), Offset::ZERO));
    flush(&mut flusher, &mut log);
    assert_eq!(log.flushed(), Offset::new(20));
    assert!(!log.is_dirty());
    let before = read_all(&log).unwrap();
    assert_eq!(before.len(), 10);
    drop((log, flusher, dir));
    disk.crash(5);
    let (dir, boot) = open_dir(&disk);
    assert_eq!(boot.logs, vec![partition(0)]);
    let (log, report) = open(&dir);
    assert_eq!(
        (report.cut.clone(), report.corrupt.clone()),
        (None, vec![]),
        "{report:?}"
    );
    assert_eq!(read_all(&log).unwrap(), before);
    assert_eq!(log.last_epoch(), Some(LeaderEpoch::FIRST));
}

#[test]
fn what_was_set_aside_is_kept_and_the_log_begins_again() {
    for seed in 0..16 {
        let disk = FakeDisk::new(seed);
        disk.create_dir(Path::new("/data")).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        let (dir, _) = open_dir(&disk);
        let (mut log, _) = open(&dir);
        let mut flusher = Flusher::new(dir.clone(), FlushMethod::Fdatasync);
        for _ in 0..6 {
            append(&mut log, 2);
            flush(&mut flusher, &mut log);
        }
        append(&mut log, 2);
        // A flush that was under way proves nothing of the log that begins now.
        let job = log.take_flush();
        let away = log.set_aside(Offset::ZERO).unwrap().expect("there was something");
        let (done, _) = flusher.round(job.into_iter().collect()).unwrap();
        done.iter().for_each(|done| {
            log.flush_done(done);
        });
        assert_eq!((log.log_end(), log.flushed()), (Offset::ZERO, Offset::ZERO));
        assert!(log.epochs().entries().is_empty() && log.damage().is_none());
        if seed % 2 == 0 {
            append(&mut log, 3);
            flush(&mut flusher, &mut log);
        }
        let end = log.log_end();
        drop((log, flusher, dir));
        disk.crash(seed);
        let (dir, _) = open_dir(&disk);
        let (log, report) = open(&dir);
        assert!(report.corrupt.is_empty(), "{report:?}");
        assert_eq!(log.log_end(), end);
        assert!(
            disk.files().iter().any(|file| file.starts_with(&away)),
            "kept, to be looked at"
        );
    }
}

#[test]
fn large_appends_go_past_the_cache_until_files_are_read() {
    let disk = FakeDisk::new(1);
    let (dir, _) = open_dir(&disk);
    let (mut log, _) = open(&dir);
    let goes_past = |log: &mut Log<FakeDisk>, records| {
        let before = disk.counts().direct_writes;
        append(log, records);
        disk.counts().direct_writes > before
    };
    assert!(!goes_past(&mut log, 40), "not unless configured");
    log.set_config(appended_behind(Some(200)));
    assert!(goes_past(&mut log, 40));
    assert!(!goes_past(&mut log, 1), "not worth it");
    read_all(&log).unwrap();
    assert!(!goes_past(&mut log, 40), "whoever reads files will read it");
}

#[test]
fn a_log_that_is_no_longer_written_behind_keeps_in_a_kill_what_was() {
    let keeps_all = |settle: bool, seed| {
        let disk = FakeDisk::new(seed);
        let (dir, _) = open_dir(&disk);
        let (mut log, _) = open(&dir);
        log.set_config(appended_behind(Some(200)));
        append(&mut log, 40);
        // A job that was handed over has the file, and has not come to it yet.
        let _handed_over = log.take_flush();
        if settle {
            log.set_config(appended_behind(None));
        }
        let end = log.log_end();
        disk.kill();
        drop((log, dir));
        let (dir, _) = open_dir(&disk);
        open(&dir).0.log_end() == end
    };
    assert!((0..50).all(|seed| keeps_all(true, seed)));
    assert!((0..50).any(|seed| !keeps_all(false, seed)), "a kill may lose it");
}

/// All of it lies below the log start, and so it was flushed up to its end, though no mark said so. A truncation made the
/// flush void that was to complete one, and no other followed.
#[test]
fn a_log_that_was_found_empty_has_a_mark_after_a_truncation_and_a_clean_shutdown() {
    let disk = FakeDisk::new(1);
    let (dir, _) = open_dir(&disk);
    let (mut log, _) = open(&dir);
    append(&mut log, 2);
    log.delete_records(Offset::new(2), Offset::new(2)).unwrap();
    Flusher::new(dir.clone(), FlushMethod::Auto)
        .round(Vec::new())
        .unwrap();
    drop((log, dir));
    disk.kill();
    let (dir, _) = open_dir(&disk);
    let (mut log, _) = open(&dir);
    let range = (log.log_start(), log.flushed(), log.log_end());
    assert_eq!(range, (Offset::new(2), Offset::new(2), Offset::new(2)));
    append(&mut log, 1);
    let mut flusher = Flusher::new(dir.clone(), FlushMethod::Auto);
    let under_way = log.take_flush();
    log.truncate_to(Offset::new(2)).unwrap();
    let (done, _) = flusher.round(under_way.into_iter().collect()).unwrap();
    done.iter().for_each(|done| {
        log.flush_done(done);
    });
    flush(&mut flusher, &mut log);
    assert!(!log.is_dirty());
    dir.shut_down(flusher, BrokerEpoch::new(7)).unwrap();
    drop((log, dir));
    disk.kill();
    let (dir, boot) = open_dir(&disk);
    assert_eq!(boot.clean_shutdown, Some(BrokerEpoch::new(7)));
    assert_eq!(open(&dir).1, OpenReport::default(), "nothing is to be read");
}

#[test]
fn an_empty_partition_has_no_files() {
    let disk = FakeDisk::new(1);
    let (dir, _) = open_dir(&disk);
    let before = disk.files();
    let logs: Vec<_> = (0..100)
        .map(|number| dir.open_log(partition(number), config(), NOW).unwrap().0)
        .collect();
    assert_eq!(disk.files(), before);
    assert_eq!(dir.open_files(), 0);
    drop(logs);
}
