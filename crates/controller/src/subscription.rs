//! The way of metadata to those who act on it: an image, then what changed, entry by entry.

use quipu_metadata::{Delta, Image};
use std::sync::Arc;

/// What a subscriber gets next.
#[derive(Clone, Debug)]
pub enum Update {
    /// What the next entry of the log did. Its version is the next one that changed anything.
    Delta(Arc<Delta>),
    /// The subscriber lagged too far behind, or the controller itself was caught up by a snapshot: begin again from here.
    Image(Arc<Image>),
}

/// A subscription: the image it begins with, and every change after it, in order and without a gap.
#[derive(Debug)]
pub struct Subscription {
    image: Arc<Image>,
}

impl Subscription {
    /// The image that the deltas begin from.
    #[must_use]
    pub fn image(&self) -> &Arc<Image> {
        &self.image
    }

    /// Waits for the next change; `None`: the controller has stopped.
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Update> {
        todo!("API")
    }
}
