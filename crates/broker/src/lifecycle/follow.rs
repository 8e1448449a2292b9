//! Brings every change of the metadata into effect on this broker, in order, and only then shows it to services.

use super::boot::blocking;
use crate::applied::Applied;
use crate::controllers::Feed;
use crate::data_plane::DataPlane;
use crate::fatal::Fatal;
use quipu_controller::Update;
use quipu_metadata::{Image, ReplayError};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The task that follows the metadata.
#[derive(Debug)]
pub(crate) struct Following {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Following {
    pub(super) fn start(feed: Feed, data: Arc<DataPlane>, applied: Arc<Applied>, fatal: Fatal) -> Self {
        let stop = watch::Sender::new(false);
        let follower = Follower {
            image: applied.image(),
            data,
            applied,
        };
        let task = tokio::spawn(follower.run(feed, fatal, stop.subscribe()));
        Self { stop, task }
    }

    /// Ends it between two changes: on return none is being put into effect, nor will be.
    pub(crate) async fn end(mut self) {
        self.stop.send_replace(true);
        // It cannot be cancelled but by us, and has said so itself if it panicked.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Follower {
    image: Arc<Image>,
    data: Arc<DataPlane>,
    applied: Arc<Applied>,
}

impl Follower {
    async fn run(mut self, mut feed: Feed, fatal: Fatal, mut stop: watch::Receiver<bool>) {
        loop {
            let update = tokio::select! {
                update = feed.next() => update,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            let Some(update) = update else { return };
            if let Err(error) = self.take(update).await {
                fatal.announce(error);
                return;
            }
        }
    }

    async fn take(&mut self, update: Update) -> Result<(), ReplayError> {
        let data = self.data.clone();
        match update {
            Update::Delta(delta) => {
                Arc::make_mut(&mut self.image).apply(&delta)?;
                let after = self.image.clone();
                blocking(move || data.apply(&after, &delta)).await;
            }
            Update::Image(whole) => {
                self.image = whole;
                let after = self.image.clone();
                blocking(move || data.reset(&after)).await;
            }
        }
        self.applied.publish(self.image.clone());
        Ok(())
    }
}
