//! The image: the cluster's truth at one version. A clone costs a few reference counts.

use crate::chunk_map::ChunkMap;
use crate::index::Index;
use crate::partition_change::Standing;
use crate::{Broker, ClusterId, Delta, FeatureLevel, Partition, Partitions, Record, Topic, TopicConfig};
use quipu_record::{
    BrokerEpoch, BrokerId, MetadataVersion, PartitionId, ProducerId, TopicId, TopicPartition,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Brokers, topics and partitions as of a version. Parts are shared between clones, so each watcher may hold its own.
#[derive(Clone, Debug)]
pub struct Image {
    version: MetadataVersion,
    cluster_id: Option<ClusterId>,
    feature_level: FeatureLevel,
    brokers: ChunkMap<BrokerId, Arc<Broker>>,
    topics: ChunkMap<TopicId, Arc<Topic>>,
    names: ChunkMap<Arc<str>, TopicId>,
    partitions: usize,
    index: Index,
    next_producer_id: ProducerId,
    /// The configs of the last topic made: the next one's are often the same, and then shared.
    last_config: TopicConfig,
}

/// A record that does not fit the image: the log holds what this version does not understand, or is damaged. There is no
/// way on from here: skipping a record would be another truth than the other members'.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The record needs a newer version of the software.
    #[error(
        "a metadata record needs feature level {needs}, and this version knows {}",
        FeatureLevel::SUPPORTED
    )]
    TooNew {
        /// The level it needs.
        needs: FeatureLevel,
    },
    /// The record names something that is not there.
    #[error("a metadata record changes {0}, which is not in the image")]
    Missing(String),
    /// The record makes a topic whose id or name is taken.
    #[error("a metadata record makes topic {0}, which is in the image already")]
    Exists(String),
}

impl PartialEq for Image {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            version,
            cluster_id,
            feature_level,
            brokers,
            topics,
            names,
            partitions,
            index,
            next_producer_id,
            last_config: _,
        } = self;
        (version, cluster_id, feature_level) == (&other.version, &other.cluster_id, &other.feature_level)
            && (brokers, topics, names) == (&other.brokers, &other.topics, &other.names)
            && (partitions, index, next_producer_id)
                == (&other.partitions, &other.index, &other.next_producer_id)
    }
}

impl Eq for Image {}

impl Default for Image {
    fn default() -> Self {
        Self {
            version: MetadataVersion::new(0),
            cluster_id: None,
            feature_level: FeatureLevel::V1,
            brokers: ChunkMap::default(),
            topics: ChunkMap::default(),
            names: ChunkMap::default(),
            partitions: 0,
            index: Index::default(),
            next_producer_id: ProducerId::new(0),
            last_config: TopicConfig::default(),
        }
    }
}

impl Image {
    /// How much of the metadata log it holds.
    #[must_use]
    pub const fn version(&self) -> MetadataVersion {
        self.version
    }

    /// The cluster's id; `None`: the cluster has not been made yet.
    #[must_use]
    pub const fn cluster_id(&self) -> Option<ClusterId> {
        self.cluster_id
    }

    /// What the cluster's metadata may hold.
    #[must_use]
    pub const fn feature_level(&self) -> FeatureLevel {
        self.feature_level
    }

    /// The next producer id to hand out.
    #[must_use]
    pub const fn next_producer_id(&self) -> ProducerId {
        self.next_producer_id
    }

    /// A broker.
    #[must_use]
    pub fn broker(&self, id: BrokerId) -> Option<&Arc<Broker>> {
        self.brokers.get(&id)
    }

    /// The brokers, by id.
    pub fn brokers(&self) -> impl Iterator<Item = &Arc<Broker>> {
        self.brokers.values()
    }

    /// How many brokers.
    #[must_use]
    pub fn broker_count(&self) -> usize {
        self.brokers.len()
    }

    /// A topic by its id.
    #[must_use]
    pub fn topic(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.topics.get(&id)
    }

    /// A topic by what its name means now.
    #[must_use]
    pub fn topic_named(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topic(*self.names.get(name)?)
    }

    /// The topic that groups keep their state in, once it is made.
    #[must_use]
    pub fn offsets_topic(&self) -> Option<&Arc<Topic>> {
        self.topic_named(crate::OFFSETS_TOPIC)
    }

