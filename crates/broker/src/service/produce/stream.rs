//! ProduceStream: a reader that takes batches in as they come, and a writer that sends the answers, each partition's in
//! the order of its requests. The window between them is what bounds the stream.

use super::intake::{held_bytes, take, take_in, target};
use super::outcome;
use super::requests::Requests;
use super::submit::{acks, charge, patience, submit};
use super::window::Window;
use crate::admit::RequestContext;
use crate::data_plane::DataPlane;
use crate::metrics::Stage;
use crate::partition::budget::Charge;
use crate::partition::reply::{Answered, Tag};
use crate::service::forward::{Lane, Passed, Target, may_forward};
use crate::service::lanes::{InOrder, Lanes, Place};
use quipu_proto::{Failure, v1};
use quipu_record::{BrokerId, ErrorCode, PartitionId, TopicPartition};
use std::collections::HashMap;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_stream::Stream;
use tonic::{Code, Status};

/// What the reader tells the writer; what partitions answer comes to the writer directly.
#[derive(Debug)]
enum Read {
    /// A request without a batch.
    Alive(Asked),
    /// A batch that went no further, or to another broker: what became of it.
    Refused(Place, Refused),
    /// The last word, once all is answered.
    Ended(Status),
}

/// A request as its answer needs it.
#[derive(Clone, Copy, Debug)]
struct Asked {
    /// The client's number for it.
    id: u64,
    /// What it takes up of the window.
    held: usize,
}

/// A batch that did not go to a partition here, and what became of it.
#[derive(Debug)]
struct Refused {
    asked: Asked,
    result: Box<v1::BatchResult>,
    _charge: Option<Charge>,
}

/// Starts a stream.
pub(super) fn open(plane: Arc<DataPlane>, context: RequestContext, inbound: Requests) -> Answers {
    let window = Arc::new(Window::new(plane.config.stream_window_bytes));
    let (to, from_partitions) = mpsc::unbounded_channel();
    let (tell, from_reader) = mpsc::unbounded_channel();
    let answers = Answers::new(&plane, &context, &window, from_partitions, from_reader);
    let reader = Reader {
        plane,
        context,
        lanes: Lanes::default(),
        leaders: HashMap::new(),
        window,
        to,
        tell,
    };
    tokio::spawn(reader.run(inbound));
    answers
}

/// What the answer of a batch needs that another broker appends: its place, its request, what it is charged for.
type Forwarded = (Place, Asked, Charge);

struct Reader {
    plane: Arc<DataPlane>,
    context: RequestContext,
    /// Batches that found no partition share a lane.
    lanes: Lanes<Option<TopicPartition>>,
    /// The ways to other brokers, which lead what is not led here.
    leaders: HashMap<BrokerId, Lane<Forwarded>>,
    window: Arc<Window>,
    to: mpsc::UnboundedSender<Answered>,
    tell: mpsc::UnboundedSender<Read>,
}

impl Reader {
    async fn run(mut self, inbound: Requests) {
        if let Err(status) = self.read(inbound).await {
            // The writer is gone if the client is.
            let _ = self.tell.send(Read::Ended(status));
        }
    }

    async fn read(&mut self, mut inbound: Requests) -> Result<(), Status> {
        let context = self.context.clone();
        let mut drained = pin!(context.drained());
        let tell = self.tell.clone();
        let mut gone = pin!(tell.closed());
        let window = Arc::clone(&self.window);
        loop {
            let message = tokio::select! {
                biased;
                () = &mut gone => return Ok(()),
                () = &mut drained => return Err(RequestContext::draining_status()),
                message = async {
                    window.room().await;
                    inbound.message().await
                } => message.map_err(unreadable)?,
            };
            let Some(request) = message else {
                return Ok(());
            };
            tokio::select! {
                biased;
                () = self.take(request) => {}
                () = &mut gone => return Ok(()),
            }
        }
    }

