//! `quipu.v1.TopicService`: topics are created, looked at, changed and deleted by commands to the controllers, and
//! described from the image in effect here.

use super::call::Calls;
use super::{delete_records, describe};
use crate::admit::{Api, RequestContext};
use crate::applied::Applied;
use crate::config::TopicsConfig;
use crate::controllers::Controllers;
use crate::data_plane::DataPlane;
use prost::Message;
use quipu_controller::{Committed, ProposeError};
use quipu_metadata::{
    Command, ConfigChange, CreatePartitions, CreateTopic, DeleteTopic, Delta, Image, Refusal,
    Request as Change, UpdateTopicConfig,
};
use quipu_proto::v1::topic_service_server::TopicService;
use quipu_proto::{Failure, v1};
use quipu_record::{ErrorCode, MetadataVersion, TopicId};
use std::sync::Arc;
use std::time::Duration;
use tonic::{Request, Response, Status};
use uuid::Uuid;

/// How long a deletion of records may take whose client named no deadline.
const PATIENCE: Duration = Duration::from_secs(30);
const PAGE_DEFAULT: u32 = 1000;
const PAGE_MAX: u32 = 10_000;
/// A page ends here even if more topics were asked for: generated clients refuse messages of more than 4 MiB.
const PAGE_BYTES: usize = 1 << 20;

/// The service.
pub struct Topics {
    calls: Calls,
    controllers: Controllers,
    applied: Arc<Applied>,
    defaults: TopicsConfig,
    data: Arc<DataPlane>,
}

impl Topics {
    /// Of a broker with these controllers.
    #[must_use]
    pub fn new(
        calls: Calls,
        controllers: Controllers,
        applied: Arc<Applied>,
        defaults: TopicsConfig,
        data: Arc<DataPlane>,
    ) -> Self {
        Self {
            calls,
            controllers,
            applied,
            defaults,
            data,
        }
    }

    /// Makes a change, or only finds out what it would do. The answer is the image with the change in it.
    async fn change<C: Change>(
        &self,
        change: C,
        validate_only: bool,
    ) -> Result<(Arc<Image>, C::Outcome), Failure> {
        if validate_only {
            return dry_run(&self.applied.image(), change);
        }
        let committed = self.controllers.propose(change).await;
        let Committed { version, outcome } = committed
            .map_err(|error: ProposeError<C::Refusal>| Failure::new(error.code(), error.to_string()))?;
        Ok((self.applied.at_least(version).await, outcome))
    }

    fn new_topic(&self, request: v1::CreateTopicRequest) -> Result<CreateTopic, Failure> {
        let factor = match (request.replication_factor, self.defaults.replication_factor) {
            (0, 0) => None,
            (0, default) => Some(default),
            (asked, _) => Some(asked),
        };
        let factor = factor.map(u16::try_from).transpose().map_err(|_| {
            Failure::new(
                ErrorCode::InvalidReplicationFactor,
                "a replication factor is at most 65535",
            )
        })?;
        let mut configs: Vec<_> = request.configs.into_iter().collect();
        configs.sort();
        for (key, value) in &self.defaults.defaults {
            if !configs.iter().any(|(given, _)| given == key) {
                configs.push((key.clone(), value.clone()));
            }
        }
        Ok(CreateTopic {
            name: request.name,
            topic_id: TopicId::from_u128(Uuid::new_v4().as_u128()),
            partitions: match request.partitions {
                0 => self.defaults.partitions,
                asked => asked,
            },
            replication_factor: factor,
            configs,
            internal: false,
        })
    }

    async fn create(
        &self,
        _: &RequestContext,
        request: v1::CreateTopicRequest,
    ) -> Result<v1::CreateTopicResponse, Failure> {
        let validate_only = request.validate_only;
        let (image, created) = self.change(self.new_topic(request)?, validate_only).await?;
        Ok(v1::CreateTopicResponse {
            topic: Some(described(&image, created.topic_id)?),
            metadata_version: image.version().get(),
        })
    }

    async fn get(
        &self,
        _: &RequestContext,
        request: v1::GetTopicRequest,
    ) -> Result<v1::GetTopicResponse, Failure> {
        let image = match describe::version(request.min_version) {
            Some(version) => self.applied.at_least(version).await,
            None => self.applied.image(),
        };
        let topic = describe::find(&image, &request.name, request.topic_id.as_deref())?;
        Ok(v1::GetTopicResponse {
            topic: Some(describe::topic(topic)),
            metadata_version: image.version().get(),
        })
    }

    async fn update(
        &self,
        _: &RequestContext,
        request: v1::UpdateTopicConfigRequest,
    ) -> Result<v1::UpdateTopicConfigResponse, Failure> {
        let topic_id = self.id_of(&request.name, request.topic_id.as_deref())?;
        let mut set: Vec<_> = request.set.into_iter().collect();
        set.sort();
        let change = UpdateTopicConfig {
            topic_id,
            change: ConfigChange {
                set,
                unset: request.unset,
            },
            expected_version: request.expected_version.map(MetadataVersion::new),
        };
        let (image, _) = self.change(change, request.validate_only).await?;
        Ok(v1::UpdateTopicConfigResponse {
            topic: Some(described(&image, topic_id)?),
            metadata_version: image.version().get(),
        })
    }

