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
use super::frame::{Delivery, response, stopped};
use super::open::{PATIENCE, invalid, open};
use super::remote::{self, News, Remote};
use crate::admit::RequestContext;
use crate::data_plane::DataPlane;
use crate::partition::clock;
use crate::partition::wait::Waiter;
use crate::service::credit::Credits;
use crate::service::forward::Target;
use crate::service::position;
use crate::service::read::{self, Batches};
use crate::service::route::shown;
use quipu_proto::v1::consume_request::Message as Asked;
use quipu_proto::v1::consume_response::Message;
use quipu_proto::{Failure, v1};
use quipu_record::{ErrorCode, Offset};
use quipu_replication::ReadError;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior};
use tonic::{Status, Streaming};

type Frame = Result<v1::ConsumeResponse, Status>;

/// Frames that wait for the network.
const CHANNEL_FRAMES: usize = 2;
/// Answers that may wait for the channel before the client is no longer listened to.
const OUTBOX_MAX: usize = 16;
/// How long the last word may wait for a client that does not read.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Starts a stream.
pub(super) fn start(
    plane: Arc<DataPlane>,
    context: RequestContext,
    inbound: Streaming<v1::ConsumeRequest>,
) -> mpsc::Receiver<Frame> {
    let (out, frames) = mpsc::channel(CHANNEL_FRAMES);
    tokio::spawn(async move {
        if let Err(status) = run(plane, context, inbound, &out).await {
            // Who does not read gets no last word; who is gone neither.
            let _ = tokio::time::timeout(LAST_WORD, out.send(Err(status))).await;
        }
    });
    frames
}

async fn run(
    plane: Arc<DataPlane>,
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
    let (delivery, cursors, forward, opened) = open(&plane, &context, asked).await.map_err(|failure| {
        plane.metrics.error(context.api, failure.code);
        failure.into_status()
    })?;
    let period = plane.config.heartbeat;
    let mut heartbeat = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut session = Session {
        plane,
        context,
        delivery,
        cursors,
        credits: Credits::default(),
        waiter: Waiter::default(),
        outbox: VecDeque::new(),
        reading: None,
        forward,
        remote: Remote::default(),
        heartbeat,
        listening: true,
    };
    session.push(Message::Opened(opened));
    loop {
        session.advance();
        if session.is_over() {
            return Ok(());
        }
        let event = tokio::select! {
            biased;
            () = out.closed() => return Ok(()),
            () = &mut drained => return Err(RequestContext::draining_status()),
            event = session.event(&mut inbound, out) => event,
        };
        session.handle(event).await?;
    }
}

/// What can happen to a stream.
enum Event {
    Asked(Result<Option<v1::ConsumeRequest>, Status>),
    Read(Result<Batches, Failure>),
    Fired(Vec<u32>),
    /// Of other brokers.
    Remote(News),
    Beat,
    /// A frame went out.
    Sent,
}

/// A read of files that is under way.
struct Reading {
    key: u32,
    moves: u32,
    limit: Offset,
    batches: Pin<Box<dyn Future<Output = Result<Batches, Failure>> + Send>>,
}

struct Session {
    plane: Arc<DataPlane>,
    context: RequestContext,
    delivery: Delivery,
    cursors: Cursors,
    credits: Credits,
    waiter: Waiter,
    outbox: VecDeque<v1::ConsumeResponse>,
    reading: Option<Reading>,
    /// What others lead may be asked of them.
    forward: bool,
    remote: Remote,
    heartbeat: Interval,
    /// The client may still say something.
    listening: bool,
}

impl Session {
    /// Nothing can ever be sent again: the client has said its last word and the credit is used up.
    fn is_over(&self) -> bool {
        !self.listening && self.outbox.is_empty() && !self.credits.open()
    }

