//! Snapshots, whole and damaged, and crashes at every call while one is written.

use super::codec::{self, SnapshotError};
use super::*;
use crate::test_util::StoppingDisk;
use crate::wal::{NodeMessage, VotersMessage};
use bytes::Bytes;
use proptest::prelude::*;
use quipu_metadata::{Delta, Image, Partition, Record, ReplicaSet, TopicConfig};
use quipu_record::{
    BrokerId, LeaderEpoch, MetadataVersion, PartitionEpoch, PartitionId, ProducerId, TopicId, TopicPartition,
};
use quipu_storage::Disk;
use quipu_storage::test_util::FakeDisk;
use std::io;
use std::path::{Path, PathBuf};

fn image(topics: u32, version: u64) -> Image {
    let mut image = Image::default();
    image.advance_to(MetadataVersion::new(version));
    for n in 0..topics {
        let id = TopicId::from_u128(u128::from(n) + 1);
        let name = format!("topic-{n}").into();
        let config_version = MetadataVersion::new(1);
        let config = TopicConfig::default();
        image
            .replay(&Record::Topic {
                id,
                name,
                internal: false,
                config,
                config_version,
            })
            .expect("replays");
        let state = Partition {
            replicas: ReplicaSet::only(BrokerId::new(n)),
            isr: ReplicaSet::EMPTY,
            elr: ReplicaSet::only(BrokerId::new(n)),
            leader: None,
            leader_epoch: LeaderEpoch::new(n),
            partition_epoch: PartitionEpoch::new(version),
            min_insync: 1,
            rare: None,
        };
        let at = TopicPartition {
            topic: id,
            partition: PartitionId::new(0),
        };
        image.replay(&Record::Partition { at, state }).expect("replays");
    }
    image
        .replay(&Record::ProducerIds {
            next: ProducerId::new(version * 1000),
        })
        .expect("replays");
    image
}

fn contents(topics: u32, index: u64) -> Contents {
    let place = |index| LogPlace {
        term: 2,
        leader: 9,
        index,
    };
    let membership = MembershipMessage {
        voters: vec![VotersMessage { ids: vec![9] }],
        nodes: vec![NodeMessage {
            id: 9,
            address: "a:1".to_owned(),
        }],
    };
    Contents {
        last: Some(place(index)),
        membership: Arc::new(membership),
        membership_at: Some(place(0)),
        image: Arc::new(image(topics, index)),
    }
}

fn encoded(contents: &Contents) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::write(contents, |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    })
    .expect("memory does not fail");
    bytes
}

fn decoded(mut bytes: &[u8]) -> Result<Contents, SnapshotError> {
    codec::read(|buf| {
        let Some((head, rest)) = bytes.split_at_checked(buf.len()) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        buf.copy_from_slice(head);
        bytes = rest;
        Ok(())
    })
}

#[test]
fn what_is_written_is_read_in_one_chunk_and_in_many() {
    for topics in [0, 1, 10, 3_000] {
        let contents = contents(topics, 77);
        let bytes = encoded(&contents);
        assert_eq!(decoded(&bytes).expect("whole"), contents, "{topics} topics");
    }
    let nothing = Contents::default();
    assert_eq!(decoded(&encoded(&nothing)).expect("whole"), nothing);
}

#[test]
fn every_flipped_bit_and_every_cut_is_seen() {
    let bytes = encoded(&contents(3, 77));
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(decoded(&flipped).is_err(), "byte {at}");
        assert!(decoded(&bytes[..at]).is_err(), "cut to {at}");
    }
}

#[test]
fn chunks_cannot_be_swapped_dropped_or_repeated() {
    let bytes = encoded(&contents(8_000, 77));
    let mut chunks = Vec::new();
    let mut rest = &bytes[8..];
    while let Some((len, _)) = rest.split_first_chunk::<4>() {
        let (chunk, next) = rest.split_at(12 + usize::try_from(u32::from_le_bytes(*len)).expect("small"));
        chunks.push(chunk);
        rest = next;
    }
    assert!(chunks.len() > 4, "{} chunks", chunks.len());
    let joined = |chunks: &[&[u8]]| [&bytes[..8], &chunks.concat()].concat();
    assert!(decoded(&joined(&chunks)).is_ok());
    let mut swapped = chunks.clone();
    swapped.swap(1, 2);
    assert!(decoded(&joined(&swapped)).is_err());
    let mut dropped = chunks.clone();
    dropped.remove(2);
    assert!(decoded(&joined(&dropped)).is_err());
    let mut repeated = chunks.clone();
    repeated.insert(2, chunks[1]);
    assert!(decoded(&joined(&repeated)).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), head in any::<bool>()) {
        let mut bytes = bytes;
        if head {
            bytes.splice(0..0, *b"QSNP\x01\0\0\0");
        }
        let _ = decoded(&bytes);
    }
}

