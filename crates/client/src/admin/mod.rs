//! Looks at the cluster and changes it.

mod cluster;
mod topics;

pub use cluster::{
    BrokerDescription, CheckReport, ClusterDescription, Finding, ListenerDescription, PartitionRoute,
    RoutingDescription, Severity, TopicRoute,
};
pub use topics::{
    ConfigChange, ConfigEntry, DeletedRecords, FoundOffset, NewTopic, PartitionDescription, TopicChanged,
    TopicDescription,
};

use crate::consumer::Start;
use crate::error::CallError;
use quipu_record::{MetadataVersion, Offset, PartitionId};

/// Looks at the cluster and changes it. Every call has one deadline
/// ([`ClientConfig::call_timeout`](crate::ClientConfig::call_timeout)) and is repeated under it where that is safe.
#[derive(Clone, Debug)]
pub struct Admin {
    _inner: (),
}

impl Admin {
    /// Creates a topic, or with `validate_only` says what it would be. Once it returns, this client routes to it.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn create_topic(&self, topic: NewTopic) -> Result<TopicChanged, CallError> {
        let _ = topic;
        todo!("the next commit")
    }

    /// Describes a topic.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn get_topic(&self, name: &str) -> Result<TopicDescription, CallError> {
        let _ = name;
        todo!("the next commit")
    }

    /// Describes all topics, by name; those internal to the cluster only if asked for.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn list_topics(&self, include_internal: bool) -> Result<Vec<TopicDescription>, CallError> {
        let _ = include_internal;
        todo!("the next commit")
    }

    /// Changes a topic's configs.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn update_topic_config(
        &self,
        name: &str,
        change: ConfigChange,
    ) -> Result<TopicChanged, CallError> {
        let _ = (name, change);
        todo!("the next commit")
    }

    /// Deletes a topic with its records.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn delete_topic(&self, name: &str, validate_only: bool) -> Result<MetadataVersion, CallError> {
        let _ = (name, validate_only);
        todo!("the next commit")
    }

    /// Gives a topic more partitions. Keys go to other partitions from then on.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn create_partitions(
        &self,
        name: &str,
        total_count: u32,
        validate_only: bool,
    ) -> Result<TopicChanged, CallError> {
        let _ = (name, total_count, validate_only);
        todo!("the next commit")
    }

    /// Deletes the records below an offset of each partition named (`None`: all up to the high watermark).
    ///
    /// # Errors
    /// [`CallError`] for the whole; each partition has its own result.
    pub async fn delete_records(
        &self,
        name: &str,
        partitions: Vec<(PartitionId, Option<Offset>)>,
        validate_only: bool,
    ) -> Result<Vec<DeletedRecords>, CallError> {
        let _ = (name, partitions, validate_only);
        todo!("the next commit")
    }

    /// Finds an offset in each partition named. `Latest` is no earlier than every append acknowledged before the call.
    ///
    /// # Errors
    /// [`CallError`], of the first partition that failed for good.
    pub async fn list_offsets(
        &self,
        queries: Vec<(String, PartitionId, Start)>,
    ) -> Result<Vec<FoundOffset>, CallError> {
        let _ = queries;
        todo!("the next commit")
    }

    /// Describes the cluster.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn cluster(&self) -> Result<ClusterDescription, CallError> {
        todo!("the next commit")
    }

    /// Where partitions are led; of all topics if none is named.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn routing(&self, topics: Vec<String>) -> Result<RoutingDescription, CallError> {
        let _ = topics;
        todo!("the next commit")
    }

    /// Asks the cluster what is wrong with it.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn check(&self) -> Result<CheckReport, CallError> {
        todo!("the next commit")
    }

    /// Sets what the broker at this address (`host:port`) logs until it restarts; returns the filter before.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn set_log_level(&self, endpoint: &str, filter: &str) -> Result<String, CallError> {
        let _ = (endpoint, filter);
        todo!("the next commit")
    }
}
