//! Topics as an admin sees them.

use quipu_proto::Failure;
use quipu_record::{
    BrokerId, LeaderEpoch, MetadataVersion, Offset, PartitionEpoch, PartitionId, Timestamp, TopicId,
};
use std::collections::BTreeMap;

/// A topic to create.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; `None`: 1.
    pub partitions: Option<u32>,
    /// How many copies; `None`: 3, or the number of brokers if that is less.
    pub replication_factor: Option<u32>,
    /// Configs by Kafka's names.
    pub configs: BTreeMap<String, String>,
    /// Checks only.
    pub validate_only: bool,
}

impl NewTopic {
    /// A topic with this name and the cluster's defaults.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// The same, with so many partitions.
    #[must_use]
    pub fn with_partitions(mut self, partitions: u32) -> Self {
        self.partitions = Some(partitions);
        self
    }

    /// The same, with so many copies.
    #[must_use]
    pub fn with_replication_factor(mut self, copies: u32) -> Self {
        self.replication_factor = Some(copies);
        self
    }

    /// The same, with this config.
    #[must_use]
    pub fn with_config(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.configs.insert(key.into(), value.into());
        self
    }
}

/// A change of a topic's configs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ConfigChange {
    /// Keys to set.
    pub set: BTreeMap<String, String>,
    /// Keys to put back to their defaults.
    pub unset: Vec<String>,
    /// The `config_version` that the change was made for; `None`: any.
    pub expected_version: Option<u64>,
    /// Checks only.
    pub validate_only: bool,
}

/// A topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// Its id, for ever its own.
    pub id: TopicId,
    /// Its partitions, by index.
    pub partitions: Vec<PartitionDescription>,
    /// Every config, by key.
    pub configs: Vec<ConfigEntry>,
    /// Changes with each change of the configs.
    pub config_version: u64,
    /// Internal to the cluster.
    pub internal: bool,
}

/// One partition of a topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionDescription {
    /// Its index.
    pub partition: PartitionId,
    /// Its leader, if it has one.
    pub leader: Option<BrokerId>,
    /// Counts leaders.
    pub leader_epoch: LeaderEpoch,
    /// Counts changes of the partition's record.
    pub partition_epoch: PartitionEpoch,
    /// Its replicas, preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// Those in sync.
    pub in_sync_replicas: Vec<BrokerId>,
    /// Those out of sync that may still be elected.
    pub eligible_leader_replicas: Vec<BrokerId>,
    /// In-sync replicas needed to acknowledge.
    pub min_insync_replicas: u32,
}

/// A config as it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigEntry {
    /// Kafka's name for it.
    pub key: String,
    /// Its value.
    pub value: String,
    /// Not set on the topic.
    pub is_default: bool,
}

/// A topic after a change (or as it would be), and the metadata version that holds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicChanged {
    /// The topic.
    pub topic: TopicDescription,
    /// The metadata version.
    pub metadata_version: MetadataVersion,
}

/// What became of one partition's records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeletedRecords {
    /// The partition.
    pub partition: PartitionId,
    /// Where the log starts now, or why nothing was deleted.
    pub log_start: Result<Offset, Failure>,
}

/// An offset that was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FoundOffset {
    /// The topic's name.
    pub topic: String,
    /// The topic's id.
    pub topic_id: TopicId,
    /// The partition.
    pub partition: PartitionId,
    /// The offset.
    pub offset: Offset,
    /// By time: that of the record found; `None` if no record is that late.
    pub timestamp: Option<Timestamp>,
    /// The leader epoch that it was answered in.
    pub leader_epoch: LeaderEpoch,
}