    async fn event(
        &mut self,
        inbound: &mut Streaming<v1::ConsumeRequest>,
        out: &mpsc::Sender<Frame>,
    ) -> Event {
        let listen = self.listening && self.outbox.len() < OUTBOX_MAX;
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

    async fn handle(&mut self, event: Event) -> Result<(), Status> {
        match event {
            Event::Asked(asked) => match asked? {
                Some(v1::ConsumeRequest { message: Some(asked) }) => self.obey(asked).await?,
                Some(v1::ConsumeRequest { message: None }) => {}
                None => self.listening = false,
            },
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
        Ok(())
    }

    async fn obey(&mut self, asked: Asked) -> Result<(), Status> {
        match asked {
            Asked::Open(_) => return Err(invalid("a stream is opened once: open another").into_status()),
            Asked::Credit(credit) => self.credits.grant(credit.bytes, credit.records),
            Asked::Seek(seek) => self.seek(seek).await,
            Asked::Pause(pause) => {
                let Some(key) = self.cursors.key(&pause.topic, pause.partition) else {
                    return Err(not_open(&pause.topic, pause.partition).into_status());
                };
                self.cursors.pause(key, pause.paused);
            }
            Asked::Ack(_) | Asked::Commit(_) | Asked::AssignmentAck(_) => {
                return Err(
                    invalid("only a group's stream remembers offsets: open with a group").into_status(),
                );
            }
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
            None => sought.error = Some(not_open(&sought.topic, sought.partition).into()),
            Some(key) => match self.find(key, seek.to.as_ref()).await {
                Ok(offset) => {
                    sought.offset = offset.get();
                    self.waiter.disarm(key);
                    self.cursors.seek(key, offset);
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

    /// Makes the next frame, if there is credit and anything to deliver, or begins to read what is not in memory.
    fn advance(&mut self) {
        while self.outbox.is_empty() && self.reading.is_none() && self.credits.open() {
            let Some(key) = self.cursors.dequeue() else {
                if self.ask_others() {
                    continue;
                }
                return;
            };
            if let Err(failure) = self.deliver(key) {
                self.stop(key, failure);
            }
        }
    }

    /// Asks other brokers for what is wanted of them; true if this broker leads some of it by now.
    fn ask_others(&mut self) -> bool {
        let room = self.delivery.room(&self.credits);
        let (plane, listener) = (&self.plane, &self.context.listener);
        let here = self.remote.ask(plane, listener, &mut self.cursors, room);
        for key in &here {
            let cursor = self.cursors.get(*key);
            if let Some(replica) = plane.topics.replica(cursor.place.at()) {
                cursor.place = Place::Here(replica);
            }
            self.cursors.enqueue(*key);
        }
        !here.is_empty()
    }

    /// Delivers what another broker has of a partition.
    fn answered(&mut self, key: u32, data: v1::PartitionData) {
        if let Some(error) = data.error {
            let failure = Failure::from(error);
            if remote::passes(failure.code) {
                return self.remote.later(key);
            }
            return self.stop(key, failure);
        }
        let cursor = self.cursors.get(key);
        if let Place::There(there) = &mut cursor.place {
            there.leader_epoch = data.leader_epoch;
            there.high_watermark = data.high_watermark;
            there.log_start = data.log_start;
        }
        let encoded = data.encoded.unwrap_or_default().into_bytes();
        if encoded.is_empty() || !self.credits.open() {
            // Without credit it is asked for again.
            return self.cursors.enqueue(key);
        }
        match self
            .delivery
            .frame(cursor, Batches::Stored(encoded), &mut self.credits)
        {
            Ok(frame) => self.delivered(key, frame),
            Err(failure) => self.stop(key, failure),
        }
    }

    /// Does one cursor's turn.
    fn deliver(&mut self, key: u32) -> Result<(), Failure> {
        let cursor = self.cursors.get(key);
        if cursor.decoder.is_some() {
            let frame = self.delivery.decode(cursor, &mut self.credits)?;
            self.delivered(key, frame);
            return Ok(());
        }
        let Place::Here(replica) = &cursor.place else {
            self.remote.want(key);
            return Ok(());
        };
        let replica = Arc::clone(replica);
        let view = replica.view();
        let limit = match view.read_limit(cursor.next, None) {
            Ok(limit) if limit > cursor.next => limit,
            Ok(_) => {
                replica.wait(&mut self.waiter, key, cursor.next, &view);
                return Ok(());
            }
            Err(ReadError::NotAvailable) => {
                replica.wait(&mut self.waiter, key, view.high_watermark, &view);
                return Ok(());
            }
            // Another broker will lead it, if it does not yet.
            Err(ReadError::NotLeader)
                if self.forward && self.plane.image.load().partition(replica.at).is_some() =>
            {
                cursor.place = Place::There(There {
                    topic: Arc::clone(&replica.topic),
                    at: replica.at,
                    leader_epoch: 0,
                    high_watermark: view.high_watermark.get(),
                    log_start: view.log_start.get(),
                });
                self.remote.want(key);
                return Ok(());
            }
            Err(error) => {
                let listener = &self.context.listener;
                return Err(self.plane.read_refused(&error, &replica, listener));
            }
        };
        let room = self.delivery.room(&self.credits);
        if let Some(batches) = read::read_tail(&replica, cursor.next, limit, room) {
            let before = cursor.next;
            let frame = self.delivery.frame(cursor, batches, &mut self.credits)?;
            if cursor.next == before {
                // The batch there is not readable as a whole yet.
                replica.wait(&mut self.waiter, key, limit, &view);
                return Ok(());
            }
            self.delivered(key, frame);
            return Ok(());
        }
        self.reading = Some(Reading {
            key,
            moves: cursor.moves,
            limit,
            batches: Box::pin(read::read_stored(&self.plane, &replica, cursor.next, limit, room)),
        });
        Ok(())
    }

    fn read_done(&mut self, reading: &Reading, batches: Result<Batches, Failure>) {
        let key = reading.key;
        let cursor = self.cursors.get(key);
        if cursor.moves != reading.moves || !cursor.is_active() {
            // Nobody wants it any more; a cursor that was paused reads it again.
            return;
        }
        let before = cursor.next;
        let frame = batches.and_then(|batches| self.delivery.frame(cursor, batches, &mut self.credits));
        match frame {
            Ok(None) if cursor.next == before => {
                if let Place::Here(replica) = &cursor.place {
                    let view = replica.view();
                    replica.wait(&mut self.waiter, key, reading.limit, &view);
                }
            }
            Ok(frame) => self.delivered(key, frame),
            Err(failure) => self.stop(key, failure),
        }
    }

    /// A frame, if there is one, goes out, and its cursor stands in line again.
    fn delivered(&mut self, key: u32, frame: Option<v1::PartitionData>) {
        self.cursors.enqueue(key);
        if let Some(frame) = frame {
            self.push(Message::Data(frame));
        }
    }

    fn stop(&mut self, key: u32, failure: Failure) {
        self.plane.metrics.error(self.context.api, failure.code);
        self.cursors.stop(key);
        let frame = stopped(self.cursors.get(key), failure);
        self.push(Message::Data(frame));
    }

    fn push(&mut self, message: Message) {
        self.outbox
            .push_back(response(message, self.context.throttle_ms()));
    }
}

fn heartbeat(throttle_ms: u32) -> v1::ConsumeResponse {
    let time_ms = clock::wall().get();
    response(Message::Heartbeat(v1::Heartbeat { time_ms }), throttle_ms)
}

fn not_open(topic: &str, partition: u32) -> Failure {
    let topic = shown(topic);
    Failure::new(
        ErrorCode::InvalidRequest,
        format!("partition {partition} of topic {topic:?} is not open on this stream"),
    )
}