fn dir() -> PathBuf {
    PathBuf::from("/m")
}

fn disk() -> FakeDisk {
    let disk = FakeDisk::new(1);
    disk.create_dir(&dir()).expect("created");
    disk.sync_dir(Path::new("/")).expect("synced");
    disk
}

fn store<D: Disk>(disk: &D) -> SnapshotStore<D> {
    SnapshotStore::open(disk.clone(), &dir()).expect("opens")
}

#[test]
fn two_are_kept_and_the_newest_is_read() {
    let store = store(&disk());
    for index in [10, 20, 30] {
        store.write(&contents(2, index)).expect("written");
    }
    assert_eq!(store.indexes().expect("listed"), [30, 20]);
    assert_eq!(store.newest(None).expect("whole"), Some(contents(2, 30)));
}

#[test]
fn a_damaged_one_is_replaced_by_the_one_before_only_if_the_log_covers_the_rest() {
    let disk = disk();
    let store = store(&disk);
    store.write(&contents(2, 10)).expect("written");
    store.write(&contents(2, 20)).expect("written");
    let newest = dir().join("00000000000000000020.snap");
    disk.damage(&newest, |bytes| bytes[40] ^= 1).expect("there");
    assert_eq!(
        store.newest(Some(10)).expect("the log has 11 and on"),
        Some(contents(2, 10))
    );
    let error = store.newest(Some(11)).expect_err("entry 11 is gone");
    assert!(
        matches!(&error, crate::StartError::Corrupt { path, .. } if *path == newest),
        "{error}"
    );
    disk.damage(&dir().join("00000000000000000010.snap"), |bytes| {
        bytes.truncate(30)
    })
    .expect("there");
    assert_eq!(store.newest(None).expect("the log has everything"), None);
    assert!(store.newest(Some(3)).is_err());
}

#[test]
fn a_crash_at_any_call_leaves_the_old_one_or_the_new_one() {
    let (mut old, mut new) = (0, 0);
    for calls in 0..12 {
        for seed in 0..40 {
            let disk = disk();
            store(&disk).write(&contents(2, 10)).expect("written");
            store(&disk).write(&contents(2, 20)).expect("written");
            let stopping = StoppingDisk::new(disk.clone(), calls);
            let written = store(&stopping).write(&contents(5, 30));
            disk.crash(seed);
            let found = store(&disk)
                .newest(Some(15))
                .expect("something whole")
                .expect("something");
            if found == contents(5, 30) {
                new += 1;
            } else {
                assert_eq!(found, contents(2, 20));
                assert!(written.is_err(), "what was written is gone");
                old += 1;
            }
            // And the next one is written over whatever is left.
            store(&disk).write(&contents(6, 40)).expect("written");
            assert_eq!(
                store(&disk).newest(Some(15)).expect("whole"),
                Some(contents(6, 40))
            );
        }
    }
    assert!(old > 100 && new > 100, "{old} old, {new} new");
}

#[test]
fn an_image_goes_to_others_in_checked_pieces_and_what_changes_follows() {
    let mut image = image(3_000, 77);
    let mut chunks = encode_image(&Arc::new(image.clone())).expect("memory");
    assert!(chunks.len() > 2, "{} chunks", chunks.len());
    let mut found = decode_image(&chunks).expect("whole").as_ref().clone();
    assert_eq!(found, image);

    let delta = Delta {
        version: MetadataVersion::new(78),
        records: vec![Record::ProducerIds {
            next: ProducerId::new(99_000),
        }],
    };
    let sent = decode_delta(delta.version, &encode_delta(&delta)).expect("whole");
    assert_eq!(sent, delta);
    image.apply(&delta).expect("replays");
    found.apply(&sent).expect("replays");
    assert_eq!(found, image);

    chunks[1].crc ^= 1;
    assert!(decode_image(&chunks).is_err());
    chunks.remove(1);
    assert!(decode_image(&chunks).is_err());
    assert!(decode_delta(delta.version, &[Bytes::from_static(b"no record")]).is_err());
}
