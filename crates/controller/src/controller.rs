//! The facade: everything that the rest of the broker may ask of the metadata group.

use crate::bootstrap::{Bootstrap, BootstrapError};
use crate::group::{self, Ask, Change, Group, Other};
use crate::raft::{Rpc, Runtime, Tokio};
use crate::transport::{Header, Member, PeerStatus, SnapshotChunk, Transport};
use crate::{
    ControllerConfig, Failure, MembershipError, ProposeError, RpcError, StartError, Subscription, Unavailable,
};
use bytes::Bytes;
use quipu_metadata::{COMMAND_BYTES_MAX, ClusterId, Command, Image, Reply, Request};
use quipu_record::MetadataVersion;
use quipu_storage::Disk;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// A controller for ever: random, made as its directory is formatted, so that a lost disk never comes back under the same
/// id with an empty log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ControllerId(u64);

impl ControllerId {
    /// From the number.
    #[must_use]
    pub const fn new(id: u64) -> Self {
        Self(id)
    }

    /// Reads the form that [`fmt::Display`] writes: 16 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = digits.then(|| u64::from_str_radix(text, 16).ok()).flatten()?;
        Some(Self(id))
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
    pub leader: Option<Member>,
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
    pub voters: Vec<Member>,
    /// Those who follow and do not vote.
    pub learners: Vec<Member>,
    /// At the active one: how long ago a majority last answered, if ever.
    pub quorum_silent: Option<Duration>,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
}

impl ControllerStatus {
    /// Whether it is the active one.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.leader.as_ref().is_some_and(|leader| leader.id == self.id)
    }
}

/// Whether a controller is the active one, and since when.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Activity {
    /// Raft's term. There is at most one active controller in each.
    pub term: u64,
    /// Its image holds this version, and with it all that was ever committed before it became the leader. `None`: it is not
    /// active, or no majority has answered it lately.
    pub since: Option<MetadataVersion>,
}

impl Activity {
    /// Whether it is active.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        self.since.is_some()
    }
}

/// A running controller. Cheap to clone; the clones are one controller, which stops with the last of them.
#[derive(Clone, Debug)]
pub struct Controller {
    group: Group,
    configured: Arc<[String]>,
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
    /// Starts a controller.
    ///
    /// Alone, it makes the cluster if its directory is empty, and it is active on return: the image holds everything that
    /// was ever committed, the cluster's id first of all. With others it returns at once, and [`Controller::joined`] waits.
    /// Whoever starts it must answer [`Controller::peer_status`] to the others from then on.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`]: damage is named with file and position.
    pub async fn start<D: Disk, T: Transport>(
        config: ControllerConfig,
        disk: D,
        transport: T,
    ) -> Result<Self, StartError> {
        Self::start_on::<Tokio, D, T>(config, disk, transport, Identity::random()).await
    }

