//! Looks at the cluster and changes it.

mod check;
mod cluster;
mod controllers;
mod groups;
mod read;
mod topics;

pub use cluster::{
    BrokerDescription, CheckReport, ClusterDescription, Finding, ListenerDescription, PartitionRoute,
    RoutingDescription, Severity, TopicRoute,
};
pub use controllers::{ControllerDescription, ControllersDescription};
pub use groups::{
    CommittedOffset, GroupDescription, GroupList, GroupOffset, GroupState, GroupSummary, MemberDescription,
    OffsetReset, ResetOffsets, ResetTo,
};
pub use topics::{
    ConfigChange, ConfigEntry, DeletedRecords, FoundOffset, NewTopic, PartitionDescription, TopicChanged,
    TopicDescription,
};

use crate::consumer::Start;
use crate::error::CallError;
use crate::routing::{Cluster, Operation, bad_answer, timed};
use quipu_proto::v1::cluster_service_client::ClusterServiceClient;
use quipu_proto::v1::consume_service_client::ConsumeServiceClient;
use quipu_proto::v1::topic_service_client::TopicServiceClient;
use quipu_proto::{Failure, v1};
use quipu_record::{MetadataVersion, Offset, PartitionId};
use std::sync::Arc;
use tonic::Response;

/// Topics of one page of a list.
const PAGE_TOPICS: u32 = 1000;

/// Looks at the cluster and changes it. Every call has one deadline
/// ([`ClientConfig::call_timeout`](crate::ClientConfig::call_timeout)) and is repeated under it where that is safe.
#[derive(Clone, Debug)]
pub struct Admin {
    cluster: Arc<Cluster>,
}