    async fn delete(
        &self,
        _: &RequestContext,
        request: v1::DeleteTopicRequest,
    ) -> Result<v1::DeleteTopicResponse, Failure> {
        let topic_id = self.id_of(&request.name, request.topic_id.as_deref())?;
        let (image, deleted) = self
            .change(DeleteTopic { topic_id }, request.validate_only)
            .await?;
        Ok(v1::DeleteTopicResponse {
            topic_id: deleted.topic_id.to_string(),
            metadata_version: image.version().get(),
        })
    }

    async fn extend(
        &self,
        _: &RequestContext,
        request: v1::CreatePartitionsRequest,
    ) -> Result<v1::CreatePartitionsResponse, Failure> {
        let topic_id = self.id_of(&request.name, request.topic_id.as_deref())?;
        let change = CreatePartitions {
            topic_id,
            total: request.total_count,
        };
        let (image, _) = self.change(change, request.validate_only).await?;
        Ok(v1::CreatePartitionsResponse {
            topic: Some(described(&image, topic_id)?),
            metadata_version: image.version().get(),
        })
    }

    async fn list(
        &self,
        _: &RequestContext,
        request: v1::ListTopicsRequest,
    ) -> Result<v1::ListTopicsResponse, Failure> {
        page(&self.applied.image(), &request)
    }

    async fn delete_records_of(
        &self,
        context: &RequestContext,
        request: v1::DeleteRecordsRequest,
    ) -> Result<v1::DeleteRecordsResponse, Failure> {
        let patience = context.at_most(PATIENCE);
        delete_records::answer(&self.applied.image(), &self.data, context, request, patience).await
    }

    fn id_of(&self, name: &str, id: Option<&str>) -> Result<TopicId, Failure> {
        Ok(describe::find(&self.applied.image(), name, id)?.id)
    }
}

/// What a change would do to this image.
fn dry_run<C: Change>(image: &Image, change: C) -> Result<(Arc<Image>, C::Outcome), Failure> {
    let internal = |what: String| Failure::new(ErrorCode::Internal, what);
    let mut after = image.clone();
    let version = MetadataVersion::new(image.version().get() + 1);
    after.advance_to(version);
    let command: Command = change.into_command();
    let (records, reply) = after.decide(&command);
    let outcome =
        C::from_reply(reply).ok_or_else(|| internal(format!("{} was not answered", command.name())))?;
    let outcome = outcome.map_err(|refusal| Failure::new(refusal.code(), refusal.to_string()))?;
    let delta = Delta { version, records };
    after.apply(&delta).map_err(|error| internal(error.to_string()))?;
    Ok((Arc::new(after), outcome))
}

fn described(image: &Image, id: TopicId) -> Result<v1::Topic, Failure> {
    let topic = image.topic(id).map(|topic| describe::topic(topic));
    topic.ok_or_else(|| {
        let told = "the change was made, and somebody deleted the topic in the same moment";
        Failure::new(ErrorCode::UnknownTopicId, told)
    })
}

/// A page of topics by name, after the name that `token` is.
fn page(image: &Image, request: &v1::ListTopicsRequest) -> Result<v1::ListTopicsResponse, Failure> {
    let size = match request.page_size {
        0 => PAGE_DEFAULT,
        size if size <= PAGE_MAX => size,
        size => {
            let told = format!("page_size {size}: a page has at most {PAGE_MAX} topics");
            return Err(Failure::new(ErrorCode::InvalidRequest, told));
        }
    };
    let token = request.page_token.as_str();
    let wanted = |topic: &&Arc<quipu_metadata::Topic>| {
        (request.include_internal || !topic.internal) && (token.is_empty() || &*topic.name > token)
    };
    let mut topics: Vec<v1::Topic> = Vec::new();
    let mut bytes = 0;
    let mut next_page_token = String::new();
    for topic in image.topics_by_name().filter(wanted) {
        if topics.len() as u64 >= u64::from(size) || bytes >= PAGE_BYTES {
            next_page_token = topics.last().map_or_else(String::new, |last| last.name.clone());
            break;
        }
        let topic = describe::topic(topic);
        bytes += topic.encoded_len();
        topics.push(topic);
    }
    Ok(v1::ListTopicsResponse {
        topics,
        next_page_token,
        metadata_version: image.version().get(),
    })
}

macro_rules! handlers {
    ($($name:ident($api:ident, $request:ident) -> $response:ident by $handler:ident;)*) => {
        #[tonic::async_trait]
        impl TopicService for Topics {
            $(
                async fn $name(
                    &self,
                    request: Request<v1::$request>,
                ) -> Result<Response<v1::$response>, Status> {
                    let (context, request) = self.calls.admit(Api::$api, request)?;
                    self.calls.run(&context, self.$handler(&context, request)).await
                }
            )*
        }
    };
}

handlers! {
    create_topic(CreateTopic, CreateTopicRequest) -> CreateTopicResponse by create;
    get_topic(GetTopic, GetTopicRequest) -> GetTopicResponse by get;
    list_topics(ListTopics, ListTopicsRequest) -> ListTopicsResponse by list;
    update_topic_config(UpdateTopicConfig, UpdateTopicConfigRequest) -> UpdateTopicConfigResponse by update;
    delete_topic(DeleteTopic, DeleteTopicRequest) -> DeleteTopicResponse by delete;
    create_partitions(CreatePartitions, CreatePartitionsRequest) -> CreatePartitionsResponse by extend;
    delete_records(DeleteRecords, DeleteRecordsRequest) -> DeleteRecordsResponse by delete_records_of;
}
