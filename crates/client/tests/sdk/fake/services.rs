//! The fake brokers' services.

use super::groups::GroupStream;
use super::{Next, Shared, State};
use quipu_proto::v1::cluster_service_server::{ClusterService, ClusterServiceServer};
use quipu_proto::v1::consume_service_server::{ConsumeService, ConsumeServiceServer};
use quipu_proto::v1::group_service_server::GroupServiceServer;
use quipu_proto::v1::produce_service_server::{ProduceService, ProduceServiceServer};
use quipu_proto::v1::topic_service_server::{TopicService, TopicServiceServer};
use quipu_proto::{EncodedBatches, Failure, LeaderHint, v1};
use quipu_record::{BatchHeader, BrokerId, ErrorCode, LeaderEpoch};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tonic::transport::server::Router;
use tonic::{Request, Response, Status, Streaming};

#[derive(Clone)]
pub(super) struct Broker {
    id: u32,
    pub(super) shared: Arc<Shared>,
}

pub(crate) fn server(id: u32, shared: Arc<Shared>) -> Router {
    let broker = Broker { id, shared };
    tonic::transport::Server::builder()
        .add_service(ClusterServiceServer::new(broker.clone()))
        .add_service(ProduceServiceServer::new(broker.clone()).max_decoding_message_size(8 << 20))
        .add_service(ConsumeServiceServer::new(broker.clone()))
        .add_service(GroupServiceServer::new(broker.clone()))
        .add_service(TopicServiceServer::new(broker))
}

pub(super) type Answer<T> = Result<Response<T>, Status>;
type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

pub(super) fn unimplemented<T>() -> Answer<T> {
    Err(Status::unimplemented("not in the fake"))
}

impl Broker {
    /// What becomes of one batch; `None`: the stream ends; `Some(None)`: no answer.
    fn produce(&self, batch: v1::Batch) -> Option<Option<v1::BatchResult>> {
        let mut state = self.shared.state();
        let Some(v1::batch::Payload::Encoded(bytes)) = batch.payload else {
            panic!("not encoded")
        };
        let index = batch.partition.unwrap();
        state.sequences.push((index, BatchHeader::parse(&bytes).unwrap()));
        let mut result = v1::BatchResult {
            topic: batch.topic.clone(),
            partition: index,
            durability: v1::Durability::Flushed.into(),
            ..Default::default()
        };
        let refused = |mut result: v1::BatchResult, failure: Failure| {
            result.error = Some(failure.into());
            Some(Some(result))
        };
        let addresses = state.addresses.clone();
        let Some(topic) = state.topics.get_mut(&batch.topic) else {
            return refused(
                result,
                Failure::new(ErrorCode::UnknownTopicOrPartition, "no such topic"),
            );
        };
        if batch.topic_id.is_some_and(|id| id != topic.id.to_string()) {
            return refused(result, Failure::new(ErrorCode::UnknownTopicId, "another topic"));
        }
        let partition = &mut topic.partitions[index as usize];
        let next = partition.next.pop_front();
        if let Some(Next::Hint(leader, epoch)) = next {
            return refused(result, not_leader(Some(leader), epoch, &addresses));
        }
        if partition.leader != Some(self.id) || matches!(next, Some(Next::NotLeader)) {
            return refused(result, not_leader(partition.leader, partition.epoch, &addresses));
        }
        match &next {
            Some(Next::Refuse(code)) => return refused(result, Failure::new(*code, "as told")),
            Some(Next::Break) => return None,
            _ => {}
        }
        let (base, duplicate) = match partition.store(bytes) {
            Ok(stored) => stored,
            Err(code) => return refused(result, Failure::new(code, "so it is")),
        };
        result.leader_epoch = partition.epoch;
        drop(state);
        self.shared.changed();
        match next {
            Some(Next::StoreAndBreak) => return None,
            Some(Next::StoreAndHang) => return Some(None),
            Some(Next::StoreAndTimeOut) => {
                return refused(result, Failure::new(ErrorCode::RequestTimedOut, "as told"));
            }
            _ => {}
        }
        result.base_offset = Some(base);
        result.duplicate = duplicate;
        Some(Some(result))
    }
}

