//! The running group: openraft behind channels, so that neither its types nor its runtime show outside.

use crate::controller::{Committed, ControllerId, ControllerStatus};
use crate::log::Log;
use crate::publish::{Failing, Published};
use crate::raft::{LogStore, Network, Node, Proposal, Replies, Runtime, StateMachine, Types};
use crate::snapshot::{Contents, SnapshotStore};
use crate::wal::{Recovered, Wal};
use crate::{ControllerConfig, StartError, Unavailable};
use openraft::error::{CheckIsLeaderError, ClientWriteError, Fatal, ForwardToLeader, RaftError};
use openraft::{Config, Raft, RaftMetrics, SnapshotPolicy};
use quipu_metadata::{Command, Reply};
use quipu_record::MetadataVersion;
use quipu_storage::Disk;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Commands that wait for the next entry, at most; more wait in front of the queue.
const QUEUE: usize = 1024;
/// An entry takes no more commands once it has so many bytes.
const ENTRY_BYTES: usize = 1024 * 1024;
/// How long a group of one may take to elect itself, which is a matter of two writes.
const ELECTION_PATIENCE: Duration = Duration::from_secs(30);

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
    metrics: watch::Receiver<Metrics>,
}

impl Group {
    pub(crate) fn status(&self) -> ControllerStatus {
        let metrics = self.metrics.borrow();
        let index = |id: Option<openraft::LogId<u64>>| id.map(|id| id.index);
        ControllerStatus {
            id: self.id,
            leader: metrics.current_leader.map(ControllerId::new),
            term: metrics.current_term,
            last_log: metrics.last_log_index,
            applied: index(metrics.last_applied),
            snapshot: index(metrics.snapshot),
            purged: index(metrics.purged),
            voters: metrics
                .membership_config
                .voter_ids()
                .map(ControllerId::new)
                .collect(),
            failure: self.failing.get(),
        }
    }
}

/// Everything that was found on disk, before the group runs.
struct Opened<D: Disk> {
    wal: Wal<D>,
    recovered: Recovered,
    snapshots: SnapshotStore<D>,
    contents: Contents,
}

/// Starts a group of one, or goes on with it. `fresh` becomes the controller's id if the directory is empty.
pub(crate) async fn start<R: Runtime, D: Disk>(
    config: &ControllerConfig,
    disk: D,
    fresh: ControllerId,
) -> Result<Group, StartError> {
    let raft_config = raft_config(config)?;
    let opened = open(config, &disk, fresh)?;
    if opened.recovered.torn > 0 {
        tracing::info!(
            bytes = opened.recovered.torn,
            "cut the torn tail of the metadata log"
        );
    }
    let id = ControllerId::new(opened.recovered.controller);
    let failing = Failing::new();
    let published = Published::new(opened.contents.image.as_ref().clone());
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
    let raft = Raft::<Types<R>>::new(
        id.get(),
        Arc::new(raft_config),
        Network,
        LogStore::new(log),
        machine,
    );
    let raft = raft.await.map_err(|error| StartError::Raft(error.to_string()))?;

    let (asks, asked) = mpsc::channel(QUEUE);
    let (others, other) = mpsc::channel(QUEUE);
    let (stop, stopped) = watch::channel(false);
    let metrics = raft.metrics();
    // Dropping the handle of a task lets it run.
    drop(R::spawn(watch_for_failure::<R>(metrics.clone(), failing.clone())));
    drop(R::spawn(propose::<R>(raft.clone(), asked)));
    drop(R::spawn(answer::<R>(raft.clone(), other, stop)));
    lead::<R>(&raft, config)
        .await
        .map_err(|error| match failing.get() {
            Some(failure) => StartError::Raft(failure.0),
            None => error,
        })?;
    Ok(Group {
        id,
        asks,
        others,
        published,
        failing,
        stopped,
        metrics,
    })
}

fn raft_config(config: &ControllerConfig) -> Result<Config, StartError> {
    let wrong = |setting, why: &str| {
        Err(StartError::Config {
            setting,
            why: why.to_owned(),
        })
    };
    if config.entries_kept == 0 {
        return wrong(
            "entries_kept",
            "it must not be 0: a follower that lags a little would need a whole snapshot",
        );
    }
    if config.wal_segment_bytes < 1024 || config.wal_segment_bytes > u64::from(u32::MAX / 2) {
        return wrong("wal_segment_bytes", "it must lie between 1 KiB and 2 GiB");
    }
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let raft = Config {
        cluster_name: "quipu".to_owned(),
        heartbeat_interval: millis(config.heartbeat_interval),
        election_timeout_min: millis(config.election_timeout_min),
        election_timeout_max: millis(config.election_timeout_max),
        install_snapshot_timeout: 60_000,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(config.snapshot_every),
        max_in_snapshot_log_to_keep: config.entries_kept,
        // Each purge is a sync.
        purge_batch_size: (config.entries_kept / 10).max(1),
        // Beyond this a follower gets a snapshot: it must be more than what lies between two of them.
        replication_lag_threshold: config.snapshot_every + config.entries_kept,
        ..Config::default()
    };
    raft.validate().map_err(|error| StartError::Config {
        setting: "timeouts",
        why: error.to_string(),
    })
}

