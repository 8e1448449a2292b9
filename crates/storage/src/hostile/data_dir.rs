//! A data directory whose files an enemy changed.

use crate::test_util::FakeDisk;
use crate::{
    Access, CleanBudget, CleanLimits, CompactionConfig, DataDir, DataDirOptions, Disk, DiskFile, FlushMethod,
    Flusher, Log, LogConfig, ReadError, ReplaceFile,
};
use quipu_record::{
    Batch, BatchBuilder, BrokerEpoch, Codec, LeaderEpoch, Offset, PartitionId, StoredBatch, Timestamp,
    TopicId, TopicPartition, iter_batches,
};
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const NOW: Timestamp = Timestamp::new(1_000_000);
const ROOT: &str = "/data";

/// Where the marks stand.
const SLOT_LEN: usize = 128;

fn partition(number: u32) -> TopicPartition {
    TopicPartition {
        topic: TopicId::from_u128(7),
        partition: PartitionId::new(number),
    }
}

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 400,
        index_interval_bytes: 100,
        retention_ms: None,
        ..LogConfig::default()
    }
}

fn batch(base: Offset, epoch: LeaderEpoch, value: &[u8]) -> StoredBatch {
    let mut builder = BatchBuilder::new(Codec::None, 256);
    for time in [1_000, 1_001] {
        // The same key for several batches: of a log that is compacted only some stay.
        let key = [value.len().to_le_bytes()[0]];
        builder
            .push(Timestamp::new(time), Some(&key), Some(value), &[])
            .expect("room");
    }
    let bytes = builder.finish(None).expect("a batch");
    Batch::check(bytes, usize::MAX)
        .expect("a sound batch")
        .stamp(base, epoch)
}

/// Two logs of a few segments and epochs, flushed but for the last batch of each; shut down cleanly, or not.
fn sound(clean: bool) -> FakeDisk {
    let disk = FakeDisk::new(1);
    let (dir, _) =
        DataDir::open(disk.clone(), PathBuf::from(ROOT), DataDirOptions::default()).expect("an empty disk");
    let mut flusher = Flusher::new(dir.clone(), FlushMethod::Auto);
    for number in 0..2 {
        let (mut log, _) = dir
            .open_log(partition(number), config(), NOW)
            .expect("an empty log");
        for at in 0..9 {
            let epoch = LeaderEpoch::new(at / 4);
            log.begin_epoch(epoch);
            let value = [b'a' + u8::try_from(at).unwrap_or(0); 20];
            log.append(NOW, &[batch(log.log_end(), epoch, &value)])
                .expect("room");
            if at == 5 {
                log.write_producer_snapshot(b"state").expect("room");
            }
            if at < 8 || clean {
                let (done, _) = flusher
                    .round(log.take_flush().into_iter().collect())
                    .expect("a sound disk");
                for done in &done {
                    log.flush_done(done);
                }
            }
        }
    }
    dir.write_high_watermarks(&[(partition(0), Offset::new(9))])
        .expect("room");
    if clean {
        dir.shut_down(flusher, BrokerEpoch::new(3)).expect("a sound disk");
    }
    drop(dir);
    disk.kill();
    disk
}

/// Like [`sound`], with the first log cleaned up to that many calls that change the disk: there the process was killed.
fn cleaned(calls: u64) -> FakeDisk {
    let disk = sound(false);
    let (dir, _) =
        DataDir::open(disk.clone(), PathBuf::from(ROOT), DataDirOptions::default()).expect("a sound disk");
    let compaction = CompactionConfig {
        min_cleanable_dirty_ratio: 0,
        ..CompactionConfig::default()
    };
    let config = LogConfig {
        compaction: Some(compaction),
        segment_bytes: 800,
        ..config()
    };
    let (log, _) = dir.open_log(partition(0), config, NOW).expect("a sound log");
    let limits = CleanLimits {
        now: NOW,
        high_watermark: log.log_end(),
        ..CleanLimits::default()
    };
    let mut job = log.plan_cleaning(limits).expect("there is much to clean");
    disk.power_off_after(Some(calls));
    let _ = job.run(&CleanBudget::default(), &mut |_| true);
    disk.power_off_after(None);
    drop((job, log, dir));
    disk.kill();
    disk
}

/// The first log cleaned; and left as its `swap` was there, and the first of the new names.
fn cleaned_and_in_mid_swap() -> [FakeDisk; 2] {
    let ends = |disk: &FakeDisk, end: &str| {
        let files = disk.files();
        files.iter().any(|file| file.to_string_lossy().ends_with(end))
    };
    let in_mid_swap = (0..1_000)
        .map(cleaned)
        .find(|disk| ends(disk, "/swap") && ends(disk, ".seal.clean") && !ends(disk, ".log.clean"));
    let cleaned = cleaned(u64::MAX);
    assert!(ends(&cleaned, ".cleaned"), "nothing was cleaned");
    [cleaned, in_mid_swap.expect("a cleaning swaps")]
}