fn not_leader(leader: Option<u32>, epoch: u32, addresses: &BTreeMap<u32, String>) -> Failure {
    let hint = leader.map(|leader| LeaderHint {
        broker: BrokerId::new(leader),
        endpoint: addresses[&leader].clone(),
        epoch: LeaderEpoch::new(epoch),
    });
    Failure::new(ErrorCode::NotLeader, "not the leader").with_leader(hint)
}

#[tonic::async_trait]
impl ProduceService for Broker {
    async fn produce(&self, _: Request<v1::ProduceRequest>) -> Answer<v1::ProduceResponse> {
        unimplemented()
    }

    type ProduceStreamStream = Streamed<v1::ProduceStreamResponse>;

    async fn produce_stream(
        &self,
        request: Request<Streaming<v1::ProduceStreamRequest>>,
    ) -> Answer<Self::ProduceStreamStream> {
        self.shared.call("produce_stream")?;
        assert_eq!(request.metadata().get("quipu-client-id").unwrap(), "tester");
        let (answers, stream) = mpsc::unbounded_channel();
        let broker = self.clone();
        let mut requests = request.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                let answer = request.batch.map(|batch| broker.produce(batch));
                if broker.shared.state().silent.contains(&broker.id) {
                    continue;
                }
                let result = match answer {
                    None => None,
                    Some(Some(Some(result))) => Some(result),
                    Some(Some(None)) => continue,
                    Some(None) => return,
                };
                let answer = v1::ProduceStreamResponse {
                    request_id: Some(request.request_id),
                    result,
                    ..Default::default()
                };
                let _ = answers.send(Ok(answer));
            }
        });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(stream))))
    }

    async fn init_producer(
        &self,
        request: Request<v1::InitProducerRequest>,
    ) -> Answer<v1::InitProducerResponse> {
        self.shared.call("init_producer")?;
        let mut state = self.shared.state();
        let request = request.into_inner();
        let (producer_id, producer_epoch) = match (request.producer_id, request.producer_epoch) {
            (Some(id), Some(epoch)) => (id, epoch + 1),
            _ => {
                state.next_producer += 1;
                (state.next_producer, 0)
            }
        };
        Ok(Response::new(v1::InitProducerResponse {
            producer_id,
            producer_epoch,
            throttle_ms: 0,
        }))
    }
}

#[tonic::async_trait]
impl ClusterService for Broker {
    async fn get_cluster(&self, _: Request<v1::GetClusterRequest>) -> Answer<v1::GetClusterResponse> {
        self.shared.call("get_cluster")?;
        let state = self.shared.state();
        Ok(Response::new(v1::GetClusterResponse {
            cluster_id: "c1".into(),
            answered_by: self.id,
            brokers: state.brokers(),
            metadata_version: state.version,
            ..Default::default()
        }))
    }

    async fn get_routing(&self, request: Request<v1::GetRoutingRequest>) -> Answer<v1::GetRoutingResponse> {
        self.shared.call("get_routing")?;
        let state = self.shared.state();
        let request = request.into_inner();
        let routes = state.cut_off.get(&self.id).cloned();
        let routes = routes.unwrap_or_else(|| state.routes(&request.topics));
        if routes.metadata_version < request.min_version {
            return Err(Failure::new(ErrorCode::NotReady, "behind").into_status());
        }
        Ok(Response::new(routes))
    }

    type WatchRoutingStream = Streamed<v1::WatchRoutingResponse>;

    async fn watch_routing(
        &self,
        request: Request<v1::WatchRoutingRequest>,
    ) -> Answer<Self::WatchRoutingStream> {
        self.shared.call("watch_routing")?;
        let (answers, stream) = mpsc::unbounded_channel();
        let (broker, topics) = (self.clone(), request.into_inner().topics);
        let mut changed = self.shared.changed.subscribe();
        tokio::spawn(async move {
            loop {
                let routing = {
                    let state = broker.shared.state();
                    let stale = state.cut_off.get(&broker.id).cloned();
                    stale.unwrap_or_else(|| state.routes(&topics))
                };
                let routing = Some(routing);
                if answers.send(Ok(v1::WatchRoutingResponse { routing })).is_err() {
                    return;
                }
                if changed.changed().await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(stream))))
    }

