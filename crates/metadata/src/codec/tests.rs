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
        (
            ElectLeaders {
                partitions: vec![at(6)],
                kind: LeaderElection::Unclean,
            }
            .into_command(),
            "080c10011a180a140a100102030405060708090a0b0c0d0e0f1010061002",
        ),
        (
            OfflineReplicas {
                id,
                epoch,
                partitions: vec![at(6)],
            }
            .into_command(),
            "080d10011a1b080210ac021a140a100102030405060708090a0b0c0d0e0f101006",
        ),
        (
            GrowTopic {
                topic_id: TOPIC,
                gone: Vec::new(),
            }
            .into_command(),
            "080f10011a120a100102030405060708090a0b0c0d0e0f10",
        ),
        (
            GrowTopic {
                topic_id: TOPIC,
                gone: vec![id, BrokerId::new(300)],
            }
            .into_command(),
            "080f10011a170a100102030405060708090a0b0c0d0e0f10120302ac02",
        ),
        (
            EnsureOffsetsTopic { topic_id: TOPIC }.into_command(),
            "080e10011a120a100102030405060708090a0b0c0d0e0f10",
        ),
    ]
}

/// Of each reply an outcome, and of each refusal one at least.
fn replies() -> Vec<(Reply, &'static str)> {
    let (id, epoch, version) = (BrokerId::new(2), BrokerEpoch::new(300), MetadataVersion::new(7));
    let cluster_id = ClusterId::from_u128(5);
    let (name, topic_id) = ("flights".to_owned(), TOPIC);
    let answer = || PartitionAnswer {
        at: at(6),
        state: partition(),
    };
    let stale = BrokerError::StaleEpoch {
        id,
        registered: epoch,
        given: BrokerEpoch::new(1),
    };
    let wrong = RegisterBrokerError::WrongCluster {
        theirs: ClusterId::from_u128(6),
        ours: cluster_id,
    };
    let created = TopicCreated {
        topic_id,
        partitions: 6,
        replication_factor: 3,
    };
    let above = ConfigMistake::MinInsyncAboveReplicas {
        asked: -1,
        replicas: 3,
    };
    let letter = quipu_record::TopicNameError::BadCharacter {
        found: '\u{e9}',
        position: 3,
    };
    let mismatch = UpdateTopicConfigError::VersionMismatch {
        expected: version,
        at: MetadataVersion::new(8),
    };
    let ineligible = AlterPartitionError::IneligibleReplica {
        at: at(6),
        broker: id,
        why: Ineligible::Restarted,
    };
    let not_ready = ElectLeaderError::PreferredNotReady {
        at: at(6),
        preferred: id,
    };
    let few = CreatePartitionsError::NoBrokers {
        needed: 3,
        registered: 2,
        ready: 1,
    };
    let mistakes = vec![letter.into(), TopicMistake::Partitions(0), above.clone().into()];
    vec![
        (
            Reply::InitCluster(Ok(ClusterInitialized { cluster_id })),
            "080110011a140a12221000000000000000000000000000000005",
        ),
        (
            Reply::RegisterBroker(Ok(Registered { epoch })),
            "080210011a060a041202ac02",
        ),
        (
            Reply::RegisterBroker(Err(wrong)),
            "080210011a2812260802221000000000000000000000000000000006221000000000000000000000000000000005",
        ),
        (
            Reply::UnfenceBroker(Ok(BrokerUnfenced { elections: 9 })),
            "080310011a050a03120109",
        ),
        (
            Reply::UnfenceBroker(Err(stale)),
            "080310011a0a12080802120402ac0201",
        ),
        (
            Reply::FenceBrokers(Ok(BrokersFenced { fenced: vec![id] })),
            "080410011a050a03120102",
        ),
        (
            Reply::BeginShutdown(Ok(ShutdownBegun {
                moved: 3,
                still_leads: 1,
            })),
            "080510011a060a0412020301",
        ),
        (
            Reply::CreateTopic(Ok(created)),
            "080610011a180a161202060322100102030405060708090a0b0c0d0e0f10",
        ),
        (
            Reply::CreateTopic(Err(CreateTopicError::Exists { name, topic_id })),
            "080610011a1f121d08011a07666c696768747322100102030405060708090a0b0c0d0e0f10",
        ),
        (
            Reply::CreateTopic(Err(CreateTopicError::Invalid(mistakes))),
            "080610011a29122708022a0708041203e901032a0508061201002a1308082a0f0807120bffffffffffffffffff0103",
        ),
        (
            Reply::DeleteTopic(Ok(TopicDeleted { topic_id })),
            "080710011a140a1222100102030405060708090a0b0c0d0e0f10",
        ),
        (
            Reply::DeleteTopic(Err(DeleteTopicError::Internal("t".into()))),
            "080710011a07120508021a0174",
        ),
        (
            Reply::UpdateTopicConfig(Ok(ConfigUpdated {
                config_version: version,
            })),
            "080810011a050a03120107",
        ),
        (
            Reply::UpdateTopicConfig(Err(mismatch)),
            "080810011a081206080212020708",
        ),
        (
            Reply::CreatePartitions(Ok(PartitionsCreated { total: 12 })),
            "080910011a050a0312010c",
        ),
        (
            Reply::CreatePartitions(Err(few)),
            "080910011a09120708051203030201",
        ),
        (
            Reply::AlterPartitions(Ok(vec![Ok(answer()), Err(ineligible)])),
            "080a10011a570a552a3812010622100102030405060708090a0b0c0d0e0f1022210a030102031201021a010320022804300938025201015a070803100018c80160012a190806120306020322100102030405060708090a0b0c0d0e0f10",
        ),
        (
            Reply::AllocProducerIds(Ok(ProducerIdBlock {
                first: ProducerId::new(1000),
                count: 1000,
            })),
            "080b10011a080a061204e807e807",
        ),
        (
            Reply::ElectLeaders(Ok(vec![Ok(answer()), Err(not_ready)])),
            "080c10011a560a542a3812010622100102030405060708090a0b0c0d0e0f1022210a030102031201021a010320022804300938025201015a070803100018c80160012a1808031202060222100102030405060708090a0b0c0d0e0f10",
        ),
        (
            Reply::OfflineReplicas(Ok(ReplicasOffline {
                changed: 2,
                leaderless: 1,
            })),
            "080d10011a060a0412020201",
        ),
        (
            Reply::GrowTopic(Ok(TopicGrown {
                begun: 2,
                completed: 1,
            })),
            "080f10011a060a0412020201",
        ),
        (
            Reply::EnsureOffsetsTopic(Ok(created)),
            "080e10011a180a161202060322100102030405060708090a0b0c0d0e0f10",
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
fn replies_have_the_bytes_they_always_had() {
    for (reply, golden) in replies() {
        assert_eq!(hex(&reply.encode()), golden, "{reply:?}");
        assert_eq!(Reply::decode(&reply.encode()), Ok(reply));
    }
}

#[test]
fn every_refusal_is_understood_as_it_was_said() {
    let topic = |mistake| Reply::CreateTopic(Err(CreateTopicError::Invalid(vec![mistake])));
    let config = |mistake| Reply::UpdateTopicConfig(Err(UpdateTopicConfigError::Invalid(vec![mistake])));
    let change = |error| Reply::AlterPartitions(Ok(vec![Err(error)]));
    let election = |error| Reply::ElectLeaders(Ok(vec![Err(error)]));
    let (id, level) = (BrokerId::new(2), FeatureLevel::V1);
    let (key, value, why) = ("retention.ms", "x".to_owned(), "y".to_owned());
    let why_not = [
        Ineligible::LeaderLeftOut,
        Ineligible::NoReplica,
        Ineligible::Restarted,
        Ineligible::Fenced,
        Ineligible::ShuttingDown,
    ];
    let mut all = vec![
        Reply::InitCluster(Err(InitClusterError::TooNew { asked: level })),
        Reply::RegisterBroker(Err(RegisterBrokerError::NoCluster)),
        Reply::RegisterBroker(Err(RegisterBrokerError::DuplicateId { id })),
        Reply::RegisterBroker(Err(RegisterBrokerError::TooOld {
            needs: level,
            knows: level,
        })),
        Reply::RegisterBroker(Err(RegisterBrokerError::AtOnce { id })),
        Reply::RegisterBroker(Err(RegisterBrokerError::NoListener)),
        Reply::BeginShutdown(Err(BrokerError::Unknown(id))),
        Reply::AllocProducerIds(Err(BrokerError::Fenced(id))),
        Reply::CreateTopic(Err(CreateTopicError::NoBroker)),
        topic(quipu_record::TopicNameError::Empty.into()),
        topic(quipu_record::TopicNameError::Dots("..".into()).into()),
        topic(quipu_record::TopicNameError::TooLong(300).into()),
        topic(TopicMistake::ReservedName),
        topic(TopicMistake::ReplicationFactor { asked: 4, brokers: 3 }),
        config(ConfigMistake::Unknown {
            key: "retenton.ms".into(),
            nearest: key,
        }),
        config(ConfigMistake::NotHere {
            key: CONFIGS_NOT_HERE[1].0.into(),
            instead: CONFIGS_NOT_HERE[1].1,
        }),
        config(ConfigMistake::TooNew {
            key,
            needs: level,
            at: level,
        }),
        config(ConfigMistake::BadValue { key, value, why }),
        config(ConfigMistake::Twice { key }),
        config(ConfigMistake::Immutable { key }),
        Reply::DeleteTopic(Err(DeleteTopicError::Unknown(TOPIC))),
        Reply::UpdateTopicConfig(Err(UpdateTopicConfigError::Unknown(TOPIC))),
        Reply::UpdateTopicConfig(Err(UpdateTopicConfigError::Internal("t".into()))),
        Reply::EnsureOffsetsTopic(Err(EnsureOffsetsTopicError::NoBroker)),
        Reply::GrowTopic(Err(GrowTopicError::Unknown(TOPIC))),
        Reply::GrowTopic(Err(GrowTopicError::NotInternal("t".into()))),
        Reply::CreatePartitions(Err(CreatePartitionsError::Unknown(TOPIC))),
        Reply::CreatePartitions(Err(CreatePartitionsError::Internal("t".into()))),
        Reply::CreatePartitions(Err(CreatePartitionsError::TooMany(9))),
        Reply::CreatePartitions(Err(CreatePartitionsError::NotMore {
            name: "t".into(),
            now: 3,
            asked: 2,
        })),
        change(AlterPartitionError::Unknown(at(1))),
        change(AlterPartitionError::Twice(at(1))),
        change(AlterPartitionError::NotLeader { at: at(1), asks: id }),
        change(AlterPartitionError::FencedLeaderEpoch {
            at: at(1),
            now: LeaderEpoch::new(2),
            given: LeaderEpoch::new(1),
        }),
        change(AlterPartitionError::InvalidUpdateVersion {
            at: at(1),
            now: PartitionEpoch::new(2),
            given: PartitionEpoch::new(1),
        }),
        election(ElectLeaderError::Unknown(at(1))),
        election(ElectLeaderError::Twice(at(1))),
        election(ElectLeaderError::Nobody(at(1))),
        Reply::OfflineReplicas(Err(BrokerError::Fenced(id))),
    ];
    all.extend(why_not.map(|why| {
        change(AlterPartitionError::IneligibleReplica {
            at: at(1),
            broker: id,
            why,
        })
    }));
    for reply in all {
        assert_eq!(Reply::decode(&reply.encode()), Ok(reply));
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
    for (kind, version) in [(0, 1), (16, 1), (6, 2)] {
        let error = Err(DecodeError::Unknown {
            what: "command",
            kind,
            version,
        });
        assert_eq!(Command::decode(&unknown(kind, version)), error);
        let error = Err(DecodeError::Unknown {
            what: "reply",
            kind,
            version,
        });
        assert_eq!(Reply::decode(&unknown(kind, version)), error);
    }
    // Neither an outcome nor a refusal.
    let empty = Err(DecodeError::Field { field: "answer" });
    assert_eq!(Reply::decode(&unknown(5, 1)), empty);
}

#[test]
fn every_kind_of_election_has_its_number() {
    for (number, kind) in [
        (1, LeaderElection::Preferred),
        (2, LeaderElection::Unclean),
        (3, LeaderElection::CutWaitOver),
    ] {
        let partitions = vec![at(6)];
        let command = ElectLeaders { partitions, kind }.into_command();
        let mut bytes = command.encode();
        assert_eq!(bytes.last(), Some(&number));
        assert_eq!(Command::decode(&bytes), Ok(command));
        bytes.pop();
        bytes.push(4);
        assert_eq!(Command::decode(&bytes), Err(DecodeError::Field { field: "kind" }));
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
        which in any::<prop::sample::Index>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let all: Vec<Vec<u8>> =
            records().iter().map(|(r, _)| r.encode()).chain(commands().iter().map(|(c, _)| c.encode()))
                .chain(replies().iter().map(|(r, _)| r.encode())).collect();
        let mut bytes = all[which.index(all.len())].clone();
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
        if let Ok(reply) = Reply::decode(&bytes) {
            prop_assert_eq!(Reply::decode(&reply.encode()), Ok(reply));
        }
    }
}
