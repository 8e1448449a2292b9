//! WatchRouting: the routes as they are, and again when something of them changed.
//!
//! A task a watcher. It sleeps until the metadata changes, passes over changes that do not concern its topics, and takes
//! several at once: a watcher that is slow, or a burst of changes, costs one answer, not one each.

use super::describe;
use crate::admit::RequestContext;
use quipu_controller::{Subscription, Update};
use quipu_metadata::{Delta, Image, Record};
use quipu_proto::{Failure, v1};
use quipu_record::{ErrorCode, TopicId};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// What a watcher gets.
pub(super) type Stream = ReceiverStream<Result<v1::WatchRoutingResponse, Status>>;

/// Changes come in bursts (a broker's fence, a topic's partitions): what follows within this time goes with the first.
const GATHER: Duration = Duration::from_millis(20);

/// Starts to watch.
pub(super) fn start(context: RequestContext, topics: Vec<String>, subscription: Subscription) -> Stream {
    let (answers, stream) = mpsc::channel(1);
    let image = subscription.image().clone();
    let watcher = Watcher {
        context,
        names: topics,
        ids: BTreeSet::new(),
        image,
        subscription,
    };
    tokio::spawn(watcher.run(answers));
    ReceiverStream::new(stream)
}

struct Watcher {
    context: RequestContext,
    names: Vec<String>,
    /// What the names mean now.
    ids: BTreeSet<TopicId>,
    image: Arc<Image>,
    subscription: Subscription,
}

type Answers = mpsc::Sender<Result<v1::WatchRoutingResponse, Status>>;

impl Watcher {
    async fn run(mut self, answers: Answers) {
        let drain = self.context.clone();
        let end = tokio::select! {
            end = self.follow(&answers) => end,
            () = drain.drained() => Some(RequestContext::draining_status()),
            () = answers.closed() => None,
        };
        if let Some(status) = end {
            // If the client is gone there is nobody to tell.
            let _ = answers.send(Err(status)).await;
        }
    }

    /// Answers until there is nothing more to follow: then why, or nothing if the client is gone.
    async fn follow(&mut self, answers: &Answers) -> Option<Status> {
        loop {
            self.ids = self
                .names
                .iter()
                .filter_map(|name| Some(self.image.topic_named(name)?.id))
                .collect();
            let routing = describe::routing(&self.image, &self.names, &self.context.listener);
            let answer = v1::WatchRoutingResponse {
                routing: Some(routing),
            };
            answers.send(Ok(answer)).await.ok()?;
            if let Err(status) = self.change().await {
                return Some(status);
            }
        }
    }

    /// Waits until something that concerns the watcher has changed, and what comes right after it.
    async fn change(&mut self) -> Result<(), Status> {
        let mut concerned = false;
        let mut gathered = std::pin::pin!(tokio::time::sleep(Duration::MAX));
        loop {
            let update = tokio::select! {
                update = self.subscription.next() => update,
                () = &mut gathered, if concerned => return Ok(()),
            };
            let update = update.ok_or_else(|| {
                Failure::new(
                    ErrorCode::ShuttingDown,
                    "this broker's controller has stopped; watch another broker",
                )
            })?;
            if self.take(update)? && !concerned {
                concerned = true;
                gathered.as_mut().reset(tokio::time::Instant::now() + GATHER);
            }
        }
    }

    /// Takes an update in; whether it concerns the watcher.
    fn take(&mut self, update: Update) -> Result<bool, Status> {
        match update {
            Update::Image(image) => {
                self.image = image;
                Ok(true)
            }
            Update::Delta(delta) => {
                let concerned = delta.records.iter().any(|record| self.concerns(record));
                apply(&mut self.image, &delta)?;
                Ok(concerned)
            }
        }
    }

    fn concerns(&self, record: &Record) -> bool {
        let watched = |id: &TopicId| self.names.is_empty() || self.ids.contains(id);
        match record {
            Record::Topic { name, .. } => self.names.is_empty() || self.names.iter().any(|n| **n == **name),
            Record::TopicConfig { id, .. } | Record::TopicDeleted { id } => watched(id),
            Record::Partition { at, .. } => watched(&at.topic),
            Record::Broker(_) | Record::BrokerState { .. } | Record::Cluster { .. } => true,
            // Producer ids, and what later versions add, are no routes.
            _ => false,
        }
    }
}

fn apply(image: &mut Arc<Image>, delta: &Delta) -> Result<(), Status> {
    let applied = Arc::make_mut(image).apply(delta);
    applied.map_err(|error| Failure::new(ErrorCode::Internal, error.to_string()).into_status())
}
