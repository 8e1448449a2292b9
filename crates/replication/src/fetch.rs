//! What follower and leader tell each other of one partition. Every message names its epochs and the place in the log
//! that it is about, so that a late or repeated one is recognised.

use crate::clock::Tick;
use quipu_record::{BrokerEpoch, BrokerId, ErrorCode, LeaderEpoch, Offset, StoredBatch};

/// The caller's name for a follower's fetch; comes back with its verdict, and means nothing here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FetchToken(pub u64);

/// Where a follower stands, for its leader: what it wants next, and how far it holds what it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Position {
    /// The leader epoch that it follows.
    pub leader_epoch: LeaderEpoch,
    /// Its log end: the next offset it wants.
    pub fetch_offset: Offset,
    /// The epoch of its last *batch* (never of an epoch that it only heard of); `None`: its log is empty.
    pub last_fetched_epoch: Option<LeaderEpoch>,
    /// It has flushed everything below.
    pub flushed: Offset,
    /// Its log start.
    pub log_start: Offset,
}

/// At the leader: a follower's fetch, or its word that it flushed more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FollowerFetch {
    /// Comes back with the verdict.
    pub token: FetchToken,
    /// The follower.
    pub broker: BrokerId,
    /// Its lifetime.
    pub broker_epoch: BrokerEpoch,
    /// Where it stands.
    pub position: Position,
}

/// At the leader: a follower's session was alive, and what it last said of this partition stands. Needs not be said of
/// a partition in which nothing happens: a follower that has everything never lags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FollowerHeard {
    /// The follower.
    pub broker: BrokerId,
    /// Its lifetime.
    pub broker_epoch: BrokerEpoch,
    /// The leader epoch of the position that stands.
    pub leader_epoch: LeaderEpoch,
    /// When it was heard.
    pub at: Tick,
}

/// What a leader says to a fetch. Its offsets are one consistent snapshot (KAFKA-7104).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The follower's log is the beginning of the leader's: batches from `from` to `log_end` may be sent, for as long as
    /// the leader epoch is the same.
    Accepted {
        /// Where to read from: the follower's log end.
        from: Offset,
        /// Everything below is committed.
        high_watermark: Offset,
        /// Everything below was deleted.
        log_start: Offset,
        /// Where the leader's log ends.
        log_end: Offset,
    },
    /// The follower's log parts from the leader's.
    Diverging {
        /// The greatest epoch, not above the follower's last, that the leader knows.
        epoch: LeaderEpoch,
        /// Where that epoch ends in the leader's log.
        end_offset: Offset,
    },
    /// The follower's log lies outside of the leader's.
    OutOfRange {
        /// The leader's log start.
        log_start: Offset,
    },
    /// The leader refuses: not the leader, an epoch that differs, not a replica, an older lifetime.
    Refused(ErrorCode),
}

/// At the follower: what the leader says to a position.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fetched {
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// The position that was judged, [`Position::fetch_offset`]. If it is no longer the follower's, the answer is old
    /// and dropped: a truncation repeated late would take away what was acknowledged since.
    pub fetch_offset: Offset,
    /// The position that was judged, [`Position::last_fetched_epoch`].
    pub last_fetched_epoch: Option<LeaderEpoch>,
    /// What it says.
    pub result: FetchResult,
}

/// What a leader says to its follower.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FetchResult {
    /// Go on like this.
    Accepted {
        /// Everything below is committed.
        high_watermark: Offset,
        /// Everything below was deleted.
        log_start: Offset,
        /// Tombstones below may be missing at the leader: every assigned replica has flushed them.
        tombstone_floor: Offset,
        /// Batches below may leave gaps, where the leader compacted.
        cleaned_to: Offset,
        /// Batches from the fetch offset on; none if there is only a new high watermark or log start.
        batches: Vec<StoredBatch>,
    },
    /// Cut the log, then fetch again.
    Diverging {
        /// The greatest epoch, not above the follower's last, that the leader knows.
        epoch: LeaderEpoch,
        /// Where that epoch ends in the leader's log.
        end_offset: Offset,
    },
    /// Begin anew at the leader's log start.
    OutOfRange {
        /// The leader's log start.
        log_start: Offset,
    },
    /// The leader refuses.
    Refused(ErrorCode),
}
