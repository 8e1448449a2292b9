//! The metadata as this broker gets it: from its own controller, or, where it has none, from any that answers.

use super::Controllers;
use super::image_stream::{BadMetadata, ImageReader};
use quipu_controller::{Subscription, Update, decode_delta};
use quipu_metadata::Image;
use quipu_proto::internal::watch_metadata_response::Change;
use quipu_proto::internal::{WatchMetadataRequest, WatchMetadataResponse};
use quipu_record::MetadataVersion;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::Streaming;

/// A stream that says nothing for so long is left for another: signs of life come more often (`service.rs`).
const SILENCE: Duration = Duration::from_secs(5);
/// Before all controllers are tried again.
const PAUSE: Duration = Duration::from_millis(200);
/// Changes that wait to be put into effect.
const QUEUE: usize = 64;

/// An image, and every change after it, in order and without a gap.
#[derive(Debug)]
pub(crate) enum Feed {
    /// From the controller in this process.
    Near(Subscription),
    /// From controllers elsewhere.
    Far(Far),
}

/// See [`Feed::Far`]. The task ends with it.
#[derive(Debug)]
pub(crate) struct Far {
    image: Arc<Image>,
    updates: mpsc::Receiver<Update>,
    task: JoinHandle<()>,
}

impl Drop for Far {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Feed {
    /// The image that the next update goes on from.
    pub(crate) fn image(&self) -> &Arc<Image> {
        match self {
            Self::Near(subscription) => subscription.image(),
            Self::Far(far) => &far.image,
        }
    }

    /// Waits for the next change; `None`: there will be none. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Update> {
        match self {
            Self::Near(subscription) => subscription.next().await,
            Self::Far(far) => far.updates.recv().await,
        }
    }
}

impl Controllers {
    /// What this broker follows. Without a controller of its own it waits until one elsewhere sent a whole image;
    /// `waiting` is told what it waits for.
    ///
    /// # Errors
    /// A controller of another cluster answers.
    pub(crate) async fn feed(&self, waiting: impl Fn(String)) -> Result<Feed, String> {
        if let Some(local) = self.local() {
            return Ok(Feed::Near(local.subscribe()));
        }
        let (updates, mut heard) = mpsc::channel(QUEUE);
        let (troubles, mut trouble) = mpsc::channel(1);
        let follower = Follower {
            controllers: self.clone(),
            version: None,
            updates,
            troubles,
        };
        let task = tokio::spawn(follower.run());
        loop {
            tokio::select! {
                update = heard.recv() => match update {
                    Some(Update::Image(image)) => {
                        return Ok(Feed::Far(Far { image, updates: heard, task }));
                    }
                    // The first is an image; the task ends with its receivers only.
                    Some(Update::Delta(_)) => {}
                    None => return Err("the metadata is not followed any more".to_owned()),
                },
                Some(why) = trouble.recv() => match why {
                    Trouble::Elsewhere(why) => {
                        task.abort();
                        return Err(why);
                    }
                    Trouble::Waiting(why) => waiting(why),
                },
            }
        }
    }
}

/// Why nothing comes.
enum Trouble {
    Waiting(String),
    /// The controllers there are another cluster's.
    Elsewhere(String),
}

struct Follower {
    controllers: Controllers,
    /// The version given out last.
    version: Option<MetadataVersion>,
    updates: mpsc::Sender<Update>,
    troubles: mpsc::Sender<Trouble>,
}

/// Nobody takes what comes any more.
struct Gone;

impl Follower {
    async fn run(mut self) {
        loop {
            for address in self.controllers.others() {
                let stream = match self.open(&address).await {
                    Ok(stream) => stream,
                    Err(trouble) => {
                        let (Trouble::Waiting(why) | Trouble::Elsewhere(why)) = &trouble;
                        tracing::debug!(why, "the metadata does not come from there");
                        // Only whoever starts listens to this.
                        let _ = self.troubles.try_send(trouble);
                        continue;
                    }
                };
                match self.follow(stream).await {
                    Ok(why) => tracing::info!(address, why, "the metadata will come from another controller"),
                    Err(Gone) => return,
                }
            }
            if self.updates.is_closed() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn open(&self, address: &str) -> Result<Streaming<WatchMetadataResponse>, Trouble> {
        let mut client = self.controllers.client(address).await.map_err(Trouble::Waiting)?;
        let request = WatchMetadataRequest {
            cluster_id: self.controllers.cluster_text(),
            from_version: self.version.map(MetadataVersion::get),
        };
        let opened = tokio::time::timeout(SILENCE, client.watch_metadata(request)).await;
        match opened {
            Ok(Ok(stream)) => Ok(stream.into_inner()),
            Ok(Err(status)) => {
                let failure = self.controllers.failed(address, &status);
                match failure.retryable {
                    true => Err(Trouble::Waiting(failure.message)),
                    false => Err(Trouble::Elsewhere(failure.message)),
                }
            }
            Err(_) => Err(Trouble::Waiting(format!("{address} does not answer in time"))),
        }
    }

    /// Gives out what comes until the stream breaks: then why.
    async fn follow(&mut self, mut stream: Streaming<WatchMetadataResponse>) -> Result<String, Gone> {
        let mut reader = ImageReader::default();
        loop {
            let message = tokio::select! {
                message = tokio::time::timeout(SILENCE, stream.message()) => message,
                () = self.updates.closed() => return Err(Gone),
            };
            let change = match message {
                Ok(Ok(Some(message))) => message.change,
                Ok(Ok(None)) => return Ok("its stream ended".to_owned()),
                Ok(Err(status)) => return Ok(status.message().to_owned()),
                Err(_) => return Ok("it is silent".to_owned()),
            };
            let update = match self.read(&mut reader, change) {
                Ok(Some(update)) => update,
                Ok(None) => continue,
                Err(bad) => return Ok(bad.to_string()),
            };
            let version = match &update {
                Update::Image(image) => image.version(),
                Update::Delta(delta) => delta.version,
            };
            // A controller that lags behind, or the repetition of what is known.
            if self.version.is_some_and(|known| version <= known) {
                continue;
            }
            self.updates.send(update).await.map_err(|_| Gone)?;
            self.version = Some(version);
        }
    }

    fn read(&self, reader: &mut ImageReader, change: Option<Change>) -> Result<Option<Update>, BadMetadata> {
        match change {
            None => Ok(None),
            Some(Change::Image(chunk)) => {
                let image = reader.take(chunk)?;
                Ok(image.map(Update::Image))
            }
            Some(Change::Delta(delta)) => {
                if reader.is_open() || self.version.is_none() {
                    return Err(BadMetadata::Early);
                }
                let version = MetadataVersion::new(delta.version);
                Ok(Some(Update::Delta(Arc::new(decode_delta(
                    version,
                    &delta.records,
                )?))))
            }
        }
    }
}
