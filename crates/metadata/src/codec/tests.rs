//! The bytes are what they were: a change here is a change of what stands on people's disks.

use super::*;
use crate::*;
use proptest::prelude::*;
use quipu_record::{
    BrokerEpoch, BrokerId, LeaderEpoch, MetadataVersion, Offset, PartitionEpoch, PartitionId, ProducerId,
    TopicId, TopicPartition,
};

const TOPIC: TopicId = TopicId::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn set(ids: &[u32]) -> ReplicaSet {
    ids.iter().copied().map(BrokerId::new).collect()
}

fn at(partition: u32) -> TopicPartition {
    TopicPartition {
        topic: TOPIC,
        partition: PartitionId::new(partition),
    }
}

fn broker() -> Broker {
    Broker {
        id: BrokerId::new(2),
        epoch: BrokerEpoch::new(300),
        incarnation: Incarnation::from_u128(1),
        directory: DirectoryId::from_u128(2),
        listeners: vec![Listener {
            name: "c".into(),
            advertised: "h:4600".into(),
            protocol: "grpc".into(),
        }],
        rack: Some("r".into()),
        version: "0.1".into(),
        feature_level: FeatureLevel::V1,
        fenced: true,
        shutting_down: None,
    }
}

fn partition() -> Partition {
    let mut partition = Partition {
        replicas: set(&[1, 2, 3]),
        isr: set(&[2]),
        elr: set(&[3]),
        leader: Some(BrokerId::new(2)),
        leader_epoch: LeaderEpoch::new(4),
        partition_epoch: PartitionEpoch::new(9),
        min_insync: 2,
        rare: None,
    };
    let cut = CutReplica {
        broker: BrokerId::new(3),
        last_epoch: Some(LeaderEpoch::FIRST),
        log_end: Offset::new(200),
    };
    partition.set_rare(Rare {
        last_known_elr: set(&[1]),
        cut: vec![cut],
        possible_loss: true,
        ..Rare::default()
    });
    partition
}

fn records() -> Vec<(Record, &'static str)> {
    let config = TopicConfig::from_raw(vec![
        (ConfigKey::RetentionMs, -1),
        (ConfigKey::MinInsyncReplicas, 2),
    ]);
    let version = MetadataVersion::new(7);
    vec![
        (
            Record::Cluster {
                cluster_id: ClusterId::from_u128(5),
                feature_level: FeatureLevel::V1,
            },
            "080110011a140a10000000000000000000000000000000051001",
        ),
        (
            Record::Broker(Box::new(broker())),
            "080210011a48080210ac021a10000000000000000000000000000000012210000000000000000000000000000000022a110a01631206683a343630301a04677270633201723a03302e3140014801",
        ),
        (
            Record::BrokerState {
                id: BrokerId::new(2),
                epoch: BrokerEpoch::new(300),
                fenced: false,
                shutting_down: Some(version),
            },
            "080310011a07080210ac022007",
        ),
        (
            Record::Topic {
                id: TOPIC,
                name: "flights".into(),
                internal: false,
                config: config.clone(),
                config_version: version,
            },
            "080410011a290a100102030405060708090a0b0c0d0e0f101207666c69676874732204080210012204080a10042807",
        ),
        (
            Record::TopicConfig {
                id: TOPIC,
                config,
                config_version: version,
            },
            "080510011a200a100102030405060708090a0b0c0d0e0f101204080210011204080a10041807",
        ),
        (
            Record::TopicDeleted { id: TOPIC },
            "080610011a120a100102030405060708090a0b0c0d0e0f10",
        ),
        (
            Record::Partition {
                at: at(6),
                state: partition(),
            },
            "080710011a370a100102030405060708090a0b0c0d0e0f1010061a210a030102031201021a010320022804300938025201015a070803100018c8016001",
        ),
        (
            Record::ProducerIds {
                next: ProducerId::new(1000),
            },
            "080810011a0308e807",
        ),
    ]
}

