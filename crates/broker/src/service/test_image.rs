//! Images for tests, made as the controller makes them: commands are decided and their records applied.

use quipu_metadata::{
    ClusterId, CreateTopic, Delta, DirectoryId, FeatureLevel, Image, Incarnation, InitCluster, Listener,
    RegisterBroker, Request, UnfenceBroker,
};
use quipu_record::{BrokerId, MetadataVersion, TopicId};

/// A cluster of brokers 0 to `brokers`, all unfenced, each with listeners `client` and `far`.
pub(crate) fn cluster(brokers: u32) -> Image {
    let mut image = Image::default();
    let cluster_id = ClusterId::from_u128(7);
    let init = InitCluster {
        cluster_id,
        feature_level: FeatureLevel::V1,
    };
    run(&mut image, init);
    for id in (0..brokers).map(BrokerId::new) {
        let registered = run(&mut image, register(id));
        run(
            &mut image,
            UnfenceBroker {
                id,
                epoch: registered.epoch,
            },
        );
    }
    image
}

/// A broker that registers, in a new process.
pub(crate) fn register(id: BrokerId) -> RegisterBroker {
    let listener = |name: &str| Listener {
        name: name.to_owned(),
        advertised: format!("{name}-{id}:4600"),
        protocol: "grpc".to_owned(),
    };
    RegisterBroker {
        id,
        incarnation: Incarnation::from_u128(u128::from(id.get()) + 100),
        cluster_id: Some(ClusterId::from_u128(7)),
        directory: DirectoryId::from_u128(u128::from(id.get())),
        listeners: vec![listener("client"), listener("far")],
        rack: None,
        version: "1".to_owned(),
        feature_level: FeatureLevel::V1,
        clean_epoch: None,
        page_cache_kept: false,
        cut: Vec::new(),
        damaged: Vec::new(),
    }
}

/// Creates a topic.
pub(crate) fn create(image: &mut Image, name: &str, partitions: u32, replicas: u16) -> TopicId {
    let id = TopicId::from_u128(u128::from(image.version().get()) << 64);
    let create = CreateTopic {
        name: name.to_owned(),
        topic_id: id,
        partitions,
        replication_factor: Some(replicas),
        configs: Vec::new(),
        internal: false,
    };
    run(image, create);
    id
}

/// Does what is asked, as the next entry of the log.
pub(crate) fn run<R: Request>(image: &mut Image, request: R) -> R::Outcome {
    let version = MetadataVersion::new(image.version().get() + 1);
    image.advance_to(version);
    let (records, reply) = image.decide(&request.into_command());
    image.apply(&Delta { version, records }).unwrap();
    R::from_reply(reply)
        .unwrap()
        .unwrap_or_else(|refusal| panic!("{refusal}"))
}
