//! The metadata as this broker has put it into effect: what services answer from, so that a client is never sent to a
//! partition whose thread has not heard of it yet.

use quipu_metadata::Image;
use quipu_record::MetadataVersion;
use std::sync::Arc;
use tokio::sync::watch;

/// The image in effect.
#[derive(Debug)]
pub struct Applied {
    image: watch::Sender<Arc<Image>>,
}

impl Applied {
    /// Begins with this one.
    #[must_use]
    pub fn new(image: Arc<Image>) -> Self {
        Self {
            image: watch::Sender::new(image),
        }
    }

    /// The image as of now.
    #[must_use]
    pub fn image(&self) -> Arc<Image> {
        self.image.borrow().clone()
    }

    /// The image, and each that follows it; those in between may be passed over.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Image>> {
        self.image.subscribe()
    }

    /// Waits for an image of at least this version. Never ends by itself if that version never comes: bound it.
    pub async fn at_least(&self, version: MetadataVersion) -> Arc<Image> {
        let mut images = self.image.subscribe();
        let reached = images.wait_for(|image| image.version() >= version).await;
        // The sender is in `self`: it cannot be closed, and the image is the one that was waited for, or a later one.
        drop(reached);
        self.image()
    }

    /// Puts the next one into effect.
    pub fn publish(&self, image: Arc<Image>) {
        self.image.send_replace(image);
    }
}
