//! The running group: openraft behind channels, so that neither its types nor its runtime show outside.

mod found;
mod members;
mod observe;
mod open;
mod propose;

pub(crate) use members::Change;

use crate::bootstrap::Bootstrap;
use crate::controller::{Activity, Committed, ControllerId, ControllerStatus, Identity};
use crate::log::Log;
use crate::publish::{Failing, Published};
use crate::raft::{LogStore, Network, Node, Rpc, Runtime, StateMachine, Types, blocking, serve};
use crate::transport::{Member, Transport};
use crate::{ControllerConfig, MembershipError, RpcError, StartError, Unavailable};
use bytes::Bytes;
use members::Members;
use openraft::error::ForwardToLeader;
use openraft::{Raft, RaftMetrics};
use quipu_metadata::{Command, Reply};
use quipu_record::MetadataVersion;
use quipu_storage::Disk;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Commands that wait for the next entry, at most; more wait in front of the queue.
const QUEUE: usize = 1024;
/// No controller is left alone for less, however short its timeouts.
const PAUSE_MIN: Duration = Duration::from_millis(20);

type Answer = Result<Committed<Reply>, Unavailable>;
type Metrics = RaftMetrics<u64, Node>;

/// Something asked of the group.
pub(crate) struct Ask {
    pub(crate) command: Command,
    /// Its size as logged.
    pub(crate) bytes: usize,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// Something else asked of it.
pub(crate) enum Other {
    /// The version that holds everything committed before now.
    ReadIndex(oneshot::Sender<Result<MetadataVersion, Unavailable>>),
    /// Another controller's question.
    Rpc(Rpc, oneshot::Sender<Result<Bytes, RpcError>>),
    /// Other voters.
    Change(Change, oneshot::Sender<Result<Vec<Member>, MembershipError>>),
    /// The end.
    Shutdown(oneshot::Sender<()>),
}

/// The ends of the channels to a running group.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) id: ControllerId,
    pub(crate) asks: mpsc::Sender<Ask>,
    pub(crate) others: mpsc::Sender<Other>,
    pub(crate) published: Published,
    pub(crate) failing: Failing,
    pub(crate) stopped: watch::Receiver<bool>,
    pub(crate) activity: watch::Receiver<Activity>,
    pub(crate) bootstrap: watch::Receiver<Bootstrap>,
    metrics: watch::Receiver<Metrics>,
}

impl Group {
    pub(crate) fn status(&self) -> ControllerStatus {
        let metrics = self.metrics.borrow();
        let index = |id: Option<openraft::LogId<u64>>| id.map(|id| id.index);
        let membership = metrics.membership_config.membership();
        let member = |id: u64| Member {
            id: ControllerId::new(id),
            address: membership
                .get_node(&id)
                .map(|node| node.address.clone())
                .unwrap_or_default(),
        };
        ControllerStatus {
            id: self.id,
            leader: metrics.current_leader.map(member),
            term: metrics.current_term,
            last_log: metrics.last_log_index,
            applied: index(metrics.last_applied),
            snapshot: index(metrics.snapshot),
            purged: index(metrics.purged),
            voters: membership.voter_ids().map(member).collect(),
            learners: membership.learner_ids().map(member).collect(),
            quorum_silent: metrics.millis_since_quorum_ack.map(Duration::from_millis),
            failure: self.failing.get(),
        }
    }
}

/// Starts what is on disk, or something new: alone, or with others. `fresh` becomes the controller's if the directory is
/// empty.
pub(crate) async fn start<R: Runtime, D: Disk, T: Transport>(
    config: &ControllerConfig,
    disk: D,
    transport: T,
    fresh: Identity,
) -> Result<Group, StartError> {
    let raft_config = open::raft_config(config)?;
    let opened = open::open(config, &disk, fresh.controller)?;
    if opened.recovered.torn > 0 {
        tracing::info!(
            bytes = opened.recovered.torn,
            "cut the torn tail of the metadata log"
        );
    }
    let id = ControllerId::new(opened.recovered.controller);
    let failing = Failing::new();
    let published = Published::new(opened.contents.image.as_ref().clone());
    let transport = Arc::new(transport);
    let snapshots = opened.snapshots.clone();
    let io = |source| StartError::Io {
        path: config.dir.clone(),
        source,
    };
    let log = Log::new(opened.wal, &opened.recovered, R::THREADS, failing.clone()).map_err(io)?;
    let machine = StateMachine::new(
        opened.contents,
        published.clone(),
        opened.snapshots,
        failing.clone(),
    );
    let network = Network {
        transport: Arc::clone(&transport),
        me: id,
        published: published.clone(),
        pause: config.heartbeat_interval.max(PAUSE_MIN),
    };
    let raft = Raft::<Types<R>>::new(
        id.get(),
        Arc::new(raft_config),
        network,
        LogStore::new(log),
        machine,
    );
    let raft = raft.await.map_err(|error| StartError::Raft(error.to_string()))?;
    let close = move || snapshots.close();
    run::<R, T>(config, raft, transport, fresh, published, failing, close).await
}