fn commands() -> Vec<(Command, &'static str)> {
    let (id, epoch) = (BrokerId::new(2), BrokerEpoch::new(300));
    let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
    let member = IsrMember { id, epoch };
    let change = IsrChange {
        at: at(6),
        leader_epoch: LeaderEpoch::new(4),
        partition_epoch: PartitionEpoch::new(9),
        isr: vec![member],
    };
    let register = RegisterBroker {
        id,
        incarnation: Incarnation::from_u128(1),
        cluster_id: Some(ClusterId::from_u128(5)),
        directory: DirectoryId::from_u128(2),
        listeners: broker().listeners,
        rack: None,
        version: "0.1".into(),
        feature_level: FeatureLevel::V1,
        clean_epoch: Some(epoch),
        page_cache_kept: true,
        cut: vec![CutPartition {
            at: at(6),
            last_epoch: None,
            log_end: Offset::new(0),
        }],
        damaged: vec![at(7)],
    };
    let create = CreateTopic {
        name: "flights".into(),
        topic_id: TOPIC,
        partitions: 6,
        replication_factor: Some(3),
        configs: vec![pair("retention.ms", "-1")],
        internal: false,
    };
    let update = UpdateTopicConfig {
        topic_id: TOPIC,
        change: ConfigChange {
            set: vec![pair("segment.ms", "5000")],
            unset: vec!["flush.ms".into()],
        },
        expected_version: Some(MetadataVersion::new(7)),
    };
    vec![
        (
            InitCluster {
                cluster_id: ClusterId::from_u128(5),
                feature_level: FeatureLevel::V1,
            }
            .into_command(),
            "080110011a140a10000000000000000000000000000000051001",
        ),
        (
            register.into_command(),
            "080210011a850108021210000000000000000000000000000000011a10000000000000000000000000000000052210000000000000000000000000000000022a110a01631206683a343630301a04677270633a03302e31400148ac0250015a160a140a100102030405060708090a0b0c0d0e0f10100662140a100102030405060708090a0b0c0d0e0f101007",
        ),
        (
            UnfenceBroker { id, epoch }.into_command(),
            "080310011a05080210ac02",
        ),
        (
            FenceBrokers {
                brokers: vec![BrokerFence { id, epoch }],
            }
            .into_command(),
            "080410011a070a05080210ac02",
        ),
        (
            BeginShutdown { id, epoch }.into_command(),
            "080510011a05080210ac02",
        ),
        (
            create.into_command(),
            "080610011a330a07666c696768747312100102030405060708090a0b0c0d0e0f10180620032a120a0c726574656e74696f6e2e6d7312022d31",
        ),
        (
            DeleteTopic { topic_id: TOPIC }.into_command(),
            "080710011a120a100102030405060708090a0b0c0d0e0f10",
        ),
        (
            update.into_command(),
            "080810011a320a100102030405060708090a0b0c0d0e0f1012120a0a7365676d656e742e6d731204353030301a08666c7573682e6d732007",
        ),
        (
            CreatePartitions {
                topic_id: TOPIC,
                total: 12,
            }
            .into_command(),
            "080910011a140a100102030405060708090a0b0c0d0e0f10100c",
        ),
        (
            AlterPartitions {
                id,
                epoch,
                changes: vec![change],
            }
            .into_command(),
            "080a10011a28080210ac021a210a140a100102030405060708090a0b0c0d0e0f101006100418092205080210ac02",
        ),
        (
            AllocProducerIds { id, epoch }.into_command(),
            "080b10011a05080210ac02",
        ),
    ]
}

#[test]
fn records_have_the_bytes_they_always_had() {
    for (record, golden) in records() {
        assert_eq!(hex(&record.encode()), golden, "{record:?}");
        assert_eq!(Record::decode(&record.encode()), Ok(record));
    }
}

#[test]
fn commands_have_the_bytes_they_always_had() {
    for (command, golden) in commands() {
        assert_eq!(hex(&command.encode()), golden, "{command:?}");
        assert_eq!(Command::decode(&command.encode()), Ok(command));
    }
}

#[test]
fn the_page_on_formats_has_every_number() {
    let page = include_str!("../../../../docs/format.md");
    let kind = |bytes: &[u8]| open(bytes, COMMAND_BYTES_MAX).expect("an envelope").kind;
    for (record, _) in records() {
        let name = format!("{record:?}");
        let name = name.split([' ', '(']).next().expect("a name");
        let cell = format!("| `{name}` | {} | |", kind(&record.encode()));
        assert!(page.contains(&cell), "docs/format.md lacks {cell}");
    }
    for (command, _) in commands() {
        let cell = format!("| | `{}` | {} |", command.name(), kind(&command.encode()));
        assert!(page.contains(&cell), "docs/format.md lacks {cell}");
    }
}

#[test]
fn what_is_not_known_stops_the_reader() {
    let unknown = |kind, version| {
        Envelope {
            kind,
            version,
            body: bytes::Bytes::new(),
        }
        .encode_to_vec()
    };
    for (kind, version) in [(0, 1), (9, 1), (99, 1), (1, 2), (7, 0)] {
        let error = Err(DecodeError::Unknown {
            what: "record",
            kind,
            version,
        });
        assert_eq!(Record::decode(&unknown(kind, version)), error);
    }
    for (kind, version) in [(0, 1), (12, 1), (6, 2)] {
        let error = Err(DecodeError::Unknown {
            what: "command",
            kind,
            version,
        });
        assert_eq!(Command::decode(&unknown(kind, version)), error);
    }
}

#[test]
fn a_config_from_a_newer_version_stops_the_reader() {
    let known = Record::TopicConfig {
        id: TOPIC,
        config: TopicConfig::from_raw(vec![(ConfigKey::FlushBytes, 1)]),
        config_version: MetadataVersion::new(0),
    };
    let mut bytes = known.encode();
    let key = bytes.len() - 3;
    assert_eq!(bytes[key], 14, "the key's number");
    bytes[key] = 99;
    assert_eq!(
        Record::decode(&bytes),
        Err(DecodeError::Field { field: "config" })
    );
}

#[test]
fn what_is_too_large_is_not_looked_at() {
    let large = vec![0; RECORD_BYTES_MAX + 1];
    let error = DecodeError::TooLarge {
        len: large.len(),
        max: RECORD_BYTES_MAX,
    };
    assert_eq!(Record::decode(&large), Err(error));
}

proptest! {
    #[test]
    fn damaged_bytes_are_an_error_or_something_else_but_never_a_panic(
        which in 0usize..19,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let all: Vec<Vec<u8>> =
            records().iter().map(|(r, _)| r.encode()).chain(commands().iter().map(|(c, _)| c.encode())).collect();
        let mut bytes = all[which].clone();
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        if let Ok(record) = Record::decode(&bytes) {
            prop_assert_eq!(Record::decode(&record.encode()), Ok(record));
        }
        if let Ok(command) = Command::decode(&bytes) {
            prop_assert_eq!(Command::decode(&command.encode()), Ok(command));
        }
    }
}