    async fn list_brokers(&self, _: Request<v1::ListBrokersRequest>) -> Answer<v1::ListBrokersResponse> {
        unimplemented()
    }

    async fn check_cluster(
        &self,
        request: Request<v1::CheckClusterRequest>,
    ) -> Answer<v1::CheckClusterResponse> {
        self.shared.call("check_cluster")?;
        let of_broker = request.into_inner().scope() == v1::CheckScope::Broker;
        let full = of_broker && self.shared.state().disk_full.contains(&self.id);
        let finding = v1::Finding {
            severity: v1::Severity::Warning.into(),
            subject: "disk".into(),
            ..Default::default()
        };
        Ok(Response::new(v1::CheckClusterResponse {
            findings: full.then_some(finding).into_iter().collect(),
            ..Default::default()
        }))
    }

    async fn set_log_level(&self, _: Request<v1::SetLogLevelRequest>) -> Answer<v1::SetLogLevelResponse> {
        unimplemented()
    }

    async fn get_controllers(
        &self,
        _: Request<v1::GetControllersRequest>,
    ) -> Answer<v1::GetControllersResponse> {
        unimplemented()
    }

    async fn join_controller(
        &self,
        _: Request<v1::JoinControllerRequest>,
    ) -> Answer<v1::JoinControllerResponse> {
        unimplemented()
    }

    async fn leave_controller(
        &self,
        _: Request<v1::LeaveControllerRequest>,
    ) -> Answer<v1::LeaveControllerResponse> {
        unimplemented()
    }
}

#[tonic::async_trait]
impl TopicService for Broker {
    async fn create_topic(
        &self,
        request: Request<v1::CreateTopicRequest>,
    ) -> Answer<v1::CreateTopicResponse> {
        self.shared.call("create_topic")?;
        let name = request.into_inner().name;
        let mut state = self.shared.state();
        if state.topics.contains_key(&name) {
            return Err(Failure::new(ErrorCode::TopicAlreadyExists, "there is one").into_status());
        }
        state.version += 1;
        let id = quipu_record::TopicId::from_u128(u128::from(state.version) << 64);
        state.topics.insert(
            name.clone(),
            super::Topic {
                id,
                partitions: vec![],
            },
        );
        let topic = v1::Topic {
            name,
            topic_id: id.to_string(),
            ..Default::default()
        };
        Ok(Response::new(v1::CreateTopicResponse {
            topic: Some(topic),
            metadata_version: state.version,
        }))
    }

    async fn get_topic(&self, _: Request<v1::GetTopicRequest>) -> Answer<v1::GetTopicResponse> {
        self.shared.call("get_topic")?;
        Err(Failure::new(ErrorCode::UnknownTopicOrPartition, "no such topic").into_status())
    }

    async fn list_topics(&self, _: Request<v1::ListTopicsRequest>) -> Answer<v1::ListTopicsResponse> {
        unimplemented()
    }

    async fn update_topic_config(
        &self,
        _: Request<v1::UpdateTopicConfigRequest>,
    ) -> Answer<v1::UpdateTopicConfigResponse> {
        unimplemented()
    }

    async fn delete_topic(&self, _: Request<v1::DeleteTopicRequest>) -> Answer<v1::DeleteTopicResponse> {
        unimplemented()
    }

    async fn create_partitions(
        &self,
        _: Request<v1::CreatePartitionsRequest>,
    ) -> Answer<v1::CreatePartitionsResponse> {
        unimplemented()
    }

    async fn delete_records(
        &self,
        _: Request<v1::DeleteRecordsRequest>,
    ) -> Answer<v1::DeleteRecordsResponse> {
        unimplemented()
    }
}

/// One consume stream's cursor.
pub(super) struct Cursor {
    pub(super) topic: String,
    pub(super) partition: u32,
    pub(super) offset: u64,
    pub(super) paused: bool,
    pub(super) stopped: bool,
}

