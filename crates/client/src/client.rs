//! The door: one client per cluster, from which producers, consumers and admins come.

use crate::routing::Cluster;
use crate::{
    Admin, CallError, ClientConfig, ConfigError, ConnectError, Consumer, ConsumerConfig, GroupConfig,
    GroupConsumer, Producer, ProducerConfig, RebalanceListener, SendError,
};
use std::sync::Arc;

/// A connection to a cluster. Cheap to clone; all clones share connections and routes.
#[derive(Clone, Debug)]
pub struct Client {
    cluster: Arc<Cluster>,
}

impl Client {
    /// Connects: returns once one of the addresses has answered.
    ///
    /// # Errors
    /// [`ConnectError`] says what went wrong last.
    pub async fn connect(config: ClientConfig) -> Result<Self, ConnectError> {
        let cluster = Arc::new(Cluster::new(config)?);
        match cluster.greet().await {
            Ok(()) => Ok(Self { cluster }),
            Err(CallError::Rejected(failure)) => Err(ConnectError::Refused(failure)),
            Err(error) => Err(ConnectError::Unreachable {
                reasons: error.to_string(),
            }),
        }
    }

    /// The cluster's id.
    #[must_use]
    pub fn cluster_id(&self) -> String {
        self.cluster.cluster_id()
    }

    /// A new producer, with an identity of its own.
    ///
    /// # Errors
    /// [`SendError`]: the configuration cannot work, or no identity could be had in time.
    pub async fn producer(&self, config: ProducerConfig) -> Result<Producer, SendError> {
        Producer::start(self.cluster.clone(), config).await
    }

    /// A new consumer that reads nothing yet.
    #[must_use]
    pub fn consumer(&self, config: ConsumerConfig) -> Consumer {
        Consumer::new(self.cluster.clone(), config)
    }

    /// A new member of a group; it joins at once.
    ///
    /// # Errors
    /// The configuration cannot work.
    pub fn group_consumer(&self, config: GroupConfig) -> Result<GroupConsumer, ConfigError> {
        GroupConsumer::new(self.cluster.clone(), config, None)
    }

    /// The same, with somebody who hears of rebalances.
    ///
    /// # Errors
    /// The configuration cannot work.
    pub fn group_consumer_with(
        &self,
        config: GroupConfig,
        listener: impl RebalanceListener + 'static,
    ) -> Result<GroupConsumer, ConfigError> {
        GroupConsumer::new(self.cluster.clone(), config, Some(Box::new(listener)))
    }

    /// To look at the cluster and to change it.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::new(self.cluster.clone())
    }
}
