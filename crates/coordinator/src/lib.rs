//! Consumer groups: who is a member, who shall have which partition, and how far each was processed. Pure.
//!
//! A [`Coordinator`] is the state of one partition of `__consumer_offsets`. Every request is decided into records, which are
//! stored as one batch and replayed; the answer leaves once they, and all that were decided before, are committed. There is
//! no way back: where an append fails, the coordinator is dropped, and the log replayed into a new one.
//!
//! Members follow the group by KIP-848: a *target* says who shall have what, and each member moves towards it by itself,
//! giving up first what the target takes from it. Commits are fenced by KIP-1251. Where we differ, and why:
//!
//! - A member's epoch grows as it is told to give something up, so that whoever speaks in that epoch has seen it. Late and
//!   repeated heartbeats can then do no harm (`reconcile`).
//! - A client counts its streams: the greater number speaks for the member, and the lower never again. Where it does not,
//!   a stream speaks once it has shown that it had an answer; as a new one comes, the one before gives up no more, and
//!   cannot leave for it (`live::heartbeat`).
//! - The deadline of a revocation takes the partitions that were to be given up, never the member.
//!
//! Invariants
//! - A partition has one owner at most: it is given to the next as the record is written that says the one before has it no
//!   more. Commits of two members for one partition are never both taken (I17).
//! - The committed offset is that of the last acknowledged commit or reset (I16).
//! - Records alone make the state; deciding is deterministic: no clock, no chance, no order of a hash.
//! - A record that is not understood stops the replay: it is never skipped.
//!
//! Elsewhere: appending, committing and loading are the broker's; [`Member`] is the hosting side of one stream.

#![warn(clippy::expect_used, clippy::panic)]

mod assignor;
mod codec;
mod config;
mod coordinator;
mod error;
#[cfg(feature = "test-util")]
#[allow(clippy::expect_used, clippy::panic, reason = "test code")]
pub mod histories;
#[cfg(feature = "test-util")]
#[allow(clippy::expect_used, clippy::panic, reason = "test code")]
pub mod hostile;
mod ids;
mod live;
mod member;
mod reconcile;
mod record;
mod request;
mod response;
mod state;
mod subscription;
mod topics;

pub use assignor::Assignor;
pub use codec::ReplayError;
pub use config::GroupConfig;
pub use coordinator::Coordinator;
pub use error::GroupError;
pub use ids::{
    AssignmentEpoch, CommitNumber, GROUP_LEN_MAX, GroupEpoch, GroupId, INSTANCE_LEN_MAX, InstanceId,
    MEMBER_LEN_MAX, MemberEpoch, MemberId, RequestToken, StreamId, StreamNumber,
};
pub use member::{Changed, Finish, Joined, Mark, Member, MemberConfig, MemberEffect, MemberInput, Notice};
pub use request::{
    Commit, Committer, Heartbeat, Input, Leave, MoveTo, OffsetCommit, OffsetsQuery, Request, Reset,
    Subscription,
};
pub use response::{
    AssignedPartition, Committed, Effects, Expiring, GroupDescription, GroupRecord, GroupState, GroupSummary,
    HeartbeatAnswer, MemberDescription, OffsetDescription, OffsetMoved, Response, Stalled,
};
pub use topics::Topics;
