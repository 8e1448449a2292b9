//! The door: one client per cluster, from which producers, consumers and admins come.

use crate::{
    Admin, ClientConfig, ConnectError, Consumer, ConsumerConfig, Producer, ProducerConfig, SendError,
};
use std::sync::Arc;

/// A connection to a cluster. Cheap to clone; all clones share connections and routes.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<ClientConfig>,
}

impl Client {
    /// Connects: returns once one of the addresses has answered.
    ///
    /// # Errors
    /// [`ConnectError`] says what each address said.
    pub async fn connect(config: ClientConfig) -> Result<Self, ConnectError> {
        let _ = config;
        todo!("the next commit")
    }

    /// The cluster's id.
    #[must_use]
    pub fn cluster_id(&self) -> String {
        let _ = &self.inner;
        todo!("the next commit")
    }

    /// A new producer, with an identity of its own.
    ///
    /// # Errors
    /// [`SendError`]: the configuration cannot work, or no identity could be had in time.
    pub async fn producer(&self, config: ProducerConfig) -> Result<Producer, SendError> {
        let _ = config;
        todo!("the next commit")
    }

    /// A new consumer that reads nothing yet.
    #[must_use]
    pub fn consumer(&self, config: ConsumerConfig) -> Consumer {
        let _ = config;
        todo!("the next commit")
    }

    /// To look at the cluster and to change it.
    #[must_use]
    pub fn admin(&self) -> Admin {
        todo!("the next commit")
    }
}
