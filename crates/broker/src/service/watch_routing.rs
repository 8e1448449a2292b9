//! WatchRouting: the routes as they are, and again when something of them changed.
//!
//! A task a watcher. It sleeps until the metadata changes, passes over changes that do not concern its topics, and takes
//! several at once: a watcher that is slow, or a burst of changes, costs one answer, not one each.

use super::describe;
use crate::admit::RequestContext;
use quipu_metadata::Image;
use quipu_proto::{Failure, v1};
use quipu_record::ErrorCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// What a watcher gets.
pub(super) type Stream = ReceiverStream<Result<v1::WatchRoutingResponse, Status>>;

/// Changes come in bursts (a broker's fence, a topic's partitions): what follows within this time goes with the first.
const GATHER: Duration = Duration::from_millis(20);

/// Starts to watch.
pub(super) fn start(
    context: RequestContext,
    names: Vec<String>,
    images: watch::Receiver<Arc<Image>>,
) -> Stream {
    let (answers, stream) = mpsc::channel(1);
    let watcher = Watcher {
        context,
        names,
        images,
    };
    tokio::spawn(watcher.run(answers));
    ReceiverStream::new(stream)
}

struct Watcher {
    context: RequestContext,
    names: Vec<String>,
    images: watch::Receiver<Arc<Image>>,
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
        let mut image = self.images.borrow_and_update().clone();
        loop {
            let routing = describe::routing(&image, &self.names, &self.context.listener);
            let answer = v1::WatchRoutingResponse {
                routing: Some(routing),
            };
            answers.send(Ok(answer)).await.ok()?;
            image = loop {
                if self.images.changed().await.is_err() {
                    return Some(stopped());
                }
                tokio::time::sleep(GATHER).await;
                let after = self.images.borrow_and_update().clone();
                if concerned(&image, &after, &self.names) {
                    break after;
                }
            };
        }
    }
}

fn stopped() -> Status {
    Failure::new(
        ErrorCode::ShuttingDown,
        "this broker has stopped; watch another broker",
    )
    .into_status()
}

/// Whether the routes of these topics (of all, if none is named) may differ. Unchanged parts are shared between images.
fn concerned(before: &Image, after: &Image, names: &[String]) -> bool {
    let same_brokers = before.broker_count() == after.broker_count()
        && before
            .brokers()
            .zip(after.brokers())
            .all(|(a, b)| Arc::ptr_eq(a, b));
    let same_topics = if names.is_empty() {
        before.topic_count() == after.topic_count()
            && before
                .topics()
                .zip(after.topics())
                .all(|(a, b)| Arc::ptr_eq(a, b))
    } else {
        names
            .iter()
            .all(|name| match (before.topic_named(name), after.topic_named(name)) {
                (Some(a), Some(b)) => Arc::ptr_eq(a, b),
                (None, None) => true,
                _ => false,
            })
    };
    !(same_brokers && same_topics)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::test_image;
    use quipu_metadata::{AllocProducerIds, DeleteTopic};
    use quipu_record::BrokerId;

    #[test]
    fn only_what_was_asked_for_concerns() {
        let mut image = test_image::cluster(1);
        let flights = test_image::create(&mut image, "flights", 3, 1);
        let (mine, all, other) = (["flights".to_owned()], [], ["weather".to_owned()]);
        let changed = |before: &Image, after: &Image| {
            [&mine[..], &all, &other].map(|names| concerned(before, after, names))
        };

        let id = BrokerId::new(0);
        let epoch = image.broker(id).unwrap().epoch;
        let before = image.clone();
        test_image::run(&mut image, AllocProducerIds { id, epoch });
        assert_eq!(
            changed(&before, &image),
            [false, false, false],
            "producer ids are no routes"
        );

        let before = image.clone();
        test_image::create(&mut image, "weather", 1, 1);
        assert_eq!(changed(&before, &image), [false, true, true]);

        let before = image.clone();
        test_image::run(&mut image, DeleteTopic { topic_id: flights });
        assert_eq!(changed(&before, &image), [true, true, false]);

        let before = image.clone();
        test_image::run(&mut image, test_image::register(BrokerId::new(1)));
        assert_eq!(
            changed(&before, &image),
            [true, true, true],
            "a broker has addresses"
        );
    }
}
