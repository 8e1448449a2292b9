//! The bytes are what they were: a change here is a change of what stands on people's disks.

use super::*;
use crate::record::{Current, GroupHead, Info, Progress, StoredOffset};
use crate::{
    AssignedPartition, AssignmentEpoch, Assignor, GroupEpoch, InstanceId, MemberEpoch, StreamId,
    StreamNumber, Subscription,
};
use quipu_record::{LeaderEpoch, Offset, Timestamp};
use std::sync::Arc;
use std::time::Duration;

const TOPIC: TopicId = TopicId::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn at(partition: u32) -> TopicPartition {
    TopicPartition {
        topic: TOPIC,
        partition: PartitionId::new(partition),
    }
}

fn info() -> Info {
    Info {
        instance: InstanceId::new("i").ok(),
        rack: Some("r".into()),
        client_id: "c".into(),
        client_host: "h".into(),
        subscription: Subscription {
            topics: vec!["t".into(), "u".into()],
            pattern: Some("x.*".into()),
        },
        assignor: Assignor::Range,
        session_timeout: Duration::from_secs(45),
        revocation_timeout: Duration::from_secs(60),
        stream: Some(StreamId::new(7)),
        stream_number: None,
        past_streams: vec![StreamId::new(5)],
        candidate: None,
    }
}

fn current() -> Current {
    let has = |partition, epoch| AssignedPartition {
        at: at(partition),
        epoch: AssignmentEpoch::new(epoch),
    };
    Current {
        epoch: MemberEpoch::new(4),
        previous: Some(MemberEpoch::new(3)),
        progress: Progress::Unrevoked,
        away: false,
        assigned: vec![has(0, 2), has(3, 4)],
        pending: vec![has(1, 2)],
    }
}

fn offset() -> StoredOffset {
    StoredOffset {
        offset: Offset::new(300),
        at: Timestamp::new(-1),
        leader_epoch: Some(LeaderEpoch::new(6)),
        metadata: Some("m".into()),
    }
}

/// Each kind of record, and its key and value as they stand on disks.
fn golden() -> Vec<(Change, &'static str, &'static str)> {
    let member = || MemberId::new("m").expect("an id");
    let candidate = Info {
        candidate: Some(Arc::new(info())),
        ..info()
    };
    let counted = Info {
        stream_number: Some(StreamNumber::new(9)),
        ..info()
    };
    let head = GroupHead {
        epoch: GroupEpoch::new(9),
        topics_hash: 1,
        topics_version: 2,
        empty_since: Some(Timestamp::new(1_000)),
    };
    vec![
        (
            Change::Offset(at(3), Some(offset())),
            "080112016722100102030405060708090a0b0c0d0e0f102803",
            "0801120a08ac021001180622016d",
        ),
        (
            Change::Offset(at(3), None),
            "080112016722100102030405060708090a0b0c0d0e0f102803",
            "",
        ),
        (
            Change::Expired(at(3), Some(offset())),
            "081012016722100102030405060708090a0b0c0d0e0f102803",
            "0801120a08ac021001180622016d",
        ),
        (
            Change::Group(Some(head)),
            "0803120167",
            "080112100809110100000000000000180220d00f",
        ),
        (
            Change::Member(member(), Some(Arc::new(candidate))),
            "08051201671a016d",
            "0801126a0a01691201721a01632201682a01742a01753203782e2a380240c8df0248e0d4035107000000000000005a08050000000000000062340a01691201721a01632201682a01742a01753203782e2a380240c8df0248e0d4035107000000000000005a080500000000000000",
        ),
        (
            Change::Member(member(), Some(Arc::new(counted))),
            "08051201671a016d",
            "080212360a01691201721a01632201682a01742a01753203782e2a380240c8df0248e0d4035107000000000000005a0805000000000000006809",
        ),
        (
            Change::TargetEpoch(Some(GroupEpoch::new(9))),
            "0806120167",
            "080112020809",
        ),
        (
            Change::Target(member(), Some([at(0), at(3)].into())),
            "08071201671a016d",
            "080112180a160a100102030405060708090a0b0c0d0e0f1012020003",
        ),
        (
            Change::Current(member(), Some(current())),
            "08081201671a016d",
            "0801123c0804100318022a1a0a100102030405060708090a0b0c0d0e0f10120200031a02020432180a100102030405060708090a0b0c0d0e0f101201011a0102",
        ),
        (Change::Current(member(), None), "08081201671a016d", ""),
    ]
}