/// Sets the tasks of a group going.
async fn run<R: Runtime, T: Transport>(
    config: &ControllerConfig,
    raft: Raft<Types<R>>,
    transport: Arc<T>,
    fresh: Identity,
    published: Published,
    failing: Failing,
    close: impl FnOnce() + Send + 'static,
) -> Result<Group, StartError> {
    let id = ControllerId::new(raft.metrics().borrow().id);
    let (asks, asked) = mpsc::channel(QUEUE);
    let (others, other) = mpsc::channel(QUEUE);
    let (stop, stopped) = watch::channel(false);
    let (active, activity) = watch::channel(Activity::default());
    let (bootstrapping, bootstrap) = watch::channel(Bootstrap::Starting);
    let members = Members::new(raft.clone(), Arc::clone(&transport), config, published.clone());
    // Dropping the handle of a task lets it run.
    drop(R::spawn(observe::watch_for_failure(
        raft.metrics(),
        failing.clone(),
    )));
    drop(R::spawn(observe::observe::<R>(
        raft.clone(),
        published.clone(),
        active,
        fresh.cluster,
        // Before anybody else can be elected.
        config.election_timeout_max,
    )));
    drop(R::spawn(propose::propose::<R>(
        raft.clone(),
        asked,
        config.election_timeout_max * 2,
    )));
    drop(R::spawn(answer::<R, T>(
        raft.clone(),
        other,
        members,
        stop,
        close,
    )));
    let group = Group {
        id,
        asks,
        others,
        published,
        failing,
        stopped,
        activity,
        bootstrap,
        metrics: raft.metrics(),
    };
    let begun = found::begin(&raft, config, &transport, bootstrapping, &group).await;
    begun.map_err(|error| match group.failing.get() {
        Some(failure) => StartError::Raft(failure.0),
        None => error,
    })?;
    Ok(group)
}

fn elsewhere(to: ForwardToLeader<u64, Node>) -> Unavailable {
    Unavailable::NotActive {
        leader: to.leader_id.map(ControllerId::new),
        address: to.leader_node.map(|node| node.address),
    }
}

async fn answer<R: Runtime, T: Transport>(
    raft: Raft<Types<R>>,
    mut others: mpsc::Receiver<Other>,
    members: Members<R, T>,
    stop: watch::Sender<bool>,
    close: impl FnOnce() + Send + 'static,
) {
    // Whoever asked may have gone: an answer that nobody takes is dropped.
    while let Some(other) = others.recv().await {
        match other {
            Other::ReadIndex(answer) => {
                let raft = raft.clone();
                drop(R::spawn(async move {
                    let _ = answer.send(propose::read_index(&raft).await);
                }));
            }
            Other::Rpc(rpc, answer) => {
                let raft = raft.clone();
                drop(R::spawn(async move {
                    let _ = answer.send(serve(&raft, rpc).await);
                }));
            }
            Other::Change(change, answer) => {
                let members = members.clone();
                drop(R::spawn(async move {
                    let _ = answer.send(members.change(change).await);
                }));
            }
            Other::Shutdown(done) => {
                if let Err(error) = raft.shutdown().await {
                    tracing::warn!(%error, "the metadata group did not end as it should");
                }
                blocking::<R, _>(close).await;
                stop.send_replace(true);
                let _ = done.send(());
                return;
            }
        }
    }
    // The last handle of the controller is gone: nobody can ask for anything any more.
    let _ = raft.shutdown().await;
    blocking::<R, _>(close).await;
    stop.send_replace(true);
}
