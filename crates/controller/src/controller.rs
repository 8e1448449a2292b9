//! The facade: everything that the rest of the broker may ask of the metadata group.

use crate::{ControllerConfig, Failure, ProposeError, ReadError, StartError, Subscription, Unavailable};
use quipu_metadata::{Command, Image, Reply, Request};
use quipu_record::MetadataVersion;
use quipu_storage::Disk;
use std::fmt;
use std::sync::Arc;

/// A controller for ever: random, made as its directory is formatted, so that a lost disk never comes back under the same
/// id with an empty log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ControllerId(u64);

impl ControllerId {
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

/// A running controller. Cheap to clone; the clones are one controller.
#[derive(Clone, Debug)]
pub struct Controller {}

impl Controller {
    /// Starts a controller, and makes the cluster if its directory is empty. As the only voter it is active on return, and
    /// the image holds everything that was ever committed, the cluster's id first of all.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`]: damage is named with file and position.
    pub async fn start<D: Disk>(config: ControllerConfig, disk: D) -> Result<Self, StartError> {
        let _ = (config, disk);
        todo!("API")
    }

    /// Asks for a change and waits until it is committed and in the image. Requests that come while another is on its way
    /// share one entry of the log, and one sync.
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
        let _ = command;
        todo!("API")
    }

    /// The image as of now; may lag behind the active controller's.
    #[must_use]
    pub fn image(&self) -> Arc<Image> {
        todo!("API")
    }

    /// The image as of now, and every change from then on.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        todo!("API")
    }

    /// An image that holds everything that was committed before this call, in the whole cluster.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn read_index(&self) -> Result<Arc<Image>, ReadError> {
        todo!("API")
    }

    /// Waits until the image holds `version`. Never ends by itself if that version never comes: bound it with a deadline.
    ///
    /// # Errors
    /// [`ReadError`] once the controller has stopped.
    pub async fn wait_for_version(&self, version: MetadataVersion) -> Result<Arc<Image>, ReadError> {
        let _ = version;
        todo!("API")
    }

    /// How it is doing.
    #[must_use]
    pub fn status(&self) -> ControllerStatus {
        todo!("API")
    }

    /// Waits until the controller fails for good; never ends otherwise, not even on shutdown.
    pub async fn failed(&self) -> Failure {
        todo!("API")
    }

    /// Stops it. What was committed is on disk; no marker is needed.
    pub async fn shutdown(&self) {
        todo!("API")
    }
}
