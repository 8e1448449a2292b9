//! What the application's thread and the task behind it share: the core, what came, and the stream.

use super::core::{CommitId, Core, Effect, End, Given, Named, Welcome};
use super::error::CommitError;
use super::stream::{Event, Opening};
use super::{AssignmentEpoch, GroupConfig, MemberEpoch, key};
use crate::consumer::{
    FRAME_BYTES_MAX, Frames, Key, Opened, Places as _, Start, StreamId, rejected, sought_offset,
};
use crate::moment::Moment;
use crate::routing::{Cluster, lock};
use quipu_proto::{Failure, scalars, v1};
use quipu_record::PartitionId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::sleep_until;

/// Brokers send a sign of life every 5 seconds or so: the least patience that makes sense.
const SILENCE_LEAST: Duration = Duration::from_secs(7);
const SILENCE_MOST: Duration = Duration::from_secs(15);
/// When nothing is due.
const IDLE: Duration = Duration::from_secs(60);

/// What the application's thread and the task behind it share.
pub(super) struct Shared {
    pub(super) cluster: Arc<Cluster>,
    pub(super) config: GroupConfig,
    state: Mutex<State>,
    /// Something came for the application.
    pub(super) news: Notify,
    /// Something is due sooner than the task thinks.
    poke: Notify,
    started: Instant,
}

pub(super) struct State {
    pub(super) core: Core,
    pub(super) frames: Frames,
    pub(super) waiters: HashMap<CommitId, oneshot::Sender<Result<(), CommitError>>>,
    /// Until then the task sleeps, if nothing comes.
    due: Moment,
    requests: Option<mpsc::UnboundedSender<v1::ConsumeRequest>>,
    task: Option<AbortHandle>,
    tell: mpsc::UnboundedSender<Event>,
}

impl Drop for State {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

impl Shared {
    pub(super) fn new(
        cluster: Arc<Cluster>,
        config: GroupConfig,
        core: Core,
    ) -> (Self, mpsc::UnboundedReceiver<Event>) {
        let (tell, events) = mpsc::unbounded_channel();
        let state = State {
            core,
            frames: Frames::new(config.decoded_bytes_max),
            waiters: HashMap::new(),
            due: Moment::default(),
            requests: None,
            task: None,
            tell,
        };
        let shared = Self {
            cluster,
            config,
            state: Mutex::new(state),
            news: Notify::new(),
            poke: Notify::new(),
            started: Instant::now(),
        };
        (shared, events)
    }

