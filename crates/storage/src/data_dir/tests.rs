use super::*;
use crate::FlushMethod;
use crate::test_util::FakeDisk;
use quipu_record::{Batch, BatchBuilder, Codec, LeaderEpoch, Offset, PartitionId, TopicId};

fn partition(number: u32) -> TopicPartition {
    TopicPartition {
        topic: TopicId::from_u128(7),
        partition: PartitionId::new(number),
    }
}

fn open(disk: &FakeDisk) -> Result<(DataDir<FakeDisk>, Boot), DataDirError> {
    DataDir::open(disk.clone(), PathBuf::from("/data"), DataDirOptions::default())
}

#[test]
fn a_second_process_is_kept_out() {
    let disk = FakeDisk::new(1);
    let first = open(&disk).unwrap();
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, DataDirError::Locked(_)));
    assert_eq!(
        error.to_string(),
        "/data is in use by another process: stop it, or choose another data directory"
    );
    drop(first);
    open(&disk).unwrap();
}

#[test]
fn the_marker_of_a_clean_shutdown_counts_once() {
    let disk = FakeDisk::new(1);
    let (dir, boot) = open(&disk).unwrap();
    assert_eq!(boot.clean_shutdown, None);
    let flusher = Flusher::new(dir.clone(), FlushMethod::Auto);
    dir.shut_down(flusher, BrokerEpoch::new(42)).unwrap();
    drop(dir);
    disk.crash(1);
    let (dir, boot) = open(&disk).unwrap();
    assert_eq!(boot.clean_shutdown, Some(BrokerEpoch::new(42)));
    drop(dir);
    disk.crash(2);
    let (_, boot) = open(&disk).unwrap();
    assert_eq!(boot.clean_shutdown, None);
}

#[test]
fn high_watermarks_are_hints() {
    let disk = FakeDisk::new(1);
    let (dir, _) = open(&disk).unwrap();
    assert_eq!(dir.read_high_watermarks().unwrap(), vec![]);
    let all = vec![(partition(1), Offset::new(5)), (partition(2), Offset::new(6))];
    dir.write_high_watermarks(&all).unwrap();
    assert_eq!(dir.read_high_watermarks().unwrap(), all);
    disk.damage(Path::new("/data/high-watermarks"), |bytes| bytes[20] ^= 1)
        .unwrap();
    assert_eq!(dir.read_high_watermarks().unwrap(), vec![]);
}

/// A life that ended between making the directory and syncing its name left one that a power cut could take back, with
/// everything that the next life had acknowledged.
#[test]
fn the_data_directorys_own_name_outlasts_a_power_cut_whoever_made_it() {
    for seed in 0..20 {
        let disk = FakeDisk::new(seed);
        disk.create_dir(Path::new("/data")).unwrap();
        drop(open(&disk).unwrap());
        disk.crash(seed);
        assert!(disk.list(Path::new("/data")).is_ok(), "seed {seed}");
    }
}

const NOW: Timestamp = Timestamp::new(1_000_000);

fn open_log(dir: &DataDir<FakeDisk>) -> (Log<FakeDisk>, OpenReport) {
    dir.open_log(partition(0), LogConfig::default(), NOW).unwrap()
}

/// Appends a batch of two records.
fn append(log: &mut Log<FakeDisk>) {
    let mut builder = BatchBuilder::new(Codec::None, 256);
    for value in [b"one", b"two"] {
        builder.push(NOW, None, Some(value), &[]).unwrap();
    }
    let batch = Batch::check(builder.finish(None).unwrap(), 1 << 20).unwrap();
    let batch = batch.stamp(log.log_end(), LeaderEpoch::FIRST);
    log.append(NOW, &[batch]).unwrap();
}

/// A log of four records, the first of them deleted, durably and by its mark too.
fn begin_log(dir: &DataDir<FakeDisk>, mut log: Log<FakeDisk>) {
    append(&mut log);
    append(&mut log);
    log.delete_records(Offset::new(1), Offset::new(4)).unwrap();
    let mut flusher = Flusher::new(dir.clone(), FlushMethod::Auto);
    let (done, _) = flusher.round(log.take_flush().into_iter().collect()).unwrap();
    done.iter().for_each(|done| {
        log.flush_done(done);
    });
    assert_eq!(log.durable_log_start(), Offset::new(1));
    while flusher.has_marks() {
        flusher.round(Vec::new()).unwrap();
    }
}

fn log_is_there(dir: &DataDir<FakeDisk>, about: &str) {
    let (log, report) = open_log(dir);
    let found = (log.log_start(), log.flushed(), log.log_end());
    let expected = (Offset::new(1), Offset::new(4), Offset::new(4));
    assert_eq!(found, expected, "{about}: {report:?}");
}

/// A deletion of a log that was never flushed, until a number of calls later the process is killed.
fn begin_and_delete(disk: &FakeDisk, calls: u64) {
    let (dir, _) = open(disk).unwrap();
    let (mut log, _) = open_log(&dir);
    append(&mut log);
    disk.power_off_after(Some(calls));
    let _ = dir.delete_log(log);
    disk.power_off_after(None);
    drop(dir);
    disk.kill();
}

/// Nothing was written of the numbers that the process before had handed out: the new log had that of the deleted one,
/// whose deletion the next start finished, and with it what was flushed of the new one.
#[test]
fn a_log_is_never_taken_for_one_that_was_deleted_before_it_was_flushed() {
    for calls in 0..8 {
        let disk = FakeDisk::new(calls);
        begin_and_delete(&disk, calls);
        let (dir, _) = open(&disk).unwrap();
        let (mut log, _) = open_log(&dir);
        if log.log_end() > Offset::ZERO {
            dir.delete_log(log).unwrap();
            log = open_log(&dir).0;
        }
        begin_log(&dir, log);
        drop(dir);
        disk.crash(calls);
        let (dir, _) = open(&disk).unwrap();
        log_is_there(&dir, &format!("after {calls} calls"));
    }
}

/// The names of a deleted log were removed, and not for good.
#[test]
fn a_log_is_never_taken_for_one_that_comes_back_with_a_power_cut() {
    for seed in 0..128 {
        let disk = FakeDisk::new(seed);
        begin_and_delete(&disk, 2);
        let (dir, _) = open(&disk).unwrap();
        assert_eq!(dir.empty_trash(9).unwrap(), 1);
        drop(dir);
        disk.kill();
        let (dir, _) = open(&disk).unwrap();
        let (mut log, _) = open_log(&dir);
        log.restart_at(Offset::new(35)).unwrap();
        drop((log, dir));
        disk.crash(seed);
        let (dir, _) = open(&disk).unwrap();
        assert_eq!(open_log(&dir).0.log_start(), Offset::new(35), "seed {seed}");
    }
}

/// With the marks went all knowledge of numbers, but for what the journals say.
#[test]
fn a_log_is_never_taken_for_an_older_one_where_the_marks_were_lost() {
    for renamed in [false, true] {
        let disk = FakeDisk::new(1);
        for _ in 0..5 {
            drop(open(&disk).unwrap());
            disk.kill();
        }
        begin_and_delete(&disk, if renamed { 2 } else { 0 });
        disk.remove(Path::new("/data/flushed")).unwrap();
        let (dir, _) = open(&disk).unwrap();
        dir.delete_partition(partition(0)).unwrap();
        begin_log(&dir, open_log(&dir).0);
        drop(dir);
        disk.kill();
        let (dir, _) = open(&disk).unwrap();
        log_is_there(&dir, &format!("renamed before: {renamed}"));
    }
}
