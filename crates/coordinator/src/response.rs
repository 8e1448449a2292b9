//! What a coordinator answers.

use crate::{
    AssignmentEpoch, Assignor, GroupEpoch, GroupError, GroupId, InstanceId, MemberEpoch, MemberId,
    RequestToken, Subscription,
};
use bytes::Bytes;
use quipu_record::{LeaderEpoch, Offset, Tick, Timestamp, TopicPartition};
use std::sync::Arc;
use std::time::Duration;

/// A record as stored in `__consumer_offsets`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupRecord {
    /// The key, never empty.
    pub key: Bytes,
    /// The value; `None` deletes.
    pub value: Option<Bytes>,
}

/// What one or more steps want done.
#[derive(Debug, Default)]
#[must_use]
pub struct Effects {
    /// To append as ONE batch, in this order. Already replayed here: if the append fails, drop the coordinator.
    pub records: Vec<GroupRecord>,
    /// Each leaves once `records` and everything appended before are committed.
    pub answers: Vec<(RequestToken, Result<Response, GroupError>)>,
    /// When to step with [`crate::Input::Tick`] at the latest; set by every step. `None`: nothing waits for time.
    pub deadline: Option<Tick>,
}

/// The answer to a request that was not refused.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Response {
    /// To a heartbeat.
    Heartbeat(HeartbeatAnswer),
    /// To a leave.
    Left,
    /// To a commit, in the order asked: if one has an error, all have.
    Committed(Vec<Result<(), GroupError>>),
    /// To a query, in the order asked, else by topic id and partition.
    Offsets(Vec<(TopicPartition, Option<Committed>)>),
    /// To a describe.
    Group(Box<GroupDescription>),
    /// To a list, by name.
    Groups(Vec<GroupSummary>),
    /// To a delete.
    Deleted,
    /// To a reset, in the order asked.
    Reset(Vec<OffsetMoved>),
}

/// The member stays.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeartbeatAnswer {
    /// The epoch it is in now.
    pub epoch: MemberEpoch,
    /// When the next heartbeat is due.
    pub heartbeat_interval: Duration,
    /// Silence after which the member is gone.
    pub session_timeout: Duration,
    /// Everything that it shall have, by topic id and partition. What it has beyond this and `revoking` is lost. `None`: as
    /// before. A partition under another assignment epoch than before was lost in between.
    pub assignment: Option<Vec<AssignedPartition>>,
    /// Told with `assignment`: what it has still to give up, in the same order. Nobody else gets it before.
    pub revoking: Vec<AssignedPartition>,
    /// How long that may take; `None`: nothing is to be given up.
    pub revocation_left: Option<Duration>,
}

/// A partition that a member shall have.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct AssignedPartition {
    /// The partition.
    pub at: TopicPartition,
    /// The member epoch in which this member got it.
    pub epoch: AssignmentEpoch,
}

/// A committed offset.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Committed {
    /// The next offset to process.
    pub offset: Offset,
    /// The leader epoch it was committed with.
    pub leader_epoch: Option<LeaderEpoch>,
    /// What the client stored with it.
    pub metadata: Arc<str>,
    /// When.
    pub at: Timestamp,
}

/// One offset that a reset moved, or would.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OffsetMoved {
    /// The partition.
    pub at: TopicPartition,
    /// Before; `None`: nothing was committed.
    pub from: Option<Offset>,
    /// After.
    pub to: Offset,
}

/// What a group is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum GroupState {
    /// No members; offsets are kept.
    Empty,
    /// A new target assignment is due.
    Assigning,
    /// Members move towards the target.
    Reconciling,
    /// Every member has what the target gives it.
    Stable,
}

/// A group in short.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupSummary {
    /// Its name.
    pub group: GroupId,
    /// What it is doing.
    pub state: GroupState,
    /// How many members it has.
    pub members: usize,
}

/// Everything about a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupDescription {
    /// Its name.
    pub group: GroupId,
    /// What it is doing.
    pub state: GroupState,
    /// Grows whenever a new target is due.
    pub epoch: GroupEpoch,
    /// The group epoch that the target was made for.
    pub target_epoch: GroupEpoch,
    /// How partitions are shared out.
    pub assignor: Assignor,
    /// Its members, by id.
    pub members: Vec<MemberDescription>,
    /// Its partitions, by topic id and number: committed, owned or both.
    pub offsets: Vec<OffsetDescription>,
    /// When the offsets expire; `None`: there are members, or no offsets.
    pub expires_at: Option<Timestamp>,
    /// What others wait for, by partition.
    pub stalled: Vec<Stalled>,
}

/// A member of a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberDescription {
    /// Its id.
    pub member: MemberId,
    /// Static membership.
    pub instance: Option<InstanceId>,
    /// What the client calls itself.
    pub client_id: Arc<str>,
    /// Where the client is.
    pub client_host: Arc<str>,
    /// Its rack.
    pub rack: Option<Arc<str>>,
    /// What it consumes.
    pub subscription: Subscription,
    /// The epoch it is in.
    pub epoch: MemberEpoch,
    /// What it has.
    pub owned: Vec<AssignedPartition>,
    /// What it shall have.
    pub target: Vec<TopicPartition>,
    /// What it has still to give up.
    pub revoking: Vec<AssignedPartition>,
    /// How long until that is taken from it.
    pub revocation_left: Option<Duration>,
}

/// What a group remembers of a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetDescription {
    /// The partition.
    pub at: TopicPartition,
    /// What was committed.
    pub committed: Option<Committed>,
    /// Who owns it.
    pub member: Option<MemberId>,
    /// True: the offset expired, and this is where it stood.
    pub expired: bool,
}

/// A partition that one member has still to give up, and another waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stalled {
    /// The partition.
    pub at: TopicPartition,
    /// Who holds it.
    pub holder: MemberId,
    /// Who waits for it; `None`: nobody subscribes to it any more.
    pub waiting: Option<MemberId>,
    /// How long until it is taken from the holder: by the revocation deadline, or as its session ends.
    pub left: Duration,
}

/// A group whose offsets expire within a day.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expiring {
    /// Its name.
    pub group: GroupId,
    /// When.
    pub at: Timestamp,
    /// How many offsets.
    pub offsets: usize,
}