pub(super) fn start(state: &State, topic: &str, partition: u32, at: Option<v1::StartPosition>) -> u64 {
    use v1::start_position::Position;
    let partition = &state.topics[topic].partitions[partition as usize];
    match at.and_then(|at| at.position) {
        Some(Position::Offset(offset)) => offset,
        Some(Position::Latest(_)) => partition.end(),
        _ => partition.log_start,
    }
}

pub(super) struct Session {
    pub(super) broker: Broker,
    pub(super) cursors: Vec<Cursor>,
    credit: i64,
    /// If it is a group's.
    pub(super) group: Option<GroupStream>,
    pub(super) out: mpsc::Sender<Result<v1::ConsumeResponse, Status>>,
}

impl Session {
    pub(super) async fn say(&self, message: v1::consume_response::Message) -> bool {
        self.out
            .send(Ok(v1::ConsumeResponse {
                message: Some(message),
                throttle_ms: 0,
            }))
            .await
            .is_ok()
    }

    async fn take(&mut self, request: v1::ConsumeRequest) -> bool {
        use v1::consume_request::Message;
        use v1::consume_response::Message as Said;
        match request.message.unwrap() {
            Message::Ack(ack) => {
                self.group
                    .as_ref()
                    .expect("a group's stream")
                    .ack(&self.broker, ack);
                true
            }
            Message::Commit(commit) => {
                let group = self.group.as_ref().expect("a group's stream");
                match group.commit(&self.broker, commit) {
                    Some(result) => self.say(Said::Commit(result)).await,
                    None => true,
                }
            }
            Message::AssignmentAck(ack) => {
                let group = self.group.as_mut().expect("a group's stream");
                group.give_up(&self.broker, ack);
                true
            }
            Message::Open(open) => {
                let wanted = match open.source {
                    Some(v1::open::Source::Partitions(wanted)) => wanted,
                    Some(v1::open::Source::Group(wanted)) => return self.join(wanted).await,
                    None => panic!("nothing to open"),
                };
                let mut opened = v1::Opened::default();
                {
                    let state = self.broker.shared.state();
                    for partition in wanted.partitions {
                        let offset = start(&state, &partition.topic, partition.partition, partition.start);
                        let topic = &state.topics[&partition.topic];
                        opened.partitions.push(v1::OpenedPartition {
                            topic: partition.topic.clone(),
                            topic_id: topic.id.to_string(),
                            partition: partition.partition,
                            offset,
                            high_watermark: topic.partitions[partition.partition as usize].end(),
                            log_start: 0,
                            error: None,
                        });
                        self.cursors.push(Cursor {
                            topic: partition.topic,
                            partition: partition.partition,
                            offset,
                            paused: false,
                            stopped: false,
                        });
                    }
                }
                self.say(Said::Opened(opened)).await
            }
            Message::Credit(credit) => {
                self.broker.shared.state().credits.push(credit.bytes);
                self.credit += i64::try_from(credit.bytes).unwrap();
                true
            }
            Message::Seek(seek) => {
                let offset = start(&self.broker.shared.state(), &seek.topic, seek.partition, seek.to);
                for cursor in &mut self.cursors {
                    if cursor.topic == seek.topic && cursor.partition == seek.partition {
                        cursor.offset = offset;
                        cursor.stopped = false;
                    }
                }
                let sought = v1::Sought {
                    topic: seek.topic,
                    partition: seek.partition,
                    offset,
                    error: None,
                };
                self.say(Said::Sought(sought)).await
            }
            Message::Pause(pause) => {
                for cursor in &mut self.cursors {
                    if cursor.topic == pause.topic && cursor.partition == pause.partition {
                        cursor.paused = pause.paused;
                    }
                }
                true
            }
        }
    }

    async fn join(&mut self, wanted: v1::OpenGroup) -> bool {
        match GroupStream::open(&self.broker, wanted) {
            Ok((group, opened)) => {
                self.group = Some(group);
                self.say(v1::consume_response::Message::Opened(opened)).await
            }
            Err(status) => {
                let _ = self.out.send(Err(status)).await;
                false
            }
        }
    }

