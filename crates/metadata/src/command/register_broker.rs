//! A broker's process introduces itself, and says what became of its data since the last time.

use super::{Decision, Refusal};
use crate::partition_change::{PartitionChange, Standing};
use crate::{
    Broker, ClusterId, CutReplica, DirectoryId, Durability, FeatureLevel, Image, Incarnation, Listener,
    Partition, Record, Topic,
};
use quipu_record::{BrokerEpoch, BrokerId, ErrorCode, LeaderEpoch, Offset, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};

/// What a broker says as it starts. It is fenced until [`super::UnfenceBroker`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegisterBroker {
    /// Its id.
    pub id: BrokerId,
    /// This run of its process: repeating a registration changes nothing.
    pub incarnation: Incarnation,
    /// The cluster that its data directory belongs to; `None`: the directory is new.
    pub cluster_id: Option<ClusterId>,
    /// Its data directory.
    pub directory: DirectoryId,
    /// Where it listens.
    pub listeners: Vec<Listener>,
    /// Its rack.
    pub rack: Option<String>,
    /// The version of its software, for people.
    pub version: String,
    /// The greatest feature level it understands.
    pub feature_level: FeatureLevel,
    /// The lifetime that ended with a clean shutdown; `None`: it did not, or was never there.
    pub clean_epoch: Option<BrokerEpoch>,
    /// The machine has not restarted since: whatever was written is still in the page cache, flushed or not.
    pub page_cache_kept: bool,
    /// Replicas whose recovery cut something above the flush mark.
    pub cut: Vec<CutPartition>,
    /// Replicas with bad bytes below the flush mark.
    pub damaged: Vec<TopicPartition>,
}

/// A replica whose recovery cut something, and what is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CutPartition {
    /// Which partition.
    pub at: TopicPartition,
    /// The leader epoch of its last batch; `None`: nothing is left.
    pub last_epoch: Option<LeaderEpoch>,
    /// Its log end.
    pub log_end: Offset,
}

/// The broker is registered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Registered {
    /// Its epoch from now on.
    pub epoch: BrokerEpoch,
}

/// Why a broker may not register.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterBrokerError {
    /// The cluster has no id yet.
    #[error("the cluster has not been initialised yet")]
    NoCluster,
    /// The data directory is another cluster's.
    #[error(
        "the data directory belongs to cluster {theirs}, and this is cluster {ours}: give the broker its own directory, or \
         the addresses of its own cluster's controllers"
    )]
    WrongCluster {
        /// The directory's.
        theirs: ClusterId,
        /// This one.
        ours: ClusterId,
    },
    /// A broker of this id is running with another data directory.
    #[error(
        "broker id {id} is in use by a running broker with another data directory: give this one another id"
    )]
    DuplicateId {
        /// The id.
        id: BrokerId,
    },
    /// The broker is too old for what the metadata may hold.
    #[error("the cluster is at feature level {needs}, and the broker understands {knows}: upgrade it")]
    TooOld {
        /// The cluster's level.
        needs: FeatureLevel,
        /// The broker's.
        knows: FeatureLevel,
    },
    /// Two processes of one broker registered at once.
    #[error("another process of broker {id} registered in the same moment: try again")]
    AtOnce {
        /// The id.
        id: BrokerId,
    },
    /// The broker names no address.
    #[error("a broker registers with at least one listener")]
    NoListener,
}

impl Refusal for RegisterBrokerError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NoCluster | Self::AtOnce { .. } => ErrorCode::NotReady,
            _ => ErrorCode::InvalidRequest,
        }
    }
}

