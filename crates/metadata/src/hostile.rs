//! What must hold of the readers in this crate for any bytes at all. Each body takes bytes as an enemy chose them and
//! panics if something does not hold: `fuzz/` runs them under a fuzzer, `tests/hostile.rs` as property tests.

use crate::{
    ClusterId, Command, CreateTopic, DirectoryId, FeatureLevel, Image, Incarnation, InitCluster, Listener,
    Record, RegisterBroker, Reply, UnfenceBroker,
};
use quipu_record::{BrokerEpoch, BrokerId, MetadataVersion, TopicId};

/// Panics if something does not hold for these bytes.
pub type Body = fn(&[u8]);

/// The bodies by the names of their fuzz targets.
pub const BODIES: &[(&str, Body)] = &[
    ("metadata_record", metadata_record),
    ("metadata_commands", metadata_commands),
    ("metadata_reply", metadata_reply),
];

/// A stored record: what is read is what is written again, and replaying it ends in an error at the worst.
pub fn metadata_record(data: &[u8]) {
    let Ok(record) = Record::decode(data) else { return };
    assert_eq!(Record::decode(&record.encode()).as_ref(), Ok(&record));
    let _ = Image::default().replay(&record);
    let _ = small_cluster().replay(&record);
}

/// A reply, as whoever claims to be the active controller sends it: what is read is what is written again.
pub fn metadata_reply(data: &[u8]) {
    let Ok(reply) = Reply::decode(data) else { return };
    assert_eq!(Reply::decode(&reply.encode()), Ok(reply));
}

/// Commands in a row, each after its length in two bytes, as a broker may send them: whatever one says, its records are
/// sound, and the image takes them.
pub fn metadata_commands(mut data: &[u8]) {
    let mut image = small_cluster();
    while let Some((len, rest)) = data.split_first_chunk() {
        let len = usize::from(u16::from_be_bytes(*len)).min(rest.len());
        let (bytes, rest) = rest.split_at(len);
        data = rest;
        let Ok(command) = Command::decode(bytes) else {
            continue;
        };
        assert_eq!(Command::decode(&command.encode()).as_ref(), Ok(&command));
        follow(&mut image, &command);
    }
    let mut again = Image::default();
    for record in image.records() {
        again
            .replay(&record)
            .expect("an image's own records make it again");
    }
    again.advance_to(image.version());
    assert_eq!(again, image);
}

/// Decides and replays, as a member of the group does.
fn follow(image: &mut Image, command: &Command) {
    image.advance_to(MetadataVersion::new(image.version().get() + 1));
    let (records, _) = image.decide(command);
    for record in records {
        assert_eq!(
            Record::decode(&record.encode()).as_ref(),
            Ok(&record),
            "a decided record is stored as it is"
        );
        image.replay(&record).expect("a decided record fits the image");
    }
}

/// Two brokers and a topic, so that commands find something to act on. Ids are small and fixed: seeds name them.
fn small_cluster() -> Image {
    let mut image = Image::default();
    let cluster_id = ClusterId::from_u128(1);
    let feature_level = FeatureLevel::SUPPORTED;
    follow(
        &mut image,
        &Command::InitCluster(InitCluster {
            cluster_id,
            feature_level,
        }),
    );
    for id in [1, 2] {
        let register = RegisterBroker {
            id: BrokerId::new(id),
            incarnation: Incarnation::from_u128(id.into()),
            cluster_id: None,
            directory: DirectoryId::from_u128(id.into()),
            listeners: vec![Listener {
                name: "client".to_owned(),
                advertised: "localhost:1".to_owned(),
                protocol: "grpc".to_owned(),
            }],
            rack: None,
            version: String::new(),
            feature_level,
            clean_epoch: None,
            page_cache_kept: false,
            cut: Vec::new(),
            damaged: Vec::new(),
        };
        follow(&mut image, &Command::RegisterBroker(register));
        let id = BrokerId::new(id);
        let epoch = image
            .broker(id)
            .map_or(BrokerEpoch::default(), |broker| broker.epoch);
        follow(&mut image, &Command::UnfenceBroker(UnfenceBroker { id, epoch }));
    }
    let topic = CreateTopic {
        name: "t".to_owned(),
        topic_id: TopicId::from_u128(7),
        partitions: 2,
        replication_factor: Some(2),
        configs: Vec::new(),
        internal: false,
    };
    follow(&mut image, &Command::CreateTopic(topic));
    assert_eq!(
        (image.broker_count(), image.topic_count(), image.partition_count()),
        (2, 1, 2)
    );
    image
}