#[test]
fn the_bytes_are_what_they_were() {
    for (change, key, value) in golden() {
        let record = Record {
            group: GroupId::new("g").expect("a name"),
            change,
        };
        let encoded = record.encode();
        let found = (
            hex(&encoded.key),
            encoded.value.as_deref().map(hex).unwrap_or_default(),
        );
        assert_eq!(found, (key.to_owned(), value.to_owned()), "{record:?}");
        let read = Record::decode(&encoded.key, encoded.value.as_deref());
        assert_eq!(read.as_ref(), Ok(&record));
    }
}

#[test]
fn what_is_not_known_is_an_error() {
    let key = |kind| Key {
        kind,
        group: "g".into(),
        ..Key::default()
    };
    let unknown = Record::decode(&key(99).encode_to_vec(), None);
    assert_eq!(unknown, Err(ReplayError::Unknown { kind: 99, version: 0 }));
    let newer = Value {
        version: 2,
        body: Bytes::new(),
    };
    let newer = Record::decode(&key(GROUP).encode_to_vec(), Some(&newer.encode_to_vec()));
    assert_eq!(
        newer,
        Err(ReplayError::Unknown {
            kind: GROUP,
            version: 2
        })
    );
    // A member is of the version that has what it has, and of no other.
    let member = Key {
        member: Some("m".into()),
        ..key(MEMBER)
    };
    for (number, wrong) in [(None, 2), (Some(StreamNumber::new(1)), 1), (None, 3)] {
        let info = Info {
            stream_number: number,
            ..info()
        };
        let value = seal_as(wrong, &InfoMessage::from(&info));
        let refused = Record::decode(&member.encode_to_vec(), Some(&value));
        assert!(refused.is_err(), "{refused:?}");
    }
    // A field of a later version, in a value of this one.
    let mut more = Value {
        version: 1,
        body: vec![0xf8, 0x01, 0x01].into(),
    };
    let refused = Record::decode(&key(GROUP).encode_to_vec(), Some(&more.encode_to_vec()));
    assert!(matches!(refused, Err(ReplayError::Malformed(_))), "{refused:?}");
    more.body = Bytes::new();
    let mut twice = key(GROUP).encode_to_vec();
    twice.extend([0x08, 0x03]);
    let refused = Record::decode(&twice, Some(&more.encode_to_vec()));
    assert!(matches!(refused, Err(ReplayError::Malformed(_))), "{refused:?}");
}

#[test]
fn a_value_has_four_mebibytes_at_most() {
    const MOST: usize = 4 * 1024 * 1024;
    let record = |metadata: usize| Record {
        group: GroupId::new("g").expect("a name"),
        change: Change::Offset(
            at(3),
            Some(StoredOffset {
                metadata: Some("m".repeat(metadata).into()),
                ..offset()
            }),
        ),
    };
    let len = |record: &Record| record.encode().value.expect("an offset").len();
    let around = len(&record(MOST - 100)) - (MOST - 100);
    for (more, fits) in [(0, true), (1, false)] {
        let record = record(MOST - around + more);
        assert_eq!(len(&record), MOST + more);
        let encoded = record.encode();
        let read = Record::decode(&encoded.key, encoded.value.as_deref());
        let expected = match fits {
            true => Ok(record),
            false => Err(ReplayError::TooLarge { len: MOST + 1 }),
        };
        assert_eq!(read, expected);
    }
}
