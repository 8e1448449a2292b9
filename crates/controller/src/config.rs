//! What a controller needs to know to start.

use std::path::PathBuf;
use std::time::Duration;

/// How a controller runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ControllerConfig {
    /// Its directory, for its write-ahead log and snapshots: its own, beside the partitions' logs. Its parent exists.
    pub dir: PathBuf,
    /// Where other controllers reach it, host:port.
    pub address: String,
    /// The addresses of the voters that a new group begins with, in order, the same on all of them. None, or nothing but its
    /// own: this controller alone is the group.
    pub voters: Vec<String>,
    /// How long a new controller may take to catch up before it is let in.
    pub join_patience: Duration,
    /// A leader makes itself heard this often, or half as often again: openraft looks at the clock every one and a half.
    pub heartbeat_interval: Duration,
    /// Whoever has heard the leader within [`election_timeout_max`](Self::election_timeout_max) votes for nobody else. A
    /// follower that has heard nothing stands for election once that is over, and after it a time of its own between these
    /// two: after their sum at the earliest, after twice the longer one at the latest.
    pub election_timeout_min: Duration,
    /// See above. A leader that no majority has answered for so long does not speak for the group.
    pub election_timeout_max: Duration,
    /// Log entries between snapshots.
    pub snapshot_every: u64,
    /// Log entries kept behind a snapshot, for followers that lag; must never be 0.
    pub entries_kept: u64,
    /// The size at which a new file of the write-ahead log is begun, preallocated, in bytes.
    pub wal_segment_bytes: u64,
}

impl ControllerConfig {
    /// The defaults, in this directory.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            address: String::new(),
            voters: Vec::new(),
            join_patience: Duration::from_secs(60),
            heartbeat_interval: Duration::from_millis(100),
            election_timeout_min: Duration::from_millis(300),
            election_timeout_max: Duration::from_millis(500),
            snapshot_every: 10_000,
            entries_kept: 10_000,
            wal_segment_bytes: 4 * 1024 * 1024,
        }
    }
}
