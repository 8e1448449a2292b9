//! One broker as the metadata knows it.

use crate::{DirectoryId, FeatureLevel, Incarnation};
use quipu_record::{BrokerEpoch, BrokerId, MetadataVersion};

/// A registered broker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broker {
    /// Its id.
    pub id: BrokerId,
    /// This lifetime of its process.
    pub epoch: BrokerEpoch,
    /// The process that registered.
    pub incarnation: Incarnation,
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
    /// It neither leads nor is in sync: it has just registered, or was lost.
    pub fenced: bool,
    /// Since which version of the metadata it wants to go; it takes no leadership.
    pub shutting_down: Option<MetadataVersion>,
}

impl Broker {
    /// Whether it may lead and be in sync.
    #[must_use]
    pub fn is_active(&self) -> bool {
        !self.fenced && self.shutting_down.is_none()
    }
}

/// One address that a broker listens on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listener {
    /// Its name.
    pub name: String,
    /// host:port as others reach it.
    pub advertised: String,
    /// What is spoken there.
    pub protocol: String,
}
