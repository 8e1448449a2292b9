//! ProduceStream: a reader that takes batches in as they come, and a writer that sends the answers, each partition's in
//! the order of its requests. The window between them is what bounds the stream.

use super::intake::{held_bytes, take_in};
use super::outcome;
use super::submit::{acks, charge, patience, submit};
use super::window::Window;
use crate::admit::RequestContext;
use crate::data_plane::DataPlane;
use crate::metrics::Stage;
use crate::partition::budget::Charge;
use crate::partition::reply::{Answered, Tag};
use crate::service::lanes::{InOrder, Lanes, Place};
use quipu_proto::{Failure, v1};
use quipu_record::{ErrorCode, TopicPartition};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_stream::Stream;
use tonic::{Code, Status, Streaming};

/// What the reader tells the writer; what partitions answer comes to the writer directly.
#[derive(Debug)]
enum Read {
    /// A request without a batch.
    Alive(u64),
    /// A batch that went no further.
    Refused {
        place: Place,
        request: u64,
        result: Box<v1::BatchResult>,
        charge: Option<Charge>,
    },
    /// The last word, once all is answered.
    Ended(Status),
}

/// Starts a stream.
pub(super) fn open(
    plane: Arc<DataPlane>,
    context: RequestContext,
    inbound: Streaming<v1::ProduceStreamRequest>,
) -> Answers {
    let window = Arc::new(Window::new(plane.config.stream_window_bytes));
    let (to, from_partitions) = mpsc::unbounded_channel();
    let (tell, from_reader) = mpsc::unbounded_channel();
    let answers = Answers::new(&plane, &context, &window, from_partitions, from_reader);
    let reader = Reader {
        plane,
        context,
        lanes: Lanes::default(),
        window,
        to,
        tell,
    };
    tokio::spawn(reader.run(inbound));
    answers
}

struct Reader {
    plane: Arc<DataPlane>,
    context: RequestContext,
    /// Batches that found no partition share a lane.
    lanes: Lanes<Option<TopicPartition>>,
    window: Arc<Window>,
    to: mpsc::UnboundedSender<Answered>,
    tell: mpsc::UnboundedSender<Read>,
}

impl Reader {
    async fn run(mut self, inbound: Streaming<v1::ProduceStreamRequest>) {
        if let Err(status) = self.read(inbound).await {
            // The writer is gone if the client is.
            let _ = self.tell.send(Read::Ended(status));
        }
    }

    async fn read(&mut self, mut inbound: Streaming<v1::ProduceStreamRequest>) -> Result<(), Status> {
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
        let Some(mut batch) = request.batch else {
            self.send(Read::Alive(request.request_id));
            return;
        };
        let received = Instant::now();
        let patience = patience(&self.context, request.timeout_ms);
        let wanted = acks(request.acks).and_then(|acks| {
            v1::Routing::from_wire(request.routing)?;
            Ok(acks)
        });
        let acks = match wanted {
            Ok(acks) => acks,
            Err(failure) => {
                return self.refuse(None, request.request_id, outcome::failed(&batch, failure), None);
            }
        };
        let charge = match charge(&self.plane, held_bytes(&batch), patience).await {
            Ok(charge) => charge,
            Err(failure) => {
                return self.refuse(None, request.request_id, outcome::failed(&batch, failure), None);
            }
        };
        self.window.add(charge.bytes());
        let intake = match take_in(&self.plane, &self.context.listener, &mut batch) {
            Ok(intake) => intake,
            Err(refusal) => {
                let at = refusal.replica.as_ref().map(|replica| replica.at);
                let result = outcome::refused(&batch, refusal);
                return self.refuse(at, request.request_id, result, Some(charge));
            }
        };
        let at = intake.replica.at;
        let place = self.lanes.next(Some(at));
        let tag = Tag {
            lane: place.lane,
            number: place.number,
            request: request.request_id,
            acks,
            received: self.plane.clock.tick(received),
        };
        let deadline = self.plane.clock.tick(received + patience);
        self.plane
            .metrics
            .observe(self.context.api, Stage::Local, received.elapsed());
        let submitted = submit(intake, tag, deadline, self.to.clone(), Some(charge));
        if let Err((result, charge)) = submitted {
            self.refuse_at(place, request.request_id, result, charge);
        }
    }

    fn refuse(
        &mut self,
        at: Option<TopicPartition>,
        request: u64,
        result: v1::BatchResult,
        charge: Option<Charge>,
    ) {
        let place = self.lanes.next(at);
        self.refuse_at(place, request, Box::new(result), charge);
    }

    fn refuse_at(&self, place: Place, request: u64, result: Box<v1::BatchResult>, charge: Option<Charge>) {
        self.send(Read::Refused {
            place,
            request,
            result,
            charge,
        });
    }

    fn send(&self, read: Read) {
        // The writer is gone if the client is.
        let _ = self.tell.send(read);
    }
}

/// What ends a stream that can no longer be read.
fn unreadable(status: Status) -> Status {
    match status.code() {
        Code::OutOfRange | Code::ResourceExhausted => {
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
    Refused(u64, Box<v1::BatchResult>, Option<Charge>),
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
        let (request, result, charge) = match answer {
            Answer::Refused(request, result, charge) => (request, *result, charge),
            Answer::Partition(answered) => {
                self.observe(&answered);
                let result = outcome::answered(&self.plane, &self.context.listener, &answered);
                (answered.tag.request, result, answered.charge)
            }
        };
        if let Some(charge) = charge {
            self.window.remove(charge.bytes());
        }
        outcome::count(&self.plane, self.context.api, &result);
        self.respond(Some(request), Some(result))
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
                Poll::Ready(Some(Read::Alive(request))) => {
                    return Poll::Ready(Some(Ok(this.respond(Some(request), None))));
                }
                Poll::Ready(Some(Read::Refused {
                    place,
                    request,
                    result,
                    charge,
                })) => {
                    this.in_order
                        .push(place, Answer::Refused(request, result, charge));
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
