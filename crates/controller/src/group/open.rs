//! What is on disk before the group runs, and whether the configuration makes sense.

use crate::controller::ControllerId;
use crate::snapshot::{Contents, SnapshotStore};
use crate::wal::{Recovered, Wal};
use crate::{ControllerConfig, StartError};
use openraft::{Config, SnapshotPolicy};
use quipu_storage::Disk;
use std::io;
use std::time::Duration;

/// Everything that was found on disk, before the group runs.
pub(super) struct Opened<D: Disk> {
    pub(super) wal: Wal<D>,
    pub(super) recovered: Recovered,
    pub(super) snapshots: SnapshotStore<D>,
    pub(super) contents: Contents,
}

pub(super) fn raft_config(config: &ControllerConfig) -> Result<Config, StartError> {
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

pub(super) fn open<D: Disk>(
    config: &ControllerConfig,
    disk: &D,
    fresh: ControllerId,
) -> Result<Opened<D>, StartError> {
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