    async fn take(&mut self, request: v1::ProduceStreamRequest) {
        let received = Instant::now();
        let bytes = request.batch.as_ref().map_or(0, held_bytes);
        let asked = Asked {
            id: request.request_id,
            held: self.window.add(bytes),
        };
        let Some(mut batch) = request.batch else {
            return self.send(Read::Alive(asked));
        };
        let wanted =
            acks(request.acks).and_then(|acks| Ok((acks, may_forward(&self.context, request.routing)?)));
        let patience = patience(&self.context, request.timeout_ms);
        let charged = match wanted {
            Ok(wanted) => charge(&self.plane, bytes, patience)
                .await
                .map(|charge| (wanted, charge)),
            Err(failure) => Err(failure),
        };
        let ((acks, forward), charge) = match charged {
            Ok(accepted) => accepted,
            Err(failure) => {
                let at = self.meant(&batch);
                return self.refuse(at, asked, outcome::failed(&batch, failure), None);
            }
        };
        if forward && let Some(target) = target(&self.plane, &mut batch) {
            let request = v1::ProduceStreamRequest {
                batch: Some(take(&mut batch)),
                acks: request.acks,
                timeout_ms: u32::try_from(patience.as_millis()).unwrap_or(u32::MAX).max(1),
                ..v1::ProduceStreamRequest::default()
            };
            let place = self.lanes.next(Some(target.at));
            return self.forward(request, target, (place, asked, charge));
        }
        let intake = match take_in(&self.plane, &self.context.listener, &mut batch) {
            Ok(intake) => intake,
            Err(refusal) => {
                let at = refusal.replica.as_ref().map(|replica| replica.at);
                return self.refuse(at, asked, outcome::refused(&batch, refusal), Some(charge));
            }
        };
        let place = self.lanes.next(Some(intake.replica.at));
        let tag = Tag {
            lane: place.lane,
            number: place.number,
            request: asked.id,
            acks,
            received: self.plane.clock.tick(received),
            held: asked.held,
        };
        let deadline = self.plane.clock.tick(received + patience);
        let metrics = &self.plane.metrics;
        metrics.observe(self.context.api, Stage::Local, received.elapsed());
        if let Err((result, charge)) = submit(intake, tag, deadline, self.to.clone(), Some(charge)) {
            self.refuse_at(place, asked, result, charge);
        }
    }

    /// Passes a batch on by the lane to its leader: all that this stream has for it go one way, in order.
    fn forward(&mut self, request: v1::ProduceStreamRequest, target: Target, ticket: Forwarded) {
        let peer = target.peer.clone();
        let passed = Passed {
            request,
            target,
            ticket,
        };
        let back = match self.leaders.get(&peer.broker) {
            Some(lane) => lane.pass(passed).err(),
            None => Some(Box::new(passed)),
        };
        let Some(passed) = back else { return };
        let tell = self.tell.clone();
        let settle = move |(place, asked, charge): Forwarded, result| {
            let settled = Refused {
                asked,
                result: Box::new(result),
                _charge: Some(charge),
            };
            // The writer is gone if the client is.
            let _ = tell.send(Read::Refused(place, settled));
        };
        let (plane, listener) = (Arc::clone(&self.plane), Arc::clone(&self.context.listener));
        let broker = peer.broker;
        let lane = Lane::open(plane, listener, peer, settle);
        // A lane that was just opened takes it.
        let _ = lane.pass(*passed);
        self.leaders.insert(broker, lane);
    }

    /// The partition that a batch names, which other batches of this stream may have been for.
    fn meant(&self, batch: &v1::Batch) -> Option<TopicPartition> {
        let topic = self.plane.topic(&batch.topic, batch.topic_id.as_deref()).ok()?;
        Some(TopicPartition {
            topic: topic.info.id,
            partition: PartitionId::new(batch.partition?),
        })
    }

    fn refuse(
        &mut self,
        at: Option<TopicPartition>,
        asked: Asked,
        result: v1::BatchResult,
        charge: Option<Charge>,
    ) {
        let place = self.lanes.next(at);
        self.refuse_at(place, asked, Box::new(result), charge);
    }

    fn refuse_at(&self, place: Place, asked: Asked, result: Box<v1::BatchResult>, charge: Option<Charge>) {
        let refused = Refused {
            asked,
            result,
            _charge: charge,
        };
        self.send(Read::Refused(place, refused));
    }

    fn send(&self, read: Read) {
        // The writer is gone if the client is.
        let _ = self.tell.send(read);
    }
}

/// What ends a stream that can no longer be read.
fn unreadable(status: Status) -> Status {
    match status.code() {
        Code::OutOfRange => {
            let message = format!("a message is too large for this broker: {}", status.message());
            Failure::new(ErrorCode::BatchTooLarge, message).into_status()
        }
        _ => status,
    }
}

/// An answer that may have to wait for others of its lane.
#[derive(Debug)]
enum Answer {
    Partition(Answered),
    Refused(Refused),
}

