//! Reads records: by partitions, over one stream per leader, under credits.
//!
//! - [`core`]: which partition is read on which stream, and from where; pure.
//! - [`stream`]: one consume stream, as a task.
//! - [`frames`]: what came, checked and decoded batch by batch in the application's own thread.
//!
//! There is no task between: [`Consumer::next`] drives it all.

mod batch;
mod config;
mod core;
mod error;
mod frames;
mod stream;

pub use batch::{FetchedBatch, FetchedIter};
pub use config::{ConsumerConfig, Reset, Start};
pub use error::ConsumeError;

pub(crate) use self::core::{Key, StreamId};
pub(crate) use self::frames::{Frames, Opened, Places, rejected, sought_offset};

use self::core::{Core, Effect};
use self::stream::Event;
use crate::error::CallError;
use crate::moment::Moment;
use crate::routing::{Cluster, ROUTES_AGE_MAX, Topic};
use quipu_proto::{Failure, v1};
use quipu_record::{ErrorCode, Offset, PartitionId, TopicId};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout_at;

/// What the contract allows for one message.
pub(crate) const FRAME_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Where a consumer stands in a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Position {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: PartitionId,
    /// The next offset that will be given; `None` until the broker has said where the start is.
    pub offset: Option<Offset>,
    /// Everything below is readable, as last heard.
    pub high_watermark: Option<Offset>,
    /// Everything below was deleted, as last heard.
    pub log_start: Option<Offset>,
    /// It was paused.
    pub paused: bool,
}

impl Position {
    /// At this place, of which nothing more is known.
    pub(crate) fn at(key: &Key, place: Start) -> Self {
        Self {
            topic: key.topic.clone(),
            partition: key.partition,
            offset: match place {
                Start::Offset(offset) => Some(offset),
                Start::Earliest | Start::Latest | Start::Timestamp(_) => None,
            },
            high_watermark: None,
            log_start: None,
            paused: false,
        }
    }
}

/// Reads records of partitions.
#[derive(Debug)]
pub struct Consumer {
    config: ConsumerConfig,
    cluster: Arc<Cluster>,
    core: Core,
    frames: Frames,
    streams: HashMap<StreamId, Stream>,
    events: mpsc::UnboundedReceiver<Event>,
    tell: mpsc::UnboundedSender<Event>,
    /// Topics that are read as a whole, with the partitions they were seen to have.
    whole: BTreeMap<Arc<str>, usize>,
    routes_at: Moment,
    started: Instant,
}

