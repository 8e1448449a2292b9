//! The task behind one consume stream.
//!
//! ```text
//!             ┌──────────── client: credit, seek, pause ◀── read while few answers wait
//!   line ─▶ frame (credit?) ─▶ outbox ─▶ channel of 2 ─▶ network
//!     ▲       │ not in memory        ▲
//!     │       └─▶ read pool ─────────┘
//!     └── high watermark passed (one waiter for all partitions)
//! ```
//! At most one frame is made ahead of the channel, and one read of files is under way: what a stream holds is a few
//! frames, whatever it consumes.

use super::cursor::{Cursors, Place, There};
use super::deliver::Reading;
use super::frame::{Delivery, response};
use super::group::{self, End, Hosting};
use super::open::{self, PATIENCE, invalid};
use super::remote::{self, News, Remote};
use crate::admit::RequestContext;
use crate::config::INTERNAL;
use crate::data_plane::DataPlane;
use crate::groups::Groups;
use crate::partition::clock;
use crate::partition::wait::Waiter;
use crate::service::credit::Credits;
use crate::service::forward::Target;
use crate::service::position;
use crate::service::read::Batches;
use crate::service::route::shown;
use quipu_proto::v1::consume_request::Message as Asked;
use quipu_proto::v1::consume_response::Message;
use quipu_proto::v1::open::Source;
use quipu_proto::{Failure, v1};
use quipu_record::{ErrorCode, Offset};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior};
use tonic::{Status, Streaming};

pub(super) type Frame = Result<v1::ConsumeResponse, Status>;

/// Frames that wait for the network.
const CHANNEL_FRAMES: usize = 2;
/// Answers that may wait for the channel before the client is no longer listened to.
const OUTBOX_MAX: usize = 16;
/// How long the last word may wait for a client that does not read.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Starts a stream.
pub(super) fn start(
    host: Host,
    context: RequestContext,
    inbound: Streaming<v1::ConsumeRequest>,
) -> mpsc::Receiver<Frame> {
    let (out, frames) = mpsc::channel(CHANNEL_FRAMES);
    tokio::spawn(async move {
        if let Err(status) = run(host, context, inbound, &out).await {
            // Who does not read gets no last word; who is gone neither.
            let _ = tokio::time::timeout(LAST_WORD, out.send(Err(status))).await;
        }
    });
    frames
}

async fn run(
    host: Host,
    context: RequestContext,
    mut inbound: Streaming<v1::ConsumeRequest>,
    out: &mpsc::Sender<Frame>,
) -> Result<(), Status> {
    let drained = context.clone();
    let mut drained = pin!(drained.drained());
    let first = tokio::select! {
        first = inbound.message() => first?,
        () = &mut drained => return Err(RequestContext::draining_status()),
    };
    let Some(v1::ConsumeRequest {
        message: Some(Asked::Open(asked)),
    }) = first
    else {
        return Err(invalid("the first message of a stream must be open").into_status());
    };
    let metrics = Arc::clone(&host.plane.metrics);
    let mut session = Session::open(host, &context, asked).await.map_err(|failure| {
        metrics.error(context.api, failure.code);
        failure.into_status()
    })?;
    let end = loop {
        session.obey_member();
        session.advance();
        if session.is_over() {
            break End::Over;
        }
        if let Some(end) = session.member_end() {
            break end;
        }
        let event = tokio::select! {
            biased;
            () = out.closed() => break End::Gone,
            () = &mut drained => break End::Draining,
            event = session.event(&mut inbound, out) => event,
        };
        if let Some(end) = session.handle(event).await {
            break end;
        }
    };
    if session.hosting.is_some() {
        session.wind_down(&end, out).await;
    }
    end.status()
}

/// What can happen to a stream.
enum Event {
    Asked(Result<Option<v1::ConsumeRequest>, Status>),
    Read(Result<Batches, Failure>),
    /// Of the member.
    Member(group::News),
    Fired(Vec<u32>),
    /// Of other brokers.
    Remote(News),
    Beat,
    /// A frame went out.
    Sent,
}

/// What a stream lives on.
pub(super) struct Host {
    pub(super) plane: Arc<DataPlane>,
    /// Absent: no groups here.
    pub(super) groups: Option<Groups>,
    pub(super) seats: Arc<group::Seats>,
    /// Where the client is.
    pub(super) peer: Option<SocketAddr>,
}