    pub(super) fn now(&self) -> Moment {
        Moment::new(self.started.elapsed())
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Does what the core says, after the application's thread did something to it.
    pub(super) fn settle(&self, state: &mut State) {
        self.obey(state);
        let sooner = state
            .core
            .next_tick(self.now())
            .is_some_and(|due| due < state.due);
        if sooner {
            self.poke.notify_one();
        }
    }

    fn obey(&self, state: &mut State) {
        while let Some(effect) = state.core.next_effect() {
            match effect {
                Effect::Open {
                    stream,
                    member,
                    epoch,
                } => self.open(state, stream, member, epoch),
                Effect::Close { .. } => state.close(),
                Effect::Committed { commit, result } => match state.waiters.remove(&commit) {
                    // Whoever asked may not want to know any more.
                    Some(waiter) => drop(waiter.send(result)),
                    None => {
                        if let Err(error) = result {
                            tracing::warn!(%error, "offsets were not committed");
                        }
                    }
                },
                said => {
                    if let Effect::Seek { key, .. } = &said {
                        // What came before counts no more, even once the seek has taken effect.
                        state.frames.purge(&mut state.core, key);
                    }
                    if let Some(message) = message(said) {
                        state.request(message);
                    }
                }
            }
        }
    }

    fn open(&self, state: &mut State, stream: StreamId, member: String, epoch: MemberEpoch) {
        state.close();
        let Some(address) = self.cluster.somebody() else {
            let end = End::Broken("no broker is known".into());
            let _ = state.tell.send(Event::Ended(stream, end));
            return;
        };
        let (requests, to_send) = mpsc::unbounded_channel();
        let opening = Opening {
            stream,
            address,
            requests: to_send,
            silence_max: (self.config.session_timeout / 3).clamp(SILENCE_LEAST, SILENCE_MOST),
            tell: state.tell.clone(),
        };
        let task = tokio::spawn(opening.run(self.cluster.clone()));
        state.task = Some(task.abort_handle());
        state.requests = Some(requests);
        let client_id = &self.cluster.config.client_id;
        let open = open(&self.config, client_id, stream, member, epoch);
        state.request(v1::consume_request::Message::Open(open));
        let bytes = self.config.window_bytes as u64;
        state.request(v1::consume_request::Message::Credit(v1::Credit {
            bytes,
            records: None,
        }));
    }

    /// The task behind a member: keeps it in its group, whatever the application is busy with.
    pub(super) async fn drive(self: Arc<Self>, mut events: mpsc::UnboundedReceiver<Event>) {
        let mut came = false;
        loop {
            let due = {
                let mut state = self.lock();
                let now = self.now();
                state.core.tick(now);
                self.obey(&mut state);
                let idle = now.after(IDLE);
                state.due = state.core.next_tick(now).map_or(idle, |due| due.min(idle));
                came |= state.core.has_news();
                state.due
            };
            if std::mem::take(&mut came) {
                self.news.notify_one();
            }
            let mut next = tokio::select! {
                event = events.recv() => match event {
                    Some(event) => Some(event),
                    None => return,
                },
                () = sleep_until(due.on_clock(self.started).into()) => {
                    came = true;
                    None
                },
                () = self.poke.notified() => None,
            };
            let mut state = self.lock();
            let now = self.now();
            while let Some(event) = next {
                came = true;
                state.on(now, event);
                self.obey(&mut state);
                next = events.try_recv().ok();
            }
        }
    }
}

impl State {
    fn close(&mut self) {
        self.requests = None;
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    /// Ends what is sent; what comes is still heard.
    pub(super) fn half_close(&mut self) {
        self.requests = None;
    }

    fn request(&self, message: v1::consume_request::Message) {
        if let Some(requests) = &self.requests {
            // If the stream is gone its task says so.
            let _ = requests.send(v1::ConsumeRequest {
                message: Some(message),
            });
        }
    }

    fn on(&mut self, now: Moment, event: Event) {
        use v1::consume_response::Message;
        let (stream, message) = match event {
            Event::Came(stream, message) => (stream, message),
            Event::Ended(stream, end) => return self.core.ended(now, stream, end),
        };
        self.core.heard(now, stream);
        match message {
            Message::Opened(opened) => {
                let welcome = welcome(opened.membership.unwrap_or_default());
                for key in self.core.opened(now, stream, welcome) {
                    self.frames.purge(&mut self.core, &key);
                }
            }
            Message::Assignment(assignment) => self.on_assignment(now, stream, assignment),
            Message::Data(data) => self.on_data(stream, data),
            Message::Sought(sought) => self.on_sought(now, stream, sought),
            Message::Commit(result) => self.on_commit(now, stream, result),
            Message::Heartbeat(_) => {}
        }
    }

    fn on_assignment(&mut self, now: Moment, stream: StreamId, assignment: v1::Assignment) {
        let keys = |partitions: Vec<v1::StreamPartition>| -> Vec<Key> {
            let each = partitions.into_iter();
            each.map(|p| key(&p.topic, PartitionId::new(p.partition)))
                .collect()
        };
        let mut assigned = Vec::with_capacity(assignment.assigned.len());
        let mut reaches = Vec::new();
        for partition in assignment.assigned {
            let Some(opened) = partition.opened else { continue };
            let key = key(&opened.topic, PartitionId::new(opened.partition));
            let Ok(topic_id) = scalars::topic_id(&opened.topic_id) else {
                tracing::warn!(topic = %key.topic, "a broker names a topic without its id");
                continue;
            };
            let read = match opened.error.clone() {
                None => Opened::read(&opened),
                Some(error) => Err(error.into()),
            };
            let place = read.map(|opened| {
                reaches.push((key.clone(), opened.high_watermark, opened.log_start));
                opened.offset
            });
            let committed = partition
                .committed
                .map(|offset| scalars::offset("committed", offset));
            let (place, committed) = match committed.transpose() {
                Ok(committed) => (place, committed),
                Err(failure) => (Err(failure), None),
            };
            assigned.push(Given {
                key,
                topic_id,
                epoch: AssignmentEpoch::new(partition.assignment_epoch),
                committed,
                place,
            });
        }
        let (revoked, lost) = (keys(assignment.revoked), keys(assignment.lost));
        let epoch = MemberEpoch::new(assignment.member_epoch);
        let gone = self.core.assignment(now, stream, epoch, assigned, revoked, lost);
        for (key, high_watermark, log_start) in reaches {
            self.core.reaches(&key, high_watermark, log_start);
        }
        for key in gone {
            self.frames.purge(&mut self.core, &key);
        }
        while let Some((key, failure)) = self.core.next_trouble() {
            self.frames.push_error(rejected(key, failure));
        }
    }

    fn on_data(&mut self, stream: StreamId, mut data: v1::PartitionData) {
        let key = key(&data.topic, PartitionId::new(data.partition));
        if let Some(error) = data.error.take() {
            return self.frames.push_refusal(stream, key, error.into());
        }
        let epoch = data.assignment_epoch.map(AssignmentEpoch::new);
        if epoch.is_some() && epoch != self.core.epoch_of(&key) {
            let bytes = data.encoded.map_or(0, |encoded| encoded.into_bytes().len());
            return self.core.owe(stream, bytes);
        }
        self.frames.push(&mut self.core, stream, key, data);
    }

    fn on_sought(&mut self, now: Moment, stream: StreamId, sought: v1::Sought) {
        let key = key(&sought.topic, PartitionId::new(sought.partition));
        match sought_offset(sought) {
            Ok(offset) => self.core.sought(stream, &key, offset),
            Err(failure) => {
                if let Some(failure) = self.core.seek_refused(now, stream, &key, failure) {
                    self.frames.push_error(rejected(key, failure));
                }
            }
        }
    }

    fn on_commit(&mut self, now: Moment, stream: StreamId, result: v1::CommitResult) {
        let failures = result.results.into_iter().filter_map(|result| {
            let error = result.error?;
            let key = key(&result.topic, PartitionId::new(result.partition));
            Some((key, Failure::from(error)))
        });
        // The one that is to blame, where others only say that they were not committed either.
        let failure = failures.min_by_key(|(_, failure)| failure.retryable);
        if result.request_id == 0 {
            if let Some((key, failure)) = failure {
                tracing::warn!(topic = %key.topic, partition = %key.partition, %failure, "what was processed is not committed");
            }
            return;
        }
        self.core
            .committed(now, stream, CommitId(result.request_id), failure);
    }
}

fn open(
    config: &GroupConfig,
    client_id: &str,
    stream: StreamId,
    member: String,
    epoch: MemberEpoch,
) -> v1::Open {
    let ms = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
    let group = v1::OpenGroup {
        group: config.group.clone(),
        topics: config.topics.clone(),
        topic_pattern: config.topic_pattern.clone(),
        member_id: Some(member),
        member_epoch: epoch.get(),
        instance_id: config.instance_id.clone(),
        rack: config.rack.clone(),
        assignor: Some(config.assignor.name().to_owned()),
        session_timeout_ms: ms(config.session_timeout),
        revocation_timeout_ms: ms(config.revocation_timeout),
        start: Some(config.start.into()),
        commit: match config.commit {
            super::CommitMode::Auto => v1::CommitMode::Auto.into(),
            super::CommitMode::Manual => v1::CommitMode::Manual.into(),
        },
        auto_commit_interval_ms: ms(config.auto_commit_interval),
        client_id: client_id.to_owned(),
        // Zero would be a stream that is not counted.
        stream_number: stream.0 + 1,
        acknowledges_revocations: true,
    };
    v1::Open {
        source: Some(v1::open::Source::Group(group)),
        format: v1::Format::Encoded.into(),
        routing: v1::Routing::Forward.into(),
        max_frame_bytes: u32::try_from(config.frame_bytes.min(FRAME_BYTES_MAX)).unwrap_or(u32::MAX),
    }
}

/// An effect that is something to say.
fn message(effect: Effect) -> Option<v1::consume_request::Message> {
    use v1::consume_request::Message;
    Some(match effect {
        Effect::Ack { key, next, epoch } => Message::Ack(v1::Ack {
            topic: key.topic.to_string(),
            partition: key.partition.get(),
            next_offset: next.get(),
            assignment_epoch: Some(epoch.get()),
        }),
        Effect::Commit { commit, offsets } => {
            let offsets = offsets.into_iter().map(|offset| v1::StreamOffset {
                topic: offset.key.topic.to_string(),
                partition: offset.key.partition.get(),
                next_offset: offset.next.get(),
                assignment_epoch: Some(offset.epoch.get()),
                metadata: offset.metadata,
            });
            Message::Commit(v1::Commit {
                request_id: commit.0,
                offsets: offsets.collect(),
            })
        }
        Effect::GiveUp { keys } => {
            let partitions = keys.into_iter().map(|key| v1::StreamPartition {
                topic: key.topic.to_string(),
                partition: key.partition.get(),
            });
            Message::AssignmentAck(v1::AssignmentAck {
                partitions: partitions.collect(),
            })
        }
        Effect::Seek { key, to } => Message::Seek(seek(&key, to)),
        Effect::Pause { key, paused } => Message::Pause(v1::Pause {
            topic: key.topic.to_string(),
            partition: key.partition.get(),
            paused,
        }),
        Effect::Credit { bytes } => Message::Credit(v1::Credit { bytes, records: None }),
        Effect::Open { .. } | Effect::Close { .. } | Effect::Committed { .. } => return None,
    })
}

/// A stream's first word.
fn welcome(membership: v1::Membership) -> Welcome {
    let named = |partitions: Vec<v1::HeldPartition>| -> Vec<Named> {
        let named = |held: v1::HeldPartition| match scalars::topic_id(&held.topic_id) {
            Ok(topic_id) => Some(Named {
                key: key(&held.topic, PartitionId::new(held.partition)),
                topic_id,
                epoch: AssignmentEpoch::new(held.assignment_epoch),
            }),
            Err(_) => {
                tracing::warn!(topic = %held.topic, "a broker names a topic without its id");
                None
            }
        };
        partitions.into_iter().filter_map(named).collect()
    };
    Welcome {
        member: membership.member_id,
        epoch: MemberEpoch::new(membership.member_epoch),
        assigned: named(membership.assigned),
        revoking: named(membership.revoking),
    }
}

fn seek(key: &Key, to: Start) -> v1::Seek {
    v1::Seek {
        topic: key.topic.to_string(),
        partition: key.partition.get(),
        to: Some(to.into()),
    }
}
