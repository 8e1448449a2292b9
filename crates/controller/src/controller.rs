//! The facade: everything that the rest of the broker may ask of the metadata group.

use crate::group::{self, Ask, Group, Other};
use crate::raft::{Runtime, Tokio};
use crate::{ControllerConfig, Failure, ProposeError, StartError, Subscription, Unavailable};
use quipu_metadata::{
    COMMAND_BYTES_MAX, ClusterId, Command, FeatureLevel, Image, InitCluster, Reply, Request,
};
use quipu_record::MetadataVersion;
use quipu_storage::Disk;
use std::fmt;
use std::sync::Arc;
use tokio::sync::oneshot;

/// A controller for ever: random, made as its directory is formatted, so that a lost disk never comes back under the same
/// id with an empty log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ControllerId(u64);

impl ControllerId {
    pub(crate) const fn new(id: u64) -> Self {
        Self(id)
    }

    /// The number: 63 bits.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ControllerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A command was done: durable on a majority, and in the image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Committed<T> {
    /// The version of the metadata that holds it.
    pub version: MetadataVersion,
    /// What came of it.
    pub outcome: T,
}

/// How a controller is doing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ControllerStatus {
    /// Its id.
    pub id: ControllerId,
    /// The active controller, as far as this one knows.
    pub leader: Option<ControllerId>,
    /// Raft's term.
    pub term: u64,
    /// The last entry in its log.
    pub last_log: Option<u64>,
    /// The last entry in its image.
    pub applied: Option<u64>,
    /// The last entry in its newest snapshot.
    pub snapshot: Option<u64>,
    /// The last entry that its log no longer has.
    pub purged: Option<u64>,
    /// The voters of the group.
    pub voters: Vec<ControllerId>,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
}

impl ControllerStatus {
    /// Whether it is the active one.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.leader == Some(self.id)
    }
}

/// A running controller. Cheap to clone; the clones are one controller, which stops with the last of them.
#[derive(Clone, Debug)]
pub struct Controller {
    group: Group,
}

/// What is drawn at random as a controller is made, and for its cluster. A simulation draws it from its seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    pub(crate) controller: ControllerId,
    pub(crate) cluster: ClusterId,
}

impl Identity {
    fn random() -> Self {
        // 63 bits, and not 0, which is nobody.
        let controller = ControllerId((rand::random::<u64>() >> 1).max(1));
        // A random UUID: version 4, variant 1.
        let bits = rand::random::<u128>() & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
        Self {
            controller,
            cluster: ClusterId::from_u128(bits),
        }
    }
}

impl Controller {
    /// Starts a controller, and makes the cluster if its directory is empty. As the only voter it is active on return, and
    /// the image holds everything that was ever committed, the cluster's id first of all.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`]: damage is named with file and position.
    pub async fn start<D: Disk>(config: ControllerConfig, disk: D) -> Result<Self, StartError> {
        Self::start_on::<Tokio, D>(config, disk, Identity::random()).await
    }

    pub(crate) async fn start_on<R: Runtime, D: Disk>(
        config: ControllerConfig,
        disk: D,
        fresh: Identity,
    ) -> Result<Self, StartError> {
        let group = group::start::<R, D>(&config, disk, fresh.controller).await?;
        let controller = Self { group };
        if controller.image().cluster_id().is_none() {
            let init = InitCluster {
                cluster_id: fresh.cluster,
                feature_level: FeatureLevel::SUPPORTED,
            };
            let made = controller.propose(init).await;
            made.map_err(|error| StartError::Raft(error.to_string()))?;
        }
        Ok(controller)
    }

    /// Asks for a change and waits until it is committed and in the image. Requests that come while another is on its way
    /// share one entry of the log, and one sync.
    ///
    /// If the caller stops waiting, the change may still happen.
    ///
    /// # Errors
    /// [`ProposeError`].
    pub async fn propose<R: Request>(
        &self,
        request: R,
    ) -> Result<Committed<R::Outcome>, ProposeError<R::Refusal>> {
        let Committed {
            version,
            outcome: reply,
        } = self.propose_command(request.into_command()).await?;
        match R::from_reply(reply) {
            Some(Ok(outcome)) => Ok(Committed { version, outcome }),
            Some(Err(refusal)) => Err(ProposeError::Refused(refusal)),
            None => Err(Unavailable::Stopped.into()),
        }
    }

    /// As [`Controller::propose`], for a command that another broker sent on.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn propose_command(&self, command: Command) -> Result<Committed<Reply>, Unavailable> {
        let bytes = command.encode().len();
        // What is logged must be readable again.
        if bytes > COMMAND_BYTES_MAX {
            return Err(Unavailable::TooLarge {
                bytes,
                max: COMMAND_BYTES_MAX,
            });
        }
        let (answer, answered) = oneshot::channel();
        let ask = Ask {
            command,
            bytes,
            answer,
        };
        self.group
            .asks
            .send(ask)
            .await
            .map_err(|_| Unavailable::Stopped)?;
        answered.await.unwrap_or(Err(Unavailable::Stopped))
    }

    /// The image as of now; may lag behind the active controller's.
    #[must_use]
    pub fn image(&self) -> Arc<Image> {
        self.group.published.image()
    }

    /// The image as of now, and every change from then on.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        Subscription::new(&self.group.published, self.group.stopped.clone())
    }

    /// An image that holds everything that was committed before this call, in the whole cluster.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn read_index(&self) -> Result<Arc<Image>, Unavailable> {
        let (answer, answered) = oneshot::channel();
        let sent = self.group.others.send(Other::ReadIndex(answer)).await;
        sent.map_err(|_| Unavailable::Stopped)?;
        let version = answered.await.unwrap_or(Err(Unavailable::Stopped))?;
        self.wait_for_version(version).await
    }

    /// Waits until the image holds `version`. Never ends by itself if that version never comes: bound it with a deadline.
    ///
    /// # Errors
    /// [`Unavailable`] once the controller has stopped.
    pub async fn wait_for_version(&self, version: MetadataVersion) -> Result<Arc<Image>, Unavailable> {
        let mut images = self.group.published.watch();
        let mut stopped = self.group.stopped.clone();
        tokio::select! {
            biased;
            image = images.wait_for(|image| image.version() >= version) => match image {
                Ok(image) => Ok(Arc::clone(&image)),
                Err(_) => Err(Unavailable::Stopped),
            },
            _ = stopped.wait_for(|stopped| *stopped) => Err(Unavailable::Stopped),
        }
    }

    /// How it is doing.
    #[must_use]
    pub fn status(&self) -> ControllerStatus {
        self.group.status()
    }

    /// Waits until the controller fails for good; never ends otherwise, not even on shutdown.
    pub async fn failed(&self) -> Failure {
        self.group.failing.wait().await
    }

    /// Stops it. What was committed is on disk; no marker is needed.
    pub async fn shutdown(&self) {
        let (done, ended) = oneshot::channel();
        if self.group.others.send(Other::Shutdown(done)).await.is_ok() {
            // An error says that it has ended already.
            let _ = ended.await;
        }
    }
}

#[cfg(test)]
mod tests;