    /// What one cursor gives next.
    fn read(&mut self) -> Option<v1::PartitionData> {
        let mut state = self.broker.shared.state();
        if state.silent.contains(&self.broker.id) {
            return None;
        }
        let State {
            topics,
            addresses,
            damaged,
            ..
        } = &mut *state;
        for cursor in self
            .cursors
            .iter_mut()
            .filter(|cursor| !cursor.paused && !cursor.stopped)
        {
            let Some(topic) = topics.get_mut(&cursor.topic) else {
                continue;
            };
            let partition = &mut topic.partitions[cursor.partition as usize];
            let mut data = v1::PartitionData {
                topic: cursor.topic.clone(),
                topic_id: topic.id.to_string(),
                partition: cursor.partition,
                leader_epoch: partition.epoch,
                high_watermark: partition.end(),
                log_start: partition.log_start,
                next_offset: cursor.offset,
                assignment_epoch: self
                    .group
                    .as_ref()
                    .and_then(|group| group.epoch(&cursor.topic, cursor.partition)),
                ..Default::default()
            };
            // A group's stream brings what others lead as well.
            if partition.leader != Some(self.broker.id) && self.group.is_none() {
                cursor.stopped = true;
                let failure = not_leader(partition.leader, partition.epoch, addresses);
                data.error = Some(failure.into());
                return Some(data);
            }
            if partition.not_available > 0 {
                partition.not_available -= 1;
                cursor.stopped = true;
                data.error = Some(Failure::new(ErrorCode::OffsetNotAvailable, "not yet").into());
                return Some(data);
            }
            if cursor.offset < partition.log_start || cursor.offset > partition.end() {
                cursor.stopped = true;
                data.error = Some(Failure::new(ErrorCode::OffsetOutOfRange, "out of range").into());
                return Some(data);
            }
            let wanted =
                |batch: &&quipu_record::StoredBatch| batch.header().next_offset().get() > cursor.offset;
            if self.credit <= 0 {
                continue;
            }
            if let Some(batch) = partition.log.iter().find(wanted) {
                let bytes = damaged.take().unwrap_or_else(|| batch.to_bytes());
                self.credit -= i64::try_from(bytes.len()).unwrap();
                cursor.offset = batch.header().next_offset().get();
                data.next_offset = cursor.offset;
                data.encoded = Some(EncodedBatches::from(bytes));
                return Some(data);
            }
        }
        None
    }
}

#[tonic::async_trait]
impl ConsumeService for Broker {
    async fn fetch(&self, _: Request<v1::FetchRequest>) -> Answer<v1::FetchResponse> {
        unimplemented()
    }

    type ConsumeStream = ReceiverStream<Result<v1::ConsumeResponse, Status>>;

    async fn consume(&self, request: Request<Streaming<v1::ConsumeRequest>>) -> Answer<Self::ConsumeStream> {
        self.shared.call("consume")?;
        let (out, stream) = mpsc::channel(4);
        let mut session = Session {
            broker: self.clone(),
            cursors: Vec::new(),
            credit: 0,
            group: None,
            out,
        };
        let mut requests = request.into_inner();
        let mut changed = self.shared.changed.subscribe();
        tokio::spawn(async move {
            loop {
                if !session.reconcile().await {
                    return;
                }
                while let Some(data) = session.read() {
                    if !session.say(v1::consume_response::Message::Data(data)).await {
                        return;
                    }
                }
                tokio::select! {
                    request = requests.message() => match request {
                        Ok(Some(request)) => {
                            if !session.take(request).await {
                                return;
                            }
                        }
                        Ok(None) => return session.last_word(),
                        Err(_) => return,
                    },
                    _ = changed.changed() => {}
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn list_offsets(
        &self,
        request: Request<v1::ListOffsetsRequest>,
    ) -> Answer<v1::ListOffsetsResponse> {
        self.shared.call("list_offsets")?;
        let state = self.shared.state();
        let results = request
            .into_inner()
            .queries
            .into_iter()
            .map(|query| v1::OffsetResult {
                offset: start(&state, &query.topic, query.partition, query.at),
                topic_id: state.topics[&query.topic].id.to_string(),
                topic: query.topic,
                partition: query.partition,
                ..Default::default()
            });
        Ok(Response::new(v1::ListOffsetsResponse {
            results: results.collect(),
            throttle_ms: 0,
        }))
    }
}