    pub(crate) async fn start_on<R: Runtime, D: Disk, T: Transport>(
        config: ControllerConfig,
        disk: D,
        transport: T,
        fresh: Identity,
    ) -> Result<Self, StartError> {
        let group = group::start::<R, D, T>(&config, disk, transport, fresh).await?;
        Ok(Self {
            group,
            configured: config.voters.into(),
        })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> ControllerId {
        self.group.id
    }

    /// Waits until this controller is part of a cluster, and knows which. That may be never: bound it, or tell of
    /// [`Controller::bootstrap`] meanwhile.
    ///
    /// # Errors
    /// [`BootstrapError`] as soon as the configuration is found to be wrong; a later call waits again.
    pub async fn joined(&self) -> Result<ClusterId, BootstrapError> {
        let mut images = self.group.published.watch();
        let mut bootstrap = self.group.bootstrap.clone();
        let known = async {
            let image = images.wait_for(|image| image.cluster_id().is_some()).await;
            image.ok().and_then(|image| image.cluster_id())
        };
        let refused = async {
            let state = bootstrap.wait_for(|state| matches!(state, Bootstrap::Refused(_)));
            match state.await.as_deref() {
                Ok(Bootstrap::Refused(error)) => Some(error.clone()),
                // Whoever said so has ended: this controller is in a group.
                _ => None,
            }
        };
        tokio::select! {
            biased;
            Some(cluster) = known => Ok(cluster),
            Some(error) = refused => Err(error),
            // It has stopped: nothing will change any more.
            else => std::future::pending().await,
        }
    }

    /// How it comes to be part of a group, from now on.
    #[must_use]
    pub fn bootstrap(&self) -> watch::Receiver<Bootstrap> {
        self.group.bootstrap.clone()
    }

    /// Whether it is the active one, from now on. For whoever must act while it is, and at no other time.
    #[must_use]
    pub fn activity(&self) -> watch::Receiver<Activity> {
        self.group.activity.clone()
    }

    /// What it says of itself to whoever asks.
    #[must_use]
    pub fn peer_status(&self) -> PeerStatus {
        let status = self.status();
        let image = self.image();
        PeerStatus {
            id: status.id,
            cluster: image.cluster_id(),
            leader: status.leader,
            term: status.term,
            last_log: status.last_log,
            version: image.version(),
            voters: status.voters,
            learners: status.learners,
            configured: self.configured.to_vec(),
        }
    }

    /// Takes entries or a heartbeat of another controller; the answer.
    ///
    /// # Errors
    /// [`RpcError`].
    pub async fn handle_append(&self, header: Header, payload: Bytes) -> Result<Bytes, RpcError> {
        self.handle(header, Rpc::Append(payload)).await
    }

    /// Takes another controller's request for a vote; the answer.
    ///
    /// # Errors
    /// [`RpcError`].
    pub async fn handle_vote(&self, header: Header, payload: Bytes) -> Result<Bytes, RpcError> {
        self.handle(header, Rpc::Vote(payload)).await
    }

    /// Takes a whole snapshot of another controller; the answer.
    ///
    /// # Errors
    /// [`RpcError`].
    pub async fn handle_snapshot(
        &self,
        header: Header,
        meta: Bytes,
        chunks: Vec<SnapshotChunk>,
    ) -> Result<Bytes, RpcError> {
        self.handle(header, Rpc::Snapshot { meta, chunks }).await
    }

    /// Refuses what is for another controller, or comes from another cluster. Who knows of no cluster is only asked for the
    /// controller's id, which is random, and never used twice.
    ///
    /// # Errors
    /// [`RpcError`].
    pub fn check(&self, header: &Header) -> Result<(), RpcError> {
        if header.to != self.group.id {
            return Err(RpcError::OtherController {
                ours: self.group.id,
                theirs: header.to,
            });
        }
        match (self.image().cluster_id(), header.cluster) {
            (Some(ours), Some(theirs)) if ours != theirs => Err(RpcError::OtherCluster { ours, theirs }),
            _ => Ok(()),
        }
    }

    async fn handle(&self, header: Header, rpc: Rpc) -> Result<Bytes, RpcError> {
        self.check(&header)?;
        let (answer, answered) = oneshot::channel();
        let sent = self.group.others.send(Other::Rpc(rpc, answer)).await;
        sent.map_err(|_| RpcError::Stopped)?;
        answered.await.unwrap_or(Err(RpcError::Stopped))
    }

    /// Makes a running, empty controller a voter once it has caught up, in place of a dead one if that is named; the voters
    /// from then on. Only the active controller does it; it may be asked again.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn join(
        &self,
        id: ControllerId,
        address: String,
        replaces: Option<ControllerId>,
    ) -> Result<Vec<Member>, MembershipError> {
        let member = Member { id, address };
        self.change(Change::Join { member, replaces }).await
    }

    /// Takes a controller out of the group; the voters from then on. Only the active controller does it.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn leave(&self, id: ControllerId) -> Result<Vec<Member>, MembershipError> {
        self.change(Change::Leave(id)).await
    }

    async fn change(&self, change: Change) -> Result<Vec<Member>, MembershipError> {
        let (answer, answered) = oneshot::channel();
        let sent = self.group.others.send(Other::Change(change, answer)).await;
        sent.map_err(|_| Unavailable::Stopped)?;
        answered.await.unwrap_or(Err(Unavailable::Stopped.into()))
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