    /// The topics, by id.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.topics.values()
    }

    /// The topics, by name.
    pub fn topics_by_name(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.names.values().filter_map(|id| self.topic(*id))
    }

    /// How many topics, internal ones too.
    #[must_use]
    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// A partition.
    #[must_use]
    pub fn partition(&self, at: TopicPartition) -> Option<&Partition> {
        self.topic(at.topic)?.partitions.get(at.partition)
    }

    /// Every partition of every topic.
    pub fn partitions(&self) -> impl Iterator<Item = (&Arc<Topic>, PartitionId, &Partition)> {
        self.topics()
            .flat_map(|topic| topic.partitions.iter().map(move |(index, p)| (topic, index, p)))
    }

    /// How many partitions, internal ones too.
    #[must_use]
    pub const fn partition_count(&self) -> usize {
        self.partitions
    }

    /// Every partition of every topic of which one of `brokers` has replicas: those they hold, and not many others. In
    /// the order of [`Image::partitions`].
    pub fn partitions_near(
        &self,
        brokers: &[BrokerId],
    ) -> impl Iterator<Item = (&Arc<Topic>, PartitionId, &Partition)> + use<'_> {
        let topics: BTreeSet<TopicId> = brokers.iter().flat_map(|b| self.index.topics_on(*b)).collect();
        topics
            .into_iter()
            .filter_map(|id| self.topic(id))
            .flat_map(|topic| topic.partitions.iter().map(move |(index, p)| (topic, index, p)))
    }

    /// How many partitions `broker` leads.
    #[must_use]
    pub fn led_by(&self, broker: BrokerId) -> usize {
        self.index.led_by(broker)
    }

    /// The partitions that nobody leads.
    pub fn leaderless(&self) -> impl Iterator<Item = (TopicPartition, &Partition)> {
        let with_state = |at| Some((at, self.partition(at)?));
        self.index.leaderless().filter_map(with_state)
    }

    /// The partitions that another replica leads than the preferred one.
    pub fn displaced(&self) -> impl Iterator<Item = (TopicPartition, &Partition)> {
        let with_state = |at| Some((at, self.partition(at)?));
        self.index.displaced().filter_map(with_state)
    }

    /// Moves to the version of the entry whose commands are decided next.
    pub fn advance_to(&mut self, version: MetadataVersion) {
        self.version = version;
    }

    /// Replays one entry's records.
    ///
    /// # Errors
    /// [`ReplayError`]: stop, never skip.
    pub fn apply(&mut self, delta: &Delta) -> Result<(), ReplayError> {
        self.advance_to(delta.version);
        delta.records.iter().try_for_each(|record| self.replay(record))
    }

    /// Replays one record.
    ///
    /// # Errors
    /// [`ReplayError`]: stop, never skip.
    pub fn replay(&mut self, record: &Record) -> Result<(), ReplayError> {
        if record.feature_level() > FeatureLevel::SUPPORTED {
            return Err(ReplayError::TooNew {
                needs: record.feature_level(),
            });
        }
        match record {
            Record::Cluster {
                cluster_id,
                feature_level,
            } => {
                if *feature_level > FeatureLevel::SUPPORTED {
                    return Err(ReplayError::TooNew {
                        needs: *feature_level,
                    });
                }
                self.cluster_id = Some(*cluster_id);
                self.feature_level = *feature_level;
            }
            Record::Broker(broker) => {
                self.brokers.insert(broker.id, Arc::new(Broker::clone(broker)));
            }
            Record::BrokerState {
                id,
                epoch,
                fenced,
                shutting_down,
            } => {
                let broker = self.brokers.get_mut(id).filter(|b| b.epoch == *epoch);
                let broker = Arc::make_mut(broker.ok_or_else(|| missing("broker", id))?);
                broker.fenced = *fenced;
                broker.shutting_down = *shutting_down;
            }
            Record::Topic {
                id,
                name,
                internal,
                config,
                config_version,
            } => {
                let (id, internal, config_version) = (*id, *internal, *config_version);
                self.replay_topic(Topic {
                    id,
                    name: Arc::clone(name),
                    internal,
                    config: config.clone(),
                    config_version,
                    partitions: Partitions::default(),
                })?;
            }
            Record::TopicConfig {
                id,
                config,
                config_version,
            } => {
                let topic = Arc::make_mut(self.topics.get_mut(id).ok_or_else(|| missing("topic", id))?);
                topic.config = config.clone();
                topic.config_version = *config_version;
            }
            Record::TopicDeleted { id } => self.replay_deletion(*id)?,
            Record::Partition { at, state } => self.replay_partition(*at, state)?,
            Record::ProducerIds { next } => self.next_producer_id = *next,
        }
        Ok(())
    }

    fn replay_topic(&mut self, mut topic: Topic) -> Result<(), ReplayError> {
        if self.topics.get(&topic.id).is_some() || self.names.get(&*topic.name).is_some() {
            return Err(ReplayError::Exists(topic.name.to_string()));
        }
        if topic.config == self.last_config {
            topic.config = self.last_config.clone();
        } else {
            self.last_config = topic.config.clone();
        }
        self.names.insert(Arc::clone(&topic.name), topic.id);
        self.topics.insert(topic.id, Arc::new(topic));
        Ok(())
    }

    fn replay_deletion(&mut self, id: TopicId) -> Result<(), ReplayError> {
        let topic = self.topics.remove(&id).ok_or_else(|| missing("topic", &id))?;
        self.names.remove(&*topic.name);
        self.partitions -= topic.partitions.len();
        for (partition, state) in topic.partitions.iter() {
            let at = TopicPartition { topic: id, partition };
            self.index.change(at, Some(state), None);
        }
        Ok(())
    }

    fn replay_partition(&mut self, at: TopicPartition, state: &Partition) -> Result<(), ReplayError> {
        let topic = self
            .topics
            .get_mut(&at.topic)
            .ok_or_else(|| missing("topic", &at.topic))?;
        let topic = Arc::make_mut(topic);
        let count = topic.partitions.len();
        let before = topic.partitions.get(at.partition).cloned();
        if !topic.partitions.set(at.partition, state.clone()) {
            return Err(missing("the partition before", &at));
        }
        self.partitions += topic.partitions.len() - count;
        self.index.change(at, before.as_ref(), Some(state));
        Ok(())
    }

    /// The records that make this image out of an empty one.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        let cluster = self.cluster_id.map(|cluster_id| Record::Cluster {
            cluster_id,
            feature_level: self.feature_level,
        });
        let brokers = self
            .brokers()
            .map(|broker| Record::Broker(Box::new(Broker::clone(broker))));
        let topics = self.topics().flat_map(|topic| {
            let head = Record::Topic {
                id: topic.id,
                name: Arc::clone(&topic.name),
                internal: topic.internal,
                config: topic.config.clone(),
                config_version: topic.config_version,
            };
            let partition = |(partition, state): (PartitionId, &Partition)| Record::Partition {
                at: TopicPartition {
                    topic: topic.id,
                    partition,
                },
                state: state.clone(),
            };
            std::iter::once(head).chain(topic.partitions.iter().map(partition))
        });
        let ids = std::iter::once(Record::ProducerIds {
            next: self.next_producer_id,
        });
        cluster.into_iter().chain(brokers).chain(topics).chain(ids)
    }

    /// The broker, if this is the lifetime of it that is registered.
    pub(crate) fn broker_in(
        &self,
        id: BrokerId,
        epoch: BrokerEpoch,
    ) -> Result<&Arc<Broker>, crate::BrokerError> {
        let broker = self.broker(id).ok_or(crate::BrokerError::Unknown(id))?;
        if broker.epoch == epoch {
            Ok(broker)
        } else {
            Err(crate::BrokerError::StaleEpoch {
                id,
                registered: broker.epoch,
                given: epoch,
            })
        }
    }
}

impl Standing for Image {
    fn is_unfenced(&self, broker: BrokerId) -> bool {
        self.broker(broker).is_some_and(|b| !b.fenced)
    }

    fn is_active(&self, broker: BrokerId) -> bool {
        self.broker(broker).is_some_and(|b| b.is_active())
    }
}

fn missing(what: &str, id: &impl std::fmt::Display) -> ReplayError {
    ReplayError::Missing(format!("{what} {id}"))
}