impl RegisterBroker {
    pub(crate) fn decide(&self, image: &Image) -> Decision<Self> {
        let before = image.broker(self.id).map(|b| &**b);
        if let Some(known) = before.filter(|b| b.incarnation == self.incarnation) {
            return Decision::done(Vec::new(), Registered { epoch: known.epoch });
        }
        if let Err(refusal) = self.check(image, before) {
            return Decision::refused(refusal);
        }
        let epoch = BrokerEpoch::new(image.version().get());
        let mut records = vec![Record::Broker(Box::new(Broker {
            id: self.id,
            epoch,
            incarnation: self.incarnation,
            directory: self.directory,
            listeners: self.listeners.clone(),
            rack: self.rack.clone(),
            version: self.version.clone(),
            feature_level: self.feature_level,
            fenced: true,
            shutting_down: None,
        }))];
        if let Some(before) = before {
            let restart = Restart::new(self, before, image);
            for (topic, index, partition) in image.partitions_near(&[self.id]) {
                let at = TopicPartition {
                    topic: topic.id,
                    partition: index,
                };
                if let Some(state) = restart.change(topic, at, partition) {
                    records.push(Record::Partition { at, state });
                }
            }
        }
        Decision::done(records, Registered { epoch })
    }

    fn check(&self, image: &Image, before: Option<&Broker>) -> Result<(), RegisterBrokerError> {
        let ours = image.cluster_id().ok_or(RegisterBrokerError::NoCluster)?;
        if let Some(theirs) = self.cluster_id.filter(|theirs| *theirs != ours) {
            return Err(RegisterBrokerError::WrongCluster { theirs, ours });
        }
        if self.feature_level < image.feature_level() {
            return Err(RegisterBrokerError::TooOld {
                needs: image.feature_level(),
                knows: self.feature_level,
            });
        }
        if self.listeners.is_empty() {
            return Err(RegisterBrokerError::NoListener);
        }
        let Some(before) = before else { return Ok(()) };
        // With the same directory the old process is gone: the directory's lock says so.
        if !before.fenced && before.directory != self.directory {
            return Err(RegisterBrokerError::DuplicateId { id: self.id });
        }
        // A lifetime is known by its entry, so one entry cannot begin two of the same broker.
        if before.epoch.get() == image.version().get() {
            return Err(RegisterBrokerError::AtOnce { id: self.id });
        }
        Ok(())
    }
}

/// What one broker's restart means for its replicas.
struct Restart<'a> {
    broker: BrokerId,
    image: &'a Image,
    same_directory: bool,
    /// Nothing that was written is gone, flushed or not.
    kept_unflushed: bool,
    cut: BTreeMap<TopicPartition, &'a CutPartition>,
    damaged: BTreeSet<TopicPartition>,
}

impl<'a> Restart<'a> {
    fn new(command: &'a RegisterBroker, before: &Broker, image: &'a Image) -> Self {
        Self {
            broker: command.id,
            image,
            same_directory: before.directory == command.directory,
            kept_unflushed: command.clean_epoch == Some(before.epoch) || command.page_cache_kept,
            cut: command.cut.iter().map(|cut| (cut.at, cut)).collect(),
            damaged: command.damaged.iter().copied().collect(),
        }
    }

    fn change(&self, topic: &Topic, at: TopicPartition, partition: &Partition) -> Option<Partition> {
        if !partition.replicas.contains(self.broker) {
            return None;
        }
        let mut change = PartitionChange::new(partition, self);
        if self.lost(topic, at, partition) {
            change = change.lost(self.broker);
        }
        if let Some(cut) = self.cut.get(&at) {
            change = change.cut(CutReplica {
                broker: self.broker,
                last_epoch: cut.last_epoch,
                log_end: cut.log_end,
            });
        }
        change.build()
    }

    /// Whether the replica may lack something that it had acknowledged.
    fn lost(&self, topic: &Topic, at: TopicPartition, partition: &Partition) -> bool {
        if !self.same_directory {
            return true;
        }
        // The only copy there is: no other could be put before it, and what it has is all there is to serve.
        if partition.replicas.len() == 1 {
            return false;
        }
        let kept = match topic.config.durability() {
            Durability::Fsync => true,
            Durability::Replicated => self.kept_unflushed,
        };
        !kept || self.damaged.contains(&at)
    }
}

/// The broker itself is fenced from here on; the others stand as they did.
impl Standing for Restart<'_> {
    fn is_unfenced(&self, broker: BrokerId) -> bool {
        broker != self.broker && self.image.is_unfenced(broker)
    }

    fn is_active(&self, broker: BrokerId) -> bool {
        broker != self.broker && self.image.is_active(broker)
    }
}
