//! Consumer groups: who is a member, who shall have which partition, and how far each was processed. Pure.
//!
//! A [`Coordinator`] is the state of one partition of `__consumer_offsets`. Every request is decided into records, which are
//! stored as one batch and replayed; the answer leaves once they are committed.

mod assignor;
mod codec;
mod config;
mod coordinator;
mod error;
#[cfg(feature = "test-util")]
pub mod histories;
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
    AssignmentEpoch, GROUP_LEN_MAX, GroupEpoch, GroupId, INSTANCE_LEN_MAX, InstanceId, MEMBER_LEN_MAX,
    MemberEpoch, MemberId, RequestToken, StreamId,
};
pub use member::{Changed, Finish, Mark, Member, MemberConfig, MemberEffect, MemberInput, Notice};
pub use request::{
    Commit, Heartbeat, Input, Leave, OffsetCommit, OffsetsQuery, Request, Reset, Subscription,
};
pub use response::{
    AssignedPartition, Committed, Effects, Expiring, GroupDescription, GroupRecord, GroupState, GroupSummary,
    HeartbeatAnswer, MemberDescription, OffsetDescription, OffsetMoved, Response, Stalled,
};
pub use topics::Topics;
