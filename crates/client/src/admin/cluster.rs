//! The cluster as an admin sees it.

use quipu_record::{BrokerEpoch, BrokerId, LeaderEpoch, MetadataVersion, PartitionId, TopicId};

/// The cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterDescription {
    /// Its id.
    pub cluster_id: String,
    /// The broker that answered.
    pub answered_by: BrokerId,
    /// The broker with the active controller, if known.
    pub controller: Option<BrokerId>,
    /// The brokers, by id.
    pub brokers: Vec<BrokerDescription>,
    /// The metadata version it was read at.
    pub metadata_version: MetadataVersion,
    /// What the cluster's metadata may hold.
    pub feature_level: u32,
    /// Topics, internal ones not counted.
    pub topics: u32,
    /// Partitions, internal ones not counted.
    pub partitions: u32,
}

/// A broker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokerDescription {
    /// Its id.
    pub id: BrokerId,
    /// One lifetime of its process.
    pub epoch: BrokerEpoch,
    /// host:port, on the listener that this client came in by.
    pub endpoint: String,
    /// All its listeners.
    pub listeners: Vec<ListenerDescription>,
    /// Its rack, if it has one.
    pub rack: Option<String>,
    /// It is not trusted with leadership or acknowledgements now.
    pub fenced: bool,
    /// Its version.
    pub version: String,
}

/// An address that a broker listens on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListenerDescription {
    /// Its name.
    pub name: String,
    /// host:port as clients reach it.
    pub advertised: String,
    /// What is spoken there.
    pub protocol: String,
}

/// Where topics are led.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoutingDescription {
    /// The topics.
    pub topics: Vec<TopicRoute>,
    /// The brokers, by id.
    pub brokers: Vec<BrokerDescription>,
    /// The metadata version it was read at.
    pub metadata_version: MetadataVersion,
}

/// Where one topic is led.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicRoute {
    /// Its name.
    pub name: String,
    /// Its id; `None`: there is no such topic.
    pub id: Option<TopicId>,
    /// Its partitions, by index.
    pub partitions: Vec<PartitionRoute>,
    /// The largest batch it takes, in bytes.
    pub max_message_bytes: u32,
}

/// Where one partition is led.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartitionRoute {
    /// Its index.
    pub partition: PartitionId,
    /// Its leader, if it has one.
    pub leader: Option<BrokerId>,
    /// Counts leaders.
    pub leader_epoch: LeaderEpoch,
}

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Severity {
    /// Works, but with less safety or soon not.
    Warning,
    /// Something does not work, or data is at risk.
    Critical,
}

/// Something that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// Where.
    pub subject: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

/// What the cluster says is wrong with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckReport {
    /// Worst first; nothing is wrong if empty.
    pub findings: Vec<Finding>,
    /// Partitions looked at.
    pub partitions: u32,
    /// Brokers looked at.
    pub brokers: u32,
    /// What is as it must be in a cluster like this one, and may surprise.
    pub notes: Vec<String>,
}
