use super::*;
use crate::FlushMethod;
use crate::test_util::FakeDisk;
use quipu_record::{Offset, PartitionId, TopicId};

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
