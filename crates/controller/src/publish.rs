//! What the state machine tells the rest of the broker: images, deltas, and that it failed.

use crate::Failure;
use quipu_metadata::{Delta, Image};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{broadcast, watch};

/// Deltas that a subscriber may lag behind before it gets a whole image instead. Each is freed as all have seen it.
const DELTAS_KEPT: usize = 256;

/// A place to say that all is lost, once. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Failing(watch::Sender<Option<Failure>>);

impl Failing {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Says so. Only the first cause is kept.
    pub(crate) fn fail(&self, what: &str) {
        let first = self.0.send_if_modified(|failure| {
            let first = failure.is_none();
            if first {
                *failure = Some(Failure(what.to_owned()));
            }
            first
        });
        if first {
            tracing::error!(cause = what, "the controller failed, and the broker must stop");
        }
    }

    pub(crate) fn get(&self) -> Option<Failure> {
        self.0.borrow().clone()
    }

    pub(crate) async fn wait(&self) -> Failure {
        let mut failing = self.0.subscribe();
        // The sender lives as long as `self`, so waiting cannot end without a failure.
        match failing
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|failure| failure.clone())
        {
            Some(failure) => failure,
            None => std::future::pending().await,
        }
    }
}

/// The newest image, and what happened since an older one. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    image: watch::Sender<Arc<Image>>,
    deltas: broadcast::Sender<Change>,
    /// Held while both change, so that a subscriber gets the deltas that follow its image, and no others.
    together: Arc<Mutex<()>>,
}

/// What goes to subscribers.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Delta(Arc<Delta>),
    /// The image came from a snapshot: there is no way to it by deltas.
    Jump,
}

impl Published {
    pub(crate) fn new(image: Image) -> Self {
        Self {
            image: watch::Sender::new(Arc::new(image)),
            deltas: broadcast::Sender::new(DELTAS_KEPT),
            together: Arc::default(),
        }
    }

    /// Whether anybody follows the deltas.
    pub(crate) fn is_followed(&self) -> bool {
        self.deltas.receiver_count() > 0
    }

    /// Publishes an image, and the deltas that led to it from the one before.
    pub(crate) fn publish(&self, image: &Image, deltas: Vec<Delta>) {
        let _together = self.together.lock().unwrap_or_else(PoisonError::into_inner);
        self.image.send_replace(Arc::new(image.clone()));
        for delta in deltas {
            // Nobody listening is fine.
            let _ = self.deltas.send(Change::Delta(Arc::new(delta)));
        }
    }

    /// Publishes an image to which no deltas lead.
    pub(crate) fn jump(&self, image: &Image) {
        let _together = self.together.lock().unwrap_or_else(PoisonError::into_inner);
        self.image.send_replace(Arc::new(image.clone()));
        let _ = self.deltas.send(Change::Jump);
    }

    pub(crate) fn image(&self) -> Arc<Image> {
        Arc::clone(&self.image.borrow())
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Image>> {
        self.image.subscribe()
    }

    /// The image, and all changes after it.
    pub(crate) fn subscribe(&self) -> (Arc<Image>, broadcast::Receiver<Change>) {
        let _together = self.together.lock().unwrap_or_else(PoisonError::into_inner);
        (self.image(), self.deltas.subscribe())
    }
}