impl Admin {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster }
    }

    /// A look, or a change that may be made twice.
    fn repeatable(&self, name: &'static str) -> Operation {
        Operation::repeatable(name, self.cluster.config.call_timeout)
    }

    /// A change that is made only once; one that only checks may be repeated.
    fn change(&self, name: &'static str, harmless: bool) -> Operation {
        if harmless {
            return self.repeatable(name);
        }
        Operation::once(name, self.cluster.config.call_timeout)
    }

    /// Creates a topic, or with `validate_only` says what it would be. Once it returns, this client routes to it.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn create_topic(&self, topic: NewTopic) -> Result<TopicChanged, CallError> {
        let operation = self.change("create topic", topic.validate_only);
        let request = v1::CreateTopicRequest {
            name: topic.name,
            partitions: topic.partitions.unwrap_or(0),
            replication_factor: topic.replication_factor.unwrap_or(0),
            configs: topic.configs.into_iter().collect(),
            validate_only: topic.validate_only,
        };
        let answer = self.cluster.call(operation, |connection, left| {
            let request = timed(request.clone(), left);
            async move { TopicServiceClient::new(connection).create_topic(request).await }
        });
        let answer = answer.await?;
        self.changed(
            operation,
            &request.name,
            answer.topic,
            answer.metadata_version,
            topic.validate_only,
        )
    }

    /// Describes a topic.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn get_topic(&self, name: &str) -> Result<TopicDescription, CallError> {
        let operation = self.repeatable("get topic");
        let request = v1::GetTopicRequest {
            name: name.to_owned(),
            topic_id: None,
            min_version: self.cluster.floor().get(),
        };
        let answer = self.cluster.call(operation, |connection, left| {
            let request = timed(request.clone(), left);
            async move { TopicServiceClient::new(connection).get_topic(request).await }
        });
        self.topic(operation, answer.await?.topic)
    }

    /// Describes all topics, by name; those internal to the cluster only if asked for.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn list_topics(&self, include_internal: bool) -> Result<Vec<TopicDescription>, CallError> {
        let operation = self.repeatable("list topics");
        let mut topics = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = v1::ListTopicsRequest {
                include_internal,
                page_size: PAGE_TOPICS,
                page_token,
            };
            let answer = self.cluster.call(operation, |connection, left| {
                let request = timed(request.clone(), left);
                async move { TopicServiceClient::new(connection).list_topics(request).await }
            });
            let answer = answer.await?;
            for topic in answer.topics {
                topics.push(self.topic(operation, Some(topic))?);
            }
            page_token = answer.next_page_token;
            if page_token.is_empty() {
                return Ok(topics);
            }
        }
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
        let operation = self.change("update topic config", change.validate_only);
        let request = v1::UpdateTopicConfigRequest {
            name: name.to_owned(),
            topic_id: None,
            set: change.set.into_iter().collect(),
            unset: change.unset,
            expected_version: change.expected_version,
            validate_only: change.validate_only,
        };
        let answer = self.cluster.call(operation, |connection, left| {
            let request = timed(request.clone(), left);
            async move {
                TopicServiceClient::new(connection)
                    .update_topic_config(request)
                    .await
            }
        });
        let answer = answer.await?;
        self.changed(
            operation,
            name,
            answer.topic,
            answer.metadata_version,
            change.validate_only,
        )
    }

    /// Deletes a topic with its records.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn delete_topic(&self, name: &str, validate_only: bool) -> Result<MetadataVersion, CallError> {
        let operation = self.change("delete topic", validate_only);
        let request = v1::DeleteTopicRequest {
            name: name.to_owned(),
            topic_id: None,
            validate_only,
        };
        let answer = self.cluster.call(operation, |connection, left| {
            let request = timed(request.clone(), left);
            async move { TopicServiceClient::new(connection).delete_topic(request).await }
        });
        let version = MetadataVersion::new(answer.await?.metadata_version);
        if !validate_only {
            self.cluster.changed(name, version);
        }
        Ok(version)
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
        let operation = self.change("create partitions", validate_only);
        let request = v1::CreatePartitionsRequest {
            name: name.to_owned(),
            topic_id: None,
            total_count,
            validate_only,
        };
        let answer = self.cluster.call(operation, |connection, left| {
            let request = timed(request.clone(), left);
            async move {
                TopicServiceClient::new(connection)
                    .create_partitions(request)
                    .await
            }
        });
        let answer = answer.await?;
        self.changed(
            operation,
            name,
            answer.topic,
            answer.metadata_version,
            validate_only,
        )
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
        // Below an offset, twice is as once; below the high watermark, the second time would take newer records too.
        let repeatable = validate_only || partitions.iter().all(|(_, before)| before.is_some());
        let operation = self.change("delete records", repeatable);
        let request = v1::DeleteRecordsRequest {
            name: name.to_owned(),
            topic_id: None,
            partitions: read::delete_partitions(partitions),
            validate_only,
        };
        let answer = self.cluster.call(operation, |connection, left| {
            let request = timed(request.clone(), left);
            async move { TopicServiceClient::new(connection).delete_records(request).await }
        });
        let results = answer.await?.results.into_iter().map(read::deleted_records);
        results
            .collect::<Result<_, _>>()
            .map_err(|failure| bad_answer(operation.name, &failure))
    }

    /// Finds an offset in each partition named. `Latest` is no earlier than every append acknowledged before the call.
    ///
    /// # Errors
    /// [`CallError`], of the first partition that failed for good.
    pub async fn list_offsets(
        &self,
        queries: Vec<(String, PartitionId, Start)>,
    ) -> Result<Vec<FoundOffset>, CallError> {
        let operation = self.repeatable("list offsets");
        let request = v1::ListOffsetsRequest {
            queries: queries.into_iter().map(read::offset_query).collect(),
            routing: v1::Routing::Forward.into(),
        };
        let answer = self.cluster.call(operation, |connection, left| {
            let request = timed(request.clone(), left);
            async move {
                let response = ConsumeServiceClient::new(connection)
                    .list_offsets(request)
                    .await?;
                // One partition's failure is the call's: repeated if that may help.
                let failed = response
                    .get_ref()
                    .results
                    .iter()
                    .find_map(|result| result.error.clone());
                match failed {
                    Some(error) => Err(Failure::from(error).into_status()),
                    None => Ok(Response::new(response.into_inner())),
                }
            }
        });
        let results = answer.await?.results.into_iter().map(read::found_offset);
        results
            .collect::<Result<_, _>>()
            .map_err(|failure| bad_answer(operation.name, &failure))
    }

    /// Describes the cluster.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn cluster(&self) -> Result<ClusterDescription, CallError> {
        self.cluster.describe().await.map(read::cluster)
    }

    /// Where partitions are led; of all topics if none is named. Never older than what this client was told before.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn routing(&self, topics: Vec<String>) -> Result<RoutingDescription, CallError> {
        let answer = self.cluster.routing_in_order(topics).await?;
        read::routing(answer).map_err(|failure| bad_answer("look up routes", &failure))
    }

    /// Sets what the broker at this address (`host:port`) logs until it restarts; returns the filter before.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn set_log_level(&self, endpoint: &str, filter: &str) -> Result<String, CallError> {
        let request = v1::SetLogLevelRequest {
            filter: filter.to_owned(),
        };
        let operation = self.repeatable("set the log level");
        let answer = self.cluster.call_at(operation, endpoint, |connection, left| {
            let request = timed(request.clone(), left);
            async move { ClusterServiceClient::new(connection).set_log_level(request).await }
        });
        Ok(answer.await?.previous)
    }

    fn topic(&self, operation: Operation, topic: Option<v1::Topic>) -> Result<TopicDescription, CallError> {
        read::topic(topic).map_err(|failure| bad_answer(operation.name, &failure))
    }

    fn changed(
        &self,
        operation: Operation,
        name: &str,
        topic: Option<v1::Topic>,
        version: u64,
        validate_only: bool,
    ) -> Result<TopicChanged, CallError> {
        let metadata_version = MetadataVersion::new(version);
        if !validate_only {
            self.cluster.changed(name, metadata_version);
        }
        Ok(TopicChanged {
            topic: self.topic(operation, topic)?,
            metadata_version,
        })
    }
}