fn open<D: Disk>(config: &ControllerConfig, disk: &D, fresh: ControllerId) -> Result<Opened<D>, StartError> {
    let dir = &config.dir;
    let io = |source| StartError::Io {
        path: dir.clone(),
        source,
    };
    match disk.create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        created => {
            created.map_err(io)?;
            if let Some(parent) = dir.parent() {
                disk.sync_dir(parent).map_err(io)?;
            }
        }
    }
    let (wal, recovered) = Wal::open(disk.clone(), dir, config.wal_segment_bytes, fresh.get())?;
    let snapshots = SnapshotStore::open(disk.clone(), dir).map_err(io)?;
    if recovered.fresh && !snapshots.indexes().map_err(io)?.is_empty() {
        let what = "there are snapshots and no log: the log's files were deleted, or lost. Remove the whole directory to \
                    begin as a new controller, if others hold the cluster's metadata";
        return Err(StartError::Corrupt {
            path: dir.clone(),
            position: 0,
            what: what.to_owned(),
        });
    }
    let purged = recovered.state.purged.map(|purged| purged.index);
    let contents = match snapshots.newest(purged)? {
        Some(contents) => contents,
        None if purged.is_none() => Contents::default(),
        None => {
            let what = "the log begins after a snapshot, and there is none".to_owned();
            return Err(StartError::Corrupt {
                path: dir.clone(),
                position: 0,
                what,
            });
        }
    };
    Ok(Opened {
        wal,
        recovered,
        snapshots,
        contents,
    })
}

/// Makes the only voter the leader at once, instead of after an election timeout, and waits until everything that was
/// ever committed is in the image.
async fn lead<R: Runtime>(raft: &Raft<Types<R>>, config: &ControllerConfig) -> Result<(), StartError> {
    let failed = |error: &dyn std::fmt::Display| StartError::Raft(error.to_string());
    let id = raft.metrics().borrow().id;
    if !raft.is_initialized().await.map_err(|error| failed(&error))? {
        let node = Node {
            address: config.address.clone(),
        };
        let group = BTreeMap::from([(id, node)]);
        raft.initialize(group).await.map_err(|error| failed(&error))?;
    } else if raft.current_leader().await != Some(id) {
        raft.trigger().elect().await.map_err(|error| failed(&error))?;
    }
    let leading = raft.wait(Some(ELECTION_PATIENCE));
    leading
        .current_leader(id, "the only voter leads")
        .await
        .map_err(|error| failed(&error))?;
    raft.ensure_linearizable().await.map_err(|error| failed(&error))?;
    Ok(())
}

/// Proposes what is asked: all that waits while one entry is on its way becomes the next one.
async fn propose<R: Runtime>(raft: Raft<Types<R>>, mut asked: mpsc::Receiver<Ask>) {
    while let Some(first) = asked.recv().await {
        let mut bytes = first.bytes;
        let mut batch = vec![first];
        while bytes < ENTRY_BYTES {
            let Ok(next) = asked.try_recv() else { break };
            bytes += next.bytes;
            batch.push(next);
        }
        let (commands, answers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|ask| (ask.command, ask.answer)).unzip();
        let written = raft.client_write(Proposal(commands.into())).await;
        match written {
            Ok(response) => {
                let version = MetadataVersion::new(response.log_id.index);
                let Replies(replies) = response.data;
                for (answer, outcome) in answers.into_iter().zip(replies) {
                    // Whoever asked may have gone.
                    let _ = answer.send(Ok(Committed { version, outcome }));
                }
            }
            Err(error) => {
                let why = match error {
                    RaftError::APIError(ClientWriteError::ForwardToLeader(to)) => elsewhere(to),
                    RaftError::APIError(ClientWriteError::ChangeMembershipError(_)) | RaftError::Fatal(_) => {
                        Unavailable::Stopped
                    }
                };
                for answer in answers {
                    let _ = answer.send(Err(why.clone()));
                }
            }
        }
    }
}

fn elsewhere(to: ForwardToLeader<u64, Node>) -> Unavailable {
    Unavailable::NotActive {
        leader: to.leader_id.map(ControllerId::new),
        address: to.leader_node.map(|node| node.address),
    }
}

async fn answer<R: Runtime>(
    raft: Raft<Types<R>>,
    mut others: mpsc::Receiver<Other>,
    stop: watch::Sender<bool>,
) {
    while let Some(other) = others.recv().await {
        match other {
            Other::ReadIndex(answer) => {
                let raft = raft.clone();
                drop(R::spawn(async move {
                    let _ = answer.send(read_index(&raft).await);
                }));
            }
            Other::Shutdown(done) => {
                if let Err(error) = raft.shutdown().await {
                    tracing::warn!(%error, "the metadata group did not end as it should");
                }
                stop.send_replace(true);
                let _ = done.send(());
                return;
            }
        }
    }
    // The last handle of the controller is gone: nobody can ask for anything any more.
    let _ = raft.shutdown().await;
    stop.send_replace(true);
}

async fn read_index<R: Runtime>(raft: &Raft<Types<R>>) -> Result<MetadataVersion, Unavailable> {
    match raft.ensure_linearizable().await {
        Ok(id) => Ok(MetadataVersion::new(id.map_or(0, |id| id.index))),
        Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(to))) => Err(elsewhere(to)),
        Err(RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(_))) => Err(Unavailable::NoQuorum),
        Err(RaftError::Fatal(_)) => Err(Unavailable::Stopped),
    }
}

/// openraft stops for good when its storage fails or a task of it panics. Then the process must.
async fn watch_for_failure<R: Runtime>(
    mut metrics: watch::Receiver<RaftMetrics<u64, Node>>,
    failing: Failing,
) {
    loop {
        let state = metrics.borrow_and_update().running_state.clone();
        match state {
            Ok(()) | Err(Fatal::Stopped) => {}
            Err(fatal) => return failing.fail(&fatal.to_string()),
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}