#[derive(Debug)]
struct Stream {
    requests: mpsc::UnboundedSender<v1::ConsumeRequest>,
    task: AbortHandle,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Consumer {
    pub(crate) fn new(cluster: Arc<Cluster>, config: ConsumerConfig) -> Self {
        let (tell, events) = mpsc::unbounded_channel();
        Self {
            core: Core::new(
                config.window_bytes as u64,
                config.reset.start(),
                cluster.backoff_limits(),
                rand::random(),
            ),
            frames: Frames::new(config.decoded_bytes_max),
            config,
            cluster,
            streams: HashMap::new(),
            events,
            tell,
            whole: BTreeMap::new(),
            routes_at: Moment::new(ROUTES_AGE_MAX),
            started: Instant::now(),
        }
    }

    /// Adds all partitions of a topic, each from the same start. Those that it gets later are read from their beginning.
    ///
    /// # Errors
    /// There is no such topic, or its routes could not be had in time.
    pub async fn add_topic(&mut self, topic: &str, start: Start) -> Result<(), CallError> {
        let found = self.look_up(topic).await?;
        for partition in 0..found.partitions.len() {
            self.add(topic, &found, partition, start);
        }
        self.whole.insert(topic.into(), found.partitions.len());
        Ok(())
    }

    /// Adds one partition, or moves it if it is there.
    ///
    /// # Errors
    /// There is no such topic or partition, or its routes could not be had in time.
    pub async fn add_partition(
        &mut self,
        topic: &str,
        partition: PartitionId,
        start: Start,
    ) -> Result<(), CallError> {
        let found = self.look_up(topic).await?;
        let place = partition.get() as usize;
        if place >= found.partitions.len() {
            let message = format!(
                "topic {topic:?} has {} partitions and none with index {partition}",
                found.partitions.len()
            );
            return Err(CallError::Rejected(Failure::new(
                ErrorCode::UnknownTopicOrPartition,
                message,
            )));
        }
        self.add(topic, &found, place, start);
        Ok(())
    }

    async fn look_up(&self, name: &str) -> Result<Topic, CallError> {
        self.cluster.topic(name).await?.ok_or_else(|| {
            let message = format!("there is no topic {name:?}");
            CallError::Rejected(Failure::new(ErrorCode::UnknownTopicOrPartition, message))
        })
    }

    fn add(&mut self, name: &str, topic: &Topic, place: usize, start: Start) {
        if let (Ok(partition), Some(route)) = (u32::try_from(place), topic.partitions.get(place)) {
            self.core
                .add(key(name, PartitionId::new(partition)), topic.id, *route, start);
        }
    }

    /// Reads one partition no more. Nothing if it is not read.
    pub fn remove_partition(&mut self, topic: &str, partition: PartitionId) {
        self.core.remove(&key(topic, partition));
    }

    /// The next batch of records of one partition; waits for it. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`ConsumeError`] names the partition, which is then read no further until a seek or a resume; the others go on
    /// with the next call.
    pub async fn next(&mut self) -> Result<FetchedBatch, ConsumeError> {
        loop {
            let now = self.now();
            let given = self.frames.next(&mut self.core, now);
            self.obey();
            if let Some(given) = given {
                return given;
            }
            if !self.core.reads() {
                return Err(ConsumeError::NoPartitions);
            }
            self.wait().await;
        }
    }

    /// Moves to another place; what was on its way from the old one is dropped. Also ends what an error began.
    ///
    /// # Errors
    /// The partition is not read.
    pub fn seek(&mut self, topic: &str, partition: PartitionId, to: Start) -> Result<(), ConsumeError> {
        let key = key(topic, partition);
        if self.core.seek(&key, to) {
            Ok(())
        } else {
            Err(not_assigned(key))
        }
    }

    /// Stops giving records of a partition, and keeps its place.
    ///
    /// # Errors
    /// The partition is not read.
    pub fn pause(&mut self, topic: &str, partition: PartitionId) -> Result<(), ConsumeError> {
        let key = key(topic, partition);
        if self.core.pause(&key, true) {
            Ok(())
        } else {
            Err(not_assigned(key))
        }
    }

    /// Goes on after a pause or an error, from the same place.
    ///
    /// # Errors
    /// The partition is not read.
    pub fn resume(&mut self, topic: &str, partition: PartitionId) -> Result<(), ConsumeError> {
        let key = key(topic, partition);
        if self.core.pause(&key, false) {
            Ok(())
        } else {
            Err(not_assigned(key))
        }
    }

    /// Where it stands, by topic and partition.
    #[must_use]
    pub fn positions(&self) -> Vec<Position> {
        let positions = self.core.partitions().map(|(key, partition)| Position {
            high_watermark: partition.high_watermark,
            log_start: partition.log_start,
            paused: partition.paused,
            ..Position::at(key, partition.place)
        });
        positions.collect()
    }

    fn now(&self) -> Moment {
        Moment::new(self.started.elapsed())
    }

    /// Waits until something happens or is due, and takes it in.
    async fn wait(&mut self) {
        let due = self
            .core
            .next_plan()
            .map_or(self.routes_at, |plan| plan.min(self.routes_at));
        let due = due.on_clock(self.started).into();
        let event = timeout_at(due, self.events.recv()).await.ok().flatten();
        let now = self.now();
        if self.routes_at <= now {
            self.refresh();
        }
        let mut next = event;
        while let Some(event) = next {
            self.on(now, event);
            next = self.events.try_recv().ok();
        }
    }

    fn on(&mut self, now: Moment, event: Event) {
        use v1::consume_response::Message;
        match event {
            Event::Came(stream, Message::Data(mut data)) => {
                let key = key(&data.topic, PartitionId::new(data.partition));
                match data.error.take() {
                    None => self.frames.push(&mut self.core, stream, key, data),
                    Some(error) => {
                        let failure = Failure::from(error);
                        self.take_hint(now, &key, &failure);
                        self.frames.push_refusal(stream, key, failure);
                    }
                }
            }
            Event::Came(stream, Message::Opened(opened)) => {
                for partition in opened.partitions {
                    self.on_opened(now, stream, partition);
                }
            }
            Event::Came(stream, Message::Sought(sought)) => self.on_sought(now, stream, sought),
            // The other two are for groups' streams; this one was opened on partitions.
            Event::Came(_, Message::Heartbeat(_) | Message::Assignment(_) | Message::Commit(_)) => {}
            Event::Ended(stream, why) => {
                tracing::debug!(why, "reads on from where it was");
                self.streams.remove(&stream);
                self.core.ended(now, stream);
            }
            Event::Routes(asked) => {
                if let Err(error) = asked {
                    tracing::warn!(%error, "the consumer does not know where to read");
                }
                self.take_routes(now);
                self.core.refreshed(now);
            }
        }
    }

    fn on_opened(&mut self, now: Moment, stream: StreamId, opened: v1::OpenedPartition) {
        let key = key(&opened.topic, PartitionId::new(opened.partition));
        if let Some(error) = opened.error {
            return self.on_refused(now, stream, key, error.into());
        }
        match Opened::read(&opened) {
            Ok(opened) => {
                self.core.placed(stream, &key, opened.offset, false);
                self.core.reaches(&key, opened.high_watermark, opened.log_start);
            }
            Err(failure) => self.on_refused(now, stream, key, failure),
        }
    }

    fn on_sought(&mut self, now: Moment, stream: StreamId, sought: v1::Sought) {
        let key = key(&sought.topic, PartitionId::new(sought.partition));
        match sought_offset(sought) {
            Ok(offset) => self.core.placed(stream, &key, offset, true),
            Err(failure) => {
                let failure = self.core.seek_refused(now, stream, &key, failure);
                self.frames_error(key, failure);
            }
        }
    }

    fn on_refused(&mut self, now: Moment, stream: StreamId, key: Key, failure: Failure) {
        self.take_hint(now, &key, &failure);
        let failure = self.core.refused(now, stream, &key, failure);
        self.frames_error(key, failure);
    }

    fn take_hint(&mut self, now: Moment, key: &Key, failure: &Failure) {
        if let (Some(hint), Some(partition)) = (&failure.leader, self.core.get(key))
            && self
                .cluster
                .hint(&key.topic, partition.topic_id, key.partition, hint)
        {
            self.take_routes(now);
        }
    }

    fn frames_error(&mut self, key: Key, failure: Option<Failure>) {
        if let Some(failure) = failure {
            self.frames.push_error(rejected(key, failure));
        }
    }

    /// Tells the core what is known of leaders.
    fn take_routes(&mut self, now: Moment) {
        for (name, seen) in self.whole.clone() {
            if let Some(topic) = self.cluster.known_topic(&name)
                && topic.partitions.len() > seen
            {
                for partition in seen..topic.partitions.len() {
                    self.add(&name, &topic, partition, Start::Earliest);
                }
                self.whole.insert(name, topic.partitions.len());
            }
        }
        let keys: Vec<Key> = self.core.partitions().map(|(key, _)| key.clone()).collect();
        let mut last: Option<(Arc<str>, Option<Topic>)> = None;
        for key in keys {
            if last.as_ref().is_none_or(|(name, _)| *name != key.topic) {
                last = Some((key.topic.clone(), self.cluster.known_topic(&key.topic)));
            }
            if let Some((_, Some(topic))) = &last
                && let Some(route) = topic.partitions.get(key.partition.get() as usize)
            {
                self.core.routed(now, &key, topic.id, *route);
            }
        }
    }

    /// Does what the core says.
    fn obey(&mut self) {
        self.core.plan(self.now());
        while let Some(effect) = self.core.next_effect() {
            match effect {
                Effect::Open {
                    stream,
                    broker,
                    partitions,
                } => {
                    let address = self.cluster.address(broker);
                    self.open(stream, address, partitions);
                }
                Effect::Close { stream } => {
                    self.streams.remove(&stream);
                }
                Effect::Seek { stream, key, to } => {
                    let seek = v1::Seek {
                        topic: key.topic.to_string(),
                        partition: key.partition.get(),
                        to: Some(to.into()),
                    };
                    self.request(stream, v1::consume_request::Message::Seek(seek));
                }
                Effect::Pause { stream, key, paused } => {
                    let pause = v1::Pause {
                        topic: key.topic.to_string(),
                        partition: key.partition.get(),
                        paused,
                    };
                    self.request(stream, v1::consume_request::Message::Pause(pause));
                }
                Effect::Credit { stream, bytes } => {
                    let credit = v1::Credit { bytes, records: None };
                    self.request(stream, v1::consume_request::Message::Credit(credit));
                }
                Effect::Refresh => self.refresh(),
            }
        }
    }

    fn request(&self, stream: StreamId, message: v1::consume_request::Message) {
        if let Some(stream) = self.streams.get(&stream) {
            // If the stream is gone its task says so.
            let _ = stream.requests.send(v1::ConsumeRequest {
                message: Some(message),
            });
        }
    }

    fn open(&mut self, stream: StreamId, address: Option<String>, partitions: Vec<(Key, TopicId, Start)>) {
        let partitions = partitions
            .into_iter()
            .map(|(key, topic_id, start)| v1::ConsumePartition {
                topic: key.topic.to_string(),
                topic_id: Some(topic_id.to_string()),
                partition: key.partition.get(),
                start: Some(start.into()),
            });
        let open = v1::Open {
            source: Some(v1::open::Source::Partitions(v1::OpenPartitions {
                partitions: partitions.collect(),
            })),
            format: v1::Format::Encoded.into(),
            routing: v1::Routing::LeaderOnly.into(),
            max_frame_bytes: u32::try_from(self.config.frame_bytes.min(FRAME_BYTES_MAX)).unwrap_or(u32::MAX),
        };
        let (requests, to_send) = mpsc::unbounded_channel();
        let run = stream::run(self.cluster.clone(), stream, address, to_send, self.tell.clone());
        let task = tokio::spawn(run).abort_handle();
        self.streams.insert(stream, Stream { requests, task });
        self.request(stream, v1::consume_request::Message::Open(open));
        let bytes = self.config.window_bytes as u64;
        self.request(
            stream,
            v1::consume_request::Message::Credit(v1::Credit { bytes, records: None }),
        );
    }

    fn refresh(&mut self) {
        self.routes_at = self.now().after(ROUTES_AGE_MAX);
        let mut names: Vec<Arc<str>> = self.core.partitions().map(|(key, _)| key.topic.clone()).collect();
        names.dedup();
        let (cluster, tell) = (self.cluster.clone(), self.tell.clone());
        tokio::spawn(async move {
            let names: Vec<&str> = names.iter().map(|name| &**name).collect();
            // No name at all would ask for every topic.
            let asked = if names.is_empty() {
                Ok(())
            } else {
                cluster.refresh(&names).await
            };
            let _ = tell.send(Event::Routes(asked));
        });
    }
}

fn key(topic: &str, partition: PartitionId) -> Key {
    Key {
        topic: topic.into(),
        partition,
    }
}

fn not_assigned(key: Key) -> ConsumeError {
    ConsumeError::NotAssigned {
        topic: key.topic,
        partition: key.partition,
    }
}
