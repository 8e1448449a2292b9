//! A small cluster's metadata, for tests: commands are decided and replayed at once.

#![allow(dead_code, reason = "each test takes what it needs")]

use quipu_metadata::*;
use quipu_record::{BrokerEpoch, BrokerId, MetadataVersion, PartitionId, TopicId, TopicPartition};

pub(crate) const TOPIC: TopicId = TopicId::from_u128(7);

pub(crate) struct Cluster {
    pub(crate) image: Image,
}

impl Cluster {
    /// A cluster of some unfenced brokers, 1 and up.
    pub(crate) fn of(brokers: u32) -> Self {
        let mut cluster = Self {
            image: Image::default(),
        };
        cluster
            .run(InitCluster {
                cluster_id: ClusterId::from_u128(1),
                feature_level: FeatureLevel::V1,
            })
            .expect("made");
        for broker in 1..=brokers {
            cluster.boot(registration(broker, 1));
        }
        cluster
    }

    pub(crate) fn run<R: Request>(&mut self, request: R) -> Result<R::Outcome, R::Refusal> {
        self.image
            .advance_to(MetadataVersion::new(self.image.version().get() + 1));
        self.run_in_same_entry(request)
    }

    pub(crate) fn run_in_same_entry<R: Request>(&mut self, request: R) -> Result<R::Outcome, R::Refusal> {
        let (records, reply) = self.image.decide(&request.into_command());
        records
            .iter()
            .try_for_each(|record| self.image.replay(record))
            .expect("replays");
        R::from_reply(reply).expect("the command's own reply")
    }

    pub(crate) fn boot(&mut self, registration: RegisterBroker) -> BrokerEpoch {
        let id = registration.id;
        let epoch = self.run(registration).expect("registers").epoch;
        self.run(UnfenceBroker { id, epoch }).expect("unfences");
        epoch
    }

    pub(crate) fn epoch(&self, broker: u32) -> BrokerEpoch {
        self.image
            .broker(BrokerId::new(broker))
            .expect("registered")
            .epoch
    }

    pub(crate) fn partition(&self, partition: u32) -> &Partition {
        self.image.partition(at(partition)).expect("there")
    }
}

pub(crate) fn at(partition: u32) -> TopicPartition {
    TopicPartition {
        topic: TOPIC,
        partition: PartitionId::new(partition),
    }
}

pub(crate) fn registration(broker: u32, incarnation: u128) -> RegisterBroker {
    RegisterBroker {
        id: BrokerId::new(broker),
        incarnation: Incarnation::from_u128(u128::from(broker) * 1000 + incarnation),
        cluster_id: None,
        directory: DirectoryId::from_u128(broker.into()),
        listeners: vec![Listener {
            name: "c".into(),
            advertised: "h:1".into(),
            protocol: "grpc".into(),
        }],
        rack: None,
        version: "test".into(),
        feature_level: FeatureLevel::V1,
        clean_epoch: None,
        page_cache_kept: false,
        cut: Vec::new(),
        damaged: Vec::new(),
    }
}

pub(crate) fn topic(configs: &[(&str, &str)]) -> CreateTopic {
    CreateTopic {
        name: "flights".into(),
        topic_id: TOPIC,
        partitions: 1,
        replication_factor: None,
        configs: configs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        internal: false,
    }
}

pub(crate) fn leader(partition: &Partition) -> Option<u32> {
    partition.leader.map(BrokerId::get)
}

pub(crate) fn ids(set: &ReplicaSet) -> Vec<u32> {
    set.iter().map(BrokerId::get).collect()
}

/// A topic of some partitions on three brokers, of which two must be in sync.
pub(crate) fn wide_topic(partitions: u32, configs: &[(&str, &str)]) -> CreateTopic {
    CreateTopic {
        partitions,
        ..topic(configs)
    }
}

impl Cluster {
    pub(crate) fn lifetime(&self, broker: u32) -> BrokerFence {
        BrokerFence {
            id: BrokerId::new(broker),
            epoch: self.epoch(broker),
        }
    }

    pub(crate) fn fence(&mut self, brokers: &[u32]) {
        let brokers = brokers.iter().map(|b| self.lifetime(*b)).collect();
        self.run(FenceBrokers { brokers }).expect("never refused");
    }

    pub(crate) fn unfence(&mut self, broker: u32) {
        let BrokerFence { id, epoch } = self.lifetime(broker);
        self.run(UnfenceBroker { id, epoch }).expect("registered");
    }

    /// The leader wants these in sync, in the lifetimes that they have now.
    pub(crate) fn alter(
        &mut self,
        partition: u32,
        isr: &[u32],
    ) -> Result<PartitionAnswer, AlterPartitionError> {
        let members: Vec<IsrMember> = isr
            .iter()
            .map(|b| IsrMember {
                id: BrokerId::new(*b),
                epoch: self.epoch(*b),
            })
            .collect();
        self.alter_to(partition, members)
    }

    pub(crate) fn alter_to(
        &mut self,
        partition: u32,
        isr: Vec<IsrMember>,
    ) -> Result<PartitionAnswer, AlterPartitionError> {
        let state = self.partition(partition).clone();
        let id = state.leader.expect("led");
        let change = IsrChange {
            at: at(partition),
            leader_epoch: state.leader_epoch,
            partition_epoch: state.partition_epoch,
            isr,
        };
        let request = AlterPartitions {
            id,
            epoch: self.epoch(id.get()),
            changes: vec![change],
        };
        self.run(request).expect("registered").remove(0)
    }

    pub(crate) fn elect(
        &mut self,
        kind: LeaderElection,
        partitions: &[u32],
    ) -> Vec<Result<PartitionAnswer, ElectLeaderError>> {
        let partitions = partitions.iter().map(|p| at(*p)).collect();
        let Ok(answers) = self.run(ElectLeaders { partitions, kind });
        answers
    }

    pub(crate) fn set_min_insync(&mut self, min: u8) {
        let change = ConfigChange {
            set: vec![("min.insync.replicas".into(), min.to_string())],
            unset: vec![],
        };
        let request = UpdateTopicConfig {
            topic_id: TOPIC,
            change,
            expected_version: None,
        };
        self.run(request).expect("changed");
    }
}