/// The writer: the stream of answers.
#[derive(Debug)]
pub struct Answers {
    plane: Arc<DataPlane>,
    context: RequestContext,
    window: Arc<Window>,
    from_partitions: mpsc::UnboundedReceiver<Answered>,
    from_reader: mpsc::UnboundedReceiver<Read>,
    in_order: InOrder<Answer>,
    heartbeat: Interval,
    end: Option<Status>,
}

impl Answers {
    fn new(
        plane: &Arc<DataPlane>,
        context: &RequestContext,
        window: &Arc<Window>,
        from_partitions: mpsc::UnboundedReceiver<Answered>,
        from_reader: mpsc::UnboundedReceiver<Read>,
    ) -> Self {
        let period = plane.config.heartbeat;
        let mut heartbeat = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            plane: Arc::clone(plane),
            context: context.clone(),
            window: Arc::clone(window),
            from_partitions,
            from_reader,
            in_order: InOrder::default(),
            heartbeat,
            end: None,
        }
    }

    fn respond(&self, request_id: Option<u64>, result: Option<v1::BatchResult>) -> v1::ProduceStreamResponse {
        v1::ProduceStreamResponse {
            request_id,
            result,
            window_bytes: self.window.limit() as u64,
            throttle_ms: self.context.throttle_ms(),
        }
    }

    fn write(&self, answer: Answer) -> v1::ProduceStreamResponse {
        let (asked, result) = match answer {
            Answer::Refused(refused) => (refused.asked, *refused.result),
            Answer::Partition(answered) => {
                self.observe(&answered);
                let Tag {
                    request: id, held, ..
                } = answered.tag;
                let result = outcome::answered(&self.plane, &self.context.listener, &answered);
                (Asked { id, held }, result)
            }
        };
        self.window.remove(asked.held);
        outcome::count(&self.plane, self.context.api, &result);
        self.respond(Some(asked.id), Some(result))
    }

    fn observe(&self, answered: &Answered) {
        let (plane, api) = (&self.plane, self.context.api);
        let now = plane.clock.tick(Instant::now());
        let received = answered.tag.received;
        plane
            .metrics
            .observe(api, Stage::Queue, answered.taken.since(received));
        plane
            .metrics
            .observe(api, Stage::Remote, now.since(answered.taken));
        plane.metrics.observe(api, Stage::Total, now.since(received));
    }

    /// Takes in what partitions and the reader have said; true once neither will say more.
    fn collect(&mut self, cx: &mut Context<'_>) -> bool {
        let partitions_ended = loop {
            match self.from_partitions.poll_recv(cx) {
                Poll::Ready(Some(answered)) => {
                    let Tag { lane, number, .. } = answered.tag;
                    self.in_order
                        .push(Place { lane, number }, Answer::Partition(answered));
                }
                Poll::Ready(None) => break true,
                Poll::Pending => break false,
            }
        };
        partitions_ended && self.from_reader.is_closed() && self.from_reader.is_empty()
    }
}

impl Stream for Answers {
    type Item = Result<v1::ProduceStreamResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(answer) = this.in_order.pop() {
                return Poll::Ready(Some(Ok(this.write(answer))));
            }
            match this.from_reader.poll_recv(cx) {
                Poll::Ready(Some(Read::Alive(asked))) => {
                    this.window.remove(asked.held);
                    return Poll::Ready(Some(Ok(this.respond(Some(asked.id), None))));
                }
                Poll::Ready(Some(Read::Refused(place, refused))) => {
                    this.in_order.push(place, Answer::Refused(refused));
                    continue;
                }
                Poll::Ready(Some(Read::Ended(status))) => {
                    this.end = Some(status);
                    continue;
                }
                Poll::Ready(None) | Poll::Pending => {}
            }
            let ended = this.collect(cx);
            if this.in_order.is_ready() {
                continue;
            }
            if ended {
                return Poll::Ready(this.end.take().map(Err));
            }
            if this.heartbeat.poll_tick(cx).is_ready() {
                return Poll::Ready(Some(Ok(this.respond(None, None))));
            }
            return Poll::Pending;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::error;

    #[test]
    fn a_stream_that_is_throttled_is_not_told_that_its_batch_is_too_large() {
        let code = |status| Failure::from_status(&unreadable(status)).map(|failure| failure.code);
        let throttled = error::status(ErrorCode::Throttled, "later");
        assert_eq!(code(throttled), Some(ErrorCode::Throttled));
        assert_eq!(
            code(Status::out_of_range("9 bytes")),
            Some(ErrorCode::BatchTooLarge)
        );
        assert_eq!(code(Status::internal("?")), None);
    }
}
