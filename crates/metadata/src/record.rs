//! What happened: the facts that make up the image. Replayed in order they are the cluster's truth.

use crate::{Broker, ClusterId, FeatureLevel, Partition, TopicConfig};
use quipu_record::{BrokerEpoch, BrokerId, MetadataVersion, ProducerId, TopicId, TopicPartition};
use std::sync::Arc;

/// One fact. A record carries the whole new state of the thing it names, so that replaying needs no rule.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Record {
    /// The cluster exists.
    Cluster {
        /// Its id.
        cluster_id: ClusterId,
        /// What its metadata may hold.
        feature_level: FeatureLevel,
    },
    /// A broker registered.
    Broker(Box<Broker>),
    /// A broker was fenced or unfenced, or wants to go.
    BrokerState {
        /// Which one.
        id: BrokerId,
        /// Which of its lifetimes.
        epoch: BrokerEpoch,
        /// It neither leads nor is in sync.
        fenced: bool,
        /// It wants to go, since this version.
        shutting_down: Option<MetadataVersion>,
    },
    /// A topic was created; its partitions follow.
    Topic {
        /// Its id.
        id: TopicId,
        /// Its name.
        name: Arc<str>,
        /// Internal to the cluster.
        internal: bool,
        /// Its configs.
        config: TopicConfig,
        /// The version of its configs.
        config_version: MetadataVersion,
    },
    /// A topic's configs changed.
    TopicConfig {
        /// Which topic.
        id: TopicId,
        /// All that is set on it now.
        config: TopicConfig,
        /// The version of its configs.
        config_version: MetadataVersion,
    },
    /// A topic and its partitions are gone.
    TopicDeleted {
        /// Which one.
        id: TopicId,
    },
    /// A partition was created or changed.
    Partition {
        /// Which one.
        at: TopicPartition,
        /// Its whole state.
        state: Partition,
    },
    /// Producer ids below this one are handed out.
    ProducerIds {
        /// The next to hand out.
        next: ProducerId,
    },
}

impl Record {
    /// The feature level a cluster must be at before this record may be written.
    #[must_use]
    pub const fn feature_level(&self) -> FeatureLevel {
        match self {
            Self::Cluster { .. }
            | Self::Broker(_)
            | Self::BrokerState { .. }
            | Self::Topic { .. }
            | Self::TopicConfig { .. }
            | Self::TopicDeleted { .. }
            | Self::Partition { .. }
            | Self::ProducerIds { .. } => FeatureLevel::V1,
        }
    }
}

/// What one entry of the metadata log did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delta {
    /// The version that the image has after it.
    pub version: MetadataVersion,
    /// What happened, in order; may be empty.
    pub records: Vec<Record>,
}
