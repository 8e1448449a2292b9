//! One ordered way from one client's produce stream to one leader: a produce stream of its own. It lives as long as it
//! works; what comes after a failure goes by another.

use super::{Peer, Target, failed};
use crate::data_plane::DataPlane;
use quipu_proto::v1::produce_service_client::ProduceServiceClient;
use quipu_proto::{Failure, v1};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// Batches between the lane and its stream; how many there can be in all is bounded by the client's window.
const AHEAD: usize = 4;

/// The lane.
#[derive(Debug)]
pub(crate) struct Lane<T> {
    to: mpsc::UnboundedSender<Passed<T>>,
}

/// A batch on its way, and what its answer needs.
#[derive(Debug)]
pub(crate) struct Passed<T> {
    /// The request; its number is given here.
    pub(crate) request: v1::ProduceStreamRequest,
    /// Where the batch goes.
    pub(crate) target: Target,
    /// Comes back with the result.
    pub(crate) ticket: T,
}

impl<T: Send + 'static> Lane<T> {
    /// Opens a lane to a leader; `settle` is told of each result.
    pub(crate) fn open(
        plane: Arc<DataPlane>,
        listener: Arc<str>,
        peer: Peer,
        settle: impl Fn(T, v1::BatchResult) + Send + Sync + 'static,
    ) -> Self {
        let (to, from) = mpsc::unbounded_channel();
        let passing = Passing {
            plane,
            listener,
            peer,
            settle,
            unanswered: HashMap::new(),
            last: 0,
        };
        tokio::spawn(passing.run(from));
        Self { to }
    }

    /// Passes a batch on, or gives it back: the lane has ended.
    pub(crate) fn pass(&self, batch: Passed<T>) -> Result<(), Box<Passed<T>>> {
        self.to.send(batch).map_err(|back| Box::new(back.0))
    }
}

struct Passing<T, F> {
    plane: Arc<DataPlane>,
    listener: Arc<str>,
    peer: Peer,
    settle: F,
    unanswered: HashMap<u64, (Target, T)>,
    last: u64,
}

impl<T, F: Fn(T, v1::BatchResult)> Passing<T, F> {
    async fn run(mut self, mut from: mpsc::UnboundedReceiver<Passed<T>>) {
        let (requests, outgoing) = mpsc::channel(AHEAD);
        let mut client = ProduceServiceClient::new(self.peer.channel.clone());
        let ended = match client.produce_stream(ReceiverStream::new(outgoing)).await {
            Ok(answers) => self.pass(&mut from, requests, answers.into_inner()).await,
            Err(status) => Err(status),
        };
        if let Err(status) = ended {
            // Nobody can add to it any more: the next batch opens another lane.
            from.close();
            let failure = failed(&status, &self.peer, true);
            for (_, (target, ticket)) in std::mem::take(&mut self.unanswered) {
                self.fail(&target, ticket, failure.clone());
            }
            // These have not left.
            let unsent = failed(&Status::unavailable("the lane has ended"), &self.peer, false);
            while let Some(batch) = from.recv().await {
                self.fail(&batch.target, batch.ticket, unsent.clone());
            }
        }
    }

    async fn pass(
        &mut self,
        from: &mut mpsc::UnboundedReceiver<Passed<T>>,
        requests: mpsc::Sender<v1::ProduceStreamRequest>,
        mut answers: Streaming<v1::ProduceStreamResponse>,
    ) -> Result<(), Status> {
        let mut next = None;
        let mut open = true;
        while open || next.is_some() || !self.unanswered.is_empty() {
            tokio::select! {
                biased;
                answer = answers.message() => match answer? {
                    Some(answer) => self.answered(answer),
                    None => return Err(Status::unavailable("the leader ended the stream")),
                },
                room = requests.reserve(), if next.is_some() => {
                    let room = room.map_err(|_| Status::unavailable("the stream takes no more"))?;
                    if let Some(request) = next.take() {
                        room.send(request);
                    }
                }
                batch = from.recv(), if open && next.is_none() => match batch {
                    Some(batch) => next = Some(self.number(batch)),
                    None => open = false,
                },
            }
        }
        Ok(())
    }

    fn number(&mut self, batch: Passed<T>) -> v1::ProduceStreamRequest {
        self.last += 1;
        self.unanswered.insert(self.last, (batch.target, batch.ticket));
        v1::ProduceStreamRequest {
            request_id: self.last,
            routing: v1::Routing::LeaderOnly.into(),
            ..batch.request
        }
    }

    fn answered(&mut self, answer: v1::ProduceStreamResponse) {
        let passed = answer.request_id.and_then(|id| self.unanswered.remove(&id));
        if let (Some((target, ticket)), Some(mut result)) = (passed, answer.result) {
            result.error = self.plane.relayed_item(result.error, &target, &self.listener);
            (self.settle)(ticket, result);
        }
    }

    fn fail(&self, target: &Target, ticket: T, failure: Failure) {
        let failure = self.plane.relayed(failure, target, &self.listener);
        let result = target.failed(failure);
        (self.settle)(ticket, result);
    }
}