/// Changes to the files of a sound data directory: after a byte that says how it was left, each is an operation, a file,
/// a position of two bytes, a length, and so many bytes. Whatever they are: it opens or says why not, reads give sound
/// batches in order or an error, and it opens the same once more.
pub fn data_dir(data: &[u8]) {
    static SOUND: OnceLock<[FakeDisk; 4]> = OnceLock::new();
    let Some((&which, mut rest)) = data.split_first() else {
        return;
    };
    let disks = SOUND.get_or_init(|| {
        let [cleaned, in_mid_swap] = cleaned_and_in_mid_swap();
        [sound(false), sound(true), cleaned, in_mid_swap]
    });
    let disk = disks[usize::from(which % 4)].copy(1);
    let files: Vec<PathBuf> = disk
        .files()
        .into_iter()
        .filter(|file| !file.ends_with(".lock"))
        .collect();
    while let Some(([operation, file, high, low, len], after)) =
        rest.split_first_chunk().map(|(a, b)| (*a, b))
    {
        let (bytes, after) = after.split_at(usize::from(len).min(after.len()));
        rest = after;
        let position = usize::from(u16::from_be_bytes([high, low]));
        change(
            &disk,
            operation,
            &files[usize::from(file) % files.len()],
            position,
            bytes,
        );
    }
    open_twice(&disk);
}

fn change(disk: &FakeDisk, operation: u8, file: &Path, position: usize, bytes: &[u8]) {
    let forged = batch(
        Offset::new(position as u64),
        LeaderEpoch::new(bytes.first().copied().unwrap_or(0).into()),
        bytes,
    );
    // A file that an earlier change removed stays away.
    let _ = match operation % 8 {
        0 => disk.damage(file, |old| {
            old.iter_mut()
                .skip(position)
                .zip(bytes)
                .for_each(|(old, new)| *old = *new)
        }),
        1 => disk.damage(file, |old| old.truncate(position)),
        2 => disk.damage(file, |old| *old = bytes.to_vec()),
        3 => disk.remove(file),
        4 => disk.damage(file, |old| old.extend_from_slice(bytes)),
        5 => disk.damage(file, |old| {
            old.iter_mut()
                .skip(position / 8)
                .take(1)
                .for_each(|old| *old ^= 1 << (position % 8))
        }),
        6 => disk.damage(file, |old| old.extend_from_slice(&forged.to_bytes())),
        _ => ReplaceFile::write(disk, file, bytes).map_err(std::io::Error::other),
    };
}

/// The file of flush marks alone, as it is and with the checksum of every slot mended.
pub fn flush_marks(data: &[u8]) {
    let mut mended = data.to_vec();
    let page = SLOT_LEN * 32;
    for (at, slot) in mended.chunks_exact_mut(SLOT_LEN).enumerate() {
        let (pair, within) = (at * SLOT_LEN / (2 * page), at % 32);
        let (fields, stored) = slot.split_at_mut(SLOT_LEN - 4);
        let place = crc32c::crc32c(&((pair * 32 + within) as u64).to_be_bytes());
        stored.copy_from_slice(&crc32c::crc32c_append(place, fields).to_be_bytes());
    }
    for bytes in [data, &mended] {
        let disk = FakeDisk::new(1);
        disk.create_dir(Path::new(ROOT)).expect("a sound disk");
        let file = disk
            .open(&Path::new(ROOT).join("flushed"), Access::CreateNew)
            .expect("a sound disk");
        file.write_at(&[IoSlice::new(bytes)], 0).expect("a sound disk");
        open_twice(&disk);
    }
}

/// What is seen of a log: its range, and whether it is damaged.
type Seen = (TopicPartition, Offset, Offset, bool);

fn open_twice(disk: &FakeDisk) {
    let first = open_all(disk);
    disk.kill();
    let second = open_all(disk);
    disk.kill();
    // Where the marks were lost, the first start knows that they were, and the second one does not.
    if let Some(first) = first {
        assert_eq!(
            Some(first),
            second,
            "a second start finds what the first one left"
        );
    }
}

/// Opens everything, reads everything; `None` if files of the directory itself were wrong.
fn open_all(disk: &FakeDisk) -> Option<Vec<Seen>> {
    let opened = DataDir::open(disk.clone(), PathBuf::from(ROOT), DataDirOptions::default());
    let (dir, boot) = opened.ok()?;
    let _ = dir.read_high_watermarks();
    let mut seen = Vec::new();
    for partition in boot.logs {
        let Ok((log, _)) = dir.open_log(partition, config(), NOW) else {
            continue;
        };
        read_all(&log);
        let _ = log.producer_snapshot();
        seen.push((partition, log.log_start(), log.log_end(), log.damage().is_some()));
    }
    boot.repaired.is_empty().then_some(seen)
}

fn read_all(log: &Log<FakeDisk>) {
    let reader = log.reader();
    let mut from = log.log_start();
    while from < log.log_end() {
        let read = match reader.read(from, log.log_end(), 300) {
            Ok(read) => read,
            Err(ReadError::Corrupt(_)) => break,
            Err(error) => panic!("the disk is sound, and yet: {error}"),
        };
        assert!(read.next > from, "a read goes on, or says why not");
        for batch in iter_batches(read.bytes) {
            let batch = batch.expect("what is served is sound");
            assert_eq!(log.epochs().at(batch.base_offset()), Some(batch.leader_epoch()));
            assert!(batch.next_offset() > from && batch.next_offset() <= log.log_end());
        }
        from = read.next;
    }
    let _ = reader.for_each_header(log.log_start(), |header| {
        assert!(header.base_offset() < log.log_end())
    });
}
