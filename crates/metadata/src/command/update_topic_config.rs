//! A topic's configs change; `min.insync.replicas` changes with every partition's epoch.

use super::create_topic::Listed;
use super::{Decision, Refusal};
use crate::partition_change::{Election, PartitionChange};
use crate::{ConfigChange, ConfigMistake, Image, Record, Topic, TopicConfig};
use quipu_record::{ErrorCode, MetadataVersion, TopicId, TopicPartition};

/// Changes a topic's configs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpdateTopicConfig {
    /// Which topic.
    pub topic_id: TopicId,
    /// What changes.
    pub change: ConfigChange,
    /// The version of the configs that this change was made for; `None`: whatever they are.
    pub expected_version: Option<MetadataVersion>,
}

/// The configs are changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConfigUpdated {
    /// Their version now; the one before if nothing changed.
    pub config_version: MetadataVersion,
}

/// Why configs are not changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateTopicConfigError {
    /// The topic is not there.
    #[error("there is no topic with id {0}: it was deleted, or belongs to another cluster")]
    Unknown(TopicId),
    /// The cluster looks after this one.
    #[error("topic {0:?} is internal to the cluster: its configs are fixed")]
    Internal(String),
    /// Somebody else was first.
    #[error("the configs are at version {at}, not {expected}: read them again and decide anew")]
    VersionMismatch {
        /// What was expected.
        expected: MetadataVersion,
        /// What is.
        at: MetadataVersion,
    },
    /// Something in the request is wrong; all of it is listed.
    #[error("{}", Listed(.0))]
    Invalid(Vec<ConfigMistake>),
}

impl Refusal for UpdateTopicConfigError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Unknown(_) => ErrorCode::UnknownTopicId,
            Self::Internal(_) => ErrorCode::InternalTopic,
            Self::VersionMismatch { .. } => ErrorCode::VersionMismatch,
            Self::Invalid(_) => ErrorCode::InvalidConfig,
        }
    }
}

impl UpdateTopicConfig {
    pub(crate) fn decide(&self, image: &Image) -> Decision<Self> {
        let Some(topic) = image.topic(self.topic_id) else {
            return Decision::refused(UpdateTopicConfigError::Unknown(self.topic_id));
        };
        if topic.internal {
            return Decision::refused(UpdateTopicConfigError::Internal(topic.name.to_string()));
        }
        let at = topic.config_version;
        if let Some(expected) = self.expected_version.filter(|expected| *expected != at) {
            return Decision::refused(UpdateTopicConfigError::VersionMismatch { expected, at });
        }
        // The fewest replicas: while a reassignment runs, partitions may differ.
        let replicas = topic
            .partitions
            .iter()
            .map(|(_, p)| p.replicas.len())
            .min()
            .unwrap_or(1);
        let config = match self
            .change
            .apply(Some(&topic.config), replicas, image.feature_level())
        {
            Ok(config) => config,
            Err(mistakes) => return Decision::refused(UpdateTopicConfigError::Invalid(mistakes)),
        };
        if config == topic.config {
            return Decision::done(Vec::new(), ConfigUpdated { config_version: at });
        }
        let config_version = image.version();
        let partitions = partition_changes(image, topic, &config);
        let mut records = vec![Record::TopicConfig {
            id: topic.id,
            config,
            config_version,
        }];
        records.extend(partitions);
        Decision::done(records, ConfigUpdated { config_version })
    }
}

/// Every partition follows `min.insync.replicas`, and one without a leader may find one if unclean elections begin to be
/// allowed.
fn partition_changes(image: &Image, topic: &Topic, config: &TopicConfig) -> Vec<Record> {
    let election = Election {
        unclean: config.unclean_leader_election(),
        wait_is_over: false,
    };
    let change = |(partition, before): (_, &crate::Partition)| {
        let mut change = PartitionChange::new(before, image).min_insync(config.min_insync_replicas());
        if before.leader.is_none() {
            change = change.election(election);
        }
        let at = TopicPartition {
            topic: topic.id,
            partition,
        };
        change.build().map(|state| Record::Partition { at, state })
    };
    topic.partitions.iter().filter_map(change).collect()
}