pub(super) struct Session {
    pub(super) plane: Arc<DataPlane>,
    pub(super) context: RequestContext,
    pub(super) delivery: Delivery,
    pub(super) cursors: Cursors,
    pub(super) credits: Credits,
    pub(super) waiter: Waiter,
    pub(super) outbox: VecDeque<v1::ConsumeResponse>,
    pub(super) reading: Option<Reading>,
    /// What others lead may be asked of them.
    pub(super) forward: bool,
    pub(super) remote: Remote,
    /// The member that it is the stream of, if it is a group's.
    pub(super) hosting: Option<Hosting>,
    heartbeat: Interval,
    /// The client may still say something.
    listening: bool,
}

impl Session {
    async fn open(host: Host, context: &RequestContext, asked: v1::Open) -> Result<Self, Failure> {
        let delivery = open::delivery(&asked)?;
        let (forward, cursors, hosting, opened) = match asked.source {
            Some(Source::Group(asked)) => {
                let groups = host.groups.ok_or_else(no_groups)?;
                let hosting =
                    group::open(&host.plane, context, groups, &host.seats, host.peer, asked).await?;
                // Who goes on as a member cannot know who leads what it gets.
                (
                    *context.listener != *INTERNAL,
                    Cursors::default(),
                    Some(hosting),
                    None,
                )
            }
            _ => {
                let (cursors, forward, opened) = open::open(&host.plane, context, asked).await?;
                (forward, cursors, None, Some(opened))
            }
        };
        let period = host.plane.config.heartbeat;
        let mut heartbeat = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut session = Self {
            plane: host.plane,
            context: context.clone(),
            delivery,
            cursors,
            credits: Credits::default(),
            waiter: Waiter::default(),
            outbox: VecDeque::new(),
            reading: None,
            forward,
            remote: Remote::default(),
            hosting,
            heartbeat,
            listening: true,
        };
        if let Some(opened) = opened {
            session.push(Message::Opened(opened));
        }
        Ok(session)
    }

    /// Nothing can ever be sent again: the client has said its last word, and the credit is used up or it was a member.
    fn is_over(&self) -> bool {
        let quiet = self.outbox.is_empty() && !self.credits.open();
        !self.listening && (quiet || self.hosting.is_some())
    }

