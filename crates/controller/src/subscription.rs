//! The way of metadata to those who act on it: an image, then what changed, entry by entry.

use crate::publish::{Change, Published};
use quipu_metadata::{Delta, Image};
use std::sync::Arc;
use tokio::sync::broadcast::{self, error::RecvError};

/// What a subscriber gets next.
#[derive(Clone, Debug)]
pub enum Update {
    /// What the next entry of the log did: perhaps nothing but to have a version.
    Delta(Arc<Delta>),
    /// The subscriber lagged too far behind, or the controller itself was caught up by a snapshot: begin again from here.
    Image(Arc<Image>),
}

/// A subscription: the image it begins with, and every change after it, in order and without a gap.
#[derive(Debug)]
pub struct Subscription {
    image: Arc<Image>,
    changes: broadcast::Receiver<Change>,
    published: Published,
    stopped: tokio::sync::watch::Receiver<bool>,
}

impl Subscription {
    pub(crate) fn new(published: &Published, stopped: tokio::sync::watch::Receiver<bool>) -> Self {
        let (image, changes) = published.subscribe();
        Self {
            image,
            changes,
            published: published.clone(),
            stopped,
        }
    }

    /// The image that the next update goes on from: the one at the beginning, or the last given out since.
    #[must_use]
    pub fn image(&self) -> &Arc<Image> {
        &self.image
    }

    /// Waits for the next change; `None`: the controller has stopped.
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Update> {
        let received = tokio::select! {
            biased;
            received = self.changes.recv() => received,
            _ = self.stopped.wait_for(|stopped| *stopped) => return None,
        };
        match received {
            Ok(Change::Delta(delta)) => Some(Update::Delta(delta)),
            Ok(Change::Jump) | Err(RecvError::Lagged(_)) => {
                let (image, changes) = self.published.subscribe();
                self.image = Arc::clone(&image);
                self.changes = changes;
                Some(Update::Image(image))
            }
            Err(RecvError::Closed) => None,
        }
    }
}