    async fn event(
        &mut self,
        inbound: &mut Streaming<v1::ConsumeRequest>,
        out: &mpsc::Sender<Frame>,
    ) -> Event {
        let busy = self.hosting.as_ref().is_some_and(Hosting::is_busy);
        let listen = self.listening && self.outbox.len() < OUTBOX_MAX && !busy;
        let hosting = &mut self.hosting;
        let member = async {
            match hosting {
                Some(hosting) => hosting.next().await,
                None => std::future::pending().await,
            }
        };
        let reading = &mut self.reading;
        let read = async {
            match reading {
                Some(reading) => reading.batches.as_mut().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Ok(permit) = out.reserve(), if !self.outbox.is_empty() => {
                if let Some(frame) = self.outbox.pop_front() {
                    permit.send(Ok(frame));
                }
                Event::Sent
            }
            asked = inbound.message(), if listen => Event::Asked(asked),
            news = member => Event::Member(news),
            batches = read => Event::Read(batches),
            keys = self.waiter.fired() => Event::Fired(keys),
            news = self.remote.next(&mut self.cursors) => Event::Remote(news),
            _ = self.heartbeat.tick() => {
                // Who has frames waiting sees that the broker lives.
                let _ = out.try_send(Ok(heartbeat(self.context.throttle_ms())));
                Event::Beat
            }
        }
    }

    async fn handle(&mut self, event: Event) -> Option<End> {
        match event {
            Event::Asked(asked) => match asked {
                Ok(Some(v1::ConsumeRequest { message: Some(asked) })) => {
                    if let Err(failure) = self.obey(asked).await {
                        return Some(End::Refused(failure.into_status()));
                    }
                }
                Ok(Some(v1::ConsumeRequest { message: None })) => {}
                Ok(None) => self.listening = false,
                Err(status) => return Some(End::Broken(status)),
            },
            Event::Member(news) => self.member_news(news),
            Event::Read(batches) => {
                if let Some(reading) = self.reading.take() {
                    self.read_done(&reading, batches);
                }
            }
            Event::Fired(keys) => keys.into_iter().for_each(|key| self.cursors.enqueue(key)),
            Event::Remote(News::Again(keys)) => keys.into_iter().for_each(|key| self.cursors.enqueue(key)),
            Event::Remote(News::Answered(answers)) => {
                for (key, data) in answers {
                    self.answered(key, data);
                }
            }
            Event::Beat | Event::Sent => {}
        }
        None
    }

    async fn obey(&mut self, asked: Asked) -> Result<(), Failure> {
        match asked {
            Asked::Open(_) => return Err(invalid("a stream is opened once: open another")),
            Asked::Credit(credit) => self.credits.grant(credit.bytes, credit.records),
            Asked::Seek(seek) => self.seek(seek).await,
            Asked::Pause(pause) => match self.cursors.key(&pause.topic, pause.partition) {
                Some(key) => self.cursors.pause(key, pause.paused),
                // It may have been taken from the member a moment ago.
                None if self.hosting.is_some() => {}
                None => return Err(not_open(&pause.topic, pause.partition)),
            },
            Asked::Ack(_) | Asked::Commit(_) | Asked::AssignmentAck(_) => return self.member_asked(asked),
        }
        if let Some(hosting) = &mut self.hosting {
            hosting.heard();
        }
        Ok(())
    }

    async fn seek(&mut self, seek: v1::Seek) {
        let mut sought = v1::Sought {
            topic: seek.topic,
            partition: seek.partition,
            ..v1::Sought::default()
        };
        match self.cursors.key(&sought.topic, sought.partition) {
            None => {
                let not_open = match self.hosting {
                    Some(_) => group::not_its(&sought.topic, sought.partition),
                    None => not_open(&sought.topic, sought.partition),
                };
                sought.error = Some(not_open.into());
            }
            Some(key) => match self.find(key, seek.to.as_ref()).await {
                Ok(offset) => {
                    sought.offset = offset.get();
                    self.waiter.disarm(key);
                    self.cursors.seek(key, offset);
                    let at = self.cursors.place(key).at();
                    if let Some(hosting) = &mut self.hosting {
                        hosting.sought(at);
                    }
                }
                Err(failure) => {
                    sought.offset = self.cursors.get(key).next.get();
                    sought.error = Some(failure.into());
                }
            },
        }
        self.push(Message::Sought(sought));
    }

    /// Finds a place in one of the partitions.
    async fn find(&mut self, key: u32, to: Option<&v1::StartPosition>) -> Result<Offset, Failure> {
        match self.cursors.place(key) {
            Place::Here(replica) => {
                let patience = self.context.at_most(PATIENCE);
                let listener = &self.context.listener;
                let found = position::find(&self.plane, replica, to, listener, patience).await?;
                Ok(found.offset)
            }
            Place::There(there) => {
                let target = self.target(there)?;
                let (_, offset) = remote::open(&self.plane, &self.context, &target, to.copied()).await?;
                Ok(offset)
            }
        }
    }

    fn target(&self, there: &There) -> Result<Target, Failure> {
        let unknown = || {
            self.plane
                .not_leader(there.at, &there.topic.name, &self.context.listener)
        };
        Ok(Target {
            peer: self.plane.elsewhere(there.at).ok_or_else(unknown)?,
            at: there.at,
            topic: Arc::clone(&there.topic),
        })
    }

    pub(super) fn push(&mut self, message: Message) {
        self.outbox
            .push_back(response(message, self.context.throttle_ms()));
    }
}

fn heartbeat(throttle_ms: u32) -> v1::ConsumeResponse {
    let time_ms = clock::wall().get();
    response(Message::Heartbeat(v1::Heartbeat { time_ms }), throttle_ms)
}

fn no_groups() -> Failure {
    Failure::new(ErrorCode::NotReady, "this broker serves no groups")
}

fn not_open(topic: &str, partition: u32) -> Failure {
    let topic = shown(topic);
    Failure::new(
        ErrorCode::InvalidRequest,
        format!("partition {partition} of topic {topic:?} is not open on this stream"),
    )
}
